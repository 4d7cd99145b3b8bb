"""The keyword shortcut: what a program written without reading the transcript makes of it.

"Recursive Agent Optimization" warns that agents learn to count keywords instead of reading. This is that program, made
with some care, so that a session can be checked for resisting it. Measured over 480 questions about eight sessions
of 60,000 tokens each, its mean score is 0.43 without noise, 0.25 at the default and 0.16 at full noise; `grammar.read`
scores 1 at all three.
"""

from __future__ import annotations

import re

from rao_oolong.session.lexicon import KINDS, SPELLS
from rao_oolong.session.log import Cast, Kill, Roll, SessionLog
from rao_oolong.session.transcript import START

__all__ = ["regex_shortcut"]

_PLAYS = re.compile(r"^(.+?) plays the character (.+?)\.$", re.MULTILINE)
_TWENTY = re.compile(r"\bnat(?:ural)? (?:20|twenty)\b", re.IGNORECASE)
_ONE = re.compile(r"\bnat(?:ural)? (?:1|one)\b", re.IGNORECASE)
_NATURAL = re.compile(r"\bnatural (\d+)\b", re.IGNORECASE)
_ROLL = re.compile(r"\b(?:roll(?:ed|s)?|natural|nat|total|to hit|points of|check|save|plus)\b", re.IGNORECASE)
_VALUE = re.compile(r"\b\d{1,2}\b")
_CAST = re.compile(r"\bcasts?\b", re.IGNORECASE)
_KILL = re.compile(r"\b(?:dead|kill(?:s|ed)?|dies|how do you want to do this)\b", re.IGNORECASE)
_SPELLS = re.compile("|".join(map(re.escape, sorted(SPELLS, key=len, reverse=True))), re.IGNORECASE)
_SPELL = {spell.lower(): spell for spell in SPELLS}


def regex_shortcut(text: str, cast_table: tuple[tuple[str, str], ...] = ()) -> SessionLog:
    """Count keywords: a line with a word of rolling and a number is a roll, "cast" and a spell is a cast.

    Args:
        text: a transcript, with or without its preamble.
        cast_table: who plays whom; not needed where the preamble says so.
    """
    table = cast_table or tuple((found[1], found[2]) for found in _PLAYS.finditer(text))
    characters = dict(table)
    rolls: list[Roll] = []
    casts: list[Cast] = []
    kills: list[Kill] = []
    episode = 0
    kind = "Other"
    for number, line in enumerate(text.splitlines()):
        episode += line == START
        player, colon, said = line.partition(": ")
        if not colon or player not in characters:
            continue
        here = (max(episode, 1), number, player, characters[player])
        kind = next((name for name, spoken in KINDS.items() if spoken in said.lower()), kind)
        if found := _natural(said):
            rolls.append(Roll(*here, kind, found, None))
        elif _ROLL.search(said) and (value := _VALUE.search(said)):
            rolls.append(Roll(*here, kind, None, int(value[0])))
        if _CAST.search(said) and (spell := _SPELLS.search(said)):
            name = _SPELL[spell[0].lower()]
            casts.append(Cast(*here, name, SPELLS[name][0], SPELLS[name][0]))
        if _KILL.search(said):
            kills.append(Kill(*here, "something"))
    return SessionLog(tuple(rolls), tuple(casts), tuple(kills), max(episode, 1), table)


def _natural(said: str) -> int | None:
    if _TWENTY.search(said):
        return 20
    if _ONE.search(said):
        return 1
    found = _NATURAL.search(said)
    return int(found[1]) if found else None
