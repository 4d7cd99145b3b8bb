"""A user's own corpus: a JSONL file of passages, searched like any other web."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache, partial
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from rao_deepdive.search.base import Page, check_url
from rao_deepdive.search.cache import cached
from rao_deepdive.search.fts import INDEX_VERSION, FullTextSearch, build_index
from rao_envs.errors import OptionError, ToolError

__all__ = ["open_corpus", "read_corpus", "read_rows"]


def open_corpus(path: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None) -> FullTextSearch:
    """Search a JSONL file, one passage per line: ``{"title": ..., "text": ..., "url": ...}``.

    It is indexed when first opened, and again only when its content has changed. Passages without a url get one made
    from their title: ``corpus://the-jump``, and ``corpus://the-jump-2`` for the second with that title.

    Args:
        path: the file.
        folder: where the index is kept; None takes `cache_folder()`.

    Raises:
        OptionError: the file does not exist, a line is not a passage (the message names it), two passages have the
            same url, or the index cannot be written.
    """
    path = Path(path)

    def build(part: Path) -> None:
        build_index(read_corpus(path), part)

    return FullTextSearch(cached(f"corpus-{INDEX_VERSION}-{_digest(path)}", build, folder=folder))


def read_corpus(path: str | os.PathLike[str]) -> Iterator[Page]:
    """Yield the passages of a JSONL file as pages; blank lines are skipped.

    Raises:
        OptionError: the file cannot be read, or a line is not a passage.
    """
    taken: dict[str, int] = {}
    for number, row in read_rows(path, "corpus"):
        title, text, url = row.get("title"), row.get("text"), row.get("url")
        if not isinstance(title, str) or not isinstance(text, str) or not (url is None or isinstance(url, str)):
            fix = 'must have "title" and "text", and may have "url", all strings'
            raise OptionError("corpus", str(path), f"line {number} {fix}")
        if url is None:
            url = f"corpus://{_new_name(title, taken)}"
        else:
            try:
                url = check_url(url)
            except ToolError as error:
                raise OptionError("corpus", str(path), f"line {number}: {error}") from None
        yield Page(url, title, text)


def read_rows(path: str | os.PathLike[str], option: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSONL file with their line numbers, from 1.

    Raises:
        OptionError: the file cannot be read, or a line is not an object; the message names `option`.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
                except (ValueError, RecursionError) as error:
                    raise OptionError(option, str(path), f"line {number} is not JSON ({error!s:.100})") from None
                if not isinstance(row, dict):
                    raise OptionError(option, str(path), f"line {number} is not an object")
                yield number, row
    except OSError as error:
        raise OptionError(option, str(path), f"cannot be read ({error.strerror})") from error


def _new_name(title: str, taken: dict[str, int]) -> str:
    """Return a title's words, numbered if another title has the same ones."""
    name = slug = re.sub(r"[\W_]+", "-", title.lower()).strip("-")[:200] or "untitled"
    while name in taken:
        taken[slug] += 1
        name = f"{slug}-{taken[slug]}"
    taken[name] = 1
    return name


def _digest(path: Path) -> str:
    try:
        known = path.stat()
        return _digest_of(path.absolute(), known.st_size, known.st_mtime_ns)
    except OSError as error:
        raise OptionError("corpus", str(path), f"cannot be read ({error.strerror})") from error


@lru_cache(maxsize=64)
def _digest_of(path: Path, size: int, written: int) -> str:
    """Return a digest of a file's content, computed only once for an unchanged file."""
    with path.open("rb") as file:
        return file_digest(file, partial(blake2b, digest_size=16)).hexdigest()
