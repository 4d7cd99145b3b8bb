"""What an open turn waits for: the launches it made, and their outcomes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from typing import Any, NamedTuple, Protocol, TypeAlias

from rao_envs.steps import Call, Done, Failure, Value

__all__ = ["Due", "Ending", "Finish", "HasClock", "Launches", "Outcome"]

Due: TypeAlias = tuple[float, int]
"""When a child returned (virtual seconds), and the number of the call that launched it."""


class HasClock(Protocol):
    """A node that has reached some virtual time."""

    now: float


class Outcome(NamedTuple):
    """What a child returned, held back until it is due to its parent.

    Attributes:
        answer: what the parent's turn sees of it.
        left: turns that its subtree did not use.
    """

    answer: Value | Failure
    left: int


class Finish(NamedTuple):
    """The turn called `finish`.

    Attributes:
        result: what it passed to `finish` (JSON).
        shown: what the turn had printed.
    """

    result: Any
    shown: str


Ending: TypeAlias = Done | Finish
"""How a turn ends."""


@dataclass(slots=True, eq=False)
class Launches:
    """The launches of one turn.

    Attributes:
        requested: launches that start when the turn next waits.
        refused: call number and reason of refused launches that the turn does not know about yet.
        fresh: children started since the driver last chose whom to ask: they cannot have acted.
        running: child id by call number, from the start until the turn knows that the child has returned.
        outcomes: outcomes that are not delivered yet, by call number.
        order: heap of the same, earliest first.
        clocks: heap of (virtual time, call number) of children that have not returned. A child may be ahead of its
            entry, never behind it.
        announced: whether the log says that the turn waits for all of `running`.
        dropped: launches that never started because the turn ended first.
        lost: children whose results arrived after the turn had ended.
    """

    requested: list[Call] = field(default_factory=list)
    refused: deque[tuple[int, Failure]] = field(default_factory=deque)
    fresh: list[int] = field(default_factory=list)
    running: dict[int, int] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    order: list[Due] = field(default_factory=list)
    clocks: list[tuple[float, int]] = field(default_factory=list)
    announced: bool = False
    dropped: int = 0
    lost: int = 0

    def started(self, call: int, child: int, now: float) -> None:
        """Note that a launch has become a node."""
        self.running[call] = child
        self.fresh.append(child)
        self.announced = False
        heappush(self.clocks, (now, call))

    def returned(self, call: int, time: float, outcome: Outcome) -> None:
        """Keep what a child returned until it is due."""
        self.outcomes[call] = outcome
        heappush(self.order, (time, call))

    def due(self, agents: Mapping[int, HasClock]) -> Due | None:
        """Return the next outcome to deliver; None while that is not known.

        Outcomes are delivered by (virtual time, call number), whatever order the driver asked the children in. So one
        is held back while a child that has not returned could still precede it.

        Args:
            agents: the living nodes by id.
        """
        if not self.order:
            return None
        clocks = self.clocks
        while clocks:
            noted, call = clocks[0]
            child = agents.get(self.running.get(call, -1))
            if child is None:
                heappop(clocks)
            elif child.now > noted:
                heapreplace(clocks, (child.now, call))
            else:
                break
        return self.order[0] if not clocks or self.order[0] < clocks[0] else None

    def deliver(self) -> Outcome:
        """Remove and return the outcome that is due."""
        _, call = heappop(self.order)
        del self.running[call]
        return self.outcomes.pop(call)

    def notice(self) -> str:
        """Say what happened to launches that the turn did not await; "" if there were none."""
        lines = []
        if self.dropped:
            lines.append(f"Not awaited, so not started: {self.dropped} x launch_subagent. Await each in its own turn.")
        if self.lost:
            lines.append(f"Not awaited, so what it returned is lost: {self.lost} x launch_subagent.")
        lines += [f"launch_subagent was {failure.message}" for _, failure in list(self.refused)[:3]]
        return "\n".join(lines)
