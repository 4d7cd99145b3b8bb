"""Bring values that hostile code made down to plain JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from rao_envs.errors import ToolError

__all__ = ["clean_text", "to_json", "to_json_fast"]

_MAX_DEPTH = 64
_MAX_ITEMS = 200_000
_MAX_DIGITS = 1_000
_MAX_INT_BITS = 3_320  # as many digits, and far from the 4,300 at which Python refuses to print


def clean_text(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file, log or model server accepts."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def to_json(value: Any) -> Any:
    """Return `value` as plain JSON: dicts with text keys, lists, text, numbers, booleans and None.

    Tuples become lists, sets become sorted lists, bytes become text, `nan` and the infinities become text.

    Raises:
        ToolError: it holds something that is not data, is nested too deeply, or is too large.
    """
    return _Cleaner().clean(value, _MAX_DEPTH)


def to_json_fast(value: Any) -> Any:
    """Return what `to_json` does, for small and harmless values at the cost of two passes in C.

    Raises:
        ToolError: see `to_json`.
    """
    try:
        text = _ENCODE(value)
        # Short enough to hold no number that is too long, too shallow to be deep, and without lone surrogates.
        if len(text) < _MAX_DIGITS and text.count("[") + text.count("{") <= _MAX_DEPTH and "\\ud" not in text:
            return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        pass
    return to_json(value)


_ENCODE = json.JSONEncoder(allow_nan=False, check_circular=False).encode


class _Cleaner:
    def __init__(self) -> None:
        self.left = _MAX_ITEMS

    def clean(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        kind = type(value)
        if kind is str:
            return clean_text(value)
        if kind is int:
            if value.bit_length() > _MAX_INT_BITS:
                raise ToolError("an integer is too large to pass on: keep it under 1,000 digits")
            return value
        if kind is float:
            return value if math.isfinite(value) else str(value)
        if kind is bytes:
            return value.decode("utf-8", "replace")
        if depth == 0:
            raise ToolError(f"a value is nested more than {_MAX_DEPTH} deep: pass flatter data")
        if isinstance(value, Mapping):
            self._count(len(value))
            return {self._key(key): self.clean(item, depth - 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            self._count(len(value))
            return [self.clean(item, depth - 1) for item in value]
        if isinstance(value, set | frozenset):
            self._count(len(value))
            return sorted((self.clean(item, depth - 1) for item in value), key=repr)
        name = getattr(value, "name", None) or kind.__name__
        raise ToolError(f"a value of type {name!s:.80} is not plain data: pass numbers, text, lists and dicts")

    def _count(self, items: int) -> None:
        self.left -= items
        if self.left < 0:
            raise ToolError(f"a value holds more than {_MAX_ITEMS:,} items: pass less")

    def _key(self, key: Any) -> str:
        cleaned = self.clean(key, 1)
        if isinstance(cleaned, str):
            return cleaned
        if isinstance(cleaned, list):
            raise ToolError("a dict key is a tuple or set: use text as keys")
        return _KEYS[cleaned] if cleaned is None or isinstance(cleaned, bool) else str(cleaned)


_KEYS = {None: "null", True: "true", False: "false"}
"""As `json.dumps` has them."""
