"""The keyword shortcut as a program for the sandbox: it reads a whole session without a word of it being seen.

`rao_oolong.reading.shortcut` is the same idea with more care, for checks outside a rollout.
"""

from __future__ import annotations

from typing import Any

from rao_oolong.questions.answers import Answer
from rao_oolong.questions.families import Family, Params
from rao_oolong.session.lexicon import KINDS, SPELLS
from rao_oolong.session.log import Cast, Kill, Roll, SessionLog

__all__ = ["PROGRAM", "finish_tally"]

_SPELLS = sorted(SPELLS, key=len, reverse=True)
_KINDS = list(KINDS)

PROGRAM = f"""
import re
spells = {[spell.lower() for spell in _SPELLS]!r}
kinds = {[spoken.lower() for spoken in KINDS.values()]!r}
players, characters, rolls, casts, kills, episode, kind = [], [], [], [], [], 0, 0
for line in context.split("\\n"):
    if line == "[START OF EPISODE]":
        episode = episode + 1
    if not episode and " plays the character " in line:
        player, character = line.split(" plays the character ")
        players.append(player)
        characters.append(character.rstrip("."))
    player, colon, said = line.partition(": ")
    if not colon or player not in players:
        continue
    said = said.lower()
    for number, spoken in enumerate(kinds):
        if spoken in said:
            kind = number
            break
    natural = re.search(r"\\bnat(?:ural)? (\\d+|one|twenty)\\b", said)
    rolled = re.search(r"\\b(?:roll(?:ed|s)?|total|to hit|points of|check|save|plus)\\b", said)
    value = re.search(r"\\b\\d\\d?\\b", said)
    if natural:
        word = natural.group(1)
        rolls.append([episode, players.index(player), kind, {{"one": 1, "twenty": 20}}.get(word) or int(word)])
    elif rolled and value:
        rolls.append([episode, players.index(player), kind, 0])
    if "cast" in said:
        for number, spell in enumerate(spells):
            if spell in said:
                casts.append([episode, players.index(player), number])
                break
    if "kill" in said or "dead" in said or "how do you want to do this" in said:
        kills.append([episode, players.index(player)])
print(str([players, characters, episode, rolls, casts, kills]).replace(" ", ""))
"""


def finish_tally(tally: Any, family: Family, params: Params) -> Answer:
    """Answer a question from what the program printed; 0 where it printed nothing of use."""
    if not isinstance(tally, list) or len(tally) != 6:
        return 0
    players, characters, episodes, rolls, casts, kills = tally
    plays: list[tuple[str, str]] = list(zip(players, characters, strict=True))
    # The place in the list stands for the line: only the order matters.
    rolled = (
        Roll(e, i, players[who], characters[who], _KINDS[kind], natural or None, None)
        for i, (e, who, kind, natural) in enumerate(rolls)
    )
    casted = (
        Cast(e, i, players[who], characters[who], _SPELLS[spell], level, level)
        for i, (e, who, spell) in enumerate(casts)
        for level in [SPELLS[_SPELLS[spell]][0]]
    )
    killed = (Kill(e, i, players[who], characters[who], "something") for i, (e, who) in enumerate(kills))
    log = SessionLog(tuple(rolled), tuple(casted), tuple(killed), max(1, episodes), tuple(plays))
    return family.answer(log, **params)
