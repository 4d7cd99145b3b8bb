"""Check what a caller passes: every failure names the argument, its value and what is allowed.

`check_options` reads names and types off the signature of an environment's ``__init__``, for environments of third
parties too; `one_of` and `whole` check values.
"""

from __future__ import annotations

import inspect
import operator
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from rao_envs.errors import OptionError

__all__ = ["check_options", "one_of", "option_names", "whole"]


def one_of(name: str, value: object, allowed: Iterable[str], also: str = "") -> None:
    """Refuse a value that is not one of some texts.

    Args:
        name: the argument.
        value: what it was given.
        allowed: the texts it may be given.
        also: appended to the error, such as ", or None for all".

    Raises:
        OptionError: the value is none of them.
    """
    names = tuple(allowed)
    if not isinstance(value, str) or value not in names:
        raise OptionError(name, value, f"choose from {', '.join(names)}{also}")


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """Return a whole number as an int.

    Args:
        name: the argument.
        value: what it was given; NumPy's integers will do, bools will not.
        least: smallest value allowed, if there is one.
        most: largest value allowed, if there is one.

    Raises:
        OptionError: the value is no whole number, or out of range.
    """
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        number = operator.index(value)
        if (least is None or least <= number) and (most is None or number <= most):
            return number
    bounds = [f"at {word} {bound:,}" for word, bound in (("least", least), ("most", most)) if bound is not None]
    raise OptionError(name, value, ", ".join(["must be a whole number", *[" and ".join(bounds)][: len(bounds)]]))


def check_options(owner: type, args: Sequence[object], options: Mapping[str, object]) -> None:
    """Check names and types of what a class is constructed with.

    Known are the parameters of the class's ``__init__`` and, where that takes ``**options``, the optional ones of
    its base classes. Types are checked against annotations, from outside only: ``Sequence[int]`` admits any
    sequence. Annotations that cannot be evaluated are not checked.

    Args:
        owner: the class.
        args: positional arguments, without ``self``.
        options: keyword arguments.

    Raises:
        OptionError: an unknown name, or a value of another type.
    """
    known, positional = _parameters(owner)
    if unknown := [name for name in options if name not in known]:
        import difflib  # not above: most processes never need it

        close = difflib.get_close_matches(unknown[0], known, n=1)
        guess = f"; did you mean {close[0]!r}?" if close else "."
        fix = f"{owner.__name__} has no such option{guess} It takes {', '.join(known)}"
        raise OptionError(unknown[0], options[unknown[0]], fix)
    for name, value in (*zip(positional, args, strict=False), *options.items()):
        hint = known[name]
        if not _fits(value, hint):
            raise OptionError(name, value, f"must be {_shown(hint)}")


def option_names(creator: Callable[..., Any]) -> tuple[tuple[str, ...], bool]:
    """Return the names of the options of a class or function, and whether it passes others on.

    Args:
        creator: what makes an environment.
    """
    if isinstance(creator, type):
        return tuple(_parameters(creator)[0]), False
    parameters = inspect.signature(creator).parameters.values()
    named = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


@lru_cache(maxsize=64)
def _parameters(owner: type) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the type of each option by name, and the names of those that may be passed by position."""
    known: dict[str, Any] = {}
    positional: tuple[str, ...] = ()
    for base in owner.__mro__:
        method = vars(base).get("__init__")
        if not inspect.isfunction(method):
            continue
        parameters = list(inspect.signature(method).parameters.values())[1:]
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        try:
            hints = get_type_hints(method)
        except (NameError, AttributeError, TypeError):  # names that only a type checker imports
            hints = {}
        first = not known
        if first:
            positional = tuple(p.name for p in named if p.kind is p.POSITIONAL_OR_KEYWORD)
        for p in named:
            if first or p.default is not p.empty:
                known.setdefault(p.name, hints.get(p.name, Any))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return known, positional


def _fits(value: object, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any or hint is object:
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is int:
        return hasattr(value, "__index__") and not isinstance(value, bool)
    if hint is float:
        return hasattr(value, "__float__") and not isinstance(value, bool)
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False) and kind.__module__ not in ("typing", "collections.abc"):
        return all(callable(getattr(value, name, None)) for name in _members(kind))
    return isinstance(value, kind)


def _members(protocol: type) -> list[str]:
    methods = [name for name, value in vars(protocol).items() if inspect.isfunction(value)]
    return [name for name in methods if not name.startswith("_") or name == "__call__"]


def _shown(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        parts = [_shown(part) for part in get_args(hint)]
        return f"{', '.join(parts[:-1])} or {parts[-1]}"
    if origin is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if hint is type(None):
        return "None"
    kind = origin or hint
    name = getattr(kind, "__name__", str(kind))
    if getattr(kind, "_is_protocol", False) and kind.__module__ not in ("typing", "collections.abc"):
        return f"a {name} (with {', '.join(_members(kind))})"
    return {"str": "a text", "int": "a whole number", "float": "a number", "bool": "True or False"}.get(
        name, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    )
