"""Real questions about a user's own corpus: HotpotQA, and other files in its layout.

A file of questions is JSON Lines, or a single JSON list (like HotpotQA's own). Each question has:

| key | is |
|---|---|
| "question", "answer" | strings |
| "id" or "_id" | its name; the line number by default |
| "aliases" or "answer_aliases" | other names of the answer; optional |
| "supporting_titles" | titles of the pages needed to answer it; or "supporting_facts", in HotpotQA's layout |
| "level", "type" | its difficulty and kind; optional |
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from rao_deepdive.search import FullTextSearch, SearchBackend
from rao_deepdive.search.corpus import read_rows
from rao_deepdive.world import DeepDiveWorld
from rao_envs import ExecutionTree, Subtask, Task
from rao_envs.errors import OptionError
from rao_envs.world import TaskSource

__all__ = ["GoldTitles", "RealQuestion", "RealWorld", "gold_titles", "load_questions", "real_tasks"]

_NO_PAGE = re.compile(r"there is no page at (?:(?!\\n)[^\n\"])*")  # the addresses it suggests are not found


@dataclass(frozen=True, slots=True)
class RealQuestion:
    """A question written by people.

    Attributes:
        id: its name in its set.
        question: the question text.
        answer: the gold answer.
        aliases: other names for it.
        titles: titles of the pages needed to answer it, without repeats.
        level: its difficulty, in the words of its set; "real" by default.
        kind: its kind, likewise; "" by default.
    """

    id: str
    question: str
    answer: str
    aliases: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    level: str = "real"
    kind: str = ""


class RealWorld(DeepDiveWorld):
    """Research on pages written by people.

    Besides the keys that `DeepDiveWorld` reads, the task's payload may hold "gold": {title: addresses} of the pages
    needed for the answer. The root's payload shows them to readers of the tree (`gold_titles`), but not to agents.
    """

    instructions = """\
You answer a question by research: search_web finds pages, view_webpage_content reads one. The question may take facts \
from several pages: find out first what it describes without naming. The answer is short: a name, a number, a date, \
or yes or no.
"""

    def root(self) -> Subtask:
        """Return the question; the gold pages are recorded in the tree."""
        return Subtask(self.task.goal, {"gold": self.task.payload.get("gold", {})})


class GoldTitles(TypedDict):
    """What `gold_titles` returns.

    Attributes:
        found: share of the gold titles that some agent saw in a search result.
        read: share whose page some agent read.
    """

    found: float | None
    read: float | None


def load_questions(path: str | os.PathLike[str]) -> list[RealQuestion]:
    """Read a file of questions, in the layout of this module's docstring.

    Raises:
        OptionError: the file cannot be read, has no question, or has one in another layout (the message names the
            line, or the position in the list).
    """
    questions = [_question(row, f"line {number}", str(path)) for number, row in _rows(path)]
    if not questions:
        raise OptionError("questions", str(path), "has no questions")
    if len({question.id for question in questions}) < len(questions):
        raise OptionError("questions", str(path), "two questions have the same id; make ids unique")
    return questions


def real_tasks(
    questions: str | os.PathLike[str], search: SearchBackend | None = None, split: str = "test"
) -> TaskSource:
    """Return the tasks of a file of questions. The file is a single split, whatever its name.

    Args:
        questions: the file.
        search: looked up for the addresses of gold titles, if it is a `FullTextSearch`.
        split: the split name to give the tasks.

    Raises:
        OptionError: the file cannot be read or has no questions.
    """
    loaded = load_questions(questions)
    known = search.addresses({t for q in loaded for t in q.titles}) if isinstance(search, FullTextSearch) else {}

    def tasks(index: int) -> Task:
        asked = loaded[index % len(loaded)]
        payload = {
            "answer": asked.answer,
            "aliases": list(asked.aliases),
            "gold": {title: known.get(title, []) for title in asked.titles},
            "kind": asked.kind,
        }
        return Task(f"deepdive-real-{asked.id}", asked.question, payload, asked.level, split, index)

    return tasks


def gold_titles(tree: ExecutionTree) -> GoldTitles:
    """Return what share of the gold pages a rollout found and read; None where the gold pages are not known.

    Only what agents saw counts: a page that a node's code fetched without printing it does not. A page that was read
    also counts as found.
    """
    payload = tree.root.payload if tree.nodes else None
    gold = payload.get("gold") if isinstance(payload, Mapping) else None
    if not gold:
        return {"found": None, "read": None}
    observations = (turn.observation for node in tree.nodes for turn in node.turns)
    shown = [_NO_PAGE.sub("", text) for text in observations if text]
    found = {title for title, urls in gold.items() if _any(_in_result(title, urls), shown)}
    read = {title for title, urls in gold.items() if _any(_page_head(title, urls), shown)}
    return {"found": len(found | read) / len(gold), "read": len(read) / len(gold)}


def _any(pattern: re.Pattern[str], texts: Sequence[str]) -> bool:
    return any(pattern.search(text) for text in texts)


def _in_result(title: str, urls: Sequence[str]) -> re.Pattern[str]:
    """Match a search result's address, however it was printed, or its title where the address is not known."""
    if urls:
        return re.compile(rf"(?<![\w/.-])(?:{_either(urls)})(?![\w/%#?&=-])")
    return re.compile(rf"[\"']title[\"']: ?[\"']{_printed(title)}[\"']")


