"""What was done to a session since it was last dumped, so that a lost worker can be replaced.

A worker may be killed at any time by the machine it runs on, and that must cost its agent nothing. The journal holds
the last dump and every move since: what the agent wrote, how its calls were answered, and what came of it. Played to
a fresh worker, they bring the session back to where it stood; no tool is called again.
"""

from __future__ import annotations

import copy
import marshal
from collections.abc import Iterator
from typing import Any, Literal

from rao_envs.sandbox.monty.standing import Standing
from rao_envs.steps import Call, Done, Step

__all__ = ["Journal", "Kind", "same"]

Kind = Literal["start", "resume"]
_COST_PER_TURN = 0.125  # a dump takes about as long as a turn, and a turn may take as long as its limit
_COST_PER_ANSWER = 0.002
_COST_PER_BYTE = 2e-6


class Journal:
    """One session's moves since its last dump.

    Attributes:
        base: where the session stood at that dump.
        body: the interpreter's dump; None before the first snippet.
        cost: how much there is to replay and to keep in memory. From 1 on, it is time for another dump.
    """

    def __init__(self, base: Standing, body: bytes | None) -> None:
        """Begin at a dump; `base` must not be changed from now on."""
        self.move(base, body)

    def move(self, base: Standing, body: bytes | None) -> None:
        """Begin again at a newer dump; `base` must not be changed from now on."""
        self.base = base
        self.body = body
        self.cost = 0.0
        self._entries: list[tuple[Kind, Any, Step]] = []

    def note(self, kind: Kind, argument: Any, step: Step) -> None:
        """Add a move and what came of it."""
        if kind == "start":
            self.cost += _COST_PER_TURN + len(argument) * _COST_PER_BYTE
        else:
            argument = _freeze(argument)
            self.cost += _COST_PER_ANSWER
            if type(argument) is bytes:
                self.cost += len(argument) * _COST_PER_BYTE
        if type(step) is Done:
            self.cost += len(step.text) * _COST_PER_BYTE
        self._entries.append((kind, argument, step))

    def __len__(self) -> int:
        """Count the moves."""
        return len(self._entries)

    def moves(self) -> Iterator[tuple[Kind, Any, Step]]:
        """Yield the moves in order."""
        for kind, argument, step in self._entries:
            yield kind, argument if kind == "start" else _thaw(argument), step


def same(one: Step, other: Step) -> bool:
    """Say whether a replayed step is the one that was noted."""
    if isinstance(one, Call) and isinstance(other, Call):
        # nan is not equal to itself.
        return one == other or (one[:2] == other[:2] and repr(one[2:]) == repr(other[2:]))
    return type(one) is type(other) and one == other


def _freeze(answer: dict[Any, Any]) -> Any:
    """Keep an answer as it is now: the world may go on to change what its tool returned."""
    if "future" in answer:
        return answer
    try:
        return marshal.dumps(answer)
    except ValueError:  # not one of the plain types, such as a dict's subclass
        return copy.deepcopy(answer)


def _thaw(kept: Any) -> Any:
    return marshal.loads(kept) if type(kept) is bytes else copy.deepcopy(kept)
