"""Names for entities: unique however they are compared, some of them nearly the same as another's."""

from __future__ import annotations

import re
from random import Random

from rao_deepdive.web.lexicon import (
    EPITHETS,
    EVENT_WORDS,
    GIVEN,
    ORG_WORDS,
    ORGANISATION,
    PERSON,
    PLACE,
    PLACE_ENDS,
    PLACE_PREFIXES,
    ROOT_ENDS,
    ROOT_STARTS,
    SURNAME_ENDS,
    TITLE_NOUNS,
    TITLE_QUALITIES,
    WORK,
)

__all__ = ["Namer", "name_key", "slug"]

_ORDINALS = ("Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh")
_KEPT = re.compile(r"[^a-z0-9]+")
_ARTICLES = re.compile(r"\b(?:the|an?)\b")


def name_key(name: str) -> str:
    """Return a key that two names share if a reader, or a judge of answers, could take them for the same."""
    return _KEPT.sub("", _ARTICLES.sub("", name.lower()))


def slug(name: str) -> str:
    """Return a name as part of an address; names with different keys have different slugs."""
    return _KEPT.sub("-", name.lower()).strip("-")


class Namer:
    """Gives names, never the same one twice."""

    def __init__(self, random: Random) -> None:
        """Draw from `random`."""
        self._random = random
        self._taken: set[str] = set()

    def fresh(self, kind: int, sort: int) -> str:
        """Return a new name for an entity."""
        for _ in range(50):
            if self._take(name := self._draw(kind, sort)):
                return name
        return self._numbered(name)

    def near(self, kind: int, name: str) -> str | None:
        """Return a new name that is easily taken for `name`; None if none is left."""
        for _ in range(4):
            if self._take(other := self._disturb(kind, name)):
                return other
        return None

    def epithet(self, name: str) -> str | None:
        """Return a new by-name of the person `name`, such as "Captain Halder"; None if none is left."""
        surname = name.split()[-1]
        for _ in range(4):
            if self._take(other := f"{self._random.choice(EPITHETS)} {surname}"):
                return other
        return None

    def _take(self, name: str) -> bool:
        key = name_key(name)
        if key in self._taken:
            return False
        self._taken.add(key)
        return True

    def _numbered(self, name: str) -> str:
        number = 2
        while not self._take(f"{name} {number}"):
            number += 1
        return f"{name} {number}"

    def _root(self) -> str:
        choice = self._random.choice
        return choice(ROOT_STARTS) + choice(ROOT_ENDS)

    def _draw(self, kind: int, sort: int) -> str:
        choice = self._random.choice
        if kind == PERSON:
            initial = f" {choice('ABCDEFGHJKLMNPRSTVW')}." if self._random.random() < 0.3 else ""
            return f"{choice(GIVEN)}{initial} {choice(ROOT_STARTS)}{choice(ROOT_ENDS)}{choice(SURNAME_ENDS)}"
        if kind == PLACE:
            prefix = f"{choice(PLACE_PREFIXES)} " if self._random.random() < 0.2 else ""
            return f"{prefix}{self._root()}{choice(PLACE_ENDS)}"
        if kind == WORK:
            return self._title()
        words = ORG_WORDS if kind == ORGANISATION else EVENT_WORDS
        return f"{self._root()}{choice(PLACE_ENDS)} {choice(words[sort])}"

    def _title(self) -> str:
        choice = self._random.choice
        form = self._random.randrange(5)
        if form == 0:
            return f"The {choice(TITLE_QUALITIES)} {choice(TITLE_NOUNS)}"
        if form == 1:
            return f"The {choice(TITLE_NOUNS)} of {self._root()}"
        if form == 2:
            return f"{choice(GIVEN)} and the {choice(TITLE_QUALITIES)} {choice(TITLE_NOUNS)}"
        if form == 3:
            return f"{choice(TITLE_NOUNS)} of the {choice(TITLE_QUALITIES)} {choice(TITLE_NOUNS)}"
        return f"A {choice(TITLE_NOUNS)} for {choice(GIVEN)} {self._root()}"

    def _disturb(self, kind: int, name: str) -> str:
        choice = self._random.choice
        first, *rest = name.split()
        if kind == PERSON:
            if self._random.random() < 0.5:
                return f"{first} {choice('ABCDEFGHJKLMNPRSTVW')}. {rest[-1]}"
            ending = choice(("e", rest[-1][-1], "s"))
            return " ".join([first, *rest[:-1], rest[-1] + ending])
        if kind == PLACE:
            return f"{choice(PLACE_PREFIXES)} {rest[-1] if rest else first}"
        if kind == WORK:
            return name + choice((" Revisited", " in Exile", " at Dusk")) if name[-1] == "s" else f"{name}s"
        if kind == ORGANISATION:
            return choice((f"Royal {name}", f"Old {name}", " ".join([first, "&", "Daughters", *rest])))
        return f"{choice(_ORDINALS)} {name.split(' ', 1)[1] if first in _ORDINALS else name}"
