"""Full-text search embedded in the process: SQLite's FTS5, ranked by BM25.

The pages and their index are one database file, written once by `build_index` and read-only afterwards, so any number
of processes and threads can search it at the same time.

Agents ask in sentences, and ranking costs time for every ranked page. "who was the mayor of" would rank nearly every
page of a web to no benefit. So only pages with one of a query's rarest words, or with two of its rarer ones, are ranked
(`words.plan`). That finds what ranking all pages finds, in a time that hardly grows with the web
(`baselines/deepdive_search.py`).
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from rao_deepdive.search.base import MAX_QUERY, Hit, Page, SearchBackend, check_query, check_url
from rao_deepdive.search.words import TOKENIZER, Plan, Stemmer, plan, prepare, snippets, split
from rao_envs.errors import InfrastructureError, OptionError, ToolError

__all__ = ["INDEX_VERSION", "FullTextSearch", "build_index"]

INDEX_VERSION = 1
"""Version of the database layout; part of the cache keys of databases."""

_APPLICATION = 0x52414F44  # "RAOD" in the file's header: the database is not another program's
_TITLE_WEIGHT = 3.0  # of a word in the title, relative to one in the text
_NEAR = 3
_REMEMBERED = 1_024  # searches
_ALIKE = 0.7
_BAD_TEXT = re.compile("[\0\ud800-\udfff]")

_SCHEMA = f"""
PRAGMA page_size = 8192;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {INDEX_VERSION};
CREATE TABLE pages (id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE stems (stem TEXT PRIMARY KEY, pages INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5
    (title, text, content = 'pages', content_rowid = 'id', tokenize = '{TOKENIZER}');
CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, words, row);
INSERT INTO words (words, rank) VALUES ('hashsize', {64 << 20});
"""
_RANKED = f"""
SELECT rowid, -bm25(words, {_TITLE_WEIGHT}, 1.0) AS fit FROM words WHERE words MATCH ? ORDER BY fit DESC, rowid LIMIT ?
"""
_UNRANKED = "SELECT rowid, 0.0 FROM words WHERE words MATCH ? LIMIT ?"


def build_index(pages: Iterable[Page], path: str | os.PathLike[str]) -> None:
    """Write pages and their index to one database, which appears at `path` when it is complete.

    Pages are written one at a time and never all held in memory. Characters that UTF-8 cannot encode become "?".

    Args:
        pages: the pages, with distinct addresses.
        path: where to write the database; an existing one is replaced.

    Raises:
        OptionError: there are no pages, two have the same address, or one is not a `Page`.
        InfrastructureError: the disk is full, or this Python's SQLite lacks FTS5.
        OSError: the folder cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as db:
            _fill(db, pages)
        os.replace(part, path)
    except sqlite3.Error as error:
        raise InfrastructureError(f"the index {path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _fill(db: sqlite3.Connection, pages: Iterable[Page]) -> None:
    db.executescript(_SCHEMA)
    db.execute("BEGIN")
    page = None
    for page in pages:
        try:
            row = (_storable(page.url), _storable(page.title), _storable(page.text))
            db.execute("INSERT INTO pages (url, title, text) VALUES (?, ?, ?)", row)
        except (AttributeError, TypeError) as error:
            raise OptionError("pages", page, f"give Page objects of text ({error})") from error
        except sqlite3.IntegrityError:
            raise OptionError("pages", page.url, "two pages have this url; make urls unique") from None
    if page is None:
        raise OptionError("pages", [], "there are none; give at least one")
    db.execute("INSERT INTO words (words) VALUES ('rebuild')")
    db.execute("INSERT INTO words (words) VALUES ('optimize')")
    db.execute("INSERT INTO stems SELECT term, doc FROM temp.vocabulary")
    db.execute("COMMIT")


class FullTextSearch(SearchBackend):
    """Search in a database that `build_index` wrote.

    The order of results depends only on the database and the query. Words are compared without case, accents and
    English endings; quotation marks, operators and other punctuation have no meaning.

    It is pickled as its path. Connections are opened as needed, and never used by two threads at a time or on both
    sides of a fork.

    Attributes:
        path: the database.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the database.

        Raises:
            OptionError: it does not exist, or belongs to another program or version.
        """
        self.path = Path(path)
        self._stemmer = Stemmer()
        self._idle: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._turns = _turns()
        # Rollouts of one task repeat searches.
        self._known: dict[tuple[str, int], tuple[Hit, ...]] = {}
        try:
            with self._connection() as db:
                marks = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
                if marks != [_APPLICATION, INDEX_VERSION]:
                    raise OptionError("path", str(path), "is not an index of this version; write one with build_index")
                self._size = int(db.execute("SELECT max(id) FROM pages").fetchone()[0])
        except sqlite3.Error as error:
            raise OptionError("path", str(path), f"is not an index ({error}); write one with build_index") from error

    def search(self, query: str, max_results: int = 5) -> list[Hit]:
        """Return the pages that match a query best, best first.

        Raises:
            ToolError: the query is empty, too long or has no words, or the count is not from 1 to 20.
            InfrastructureError: the database can no longer be read.
        """
        asked = (check_query(query, max_results), max_results)
        hits = self._known.get(asked)
        if hits is None:
            with self._turn():
                hits = self._search(*asked)
            if len(self._known) >= _REMEMBERED:
                self._known = {}
            self._known[asked] = hits
        return list(hits)

    def _search(self, query: str, limit: int) -> tuple[Hit, ...]:
        words = split(query)
        if not words:
            raise ToolError(f"the query {query[:100]!r} holds no word: give words to look for")
        with self._reading() as db:
            chosen = plan(self._counted(words, db), self._size)
            if chosen is None:
                return ()
            best = _best(chosen, limit, db)
            ask = f"SELECT id, url, title, text FROM pages WHERE id IN ({','.join(map(str, best))})"
            stored = {row[0]: row[1:] for row in db.execute(ask)}
            rows = [stored[page] for page in best]
            shown = snippets([text for _, _, text in rows], chosen.shown, db)
        return tuple(
            Hit(url, title, part, round(fit, 4))
            for (url, title, _), part, fit in zip(rows, shown, best.values(), strict=True)
        )

    def view(self, url: str) -> Page:
        """Return the page at an address.

        Raises:
            ToolError: there is no such page; the message names the most similar addresses.
            InfrastructureError: the database can no longer be read.
        """
        address = check_url(url)
        with self._reading() as db:
            row = db.execute("SELECT url, title, text FROM pages WHERE url = ?", (_storable(address),)).fetchone()
        if row is None:
            near = f"; there is {', '.join(similar)}" if (similar := self._near(address)) else ""
            raise ToolError(f"there is no page at {address[:200]!r}{near}")
        return Page(*row)

    def pages(self) -> Iterator[Page]:
        """Yield all pages, in the order they were written.

        Raises:
            InfrastructureError: the database can no longer be read.
        """
        with self._reading() as db:
            yield from (Page(*row) for row in db.execute("SELECT url, title, text FROM pages ORDER BY id"))

    def addresses(self, titles: Iterable[str]) -> dict[str, list[str]]:
        """Return the addresses of the pages with each title; several pages may share one.

        Raises:
            InfrastructureError: the database can no longer be read.
        """
        urls: dict[str, list[str]] = {title: [] for title in titles}
        with self._reading() as db:
            for url, title in db.execute("SELECT url, title FROM pages ORDER BY id"):
                if title in urls:
                    urls[title].append(url)
        return urls

    def __len__(self) -> int:
        """Count the pages."""
        return self._size

    def close(self) -> None:
        """Close the idle connections; a later call opens new ones."""
        with suppress(IndexError):
            while True:
                self._mine().pop().close()

    def __del__(self) -> None:
        """Close the idle connections."""
        if hasattr(self, "_idle"):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the path."""
        return (type(self), (self.path,))

    def __repr__(self) -> str:
        """Show the path."""
        return f"{type(self).__name__}({str(self.path)!r})"

    def _counted(self, words: list[str], db: sqlite3.Connection) -> Iterator[tuple[str, int]]:
        """Yield the first word of each stem, with an upper bound on the number of pages that contain it."""
        word_of = {stems: word for word, stems in reversed(self._stemmer.stems(words, db).items()) if stems}
        wanted = sorted({stem for stems in word_of for stem in stems})
        marks = ",".join("?" * len(wanted))
        # One statement: each releases the GIL, and with many threads it takes long to get it back.
        pages = dict(db.execute(f"SELECT stem, pages FROM stems WHERE stem IN ({marks})", wanted).fetchall())
        for stems, word in word_of.items():
            yield word, min(pages.get(stem, 0) for stem in stems)

    def _near(self, address: str) -> list[str]:
        """Return similar addresses: neighbours in alphabetical order, and pages that share words with this one."""
        wanted = _path_of(address)
        with self._reading() as db:
            ask = "SELECT url FROM pages WHERE url {} ? ORDER BY url {} LIMIT 10"
            sides = (ask.format("<", "DESC"), ask.format(">", "ASC"))
            urls = {url for side in sides for (url,) in db.execute(side, (_storable(address),))}
        if words := split(wanted)[-10:]:
            urls |= {hit.url for hit in self.search(" ".join(words)[:MAX_QUERY], 10)}
        alike = {url: SequenceMatcher(None, wanted, _path_of(url)).ratio() for url in urls}
        return sorted((url for url in urls if alike[url] >= _ALIKE), key=lambda url: (-alike[url], url))[:_NEAR]

    # Connections ----------------------------------------------------------------------------------------

    def _turn(self) -> threading.BoundedSemaphore:
        """Return the semaphore that lets only as many threads search as there are cores; more would only contend."""
        self._mine()
        return self._turns

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._connection() as db:
                yield db
        except sqlite3.Error as error:
            raise InfrastructureError(f"the index {self.path} cannot be read: {error}") from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection exclusively; it is not reused if an exception was raised while it was lent."""
        try:
            db = self._mine().pop()
        except IndexError:
            db = self._connect()
        try:
            yield db
        except BaseException:
            db.close()
            raise
        self._mine().append(db)

    def _connect(self) -> sqlite3.Connection:
        # The database is never written again, so it needs no locks: "immutable".
        uri = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _mine(self) -> list[sqlite3.Connection]:
        """Return the idle connections of this process."""
        if self._process != os.getpid():
            # Even closing a connection opened before a fork may wait for a lock that no thread of this process holds.
            _INHERITED.extend(self._idle)
            self._idle, self._turns, self._process = [], _turns(), os.getpid()
        return self._idle


_INHERITED: list[sqlite3.Connection] = []


def _turns() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(os.cpu_count() or 1)


def _best(chosen: Plan, limit: int, db: sqlite3.Connection) -> dict[int, float]:
    """Return the scores of the best pages by number, best first; ties are in the order of writing."""
    fits: dict[int, float] = {}

    def run(match: str) -> None:
        for page, fit in db.execute(_RANKED if chosen.ranked else _UNRANKED, (match, limit)):
            fits[page] = max(fit, fits.get(page, fit))

    for match in chosen.searches:
        run(match)
    for match in chosen.spares:
        if len(fits) >= limit:
            break
        run(match)
    ordered = sorted(fits.items(), key=lambda item: (-item[1], item[0])) if chosen.ranked else list(fits.items())
    return dict(ordered[:limit])


def _path_of(address: str) -> str:
    """Return what follows the host, which is the same in most addresses of a web."""
    return re.sub(r"^\w+://(?:[^/]*/(?=.))?", "", address).lower()[-200:]


def _storable(text: str) -> str:
    return _BAD_TEXT.sub("?", text)
