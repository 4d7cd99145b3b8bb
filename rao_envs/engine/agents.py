"""What the engine knows of a living node beyond its place in the tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappush

from rao_envs.steps import Failure, Session, Value
from rao_envs.tree import Node

__all__ = ["Agent"]


@dataclass(slots=True, eq=False)
class Agent:
    """What the engine knows of a living node beyond its place in the tree.

    Attributes:
        node: its place in the tree.
        session: its side of the conversation; None before its first turn.
        now: virtual time that it has reached.
        left: turns left.
        tokens: size of its transcript.
        call: number of the call, in its parent's turn, that launched it.
        calls: tool calls made in this turn.
        blocked: whether its turn stands still until an answer is delivered.
        announced: whether the log says that it waits for all it has launched.
        launches: child id by call number, for this turn, until the child's answer is delivered.
        answers: answer by call number, come but not yet delivered.
        order: heap of (virtual time, call number) of these answers.
        clocks: heap of (virtual time, call number) of the children that still live; the times may be out of date,
            and are then too early.
    """

    node: Node
    now: float
    left: int
    tokens: int
    call: int = 0
    session: Session | None = None
    calls: int = 0
    blocked: bool = False
    announced: bool = False
    launches: dict[int, int] = field(default_factory=dict)
    answers: dict[int, Value | Failure] = field(default_factory=dict)
    order: list[tuple[float, int]] = field(default_factory=list)
    clocks: list[tuple[float, int]] = field(default_factory=list)

    def take(self, call: int, time: float, answer: Value | Failure) -> None:
        """Keep an answer until it is due."""
        self.answers[call] = answer
        heappush(self.order, (time, call))

    def forget_launches(self) -> None:
        """End the turn's business with children."""
        self.launches, self.answers, self.order, self.clocks = {}, {}, [], []
        self.blocked = self.announced = False
