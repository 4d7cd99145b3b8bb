"""What a sandbox must offer: sessions that run an agent's code, under limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rao_envs.errors import OptionError
from rao_envs.steps import Session

__all__ = ["Sandbox", "SandboxLimits"]


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one snippet may use.

    Attributes:
        seconds: run time of its own code (waiting for tools and children is free).
        memory: bytes of heap.
        output: characters that it may print.
        code: characters of the snippet itself.
        arguments: bytes that the arguments of one tool call may take as JSON. `Limits.max_value_bytes` is what an
            environment allows; this is what leaves the interpreter at all.
    """

    seconds: float = 5.0
    memory: int = 64 * 2**20
    output: int = 2**20
    code: int = 100_000
    arguments: int = 8 * 2**20

    def __post_init__(self) -> None:
        """Refuse limits that are not positive."""
        for name in ("seconds", "memory", "output", "code", "arguments"):
            if not getattr(self, name) > 0:
                raise OptionError(name, getattr(self, name), "must be above 0; there is no 'unlimited'")


class Sandbox(Protocol):
    """Makes sessions whose text is Python. Variables and functions persist from snippet to snippet."""

    def open(self, tools: Sequence[str], variables: Mapping[str, Any], seed: int) -> Session:
        """Make a fresh session.

        Args:
            tools: names that the agent's code can call.
            variables: JSON-able variables that it finds.
            seed: start of its `random` module.
        """
        ...

    def restore(self, tools: Sequence[str], variables: Mapping[str, Any], state: bytes) -> Session:
        """Bring a dumped session back to life; `variables` serve if it must ever start afresh.

        Raises:
            CorruptCheckpoint: `state` does not come from `Session.dump`.
        """
        ...

    def close(self) -> None:
        """Free what all sessions share, such as workers. Closing twice is allowed."""
        ...
