"""The protocol between the engine and whatever runs an agent's code.

A snippet runs until it needs something. `start`, `answer` and `settle` each return the next `Step`: a `Call` of
a tool (answer it), a `Wait` for promised answers (settle one of them), or `Done`. Nothing here runs by itself:
the engine drives every step, so a rollout is deterministic and can be saved between any two steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from rao_envs.errors import OptionError
from rao_envs.events import Fault

__all__ = [
    "LATER",
    "Answer",
    "Call",
    "Done",
    "Failure",
    "Later",
    "Repl",
    "Sandbox",
    "SandboxLimits",
    "Step",
    "Value",
    "Wait",
]


class Call(NamedTuple):
    """The snippet calls a tool and stands still until it is answered.

    Attributes:
        id: number of the call within the snippet.
        name: name of the tool.
        args: positional arguments, as the agent's code made them: not to be trusted, and not always data.
        kwargs: keyword arguments, likewise.
    """

    id: int
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Wait(NamedTuple):
    """Everything in the snippet waits for calls that were answered with `LATER`.

    Attributes:
        ids: the numbers of all calls so answered and not yet settled, ascending, at least one.
    """

    ids: tuple[int, ...]


class Done(NamedTuple):
    """The snippet is over.

    Attributes:
        text: what it printed, the value of its last expression, and its traceback if it failed.
        fault: whose fault the failure is; None if it did not fail.
    """

    text: str
    fault: Fault | None = None


Step: TypeAlias = Call | Wait | Done


class Value(NamedTuple):
    """The tool returned `value` (JSON-able)."""

    value: Any


class Failure(NamedTuple):
    """The tool failed: the snippet sees an exception of type `kind` (a Python built-in) with this message."""

    message: str
    kind: str = "ValueError"


@dataclass(frozen=True, slots=True)
class Later:
    """The tool promises its answer: the call returns something to `await`."""


LATER = Later()

Answer: TypeAlias = Value | Failure | Later


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one snippet may use.

    Attributes:
        seconds: run time of its own code (waiting for tools and children is free).
        memory: bytes of heap.
        output: characters that it may print.
        code: characters of the snippet itself.
    """

    seconds: float = 5.0
    memory: int = 64 * 2**20
    output: int = 2**20
    code: int = 100_000

    def __post_init__(self) -> None:
        """Refuse limits that are no limits."""
        for name in ("seconds", "memory", "output", "code"):
            if not getattr(self, name) > 0:
                raise OptionError(name, getattr(self, name), "must be above 0; there is no 'unlimited'")


class Repl(Protocol):
    """One agent's Python session. Variables and functions persist from snippet to snippet."""

    def start(self, code: str) -> Step:
        """Run a snippet up to its first step."""
        ...

    def answer(self, call: int, answer: Answer) -> Step:
        """Answer the `Call` it stands at."""
        ...

    def settle(self, call: int, answer: Value | Failure) -> Step:
        """Deliver one of the answers that a `Wait` named."""
        ...

    def abandon(self) -> str:
        """Give up the snippet it stands in, and the session with it; return what it had printed."""
        ...

    def dump(self) -> bytes:
        """Serialise the session, in the middle of a snippet too; it stays usable."""
        ...

    def close(self) -> None:
        """End the session and free what it holds. Closing twice is allowed."""
        ...


class Sandbox(Protocol):
    """Makes sessions."""

    def open(self, tools: Sequence[str], variables: Mapping[str, Any], seed: int) -> Repl:
        """Make a fresh session.

        Args:
            tools: names that the agent's code can call.
            variables: JSON-able variables that it finds.
            seed: start of its `random` module.
        """
        ...

    def restore(self, tools: Sequence[str], variables: Mapping[str, Any], state: bytes) -> Repl:
        """Bring a dumped session back to life; `variables` serve if it must ever start afresh.

        Raises:
            CorruptCheckpoint: `state` does not come from `Repl.dump`.
        """
        ...

    def close(self) -> None:
        """Free what all sessions share, such as workers. Closing twice is allowed."""
        ...
