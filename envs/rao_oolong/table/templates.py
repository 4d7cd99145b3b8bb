"""Sentences with slots, which can be spoken and recognised.

| slot | is |
|---|---|
| n, y | what the d20 shows; y is the die that advantage or disadvantage discards |
| m | modifier |
| t | total |
| x | a value taken back in the same breath |
| a, b | parts of a sum |
| c | a character or a player |
| k, ak | a roll type as spoken; with its article |
| s | a spell |
| l | a level in words |
| v | a creature |
| w | a weapon |
| d | a type of damage |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random

from rao_oolong.session.lexicon import (
    CREATURES,
    KINDS,
    LEVELS,
    NUMBER,
    SPELLS,
    WEAPONS,
    number,
    spoken_number,
    with_article,
)

__all__ = ["DAMAGE_TYPES", "Pool", "Template", "meaning", "pool"]

DAMAGE_TYPES = ("slashing", "piercing", "bludgeoning", "fire", "cold", "radiant", "necrotic", "psychic", "force")


def _either(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_SLOTS: Mapping[str, str] = {
    **dict.fromkeys("nymtxab", NUMBER),
    "c": r"[A-Z]\w+",
    "k": _either(KINDS.values()),
    "ak": _either(map(with_article, KINDS.values())),
    "s": _either(SPELLS),
    "l": _either(LEVELS),
    "v": _either(CREATURES),
    "w": _either(WEAPONS),
    "d": _either(DAMAGE_TYPES),
}
_NUMBERS = frozenset("nymtxab")
_SLOT = re.compile(r"{(\w+)}")
_START = re.compile(r"(?:^|(?<=[.!?] ))[a-z]")


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence with slots.

    Attributes:
        text: with slots in braces.
        fixed: slots that the sentence implies without having them, such as ``{"n": 20}`` of "Nat 20!".
        slots: the names of the slots it has.
    """

    text: str
    fixed: Mapping[str, int]
    slots: tuple[str, ...]

    def say(self, values: Mapping[str, str | int]) -> str:
        """Fill the slots; numbers are spelled as transcribers do, and sentences start with a capital."""
        spoken = {key: spoken_number(v) if isinstance(v, int) else v for key, v in values.items()}
        return _START.sub(lambda start: start[0].upper(), self.text.format_map(spoken))

    def regex(self, tag: str) -> str:
        """Return a regular expression with one named group per slot, ``_<tag>_<slot>``."""
        parts = _SLOT.split(self.text)
        out: list[str] = []
        seen: set[str] = set()
        for index, part in enumerate(parts):
            if index % 2 == 0:
                out.append(re.escape(part))
            elif part in seen:
                out.append(f"(?P=_{tag}_{part})")
            else:
                seen.add(part)
                out.append(f"(?P<_{tag}_{part}>{_SLOTS[part]})")
        return "".join(out)


@dataclass(frozen=True, slots=True)
class Pool:
    """Sentences that mean the same kind of thing.

    Attributes:
        templates: they.
        pattern: matches any of them, whole, with an optional opening and closing remark.
    """

    templates: tuple[Template, ...]
    pattern: re.Pattern[str]

    def draw(self, random: Random, values: Mapping[str, str | int]) -> tuple[Template, str]:
        """Draw one of the sentences and fill it."""
        template = random.choice(self.templates)
        return template, template.say(values)

    def match(self, text: str) -> dict[str, str | int] | None:
        """Return the slots of the sentence that `text` is, numbers read, or None."""
        found = self.pattern.fullmatch(text)
        return None if found is None else self._values(found)

    def says(self, text: str) -> bool:
        """Return whether `text` is one of the sentences."""
        return self.pattern.fullmatch(text) is not None

    def split(self, text: str) -> tuple[dict[str, str | int], str] | None:
        """Return the slots of the sentence that `text` starts with, and the rest of it, or None."""
        found = self.pattern.match(text)
        return None if found is None else (self._values(found), text[found.end() :])

    def _values(self, found: re.Match[str]) -> dict[str, str | int]:
        index = int(str(found.lastgroup)[1:])
        values: dict[str, str | int] = dict(self.templates[index].fixed)
        for slot in self.templates[index].slots:
            said = found[f"_{index}_{slot}"]
            values[slot] = number(said) if slot in _NUMBERS else said
        return values


def pool(*sentences: str | tuple[str, Mapping[str, int]], openings: str = "", closings: str = "") -> Pool:
    """Make a pool of sentences, some with what they imply.

    Args:
        sentences: texts, or pairs (text, implied slots).
        openings: regular expression of what may stand before the sentence.
        closings: likewise after it.
    """
    templates = []
    for sentence in sentences:
        text, fixed = (sentence, {}) if isinstance(sentence, str) else sentence
        templates.append(Template(text, fixed, tuple(dict.fromkeys(_SLOT.findall(text)))))
    # The outer group of the alternative comes to an end last, so `lastgroup` names the one that matched.
    either = "|".join(f"(?P<_{index}>{template.regex(str(index))})" for index, template in enumerate(templates))
    return Pool(tuple(templates), re.compile(f"(?:{openings})(?:{either})(?:{closings})", re.IGNORECASE))


def meaning(values: Mapping[str, str | int]) -> tuple[int | None, int | None]:
    """Return the natural value and the total that an announcement tells, None where it does not.

    The one place that says what was said: "{t}, {m} of it modifier" tells the die as well.
    """
    n, m, t = (values.get(slot) for slot in "nmt")
    if n is None and isinstance(t, int) and isinstance(m, int):
        n = t - m
    if t is None and isinstance(n, int) and isinstance(m, int):
        t = n + m
    return (n if isinstance(n, int) else None), (t if isinstance(t, int) else None)
