"""Execution trees on disk: JSON Lines, one tree per line, readable while being written."""

from __future__ import annotations

import json
import os
import stat
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from rao_envs.errors import CorruptTree, SinkInUse
from rao_envs.locks import LocksUnsupported, holder, lock, unlock
from rao_envs.tree import ExecutionTree

__all__ = ["TreeWriter", "read_trees"]

_BLOCK = 1 << 16


class TreeWriter:
    """Append trees to a JSON Lines file; when `write` returns, the operating system has the data.

    A file has one writer at a time, and any number of readers (`read_trees`). A second writer, in any process, is
    refused. The lock is released when its holder closes the file or dies; a process forked from the holder starts
    with its writers closed. On a file system without locks, a `RuntimeWarning` says that this is not enforced.

    A process that dies while writing leaves a torn last line, which the next writer removes. A write that fails (when
    the disk is full, say) is undone, so that the file stays intact and the write can be retried.

        with TreeWriter("runs/eval.jsonl") as writer:
            writer.write(tree)

    Attributes:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = True, *, name: str = "path") -> None:
        """Open the file, and create its parent directories.

        Args:
            path: the file.
            append: keep the trees that it holds; False empties it first.
            name: name of the caller's argument, for errors.

        Raises:
            SinkInUse: the file already has a writer.
            OSError: the file cannot be written.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Not "w": until we hold the lock, the content belongs to another writer. Unbuffered: a failed write must leave
        # nothing behind that a later one would put into the file.
        self._file = self._opened = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (see close)
        try:
            self._lock(name)
            if append:
                self._repair()
            elif _is_regular(self._file):
                self._file.truncate(0)
        except BaseException:
            self._file.close()
            raise
        _open_writers.add(self)

    def write(self, tree: ExecutionTree) -> None:
        """Append one tree.

        Raises:
            OSError: it could not be written; the file is unchanged.
            ValueError: the writer is closed, or the tree holds a number that JSON lacks (nan, infinity).
        """
        # UTF-8 cannot encode lone surrogates; as backslash, "u" and digits they are JSON's own escapes.
        line = memoryview((tree.to_json() + "\n").encode("utf-8", "backslashreplace"))
        end = self._file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[self._file.write(line) :]
        except BaseException:
            self._file.truncate(end)
            raise

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if not self._opened.closed:
            unlock(self._opened)
        self._file.close()

    def __enter__(self) -> TreeWriter:
        """Return itself; the file is already open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _lock(self, name: str) -> None:
        if not _is_regular(self._file):
            return  # a pipe, or /dev/null: there is nothing to corrupt
        try:
            if not lock(self._file):
                raise SinkInUse(name, str(self.path), holder(self._file), os.getpid())
        except LocksUnsupported as error:
            warnings.warn(
                f"{self.path}: its file system has no locks ({error}); make sure yourself that it has only one writer",
                RuntimeWarning,
                stacklevel=3,
            )

    def _repair(self) -> None:
        """Remove a torn last line, or complete it if only its newline is missing."""
        size = start = self._file.seek(0, os.SEEK_END)
        tail = b""
        while start > 0 and b"\n" not in tail:
            stop, start = start, max(0, start - _BLOCK)
            self._file.seek(start)
            tail = self._file.read(stop - start) + tail
        torn = tail.rpartition(b"\n")[2]
        if not torn:
            return
        if _is_json(torn):
            self._file.write(b"\n")
        else:
            self._file.truncate(size - len(torn))


_open_writers: weakref.WeakSet[TreeWriter] = weakref.WeakSet()


def _leave_files_to_the_parent() -> None:
    """Close what a forked process inherited: it would keep the lock after its parent has gone."""
    for writer in list(_open_writers):
        writer._file.close()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(after_in_child=_leave_files_to_the_parent)


def read_trees(path: str | os.PathLike[str], *, strict: bool = False) -> Iterator[ExecutionTree]:
    """Read trees one by one, without holding the file in memory.

    Args:
        path: a file that `TreeWriter` wrote or is still writing.
        strict: also reject a torn last line, which is otherwise assumed to be still being written.

    Yields:
        The trees, in the order they were written.

    Raises:
        CorruptTree: a line is not a tree; the message names the file and the line.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            if not (strict or line.endswith(b"\n") or _is_json(line)):
                return
            try:
                tree = ExecutionTree.from_json(line)
            except CorruptTree as error:
                raise CorruptTree(f"{os.fspath(path)}, line {number}: {error}") from error
            yield tree


def _is_regular(file: IO[bytes]) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
