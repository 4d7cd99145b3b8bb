"""What FTS5 is asked for: a query's rare words find pages, the others help to order them; and what it shows of them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["TOKENIZER", "Plan", "Stemmer", "plan", "prepare", "snippets", "split"]

TOKENIZER = "porter unicode61"
"""How FTS5 takes texts apart: at all but letters and digits, without case, accents and English endings."""

MOST_ALONE = 300
"""Pages that a query's rarest words may bring into the ranking each by itself, all of these words together."""

MOST_PAIRED = 600
"""Pages that two of its rarer words may bring in together, as far as that can be foreseen."""

MOST_READ = 20_000
"""Entries of the index, one for each word and page, that are read to find those pages."""

MOST_RANKED = 20_000
"""A word found on more pages than this brings in none, and a query of such words is answered without a ranking."""

_MOST_WORDS = 48
_MOST_SHOWN = 16
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
        searches: expressions, each of which brings in pages and ranks them; a page's fit is the best it gets.
        spares: expressions for when they bring in too few, to be tried in turn.
        shown: the expression whose words a snippet should show.
        ranked: whether there is anything to rank by; if not, pages are taken as they come.
    """

    searches: tuple[str, ...]
    spares: tuple[str, ...]
    shown: str
    ranked: bool


class Stemmer:
    """Asks FTS5 itself for the stems of words, and remembers them. Shared by threads.

    A stem cannot be searched for: stemmed again it may become another one ("generalised", "generalis", "gener"). So
    words are searched for as they are, and their stems only serve to look up how common they are.
    """

    def __init__(self) -> None:
        """Begin with no words."""
        self._known: dict[str, tuple[str, ...]] = {}

    def stems(self, words: Iterable[str], db: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
        """Return the stems of each word; FTS5 may see several in one, or none."""
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
        found: dict[str, tuple[str, ...]] = dict.fromkeys(words, ())
        with _scratch(words, db):
            for stem, place in db.execute('SELECT term, doc FROM temp.scratch_stems ORDER BY doc, "offset"'):
                found[words[place]] += (stem,)
        return found


def prepare(db: sqlite3.Connection) -> None:
    """Give a connection, without transactions of its own, the scratch tables that this module uses."""
    db.executescript(_SCRATCH)


def snippets(texts: Sequence[str], match: str, db: sqlite3.Connection) -> list[str]:
    """Cut out of each text what fits an FTS5 expression best; its beginning if nothing does.

    FTS5 can do so in its index, but reads the list of pages of every word again for each text: this is 8 times quicker.
    """
    with _scratch(texts, db):
        ask = f"SELECT rowid, snippet(scratch, 0, char(1), '', ' ... ', {_SNIPPET_WORDS}) FROM temp.scratch"
        found = dict(db.execute(f"{ask} WHERE scratch MATCH ?", (match,)).fetchall())
    return [_line(found.get(place, text)) for place, text in enumerate(texts)]


@contextmanager
def _scratch(texts: Iterable[str], db: sqlite3.Connection) -> Iterator[None]:
    """Have these texts in the scratch table for a while, numbered from 0."""
    db.execute("BEGIN")
    try:
        db.executemany("INSERT INTO temp.scratch (rowid, text) VALUES (?, ?)", enumerate(texts))
        yield
    finally:
        db.execute("ROLLBACK")


def _line(text: str) -> str:
    """Put a snippet on one line; of an overlong one (words without spaces), keep what is around its first match."""
    start = max(0, text.find("\1") - _SNIPPET_CHARS // 4) if len(text) > _SNIPPET_CHARS else 0
    return " ".join(text[start : start + _SNIPPET_CHARS].replace("\1", "").split())


def split(text: str) -> list[str]:
    """Return the words of a text, each once, in lower case."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))


def plan(counted: Iterable[tuple[str, int]], size: int) -> Plan | None:
    """Choose among the words of a query.

    The rarer words are dealt to two sides in turn, and a page with words of both sides is brought in: nearly all that
    have several words in common with the query. Pages with one of its rarest words are brought in too.

    Args:
        counted: each word with the number of pages that it is on; 0 is left out.
        size: of the web, in pages.

    Returns:
        None if no word is on any page.
    """
    rarest = sorted((count, word) for word, count in counted if count)[:_MOST_WORDS]
    if not rarest:
        return None
    words = [word for _, word in rarest]
    if rarest[0][0] > MOST_RANKED:
        return Plan((_all(words),), (_any(words),), _any(words), False)
    sides = _sides(rarest, size)
    searches = [f"({_any(sides[0])}) AND ({_any(sides[1])})"] if sides[1] else []
    if alone := _alone(rarest):
        searches.append(_any(alone))
    spares = tuple(_quoted(word) for count, word in rarest if count <= MOST_RANKED)
    return Plan(tuple(searches), spares, _any(words[:_MOST_SHOWN]), True)


def _sides(rarest: list[tuple[int, str]], size: int) -> tuple[list[str], list[str]]:
    sides: tuple[list[str], list[str]] = ([], [])
    found, read = [0, 0], 0
    for place, (count, word) in enumerate(rarest):
        found[place % 2] += count
        read += count
        # What both sides would find if words were strewn at random.
        both = min(found[0], size) * min(found[1], size) / size
        if count > MOST_RANKED or (place > 1 and (both > MOST_PAIRED or read > MOST_READ)):
            break
        sides[place % 2].append(word)
    return sides


def _alone(rarest: list[tuple[int, str]]) -> list[str]:
    budget, taken = MOST_ALONE, []
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
    # Letters and digits only, so that nothing in it can end the quotation.
    return f'"{word}"'
