"""The parameters of questions: what values a log offers, and how they are read back from a question's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rao_oolong.session.log import Cast, Kill, Roll, SessionLog

__all__ = ["PARAMETERS", "Parameter"]

ORDINALS = ("first", "second", "third", "fourth", "fifth")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes:
        choices: (log, family's name) -> the values worth asking about, sorted; none rules the family out.
        regex: what a value looks like in a question.
        read: the text of a value -> the value.
        occurring: log -> the names that a value must be one of; None where values are numbers.
    """

    choices: Callable[[SessionLog, str], Sequence[str | int]]
    regex: str
    read: Callable[[str], str | int]
    occurring: Callable[[SessionLog], Sequence[str]] | None = None

    def known(self, log: SessionLog, value: str | int) -> bool:
        """Return whether `value` occurs in the log of the whole session; numbers always do."""
        names = None if self.occurring is None else self.occurring(log)
        return names is None or str(value).casefold() in {name.casefold() for name in names}

    def pattern(self, name: str) -> str:
        """Return the regular expression with the value as group `name`."""
        return f"(?P<{name}>{self.regex})"


def _events(log: SessionLog, family: str) -> Sequence[Roll | Cast | Kill]:
    return log.rolls if family.startswith("roll") else log.kills if family.startswith("kill") else log.casts


def _characters(log: SessionLog, family: str) -> list[str]:
    return sorted({event.character for event in _events(log, family)})


def _players(log: SessionLog, family: str) -> list[str]:
    # A real log has characters that nobody plays.
    return sorted({event.player for event in _events(log, family)} - {""})


def _read_nth(text: str) -> str | int:
    return ORDINALS.index(text.lower()) + 1


class _Nth(int):
    """An ordinal: an int that is written in words in a question."""

    def __format__(self, spec: str) -> str:
        return ORDINALS[self - 1]


def _all_characters(log: SessionLog) -> list[str]:
    return [character for _, character in log.cast_table]


def _all_players(log: SessionLog) -> list[str]:
    return [player for player, _ in log.cast_table]


def _kinds(log: SessionLog) -> list[str]:
    return sorted({roll.kind for roll in log.rolls})


def _spells(log: SessionLog) -> list[str]:
    return sorted({cast.spell for cast in log.casts})


def _naturals(log: SessionLog) -> list[int]:
    return sorted({roll.natural for roll in log.rolls if roll.natural is not None})


_NAME = r"[^?.,]{1,60}?"
_NUMBER = r"[1-9]\d{0,3}"

PARAMETERS: Mapping[str, Parameter] = {
    "character": Parameter(_characters, _NAME, str, _all_characters),
    "player": Parameter(_players, _NAME, str, _all_players),
    "kind": Parameter(lambda log, family: _kinds(log), _NAME, str, _kinds),
    "spell": Parameter(lambda log, family: _spells(log), _NAME, str, _spells),
    "value": Parameter(lambda log, family: _naturals(log), _NUMBER, int),
    "episode": Parameter(lambda log, family: range(1, log.episodes + 1), _NUMBER, int),
    "count": Parameter(lambda log, family: range(2, min(10, len(log.casts)) + 1), _NUMBER, int),
    "nth": Parameter(lambda log, family: [_Nth(n) for n in (1, 2, 3)], "|".join(ORDINALS), _read_nth),
}
"""Every parameter by the name it has in the templates."""
