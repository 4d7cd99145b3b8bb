"""What goes over to the interpreter of the default sandbox, and what comes back."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pydantic_monty as monty

from rao_envs.errors import ToolError
from rao_envs.sandbox.base import SandboxLimits
from rao_envs.steps import Answer, Later, Value
from rao_envs.values import clean_text, to_json

__all__ = ["can_be_sent", "failure", "for_tools", "session_options", "shown", "wire"]

_CLOCK = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def can_be_sent(value: Any) -> bool:
    """Say whether a value of the host's is plain enough for the interpreter."""
    try:
        to_json(value)
        return "\\ud" not in ascii(value)
    except (ToolError, ValueError, RecursionError):
        return False


def session_options(limits: SandboxLimits, seed: int) -> dict[str, Any]:
    """Return how a session is checked out: bounded, with a frozen clock, no waiting, and seeded randomness."""
    return {
        "limits": {
            "max_feed_duration_secs": limits.seconds,
            "max_memory": limits.memory,
            # The engine counts tool calls itself; the interpreter's own bound would be one for the whole session.
            "max_suspensions": 2**31 - 1,
        },
        "os_policy": {"datetime": _CLOCK, "sleep": "zero", "random_start": {"seed": seed}},
    }


@cache
def for_tools(tools: tuple[str, ...]) -> tuple[Mapping[str, Any], tuple[tuple[str, str], ...], re.Pattern[str]]:
    """Return the tools' stand-ins, (name, beginning of a call), and what matches code that might bind a name anew.

    That is any mention that is not a call, a definition, and `exec`.
    """
    names = "|".join(map(re.escape, tools)) or r"(?!)"
    rebinds = rf"\b(?:{names})\b(?!\s*\()|\b(?:def|class)(?:\s|\\\r?\n)+(?:{names})\b|\b(?:exec|eval)\b"
    return {name: _stand_in(name) for name in tools}, tuple((n, f"{n}(") for n in tools), re.compile(rebinds)


def _stand_in(name: str) -> Any:
    """Return a function that means, inside the interpreter, "call the host's tool of this name"."""

    def tool(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a stand-in is a name for the interpreter and is never called")

    tool.__name__ = name
    return tool


def failure(kind: Any, message: str) -> Any:
    """Return an exception of a built-in kind as the interpreter takes it."""
    return {"exc_type": kind, "message": message}


def wire(answer: Answer) -> Any:
    """Return an answer as the interpreter takes it."""
    if isinstance(answer, Value):
        return {"return_value": answer.value}
    if isinstance(answer, Later):
        return {"future": ...}
    return failure(answer.kind, answer.message)


def shown(done: monty.MontyComplete) -> str:
    """Show the value of a snippet's last expression, as a notebook does."""
    try:
        value = done.output
        if value is None:
            return ""
        text = repr(value)
    except (TypeError, ValueError, RecursionError) as error:
        return f"[the last value cannot be shown: {type(error).__name__}]\n"
    if "MontyClassProxy(" in text and not isinstance(value, str):
        text = _PROXY.sub(r"\1(", text)
    return clean_text(text) + "\n"


_PROXY = re.compile(r"MontyClassProxy\(name='(\w+)', attributes=")
