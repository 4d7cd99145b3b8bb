"""Bring values that hostile code made down to plain JSON, in bounded time and memory.

A value may be far larger than it looks: forty lists that each hold the one before twice are a few kilobytes in memory
and terabytes as text. So everything here counts while it walks, and stops at the limit instead of at the end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Any

from rao_envs.errors import ToolError

__all__ = ["TooLarge", "clean_text", "json_size", "to_json"]

_MAX_DEPTH = 64
_MAX_ITEMS = 200_000
_MAX_BYTES = 64 * 2**20
_MAX_INT_BITS = 3_320  # about 1,000 digits, far from the 4,300 at which Python refuses to print
_SHORT = 32
_WORST = 6  # bytes of JSON that one character can take, escaped
_WORST_ITEM = _WORST * (_SHORT + 8)  # and one item, apart from text that is counted by itself


def clean_text(text: str) -> str:
    """Replace lone surrogates, which no UTF-8 file, log or model server accepts."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode("utf-8")


def to_json(value: Any, max_bytes: int = _MAX_BYTES, *, name: str = "max_bytes") -> Any:
    """Return `value` as plain JSON: dicts with text keys, lists, text, numbers, booleans and None.

    Tuples become lists, sets become sorted lists, bytes become text, `nan` and the infinities become text. The work
    is bounded by the limits, however often parts of the value are shared.

    Args:
        value: anything.
        max_bytes: size that it may have as JSON, see `json_size`.
        name: what the error calls this limit.

    Raises:
        ToolError: it holds something that is not data, or is nested too deeply.
        TooLarge: it is too large; this is a `ToolError`, too.
    """
    room = [_MAX_ITEMS, max_bytes]
    try:
        plain = _plain(value, _MAX_DEPTH, room)
    except _Overflow:
        raise TooLarge(_too_large(_least_size(value), max_bytes, name)) from None
    # The walk counted characters, the least that the value can take; only large ones need the exact figure.
    most = _WORST * (max_bytes - room[1]) + _WORST_ITEM * (_MAX_ITEMS + 1 - room[0])
    if most > max_bytes and (size := json_size(plain)) > max_bytes:
        raise TooLarge(_too_large(f"{size:,}", max_bytes, name))
    return plain


def json_size(value: Any) -> int:
    """Return the bytes of `value` as compact JSON in UTF-8; it must come from `to_json`."""
    return len(_ENCODE(value).encode())


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_KEYS = {None: "null", True: "true", False: "false"}
"""As `json.dumps` has them."""


class TooLarge(ToolError):
    """A value has too many items, or too many bytes."""


class _Overflow(Exception):
    """The characters alone are more than the limit."""


def _plain(value: Any, depth: int, room: list[int]) -> Any:
    """Do the work of `to_json`; `room` holds the items and the bytes that are left."""
    kind = type(value)
    if kind is str:
        room[1] -= len(value) + 2
        if room[1] < 0:
            raise _Overflow
        return value if value.isascii() else _counted(clean_text(value), len(value), room)
    if kind is int:
        bits = value.bit_length()
        if bits > _MAX_INT_BITS:
            raise ToolError("an integer is too large to pass on: keep it under 1,000 digits")
        room[1] -= bits * 3 // 10
        if room[1] < 0:
            raise _Overflow
        return value
    if value is None or value is True or value is False:
        return value
    if kind is dict:
        _take(room, len(value), depth)
        return {
            (key if type(key) is str and key.isascii() and len(key) <= _SHORT else _key(key, room)): _plain(
                item, depth - 1, room
            )
            for key, item in value.items()
        }
    if kind is list or kind is tuple:
        _take(room, len(value), depth)
        return [_plain(item, depth - 1, room) for item in value]
    return _rarer(value, kind, depth, room)


def _rarer(value: Any, kind: type, depth: int, room: list[int]) -> Any:
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is bytes:
        room[1] -= len(value)
        if room[1] < 0:
            raise _Overflow
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        _take(room, len(value), depth)
        return {_key(key, room): _plain(item, depth - 1, room) for key, item in value.items()}
    if isinstance(value, list | tuple):
        _take(room, len(value), depth)
        return [_plain(item, depth - 1, room) for item in value]
    if isinstance(value, set | frozenset):
        _take(room, len(value), depth)
        return sorted((_plain(item, depth - 1, room) for item in value), key=repr)
    name = getattr(value, "name", None) or kind.__name__
    raise ToolError(f"a value of type {name!s:.80} is not plain data: pass numbers, text, lists and dicts")


def _take(room: list[int], items: int, depth: int) -> None:
    if depth == 0:
        raise ToolError(f"a value is nested more than {_MAX_DEPTH} deep: pass flatter data")
    room[0] -= items
    if room[0] < 0:
        raise TooLarge(f"a value holds more than {_MAX_ITEMS:,} items: pass less")


def _counted(text: str, counted: int, room: list[int]) -> str:
    room[1] -= len(text) - counted
    return text


def _key(key: Any, room: list[int]) -> str:
    cleaned = _plain(key, 1, room)
    if isinstance(cleaned, str):
        return cleaned
    if isinstance(cleaned, list):
        raise ToolError("a dict key is a tuple or set: use text as keys")
    return _KEYS[cleaned] if cleaned is None or isinstance(cleaned, bool) else str(cleaned)


def _too_large(size: str, max_bytes: int, name: str) -> str:
    return f"a value takes {size} bytes as JSON, above {name} = {max_bytes:,}: pass less"


def _least_size(value: Any) -> str:
    """Say how large a value is at least, in as many steps as one may have items."""
    todo, left, size = [value], _MAX_ITEMS, 0
    while todo:
        item = todo.pop()
        if isinstance(item, str | bytes):
            size += len(item) + 2
            continue
        if isinstance(item, int):
            size += item.bit_length() * 3 // 10
            continue
        parts: Iterable[Any] = ()
        if isinstance(item, Mapping):
            parts = chain(item.keys(), item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            parts = item
        before = len(todo)
        todo.extend(islice(parts, left))
        left -= len(todo) - before
    return f"at least {size:,}"
