"""Keep an agent's values inside the interpreter: only text comes out.

The client rebuilds what leaves the interpreter as Python objects, and that cannot be bounded from outside: a tuple as
a dict key is hashed again for each entry, part by part, and forty tuples that each hold the one before twice keep the
host busy for hours. So values are measured and written as text inside, under the limits on time and memory:

- a tool's name is bound to a function that packs its arguments as JSON. A call is believed only if it stands in the
  code that this module wrote (`SourceRange.filename` says so, and no agent can forge it): its argument is an f-string,
  so it is text, whatever the agent has done to the names that it is made from.
- the last expression of a snippet is replaced by its text in the same way.

Code in which no name but a tool's occurs and nothing is bound, such as ``print(craft({'a': 1}, ('b', 2)))``, can only
make values as large as itself. It needs none of this: `is_literal`.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

from rao_envs.sandbox.base import SandboxLimits

__all__ = ["CALL", "bindings", "core", "is_literal", "restore_lines", "show_last", "unpack"]

CALL = "__rao_call_"
"""What the host is asked for, before the tool's name."""

_MAX_ITEMS = 200_000  # as many as `rao_envs.values.to_json` takes, and few enough to be counted in a moment

_CORE = """
import json as __rao_json
def __rao_weigh(
    value, room, isinstance=isinstance, len=len, text=(str, bytes), many=(list, tuple, set, frozenset), pairs=dict
):
    todo, items = [value], ITEMS
    while todo:
        value = todo.pop()
        if isinstance(value, text):
            room -= len(value)
        elif isinstance(value, many):
            items -= len(value)
            if items >= 0:
                todo.extend(value)
        elif isinstance(value, pairs):
            items -= len(value)
            if items >= 0:
                todo.extend(value.keys())
                todo.extend(value.values())
        if room < 0 or items < 0:
            return True
    return False
def __rao_plain(
    value, isinstance=isinstance, sets=(set, frozenset), lists=(list, tuple), bytes=bytes, dict=dict, sorted=sorted,
    repr=repr
):
    if isinstance(value, sets):
        return sorted([__rao_plain(item) for item in value], key=repr)
    if isinstance(value, bytes):
        return value.decode('utf-8', 'replace')
    if isinstance(value, lists):
        return [__rao_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: __rao_plain(item) for key, item in value.items()}
    return value
def __rao_pack(
    name, args, kwargs, errors=(TypeError, ValueError, RecursionError), ValueError=ValueError, dumps=__rao_json.dumps
):
    if __rao_weigh([args, kwargs], ARGUMENTS):
        raise ValueError(
            f'{name}: the arguments hold more than ITEMS_SHOWN items, or ARGUMENTS_SHOWN bytes of text: pass less'
        )
    try:
        return dumps([args, kwargs])
    except errors:
        pass
    try:
        return dumps(__rao_plain([args, kwargs]))
    except errors as error:
        why = f'{error}'
    raise ValueError(f'{name}: {why}. Pass plain data: numbers, text, lists and dicts with text keys')
def __rao_show(value, Exception=Exception, type=type):
    if value is None:
        return ''
    if __rao_weigh(value, OUTPUT):
        return '[the last value is too large to show]\\n'
    try:
        return f'{value!r}\\n'
    except Exception as error:
        return f'[the last value cannot be shown: {type(error).__name__}]\\n'
"""

_BINDING = """
def NAME(*args, **kwargs):
    return __rao_call_NAME(f'{__rao_pack('NAME', args, kwargs)}')
"""

_HELLO = "\n__rao_call_('')\nNone\n"


@cache
def core(limits: SandboxLimits) -> str:
    """Return the code that measures and packs values; a session needs it once."""
    sizes = {"ARGUMENTS": limits.arguments, "OUTPUT": limits.output, "ITEMS": _MAX_ITEMS}
    return re.sub(
        r"\b(ARGUMENTS|OUTPUT|ITEMS)(_SHOWN)?\b", lambda m: f"{sizes[m[1]]:,}" if m[2] else str(sizes[m[1]]), _CORE
    )


