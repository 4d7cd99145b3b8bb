"""The published set of questions, ``oolongbench/oolong-real``: from a local file or through `datasets`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rao_envs.errors import OptionError
from rao_envs.extras import extra
from rao_oolong.questions.answers import Answer, parse

__all__ = ["PUBLISHED_SET", "PublishedQuestion", "load_published"]

PUBLISHED_SET, _CONFIG = "oolongbench/oolong-real", "dnd"
_NEEDED = ("context_window_text", "question", "answer")


@dataclass(frozen=True, slots=True)
class PublishedQuestion:
    """One row of the published set.

    Attributes:
        context: preamble and transcript (`context_window_text`).
        question: the question.
        answer: the gold answer as published; `gold` reads it.
        question_type: the set's own name for the sort of question, or "".
        episodes: the episodes it is about, as published, or ().
        campaign: the campaign, or "".
        id: the row's id, or its number from 0.
    """

    context: str
    question: str
    answer: str
    question_type: str
    episodes: tuple[str, ...]
    campaign: str
    id: str

    @property
    def gold(self) -> Answer:
        """The answer, read as the scorer reads it."""
        return parse(self.answer)


def load_published(path: str | Path | None = None, *, split: str = "test") -> Iterator[PublishedQuestion]:
    """Read the published set row by row.

    Args:
        path: a ``.jsonl`` or ``.parquet`` file (the latter needs pyarrow); None downloads the set with the `datasets`
            package, which must be installed.
        split: which split to download; a file is one split.

    Raises:
        ImportError: the package that reads it is missing, see the extra ``oolong``.
        OptionError: the file is missing or of neither type, or a row lacks a field.
    """
    source = f"{PUBLISHED_SET}, split {split}" if path is None else str(path)
    rows = _downloaded(split) if path is None else _local(Path(path))
    return (_question(row, number, source) for number, row in enumerate(rows))


def _question(row: Mapping[str, Any], number: int, source: str) -> PublishedQuestion:
    if missing := [name for name in _NEEDED if row.get(name) in (None, "")]:
        raise OptionError("path", source, f"row {number} (from 0) has no {', '.join(missing)}")
    return PublishedQuestion(
        context=str(row["context_window_text"]),
        question=str(row["question"]),
        answer=str(row["answer"]),
        question_type=_text(row.get("question_type")),
        episodes=_names(row.get("episodes")),
        campaign=_text(row.get("campaign")),
        id=_text(row.get("id", number)),
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _names(value: object) -> tuple[str, ...]:
    """Read a list of episodes, which may be a list, a list in JSON, or one name."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value.replace("'", '"'))
        except ValueError:
            return (str(value),)
    if isinstance(value, (list, tuple)):
        return tuple(map(str, value))
    return (str(value),) if value not in (None, "") else ()


def _local(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.is_file():
        raise OptionError("path", str(path), "is not a file")
    if path.suffix == ".jsonl":
        return _json_lines(path)
    if path.suffix == ".parquet":
        return _parquet(path)
    raise OptionError("path", str(path), "must end in .jsonl or .parquet")


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise OptionError("path", str(path), f"line {number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise OptionError("path", str(path), f"line {number} is not a JSON object")
            yield row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    with extra("oolong", f"reading {path.name}", otherwise="convert it to .jsonl"):
        parquet = import_module("pyarrow.parquet")
    # Batch by batch: a row has its whole transcript in it.
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=16):
        yield from batch.to_pylist()


def _downloaded(split: str) -> Iterable[Mapping[str, Any]]:
    with extra("oolong", "downloading the published set", otherwise="give the path of a file"):
        datasets = import_module("datasets")
    rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(PUBLISHED_SET, _CONFIG, split=split)
    return rows
