"""What tells one environment from another: the options it was made with, as JSON-able data.

A checkpoint keeps them, since a rollout can only be resumed under the options with which it began. They are read off
the constructor, so that environments of third parties need do nothing for it.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from typing import Any

__all__ = ["describe", "differing", "given_options"]

_LONGEST = 400
_DEEPEST = 6
_LARGEST = 10_000
_SECRET = re.compile(r"(^|_)(api_?key|secret|password|passwd|token|credentials?|authorization)$", re.IGNORECASE)


def given_options(owner: type, args: Sequence[Any], options: Mapping[str, Any], without: frozenset[str]) -> Any:
    """Describe what a class is constructed with, defaults included.

    Defaults are those of the class's ``__init__`` and, as long as that takes ``**options``, of its base classes'. What
    is called a key, a password or the like is left out.

    Args:
        owner: the class.
        args: positional arguments, without ``self``.
        options: keyword arguments.
        without: names to leave out.

    Returns:
        A description, as `describe` makes it, by name.
    """
    positional, defaults = _constructor(owner)
    given = {**defaults, **dict(zip(positional, args, strict=False)), **options}
    return {name: describe(value) for name, value in sorted(given.items()) if name not in without and not _hidden(name)}


@functools.lru_cache(maxsize=64)
def _constructor(owner: type) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the names of what may be passed by position, and all defaults."""
    positional: tuple[str, ...] | None = None
    defaults: dict[str, Any] = {}
    for base in owner.__mro__:
        method = vars(base).get("__init__")
        if not inspect.isfunction(method):
            continue
        parameters = list(inspect.signature(method).parameters.values())[1:]
        if positional is None:
            positional = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
        for p in parameters:
            if p.default is not p.empty:
                defaults.setdefault(p.name, p.default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return positional or (), defaults


def describe(value: Any) -> Any:
    """Return JSON-able data that tells a value from others, in every process the same.

    Data stands for itself, if it has up to 10,000 items; a description that comes to more than 400 characters of
    JSON is replaced by a digest. A function or class is known by its qualified name, a function also by its
    defaults and by the variables that it takes from around it. An object is known by its `to_dict`, by its fields
    if it is a frozen dataclass, and otherwise by the name of its class alone.
    """
    description = _describe(value, _DEEPEST)
    text = json.dumps(description, sort_keys=True)
    if len(text) <= _LONGEST:
        return description
    return f"{type(value).__name__} with digest {blake2b(text.encode(), digest_size=8).hexdigest()}"


def differing(theirs: Any, ours: Mapping[str, Any]) -> str:
    """Say in which option two environments differ, with both values; "" if in none."""
    if not isinstance(theirs, dict):
        return "without its options"
    same = json.loads(json.dumps(ours))
    for name in sorted({*theirs, *same}):
        if name not in theirs:
            return f"without the option {name}; this environment has {name}={same[name]!r:.200}"
        if name not in same:
            return f"with {name}={theirs[name]!r:.200}; this environment has no such option"
        if theirs[name] != same[name]:
            return f"with {name}={theirs[name]!r:.200}; this environment has {same[name]!r:.200}"
    return ""


def _hidden(name: Any) -> bool:
    return isinstance(name, str) and _SECRET.search(name) is not None


def _describe(value: Any, deepest: int) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (type(None), bool, int, str) else _plain(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if deepest == 0:
        return type(value).__qualname__

    def inner(part: Any) -> Any:
        return _describe(part, deepest - 1)

    if isinstance(value, Sized) and len(value) > _LARGEST:
        return f"{type(value).__qualname__} of {len(value)}"
    if isinstance(value, Mapping):
        return {str(key): inner(part) for key, part in value.items() if not _hidden(key)}
    if isinstance(value, list | tuple | range):
        return [inner(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((inner(part) for part in value), key=repr)
    return _describe_object(value, inner)


def _describe_object(value: Any, inner: Any) -> Any:
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    if isinstance(value, type):
        return name
    if inspect.ismethod(value):
        return {name: inner(value.__self__)}
    if inspect.isfunction(value):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=False)
        around = {free: inner(cell.cell_contents) for free, cell in cells if _filled(cell) and not _hidden(free)}
        defaults = [inner(default) for default in value.__defaults__ or ()]
        known = {"around": around, "defaults": defaults, "keywords": inner(value.__kwdefaults__ or {})}
        return {name: {part: what for part, what in known.items() if what}} if any(known.values()) else name
    if isinstance(value, functools.partial):
        return {"partial": [inner(value.func), inner(value.args), inner(value.keywords)]}
    if callable(to_dict := getattr(value, "to_dict", None)):
        return {name: inner(to_dict())}
    if is_dataclass(value) and getattr(value, "__dataclass_params__").frozen:  # noqa: B009 (its stub hides it)
        return {name: {field.name: inner(getattr(value, field.name)) for field in fields(value)}}
    if callable(item := getattr(value, "item", None)) and getattr(value, "ndim", None) == 0:
        return inner(item())  # a number of numpy's
    return name


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return f"{type(value).__qualname__}.{value.name}"
    return str(value) if isinstance(value, str) else int(value)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # not assigned yet
        return False