@cache
def bindings(tools: tuple[str, ...]) -> str:
    """Return the code that binds the tools' names; it ends with a call that tells the host where it stands."""
    return "".join(_BINDING.replace("NAME", name) for name in tools) + _HELLO


def unpack(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return positional and keyword arguments of a packed call.

    Raises:
        ValueError: it holds a number with too many digits, or was not packed by `core`.
        RecursionError: it is nested too deeply.
    """
    args, kwargs = json.loads(text)
    return tuple(args), dict(kwargs)


# Code that needs no guard ---------------------------------------------------------------------------------------


@cache
def _literal(tools: tuple[str, ...]) -> re.Pattern[str]:
    words = "|".join(("print", "await", "import", "asyncio", "gather", "None", "True", "False", *map(re.escape, tools)))
    text = r"""'[^'\\\n]*+'|"[^"\\\n]*+\""""
    # A brace opens a dict: a set of texts would be shown in another order by every process.
    brace = rf"\{{(?=\s*+(?:\}}|(?:{text}|\d++)\s*+:))"
    return re.compile(rf"(?:[\s,.:()\[\]}}+-]++|{text}|(?:{words})\b|\d{{1,30}}+\b|{brace})*+")


def is_literal(code: str, tools: tuple[str, ...]) -> bool:
    """Say whether code consists of literals, calls of tools and `print` only, so that its values are small trees."""
    # Text in triple quotes would hide where other text begins.
    return "'''" not in code and '"""' not in code and _literal(tools).fullmatch(code) is not None


# The last expression --------------------------------------------------------------------------------------------

_BEFORE, _AFTER = "f'{__rao_show((", "))}'"


def show_last(code: str) -> str | None:
    """Return the snippet with its last expression replaced by its text; None if there is none.

    Code that this version of Python cannot parse, and the interpreter perhaps can, counts as having none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(code).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    if not body or not isinstance(body[-1], ast.Expr):
        return None
    node = body[-1].value
    lines = re.sub(r"\r\n?", "\n", code).encode().split(b"\n")
    start, end = _offset(lines, node.lineno, node.col_offset), _offset(lines, node.end_lineno, node.end_col_offset)
    source = b"\n".join(lines)
    return (source[:start] + _BEFORE.encode() + source[start:end] + _AFTER.encode() + source[end:]).decode()


def _offset(lines: Sequence[bytes], line: int | None, column: int | None) -> int:
    assert line is not None
    assert column is not None
    return sum(len(each) + 1 for each in lines[: line - 1]) + column


_SHOWN = re.compile(
    rf"^(?P<before>.*){re.escape(_BEFORE)}(?P<code>.*?)(?:{re.escape(_AFTER)}(?P<after>.*))?\n"
    r"(?:(?P<room> +)(?P<marks>~+)\n)?",
    re.MULTILINE,
)
_OURS = re.compile(r'  File "[^"\n]*", line \d+, in \w+\n    return __rao_call_\w+\(f.*\n(?:    .*\n)?')


def restore_lines(trace: str) -> str:
    """Return a traceback as if the agent's code had run as it was written."""
    if "__rao_" not in trace:
        return trace
    return _SHOWN.sub(_restored, _OURS.sub("", trace)).replace(_AFTER, "")


def _restored(match: re.Match[str]) -> str:
    before, code, after, room, marks = match.group("before", "code", "after", "room", "marks")
    line = f"{before}{code}{after or ''}\n"
    if room is None:
        return line
    start = len(room) - (len(_BEFORE) if len(room) >= len(before) + len(_BEFORE) else 0)
    marks = marks[: max(1, len(line.rstrip()) - start)]
    return f"{line}{' ' * start}{marks}\n"
