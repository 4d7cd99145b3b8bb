"""What an action format is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from rao_envs.actions.tools import Toolset
from rao_envs.steps import Session, Step

__all__ = ["ActionFormat"]


class ActionFormat(Protocol):
    """How messages are written, explained and run.

    Attributes:
        name: what `action_format` calls it.
        growth: the arguments of calls are plain JSON of at most this many bytes for each character of the message;
            None if that is not known, and they must be checked.
    """

    name: ClassVar[str]
    growth: ClassVar[int | None]

    def explain(self, tools: Toolset) -> str:
        """Say in words how to act, and with which tools."""
        ...

    def start(self, session: Session, message: str) -> Step:
        """Read a message and begin a turn with what it says to do."""
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
