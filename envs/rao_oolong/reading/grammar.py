"""Reading a transcript back: what a listener who knows how people announce things makes of a chunk of text.

`read` sees the text only, never the log. It knows the sentences of `speech` and remembers what is being waited for:
who was asked for what, whose blow has hit, whose last roll may still be taken back. A chunk that starts in the
middle of such an exchange loses it, so `split` cuts where none is open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rao_envs.errors import OptionError
from rao_oolong.reading.shortcut import regex_shortcut
from rao_oolong.session.lexicon import HINTS, KINDS, LEVELS, SPELLS, with_article
from rao_oolong.session.log import Cast, CastTable, Kill, Roll, SessionLog
from rao_oolong.session.transcript import START
from rao_oolong.table import speech
from rao_oolong.table.templates import Pool, meaning, pool

__all__ = ["read", "regex_shortcut", "split"]

_PLAYS = re.compile(r"^(.+?) plays the character (.+?)\.$")
_REACH = 4  # lines after a roll within which its player or the DM can take it back
_KIND = {phrase: kind for kind, spoken in KINDS.items() for phrase in (spoken, with_article(spoken))}
_HINTS = {kind: pool(*sentences) for kind, sentences in HINTS.items()}
_SPELL = {spell.lower(): spell for spell in SPELLS}
_D20 = (
    speech.ROLLS,
    speech.NATURAL_20,
    speech.NATURAL_1,
    speech.ROLLS_OBLIQUE,
    speech.TAKEBACKS,
    speech.ADVANTAGE,
    speech.DISADVANTAGE,
)


def read(
    lines: str | Iterable[str], cast_table: CastTable = (), *, first_line: int = 0, episode: int = 1
) -> SessionLog:
    r"""Read the events out of a chunk of a transcript.

    Args:
        lines: the chunk, as text or line by line; it may bring its preamble.
        cast_table: who plays whom; not needed where the preamble says so.
        first_line: number of the chunk's first line, which the lines of the events are counted from.
        episode: number of the episode that the first line belongs to (or starts).

    Returns:
        The log, with `episodes` the number of the last episode seen.

    Raises:
        OptionError: nobody says who plays whom.
    """
    chunk = lines.splitlines() if isinstance(lines, str) else list(lines)
    table = cast_table or tuple((m[1], m[2]) for m in map(_PLAYS.match, chunk) if m)
    if not table:
        raise OptionError("cast_table", cast_table, 'give it, or a chunk with lines "PLAYER plays the character ..."')
    reader = _Reader(table, first_line, episode)
    for line in chunk:
        reader.hear(line)
    reader.finish()
    return SessionLog(tuple(reader.rolls), tuple(reader.casts), tuple(reader.kills), reader.episode, table)


def split(text: str, size: int, cast_table: CastTable = ()) -> list[str]:
    r"""Cut a transcript into chunks of lines, of at most `size` characters where lines allow.

    Nothing is waited for where it cuts: no asked roll is outstanding, no roll can be taken back any more. Where an
    exchange does not end within `size` it cuts anyway. The chunks joined by ``"\n"`` are the text.

    Args:
        text: the transcript, with or without its preamble.
        size: characters, at least 1.
        cast_table: as in `read`.

    Raises:
        OptionError: nobody says who plays whom.
    """
    lines = text.splitlines()
    table = cast_table or tuple((m[1], m[2]) for m in map(_PLAYS.match, lines) if m)
    if not table:
        raise OptionError("cast_table", cast_table, 'give it, or a text with lines "PLAYER plays the character ..."')
    reader = _Reader(table, 0, 1)
    chunks: list[str] = []
    begin = safe = length = safe_length = 0
    for at, line in enumerate(lines):
        if reader.quiet():
            safe, safe_length = at, length
        if length + len(line) + 1 > size and at > begin:
            cut, cut_length = (safe, safe_length) if safe > begin else (at, length)
            chunks.append("\n".join(lines[begin:cut]))
            begin, length = cut, length - cut_length
            safe, safe_length = max(safe, cut), 0
        length += len(line) + 1
        reader.hear(line)
    chunks.append("\n".join(lines[begin:]))
    return chunks


@dataclass(slots=True)
class _Reader:
    """Hears a transcript line by line."""

    table: CastTable
    line: int
    episode: int
    rolls: list[Roll] = field(default_factory=list)
    casts: list[Cast] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    dm: str = ""
    players: dict[str, str] = field(default_factory=dict)
    character: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    everyone: str = ""
    answered: set[str] = field(default_factory=set)
    wisher: str = ""
    started: bool = False

    def __post_init__(self) -> None:
        self.dm = next((player for player, character in self.table if character == "DM"), "")
        self.character = {player: character for player, character in self.table if player}
        # The DM may call a player by either name.
        self.players = {name: player for player, character in self.table for name in (player, character) if player}

    def hear(self, line: str) -> None:
        """Take in the next line."""
        name, colon, said = line.partition(": ")
        if line == START:
            self.episode += self.started
            self._forget()
        elif colon and name == self.dm:
            self._hear_dm(said)
        elif colon and name in self.character:
            self._hear_player(name, said)
        self.started = True
        self.line += 1

    def quiet(self) -> bool:
        """Return whether nothing said so far waits for anything to come."""
        recent = max((events[-1].line for events in (self.rolls, self.casts) if events), default=-_REACH - 1)
        return not self.waiting and not self.everyone and self.line - recent > _REACH

    def finish(self) -> None:
        """Hear that the chunk is over."""
        self._forget()

    def _forget(self) -> None:
        self.waiting.clear()
        self.answered.clear()
        self.everyone = self.wisher = ""

    def _hear_dm(self, said: str) -> None:
        if found := speech.REQUESTS.match(said):
            if player := self._who(found):
                self.waiting[player] = _kind(found)
        elif found := speech.GROUP_REQUESTS.match(said):
            self.everyone, self.answered = _kind(found), set()
        elif speech.CLOSINGS.says(said):
            self.everyone = ""
        elif speech.DENIALS.says(said):
            self.waiting.pop(self.wisher, None)
        elif found := speech.HITS.match(said) or speech.FAILS.match(said):
            if player := self._who(found):
                self.waiting[player] = "Damage"
        elif found := speech.DEATHS.match(said):
            if player := self._who(found):
                here = (self.episode, self.line, player, self.character[player])
                self.kills.append(Kill(*here, str(found["v"]).lower()))
        elif found := speech.VOIDS_BY_DM.match(said):
            self._strike(self.rolls, self._who(found))
        else:
            for kind, hints in _HINTS.items():
                if (found := hints.match(said)) and (player := self._who(found)):
                    self.waiting[player] = kind

    def _hear_player(self, player: str, said: str) -> None:
        kind = self.waiting.get(player, "")
        if not kind and self.everyone and player not in self.answered:
            kind = self.everyone
        if kind and self._answer(player, kind, said):
            return
        if labelled := speech.LABELLED.split(said):
            self._answer(player, _kind(labelled[0]), labelled[1])
        elif found := speech.WISHES.match(said):
            self.waiting[player], self.wisher = _kind(found), player
        elif found := speech.ATTACKS.match(said):
            self.waiting[player] = "Attack"
        elif found := speech.CASTS_PLAIN.match(said) or speech.CASTS.match(said):
            self._cast(player, found)
        elif found := speech.FIXES.match(said):
            if struck := self._strike(self.rolls, player):
                self._log(player, struck.kind, found)
        elif speech.VOIDS.says(said):
            self._strike(self.rolls, player)
        elif speech.CAST_VOIDS.says(said) and self._strike(self.casts, player):
            self.waiting.pop(player, None)

    def _answer(self, player: str, kind: str, said: str) -> bool:
        """Log `said` if it announces a roll of this kind."""
        pools: Sequence[Pool] = {"Damage": (speech.DAMAGE,), "Healing": (speech.HEALING,)}.get(kind, _D20)
        for announcements in pools:
            if found := announcements.match(said):
                self._log(player, kind, found)
                if self.waiting.pop(player, None) is None:
                    self.answered.add(player)
                return True
        return False

    def _log(self, player: str, kind: str, found: dict[str, Any]) -> None:
        roll = Roll(self.episode, self.line, player, self.character[player], kind, *meaning(found))
        self.rolls.append(roll)
        if "y" in found:
            self.rolls.append(replace(roll, natural=found["y"], total=None))

    def _cast(self, player: str, found: dict[str, Any]) -> None:
        spell = _SPELL[found["s"].lower()]
        base, effect = SPELLS[spell]
        level = LEVELS.index(found["l"].lower()) + 1 if "l" in found else base
        self.casts.append(Cast(self.episode, self.line, player, self.character[player], spell, base, level))
        if effect in ("attack", "heal"):
            self.waiting[player] = "Spell Attack" if effect == "attack" else "Healing"

    def _who(self, found: dict[str, Any]) -> str:
        return self.players.get(found["c"], "")

    def _strike(self, events: list[Any], player: str) -> Any:
        """Take back the player's latest event if it can still be taken back, and return it."""
        for index in range(len(events) - 1, -1, -1):
            if self.line - events[index].line > _REACH:
                return None
            if events[index].player == player:
                return events.pop(index)
        return None


def _kind(found: dict[str, Any]) -> str:
    return _KIND[str(found.get("ak", found.get("k"))).lower()]
