"""Verdicts on disk, in SQLite: shared by threads and processes, and never a reason to crash."""

from __future__ import annotations

import os
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from rao_envs.errors import OptionError
from rao_envs.events import Verdict

__all__ = ["VerdictCache"]

_TABLE = """
CREATE TABLE IF NOT EXISTS verdicts (
    key TEXT PRIMARY KEY,
    success REAL NOT NULL CHECK (success BETWEEN 0 AND 1),
    why TEXT NOT NULL
)"""
_PATIENCE = 30.0
_TORN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

Result = TypeVar("Result")


class VerdictCache:
    """A file of verdicts by key.

    Every call reopens the file: that costs nothing compared with asking a model, and no connection is ever shared
    between threads or carried across a fork. A corrupt file is moved aside and replaced; if the file cannot be used
    for another reason (such as a full disk), the cache is bypassed. Each case gives a `RuntimeWarning`.

    Attributes:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file once, and create its parent directories.

        Raises:
            OptionError: it cannot be opened, or is another program's database.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._use(lambda file: file.execute("SELECT key, success, why FROM verdicts LIMIT 0").close())
        except (OSError, sqlite3.Error) as error:
            raise OptionError("cache", str(path), f"cannot be used ({error}); give it its own file") from error

    def get(self, key: str) -> Verdict | None:
        """Return the verdict stored under `key`, or None."""

        def look(file: sqlite3.Connection) -> Verdict | None:
            row = file.execute("SELECT success, why FROM verdicts WHERE key = ?", (key,)).fetchone()
            try:
                if row is not None and type(row[1]) is not str:
                    raise TypeError(f"why is a {type(row[1]).__name__}")
                return None if row is None else Verdict(row[0], "judge", row[1])
            except (TypeError, ValueError) as error:
                # SQLite keeps no checksums: a flipped bit shows up only here.
                raise sqlite3.DatabaseError(f"row {key}: {error}") from error

        return self._try(look)

    def put(self, key: str, verdict: Verdict) -> Verdict:
        """Store a verdict that has a success, and return what is now stored.

        If two callers judge the same case at the same time, the first verdict counts, and both continue with it.
        """

        def store(file: sqlite3.Connection) -> None:
            row = (key, verdict.success, verdict.why)
            file.execute("INSERT INTO verdicts VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)

        self._try(store)
        return self.get(key) or verdict

    def _try(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        try:
            return self._use(work)
        except (OSError, sqlite3.Error) as error:
            warnings.warn(f"verdict cache {self.path}: {error}; continuing without it", RuntimeWarning, stacklevel=4)
            return None

    def _use(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        before = self._inode()
        try:
            return self._once(work)
        except sqlite3.DatabaseError as error:
            # Errors about the data itself (bad UTF-8, a success of 7) come from Python and carry no code.
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _TORN:
                raise
            self._set_aside(before, error)
        return self._once(work)

    def _once(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with closing(sqlite3.connect(self.path, timeout=_PATIENCE)) as file, file:
            file.execute(_TABLE)
            return work(file)

    def _set_aside(self, before: int | None, error: sqlite3.Error) -> None:
        if before is None or self._inode() != before:
            return  # another process was faster; the file is now its replacement
        aside = self.path.with_name(f"{self.path.name}.corrupt-{before}")
        os.replace(self.path, aside)
        warnings.warn(f"verdict cache {self.path}: {error}; moved to {aside}", RuntimeWarning, stacklevel=5)

    def _inode(self) -> int | None:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return None
