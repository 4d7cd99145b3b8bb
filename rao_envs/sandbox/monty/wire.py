"""What goes over to the interpreter of the default sandbox."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from rao_envs.sandbox.base import SandboxLimits
from rao_envs.steps import Answer, Later, Value
from rao_envs.values import clean_text, to_json

__all__ = ["failure", "plainer", "rebinding", "session_options", "stand_ins", "wire"]

_CLOCK = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


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
def stand_ins(tools: tuple[str, ...]) -> Mapping[str, Any]:
    """Return, for each tool, what means "the host's tool of this name" inside the interpreter."""
    return {name: _stand_in(name) for name in tools}


def _stand_in(name: str) -> Any:
    def tool(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a stand-in is a name for the interpreter and is never called")

    tool.__name__ = name
    return tool


@cache
def rebinding(tools: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches code that might bind a tool's name anew.

    That is any mention that is not a call, a definition, and `exec`.
    """
    names = "|".join(map(re.escape, tools)) or r"(?!)"
    return re.compile(rf"\b(?:{names})\b(?!\s*\()|\b(?:def|class)(?:\s|\\\r?\n)+(?:{names})\b|\b(?:exec|eval)\b")


def failure(kind: str, message: str) -> dict[str, Any]:
    """Return an exception of a built-in kind as the interpreter takes it."""
    return {"exc_type": kind, "message": clean_text(message)}


def wire(answer: Answer) -> dict[str, Any]:
    """Return an answer as the interpreter takes it."""
    if isinstance(answer, Value):
        return {"return_value": answer.value}
    if isinstance(answer, Later):
        return {"future": ...}
    return failure(answer.kind, answer.message)


def plainer(sent: dict[Any, Any]) -> dict[Any, Any]:
    """Return an answer in words that the interpreter takes for certain: plain values, and a `ValueError`.

    Raises:
        ToolError: it holds a value that is not plain data.
    """
    if "return_value" in sent:
        return {"return_value": to_json(sent["return_value"])}
    if "exc_type" in sent:
        return failure("ValueError", f"{sent['exc_type']}: {sent['message']}")
    return {call: plainer(answer) if isinstance(answer, dict) else answer for call, answer in sent.items()}
