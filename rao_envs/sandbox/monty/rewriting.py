"""Python that models write out of habit and the Monty interpreter lacks.

It is rewritten where that is sound; otherwise the error names a replacement.

Rewriting replaces single expressions and statements in place, so line numbers in tracebacks stay those of the
agent's code.

| written | runs as | sound because |
|---|---|---|
| ``asyncio.create_task(x)``, ``ensure_future(x)`` | ``x`` | launches start when called, not when awaited |
| ``asyncio.wait_for(x, t)`` | ``await x`` | virtual time knows no time-out |
| ``asyncio.as_completed(xs)`` | ``[*xs]`` | all of them run; only the order of reading differs |
| ``asyncio.gather(..., return_exceptions=True)`` | a gather of guarded awaits | the same by definition |
| ``del name`` | ``name = None`` | nothing can be told apart but the error of a later use |
| ``del box[key]``, ``del box[a:b]`` | ``box.pop(key)``, ``box[a:b] = []`` | the same for dicts and lists |
| ``import heapq`` and others | plain Python, see `rao_envs.sandbox.monty.prelude` | it runs inside the sandbox |
| ``from math import *`` and others | an import of all names | the same by definition |

A coroutine function of the agent's own that goes through ``create_task`` starts when it is awaited, not
before; its launches are then less concurrent than in CPython, never wrong.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rao_envs.sandbox.monty.prelude import NAMES, WHOLE, WILDCARDS

__all__ = ["hint", "missing_module", "missing_name", "parts_of", "readable", "rewrite"]

_TRIGGERS = (
    "create_task",
    "ensure_future",
    "wait_for",
    "as_completed",
    "return_exceptions",
    "del ",
    "del(",
    "wraps",
    "OrderedDict",
    "import *",
    *(f"{before} {module}" for module in sorted(WHOLE) for before in ("import", "from", ",")),
)
_TRIGGER = re.compile("|".join(map(re.escape, _TRIGGERS)))
_ADDED = ("asyncio", "collections", "functools")
_PLAIN_GATHER = frozenset({"gather"})
Edit: TypeAlias = tuple[int, int, str]
"""Replace the source from here to there by this text."""


def rewrite(code: str) -> str:
    """Return the snippet with unsupported idioms replaced; unchanged if it holds none or cannot be parsed."""
    return _rewrite(code) if _TRIGGER.search(code) else code


def parts_of(code: str) -> list[str]:
    """Name the parts of the prelude that a rewritten snippet needs."""
    used = set(re.findall(r"__rao_(\w+)", code))
    return [part for part, names in NAMES.items() if f"module_{part}" in used or not names.isdisjoint(used)]


def _rewrite(code: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(code)
        # Python ends lines at any of these, and a position counts from the start of a line.
        source = re.sub(r"\r\n?", "\n", code).encode()
        lines = [0]
        for line in source.split(b"\n"):
            lines.append(lines[-1] + len(line) + 1)
        editor = _Editor(module, source, lines)
        edits = [edit for node in ast.walk(module) for edit in editor.edits(node)]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return code
    for start, end, text in sorted(_outermost(edits), reverse=True):
        # Later lines keep their numbers, unless more code follows on the same line.
        lost = source.count(b"\n", start, end) - text.count("\n")
        padding = "\n" * lost if source[end : end + 1] in (b"\n", b"") else ""
        source = source[:start] + (text + padding).encode() + source[end:]
    return source.decode() if edits else code


def _outermost(edits: Sequence[Edit]) -> Iterator[Edit]:
    """Leave out what lies inside of something that is replaced as a whole."""
    reached = -1
    for edit in sorted(edits, key=lambda edit: (edit[0], -edit[1])):
        if edit[0] >= reached:
            reached = edit[1]
            yield edit


class _Editor:
    def __init__(self, module: ast.Module, source: bytes, lines: list[int]) -> None:
        self._source = source
        self._lines = lines
        self._modules = {name: name for name in _ADDED}
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                aliases = (alias for alias in node.names if alias.asname and alias.name in _ADDED)
                self._modules.update({alias.asname: alias.name for alias in aliases if alias.asname})

    def edits(self, node: ast.AST) -> Iterator[Edit]:
        """Yield what to replace by what for one node."""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self._modules.get(node.value.id)
            if module and node.attr in NAMES[module] - _PLAIN_GATHER:
                yield (*self._span(node), f"__rao_{node.attr}")
        elif isinstance(node, ast.Call) and any(keyword.arg == "return_exceptions" for keyword in node.keywords):
            if getattr(node.func, "attr", None) == "gather" or getattr(node.func, "id", None) == "gather":
                yield (*self._span(node.func), "__rao_gather")
        elif isinstance(node, ast.Delete):
            parts = [self._deletion(target) for target in node.targets]
            if all(parts):
                yield (*self._span(node), "; ".join(part for part in parts if part))
        elif isinstance(node, ast.Import):
            if any(alias.name in WHOLE for alias in node.names):
                yield (*self._span(node), "; ".join(map(_import, node.names)))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            text = _import_from(node.module, node.names)
            if text:
                yield (*self._span(node), text)

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._lines[node.lineno - 1] + node.col_offset, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr) -> str:
        # In parentheses: those of the source are not part of the node, and a tuple may have none.
        return f"({self._source[slice(*self._span(node))].decode()})"

    def _deletion(self, target: ast.expr) -> str | None:
        if isinstance(target, ast.Name):
            return f"{target.id} = None"
        if not isinstance(target, ast.Subscript) or any(isinstance(part, ast.Delete) for part in ast.walk(target)):
            return None
        box, key = self._text(target.value), target.slice
        if isinstance(key, ast.Slice):
            if key.step is not None:
                return None
            lower, upper = (self._text(part) if part else "" for part in (key.lower, key.upper))
            return f"{box}[{lower}:{upper}] = []"
        if isinstance(key, ast.Tuple) and any(isinstance(part, ast.Starred | ast.Slice) for part in key.elts):
            return None
        # As a statement of its own it must have no value: the last one would be shown.
        return f"[{box}.pop({self._text(key)})] and None"


def _import(alias: ast.alias) -> str:
    if alias.name in WHOLE:
        return f"{alias.asname or alias.name} = __rao_module_{alias.name}"
    return f"import {alias.name}" + (f" as {alias.asname}" if alias.asname else "")


def _import_from(module: str, names: list[ast.alias]) -> str:
    """Return other words for an import; '' if it can stay."""
    if names[0].name == "*":
        if module in WHOLE:
            return "; ".join(f"{name} = __rao_{name}" for name in sorted(NAMES[module]))
        return f"from {module} import {WILDCARDS[module]}" if module in WILDCARDS else ""
    known = NAMES.get(module, frozenset()) - _PLAIN_GATHER
    ours = [alias for alias in names if alias.name in known]
    rest = [alias for alias in names if alias.name not in known]
    if not ours or (rest and module in WHOLE):
        return ""
    parts = [f"{alias.asname or alias.name} = __rao_{alias.name}" for alias in ours]
    if rest:
        listed = ", ".join(alias.name + (f" as {alias.asname}" if alias.asname else "") for alias in rest)
        parts.insert(0, f"from {module} import {listed}")
    return "; ".join(parts)


_SCAFFOLD = re.compile(r'  File "[^"\n]*", line \d+, in __rao_\w+\n(?:    .*\n)*')


def readable(trace: str) -> str:
    """Return a traceback without the prelude's own frames, in the agent's words."""
    if "__rao_" not in trace:
        return trace
    trace = _SCAFFOLD.sub("", trace)
    return re.sub(r"__rao_(?:module_|call_)?(\w+)", r"\1", trace)


_HINTS = (
    ("'del' statement", "Assign None instead, or use .pop()."),
    ("yield expressions", "Build a list and return it."),
    ("async comprehensions", "Use `[await x for x in xs]` or `await asyncio.gather(*xs)`."),
    ("class inheritance", "Write a class without a base, or functions and dicts; raise ValueError, not your own kind."),
    ("method decorators", "Write a plain method and call it with ()."),
    ("Wildcard imports", "Import the names one by one."),
    ("type aliases", "Leave the alias out, or assign: `X = list[int]`."),
    ("exception groups", "Use a plain `except`."),
    ("synchronous context", "Call tools in a loop or a comprehension, not inside map, sorted, filter or a method."),
    ("has no attribute 'TaskGroup'", "Use `await asyncio.gather(launch_subagent(...), launch_subagent(...))`."),
    ("has no attribute 'wait'", "Use `await asyncio.gather(...)`."),
    ("has no attribute 'Semaphore'", "It is not needed: `await asyncio.gather(...)` all of them at once."),
    ("has no attribute 'get_event_loop'", "`await` works at the top level: no loop is needed."),
    ("has no attribute 'new_event_loop'", "`await` works at the top level: no loop is needed."),
    ("has no attribute 'get_running_loop'", "`await` works at the top level: no loop is needed."),
    ("has no attribute 'exit'", "To end, call finish(...)."),
    ("async with", "Use `await asyncio.gather(...)`; locks and semaphores are not needed."),
    ("async for", "Await the items one by one, or `await asyncio.gather(...)`."),
    ("can't be awaited", "Only launch_subagent(...) and your own async functions are awaited; other tools are not."),
    ("cannot reuse already awaited", "Keep the result in a variable; a launch is awaited once."),
    ("'coroutine' object", "A launch must be awaited: `result = await launch_subagent(...)`."),
    ("from 'dataclasses'", "dataclass and field are there; write the rest out."),
    ("from 'functools'", "cache, lru_cache, partial, reduce and wraps are there; write the rest out."),
    ("from 'collections'", "Counter, OrderedDict, defaultdict, deque and namedtuple are there."),
    ("from 'typing'", "Leave the annotation out, or use a dict or a dataclass."),
    (
        "from 'asyncio'",
        "gather, run, sleep, create_task, wait_for and as_completed are there.",
    ),
    ("zero or one string argument", "Give an exception one string: `raise ValueError('...')`."),
    ("SystemExit", "To end, call finish(...)."),
)
_NAMES = {
    "exit": "To end, call finish(...).",
    "quit": "To end, call finish(...).",
    "input": "There is nobody to ask: decide yourself.",
    "help": "The tools are described in your instructions.",
    "breakpoint": "Use print(...).",
    "globals": "Keep what you need in variables of your own.",
    "locals": "Keep what you need in variables of your own.",
    "vars": "Keep what you need in a dict.",
    "dir": "Use print(...) on what you know.",
    "callable": "Use type(x).",
    "super": "Write a class without a base.",
    "issubclass": "Use isinstance(...).",
    "bytearray": "Use bytes or a list.",
    "delattr": "Set the attribute to None.",
    "__import__": "Use an import statement.",
}
_MODULES = {
    "enum": "use plain constants.",
    "abc": "write a class without a base.",
    "traceback": "print the exception.",
    "logging": "use print(...).",
    "io": "use str and list methods.",
    "uuid": "count up for names that differ.",
    "fractions": "use decimal or ints.",
    "types": "use a dict or a dataclass.",
    "inspect": "use print(...).",
    "numpy": "use lists and math.",
    "pandas": "use lists and dicts.",
    "requests": "there is no network; use your tools.",
    "urllib": "there is no network; use your tools.",
    "socket": "there is no network; use your tools.",
    "subprocess": "there are no processes; use your tools.",
    "shutil": "there are no files; use your tools.",
    "tempfile": "there are no files; keep it in variables.",
    "pickle": "keep it in variables: they stay.",
    "queue": "use collections.deque.",
    "concurrent": "use `await asyncio.gather(...)`.",
    "threading": "use `await asyncio.gather(...)`.",
    "multiprocessing": "use `await asyncio.gather(...)`.",
    "nest_asyncio": "it is not needed: `await` works at the top level.",
}


def hint(error: str) -> str:
    """Return one line that names a replacement for what failed, or ''."""
    last = error.rstrip().rsplit("\n", 1)[-1]
    for pattern, mend in _HINTS:
        if pattern in last:
            return mend
    return ""


def missing_name(name: str) -> str:
    """Return the message of a NameError."""
    return f"name '{name:.80}' is not defined. {_NAMES.get(name, '')}".rstrip()


def missing_module(name: str) -> str:
    """Return the message of a ModuleNotFoundError that says what to do without the module."""
    base = name.split(".")[0]
    if base in WHOLE:
        return f"No such name in the sandbox's {base}: there are {', '.join(sorted(NAMES[base]))}"
    mend = _MODULES.get(base, "use asyncio, collections, functools, itertools, json, math, re.")
    return f"No module named '{name:.80}' in this sandbox: {mend}"
