"""What to ask FTS5 for: a query's rare words find pages and the others help to rank them; and snippets of the pages."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["TOKENIZER", "Plan", "Stemmer", "plan", "prepare", "snippets", "split"]

TOKENIZER = "porter unicode61"
"""How FTS5 splits texts: at everything but letters and digits, ignoring case, accents and English endings."""

MAX_ALONE = 300
"""Maximum number of pages that a query's rarest words add to the ranking each by itself, over all these words."""

MAX_PAIRED = 600
"""Maximum number of pages, as estimated, that pairs of its rarer words add to the ranking."""

MAX_READ = 20_000
"""Maximum number of index entries, one per word and page, that are read to find those pages."""

MAX_RANKED = 20_000
"""A word on more pages than this adds none, and a query of only such words is answered without ranking."""

_MAX_WORDS = 48
_MAX_SHOWN = 16
_SNIPPET_WORDS = 40
_SNIPPET_CHARS = 600
_KEPT = 200_000
_WORD = re.compile("(?:[^\\W_]|[\u0300-\u036f])+")
_SCRATCH = f"""
PRAGMA temp_store = MEMORY;
CREATE VIRTUAL TABLE temp.scratch USING fts5(text, tokenize = '{TOKENIZER}');
CREATE VIRTUAL TABLE temp.scratch_stems USING fts5vocab(temp, scratch, instance);
"""


class Plan(NamedTuple):
    """What to ask FTS5 for.

    Attributes:
        searches: expressions that each find pages and rank them; a page's score is the best it gets.
        spares: expressions to try in turn if those find too few.
        shown: the expression whose words a snippet should show.
        ranked: whether there is anything to rank by; if not, pages are taken in order.
    """

    searches: tuple[str, ...]
    spares: tuple[str, ...]
    shown: str
    ranked: bool


class Stemmer:
    """Asks FTS5 itself for the stems of words, and caches them. Shared by threads.

    A stem cannot be searched for, since stemming it again may change it ("generalised", "generalis", "gener"). So words
    are searched for as they are, and their stems are used only to look up how common they are.
    """

    def __init__(self) -> None:
        """Start with an empty cache."""
        self._known: dict[str, tuple[str, ...]] = {}

    def stems(self, words: Iterable[str], db: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
        """Return the stems of each word; FTS5 may find several in one, or none."""
        wanted = dict.fromkeys(words)
        known = {word: self._known[word] for word in wanted if word in self._known}
        if new := [word for word in wanted if word not in known]:
            known |= self._ask(new, db)
            if len(self._known) + len(new) > _KEPT:
                self._known = {}
            self._known.update((word, known[word]) for word in new)
        return known

    @staticmethod
    def _ask(words: list[str], db: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
        stems: dict[str, tuple[str, ...]] = dict.fromkeys(words, ())
        with _scratch(words, db):
            for stem, row in db.execute('SELECT term, doc FROM temp.scratch_stems ORDER BY doc, "offset"'):
                stems[words[row]] += (stem,)
        return stems


def prepare(db: sqlite3.Connection) -> None:
    """Create the scratch tables of this module in a connection, which must be in autocommit mode."""
    db.executescript(_SCRATCH)


def snippets(texts: Sequence[str], match: str, db: sqlite3.Connection) -> list[str]:
    """Return the part of each text that matches an FTS5 expression best, or its beginning if nothing does.

    FTS5 can do so in its index, but reads every word's list of pages again for each text: this is 8 times faster.
    """
    with _scratch(texts, db):
        ask = f"SELECT rowid, snippet(scratch, 0, char(1), '', ' ... ', {_SNIPPET_WORDS}) FROM temp.scratch"
        matching = dict(db.execute(f"{ask} WHERE scratch MATCH ?", (match,)).fetchall())
    return [_line(matching.get(i, text)) for i, text in enumerate(texts)]


@contextmanager
def _scratch(texts: Iterable[str], db: sqlite3.Connection) -> Iterator[None]:
    """Put these texts into the scratch table temporarily, numbered from 0."""
    db.execute("BEGIN")
    try:
        db.executemany("INSERT INTO temp.scratch (rowid, text) VALUES (?, ?)", enumerate(texts))
        yield
    finally:
        db.execute("ROLLBACK")


def _line(text: str) -> str:
    """Put a snippet on one line; of an overlong one (words without spaces), keep the part around its first match."""
    start = max(0, text.find("\1") - _SNIPPET_CHARS // 4) if len(text) > _SNIPPET_CHARS else 0
    return " ".join(text[start : start + _SNIPPET_CHARS].replace("\1", "").split())


def split(text: str) -> list[str]:
    """Return the words of a text, each once, in lower case."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))


def plan(counted: Iterable[tuple[str, int]], size: int) -> Plan | None:
    """Choose among the words of a query.

    The rarer words are assigned alternately to two sides, and pages with words of both sides are ranked: nearly all
    that share several words with the query. Pages with one of its rarest words are ranked too.

    Args:
        counted: each word with the number of pages that contain it; those with 0 are ignored.
        size: number of pages of the web.

    Returns:
        None if no word is on any page.
    """
    rarest = sorted((count, word) for word, count in counted if count)[:_MAX_WORDS]
    if not rarest:
        return None
    words = [word for _, word in rarest]
    if rarest[0][0] > MAX_RANKED:
        return Plan((_all(words),), (_any(words),), _any(words), False)
    sides = _sides(rarest, size)
    searches = [f"({_any(sides[0])}) AND ({_any(sides[1])})"] if sides[1] else []
    if alone := _alone(rarest):
        searches.append(_any(alone))
    spares = tuple(_quoted(word) for count, word in rarest if count <= MAX_RANKED)
    return Plan(tuple(searches), spares, _any(words[:_MAX_SHOWN]), True)


def _sides(rarest: list[tuple[int, str]], size: int) -> tuple[list[str], list[str]]:
    sides: tuple[list[str], list[str]] = ([], [])
    pages, read = [0, 0], 0
    for i, (count, word) in enumerate(rarest):
        pages[i % 2] += count
        read += count
        # The pages that both sides would match if words were distributed at random.
        both = min(pages[0], size) * min(pages[1], size) / size
        if count > MAX_RANKED or (i > 1 and (both > MAX_PAIRED or read > MAX_READ)):
            break
        sides[i % 2].append(word)
    return sides


def _alone(rarest: list[tuple[int, str]]) -> list[str]:
    budget, taken = MAX_ALONE, []
    for count, word in rarest:
        budget -= count
        if budget < 0:
            break
        taken.append(word)
    return taken


def _all(words: Iterable[str]) -> str:
    return " AND ".join(map(_quoted, words))


def _any(words: Iterable[str]) -> str:
    return " OR ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    # Words have only letters and digits, so nothing in them can end the quotation.
    return f'"{word}"'
