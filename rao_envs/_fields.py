"""Checks of single values in stored data, which anybody may have written.

Each check returns the value, as its event or record keeps it, or raises a `ValueError` that says what it must be.
Types are compared exactly: JSON knows no others, and a bool must not pass for a number.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "MAX_COUNT",
    "MAX_NESTING",
    "MAX_SECONDS",
    "Check",
    "as_bool",
    "as_count",
    "as_counts",
    "as_data",
    "as_int",
    "as_logprobs",
    "as_number",
    "as_object",
    "as_seconds",
    "as_success",
    "as_text",
    "as_token_ids",
    "as_whole",
    "maybe",
    "one_of",
    "shown",
]

MAX_COUNT = 2**53
"""Largest count (of tokens, calls, nodes): sums of such stay exact as floats, and in an int64."""

MAX_SECONDS = 1e100
"""Latest time: sums of such stay finite."""

MAX_NESTING = 200
"""Deepest nesting of JSON data. What agents return is at most 64 deep; Python's own encoder stops at about 1,000."""

Check = Callable[[Any], Any]

_FEW = 200
"""From here on a detour through an array is faster than Python's own loops."""

_PLAIN = frozenset({type(None), bool, int, str})
_NESTED = frozenset({dict, list, tuple})


def as_whole(value: Any) -> int:
    """Check a whole number of at least 0, of any size."""
    if type(value) is int and value >= 0:
        return value
    raise ValueError(f"must be a whole number of at least 0, not {shown(value)}")


def as_bool(value: Any) -> bool:
    """Check a bool."""
    if type(value) is bool:
        return value
    raise ValueError(f"must be true or false, not {shown(value)}")


def as_int(value: Any) -> int:
    """Check a whole number of any size and sign."""
    if type(value) is int:
        return value
    raise ValueError(f"must be a whole number, not {shown(value)}")


def as_count(value: Any) -> int:
    """Check a whole number from 0 to `MAX_COUNT`."""
    if type(value) is int and 0 <= value <= MAX_COUNT:
        return value
    raise ValueError(f"must be a whole number from 0 to 2**53, not {shown(value)}")


def as_number(value: Any) -> float:
    """Check a finite number that a float can hold."""
    if (type(value) is float or type(value) is int) and -sys.float_info.max <= value <= sys.float_info.max:
        return value
    raise ValueError(f"must be a finite number, not {shown(value)}")


def as_seconds(value: Any) -> float:
    """Check a number of seconds from 0 to `MAX_SECONDS`."""
    if (type(value) is float or type(value) is int) and 0 <= value <= MAX_SECONDS:
        return value
    raise ValueError(f"must be a number of seconds from 0 to {MAX_SECONDS:g}, not {shown(value)}")


def as_success(value: Any) -> float | None:
    """Check a success."""
    if value is None or ((type(value) is float or type(value) is int) and 0 <= value <= 1):
        return value
    raise ValueError(f"must lie in [0, 1], or be null if unjudged, not {shown(value)}")


def as_text(value: Any) -> str:
    """Check a text; lone surrogates are allowed, as `TreeWriter` can store them."""
    if type(value) is str:
        return value
    raise ValueError(f"must be text, not {shown(value)}")


def as_counts(value: Any) -> tuple[int, ...]:
    """Check a list of whole numbers from 0 to `MAX_COUNT`."""
    return tuple([as_count(item) for item in _listed(value)])


def as_token_ids(value: Any) -> tuple[int, ...]:
    """Check a list of token ids: as `as_counts`, but fast."""
    ids = _listed(value)
    if not ids or (_are_counts(ids) if len(ids) < _FEW else _are_many_counts(ids)):
        return tuple(ids)
    raise ValueError("must be whole numbers from 0 to 2**53")


def _are_counts(values: Sequence[Any]) -> bool:
    return {*map(type, values)} == {int} and min(values) >= 0 and max(values) <= MAX_COUNT


def _are_many_counts(values: Sequence[Any]) -> bool:
    try:
        numbers = np.frombuffer(array("I", values), np.uintc)
    except TypeError:
        return False
    except OverflowError:
        return _are_counts(values)
    # An array takes bools for numbers, but then for 0 and 1.
    return bool(numbers.min() > 1) or bool not in {type(values[i]) for i in np.flatnonzero(numbers <= 1).tolist()}


def as_logprobs(value: Any) -> tuple[float, ...]:
    """Check a list of finite numbers."""
    numbers = _listed(value)
    try:
        # A sum is finite only if every term is.
        if {*map(type, numbers)} <= {float, int} and math.isfinite(sum(numbers)):
            return tuple(numbers)
    except OverflowError:
        pass
    raise ValueError("must be finite numbers")


def as_data(value: Any) -> Any:
    """Check JSON data: all numbers finite, nested at most `MAX_NESTING` deep."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        kinds = {*map(type, level)} - _PLAIN
        if not kinds:
            return value
        if strange := kinds - _NESTED - {float}:
            raise ValueError(f"must be JSON data; it holds a {strange.pop().__name__}")
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                below.extend(item.values())
            elif type(item) in _NESTED:
                below.extend(item)
            elif type(item) is float and not math.isfinite(item):
                raise ValueError("must be JSON data; it holds a number that is not finite")
        level = below
    raise ValueError(f"must be JSON data, nested at most {MAX_NESTING} deep")


def as_object(value: Any) -> dict[str, Any]:
    """Check a JSON object."""
    if type(value) is dict:
        as_data(value)
        return value
    raise ValueError(f"must be an object, not {shown(value)}")


def maybe(check: Check) -> Check:
    """Make a check that passes None, too."""
    return lambda value: None if value is None else check(value)


def one_of(*names: str | None) -> Check:
    """Make a check that passes these names only."""

    def check(value: Any) -> Any:
        if (value is None or type(value) is str) and value in names:
            return value
        raise ValueError(f"{shown(value)}; known: {', '.join(name or 'null' for name in names)}")

    return check


def shown(value: Any) -> str:
    """Show a value in an error; containers, which may be huge or deep, by their type only."""
    if type(value) in _PLAIN or type(value) is float:
        return f"{value!r:.60}"
    return f"a {type(value).__name__}"


def _listed(value: Any) -> list[Any] | tuple[Any, ...]:
    if type(value) is list or type(value) is tuple:
        return value
    raise ValueError(f"must be a list, not {shown(value)}")
