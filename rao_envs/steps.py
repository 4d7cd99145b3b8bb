"""The protocol between the engine and one agent's session, whatever the action format.

A message runs until it needs something. `Session.start`, `answer` and `settle` each return the next `Step`: a
`Call` of a tool (answer it), a `Wait` for promised answers (settle one of them), or `Done`. Nothing here runs by
itself: the engine drives every step, so a rollout is deterministic and can be saved between any two steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from rao_envs.events import Fault

__all__ = ["LATER", "Answer", "Call", "Done", "Failure", "Later", "Session", "Step", "Value", "Wait"]


class Call(NamedTuple):
    """The turn calls a tool and is suspended until it gets the answer.

    Attributes:
        id: number of the call within the turn.
        name: name of the tool.
        args: positional arguments, as the agent made them: untrusted, and not always data.
        kwargs: keyword arguments, likewise.
    """

    id: int
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Wait(NamedTuple):
    """Everything in the turn waits for calls that were answered with `LATER`.

    Attributes:
        ids: the calls answered that way and not yet settled, ascending, at least one.
    """

    ids: tuple[int, ...]


class Done(NamedTuple):
    """The turn is over.

    Attributes:
        text: what it printed, the value of its last expression, and its traceback if it failed.
        fault: who is at fault if it failed; None if it did not.
    """

    text: str
    fault: Fault | None = None


Step: TypeAlias = Call | Wait | Done


class Value(NamedTuple):
    """The tool returned `value` (JSON-able)."""

    value: Any


class Failure(NamedTuple):
    """The tool failed: the turn sees an exception of type `kind` (a Python built-in) with this message."""

    message: str
    kind: str = "ValueError"


@dataclass(frozen=True, slots=True)
class Later:
    """The tool promises its answer: the call returns something to `await`."""


LATER = Later()

Answer: TypeAlias = Value | Failure | Later


class Session(Protocol):
    """One agent's session: its Python variables, or its half-answered list of calls."""

    def start(self, text: str) -> Step:
        """Begin a turn with what the agent wrote: code, or a list of calls."""
        ...

    def answer(self, call: int, answer: Answer) -> Step:
        """Answer the pending `Call`."""
        ...

    def settle(self, call: int, answer: Value | Failure) -> Step:
        """Deliver one of the answers that a `Wait` named."""
        ...

    def abandon(self) -> str:
        """Abandon the turn, and whatever the session keeps from earlier ones; return the turn's output so far."""
        ...

    def dump(self) -> bytes:
        """Serialise the session, even in the middle of a turn; it stays usable."""
        ...

    def close(self) -> None:
        """End the session and free what it holds. Closing twice is allowed."""
        ...
