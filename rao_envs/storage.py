"""Execution trees on disk: JSON Lines, one tree a line, readable while it is being written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from rao_envs.errors import CorruptTree
from rao_envs.tree import ExecutionTree

__all__ = ["TreeWriter", "read_trees"]

_BLOCK = 1 << 16


class TreeWriter:
    """Append trees to a JSON Lines file; every `write` is on its way to the disk when it returns.

    A file has one writer at a time, and any number of readers (`read_trees`). A process that dies while
    writing leaves a torn last line; the next writer cuts it off. A write that fails (say, the disk is full)
    takes back what it wrote, so that the file stays whole and the write can be tried again.

        with TreeWriter("runs/eval.jsonl") as writer:
            writer.write(tree)

    Attributes:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = True) -> None:
        """Open the file, and make the directories above it.

        Args:
            path: the file.
            append: keep the trees that it holds; False starts anew.

        Raises:
            OSError: the file cannot be written.
        """
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: after a failed write, nothing is left over that a later one would put into the file.
        self._file = open(self.path, "a+b" if append else "w+b", buffering=0)  # noqa: SIM115 (see close)
        self._mend()

    def write(self, tree: ExecutionTree) -> None:
        """Append one tree.

        Raises:
            OSError: it could not be written; the file is as before.
            ValueError: the writer is closed, or the tree holds a number that JSON lacks (nan, infinity).
        """
        # UTF-8 refuses lone surrogates; replaced by backslash, "u" and digits they are JSON's own escapes.
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
        self._file.close()

    def __enter__(self) -> TreeWriter:
        """Return itself; the file is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _mend(self) -> None:
        """Cut off a torn last line; if all but its newline is there, end it instead."""
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


def read_trees(path: str | os.PathLike[str], *, strict: bool = False) -> Iterator[ExecutionTree]:
    """Read trees one by one, without holding the file in memory.

    Args:
        path: a file that `TreeWriter` wrote or is still writing.
        strict: also refuse a torn last line, which is otherwise taken for one that is being written.

    Yields:
        The trees, in the order in which they were written.

    Raises:
        CorruptTree: a line is not a tree; names the file and the line.
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


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
