"""What an action format is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from rao_envs.actions.tools import Toolset
from rao_envs.sandbox.repl import Answer, Failure, Step, Value

__all__ = ["ActionFormat", "Session"]


class Session(Protocol):
    """One node's side of the conversation: its variables, or its half-answered list of calls."""

    def start(self, message: str) -> Step:
        """Begin a turn with the model's message."""
        ...

    def answer(self, call: int, answer: Answer) -> Step:
        """Answer the `Call` it stands at."""
        ...

    def settle(self, call: int, answer: Value | Failure) -> Step:
        """Deliver one promised answer."""
        ...

    def abandon(self) -> str:
        """Give up the turn; return what it had to show so far."""
        ...

    def dump(self) -> bytes:
        """Serialise the session, in mid-turn too."""
        ...

    def close(self) -> None:
        """Free what it holds. Closing twice is allowed."""
        ...


class ActionFormat(Protocol):
    """How messages are written, explained and run."""

    name: ClassVar[str]

    def explain(self, tools: Toolset) -> str:
        """Say in words how to act, and with which tools."""
        ...

    def open(self, tools: Toolset, variables: Mapping[str, Any], seed: int) -> Session:
        """Make a node's session."""
        ...

    def restore(self, tools: Toolset, variables: Mapping[str, Any], state: bytes) -> Session:
        """Bring a dumped session back to life.

        Raises:
            CorruptCheckpoint: `state` does not come from `Session.dump` of this format.
        """
        ...