def _page_head(title: str, urls: Sequence[str]) -> re.Pattern[str]:
    """Match the head of a page as it is shown: its title, its address, optionally its part, and a blank line."""
    line = r"(?:\n|\\n)"
    address = _either(urls) if urls else r"https?://[^\s\\]+"
    return re.compile(rf"{_printed(title)}{line}(?:{address}){line}(?:\[part \d+ of \d+\]{line})?{line}")


def _either(texts: Sequence[str]) -> str:
    return "|".join(_printed(text) for text in texts)


def _printed(text: str) -> str:
    """Match a string as it is, as JSON writes it, and as Python's repr shows one with both kinds of quotes."""
    shown = {text, json.dumps(text, ensure_ascii=False)[1:-1], text.replace("\\", "\\\\").replace("'", "\\'")}
    return f"(?:{'|'.join(map(re.escape, sorted(shown)))})"


def _rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = Path(path).read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError as error:
        raise OptionError("questions", str(path), f"cannot be read ({error.strerror})") from error
    if not text.startswith(b"["):
        yield from read_rows(path, "questions")
        return
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError("questions", str(path), f"is not JSON ({error!s:.100})") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise OptionError("questions", str(path), f"entry {number} is not an object")
        yield number, row


def _question(row: Mapping[str, Any], where: str, path: str) -> RealQuestion:
    def text(*names: str, default: str | None = None) -> str:
        value = next((row[name] for name in names if row.get(name) is not None), default)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise OptionError("questions", path, f'{where}: "{names[0]}" must be a string')
        return value

    def texts(*names: str) -> tuple[str, ...]:
        value: Any = next((row[name] for name in names if row.get(name) is not None), [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise OptionError("questions", path, f'{where}: "{names[0]}" must be a list of strings')
        return tuple(dict.fromkeys(value))

    return RealQuestion(
        text("id", "_id", default=where.replace("line ", "")),
        text("question"),
        text("answer"),
        texts("aliases", "answer_aliases"),
        texts("supporting_titles") or _fact_titles(row.get("supporting_facts"), where, path),
        text("level", default="real"),
        text("type", default=""),
    )


def _fact_titles(facts: Any, where: str, path: str) -> tuple[str, ...]:
    """Return the titles of HotpotQA's supporting facts: [[title, sentence], ...] or {"title": [...], ...}."""
    if facts is None:
        return ()
    titles = facts.get("title") if isinstance(facts, dict) else facts
    if isinstance(titles, list):
        plain = [item[0] if isinstance(item, list) and item else item for item in titles]
        if all(isinstance(title, str) for title in plain):
            return tuple(dict.fromkeys(plain))
    raise OptionError("questions", path, f'{where}: "supporting_facts" must be a list of [title, sentence]')
