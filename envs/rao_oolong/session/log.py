"""What happened in a session: every roll, spell and kill, with the line of the transcript it is on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

__all__ = ["Cast", "CastTable", "Kill", "Roll", "SessionLog"]

CastTable: TypeAlias = tuple[tuple[str, str], ...]
"""Pairs (player, character); the game master's character is ``"DM"``."""


@dataclass(frozen=True, slots=True)
class Roll:
    """One roll of the dice by a player.

    Attributes:
        episode: number of the episode, from 1.
        line: index of the transcript's line in which the value that stands was announced, from 0.
        player: who rolled.
        character: for whom.
        kind: such as ``"Perception"``, ``"Wisdom Save"``, ``"Attack"``, ``"Damage"``.
        natural: what the d20 showed, 1 to 20; None where nobody said (damage has none).
        total: the sum with all modifiers; None where nobody said.
    """

    episode: int
    line: int
    player: str
    character: str
    kind: str
    natural: int | None
    total: int | None


@dataclass(frozen=True, slots=True)
class Cast:
    """One spell cast by a player.

    Attributes:
        episode: number of the episode, from 1.
        line: index of the transcript's line, from 0.
        player: who cast it.
        character: as whom.
        spell: its name.
        base_level: the spell's own level, 0 for a cantrip.
        level: the level it was cast at, at least `base_level`.
    """

    episode: int
    line: int
    player: str
    character: str
    spell: str
    base_level: int
    level: int


@dataclass(frozen=True, slots=True)
class Kill:
    """One creature killed by a player's character.

    Attributes:
        episode: number of the episode, from 1.
        line: index of the transcript's line, from 0.
        player: whose character struck the blow.
        character: that character.
        victim: what it was.
    """

    episode: int
    line: int
    player: str
    character: str
    victim: str


Happening = TypeVar("Happening", Roll, Cast, Kill)


@dataclass(frozen=True, slots=True)
class SessionLog:
    """The events of a session, or of a range of its lines, each kind in the order of the lines.

    Attributes:
        rolls: what was rolled.
        casts: what was cast.
        kills: what was killed.
        episodes: how many episodes the whole session has.
        cast_table: who plays whom.
    """

    rolls: tuple[Roll, ...] = ()
    casts: tuple[Cast, ...] = ()
    kills: tuple[Kill, ...] = ()
    episodes: int = 1
    cast_table: CastTable = ()

    def between(self, first_line: int, last_line: int) -> SessionLog:
        """Return the events on the lines from `first_line` to `last_line`, both included.

        Found by bisection, in O(log n) plus the size of the answer. Episodes keep their numbers.
        """
        return replace(
            self,
            rolls=_between(self.rolls, first_line, last_line),
            casts=_between(self.casts, first_line, last_line),
            kills=_between(self.kills, first_line, last_line),
        )


def _between(events: Sequence[Happening], first: int, last: int) -> tuple[Happening, ...]:
    low = bisect_left(events, first, key=lambda event: event.line)
    return tuple(events[low : bisect_right(events, last, lo=low, key=lambda event: event.line)])
