"""Oolong-Real as the engine sees it: one long text, passages of it for subagents, and verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from rao_envs import Node, Subtask, Task, ToolError, Verdict, World, tool
from rao_envs.errors import OptionError
from rao_envs.judges import Case, FirstOf, Judge
from rao_oolong.judging.verify import Verifier, gold_of, judge_root
from rao_oolong.questions.answers import Answer, parse, render
from rao_oolong.questions.families import FAMILIES
from rao_oolong.real.episodes import load_episodes
from rao_oolong.real.published import PUBLISHED_SET, load_published
from rao_oolong.session.log import SessionLog
from rao_oolong.session.passages import Book, Place
from rao_oolong.session.transcript import START, Session, line_starts
from rao_oolong.table.generator import generate
from rao_oolong.table.scenes import Knobs

__all__ = ["OolongWorld", "open_session", "text_session"]

_START_LINE = re.compile(rf"^{re.escape(START)}[ \t]*$", re.MULTILINE)
_CHILD_TURNS = 25
_MOST_MARGIN = 100
_LONGEST_GOAL = 20_000
_MOST_WRITTEN = 20_000_000  # characters that agents may write for subagents in one rollout


class OolongWorld(World):
    """One rollout's text.

    The task's payload says where the text comes from, and holds the question:

    | key | is |
    |---|---|
    | "seed", "episodes", "tokens", "knobs" | the arguments of `generate`, which makes the session again |
    | "real" | {"folder": path, "ids": episodes} of a folder that `load_episodes` reads |
    | "published" | {"path": file or None, "split": name, "row": number} of what `load_published` reads |
    | "text" | the text itself |
    | "question" | {"family": name, and its parameters}, or any text |
    | "gold" | the answer, where the question is no family's |

    Attributes:
        book: the transcript, and what agents wrote for their subagents.
        gold: the answer to the root's question.
        judge: asked about subagents where no program knows the answer; None leaves those unjudged.
    """

    instructions = """\
You answer a question about a long text, your context: read_lines shows parts of it, and in a Python session it is \
also the variable `context`. Every line counts. What you see of it stays in your context window, which may be smaller \
than the text.
"""
    finish_doc = "End your work. `message` is the answer, or any JSON data with it; it goes to whoever asked you."

    def __init__(self, task: Task, judge: Judge | None = None) -> None:
        """Open the text of `task`.

        Raises:
            OptionError: the payload names no text, an unknown family, or has no gold answer.
        """
        super().__init__(task)
        self.book = Book(open_session(task.payload))
        self.gold = _gold(self.book, task.payload)
        self.judge = judge

    def root(self) -> Subtask:
        """Return the task's question, about the whole text."""
        return Subtask(self.task.goal, {"place": None}, None, self._opening(self.task.goal, None))

    @tool
    def read_lines(self, node: Node, first: int, count: int) -> str:
        """Read `count` lines of your context from line `first` on (0 is the first); says how many there are."""
        place = node.payload["place"]
        lines, characters = self.book.size(place)
        if not 0 <= first < lines:
            raise ToolError(f"first={first}: your context has lines 0 to {lines - 1}")
        if count < 1:
            raise ToolError(f"count={count}: read at least 1 line")
        last = min(first + count, lines) - 1
        text = self.book.lines(place, first, last - first + 1)
        return f"[lines {first} to {last} of {lines}; {characters} characters in all]\n{text}"

    def delegate(
        self,
        node: Node,
        goal: str,
        context: str | None = None,
        lines: tuple[int, int] | None = None,
        margin: int = 0,
    ) -> Subtask:
        """Have a subagent answer `goal` about a part of your context: a text, or the lines from first to last.

        Give either `context`, any text, or `lines=(first, last)`, numbered as in your context, both included. Of
        lines of the transcript it is also told who plays whom, their numbers and the episode, and sees `margin` more
        lines on both sides, to understand what is cut in two. Ask it in full: it knows nothing else of your task.
        """
        if not goal.strip():
            raise ToolError("goal is empty: ask for something")
        if len(goal) > _LONGEST_GOAL:
            raise ToolError(f"goal has {len(goal):,} characters: give long texts as `context` or `lines`")
        if (context is None) == (lines is None):
            raise ToolError("give either `context`, a text, or `lines`, (first, last)")
        own = node.payload["place"]
        place = self._given(own, context) if context is not None else self._cut(own, lines or (0, 0), margin)
        return Subtask(goal, {"place": place}, _CHILD_TURNS, self._opening(goal, place))

    def _given(self, own: Place, context: str) -> Place:
        if not context.strip():
            raise ToolError("context is empty: give the text to be read")
        if len(context) + sum(map(len, self.book.texts)) > _MOST_WRITTEN:
            raise ToolError(
                f"the texts written for subagents exceed {_MOST_WRITTEN:,} characters: give `lines` instead"
            )
        return self.book.find(context, own)

    def _cut(self, own: Place, lines: tuple[int, int], margin: int) -> Place:
        first, last = lines
        total, _ = self.book.size(own)
        if not 0 <= first <= last < total:
            raise ToolError(f"lines=({first}, {last}): your context has lines 0 to {total - 1}; first <= last")
        if not 0 <= margin <= _MOST_MARGIN:
            raise ToolError(f"margin={margin}: must be from 0 to {_MOST_MARGIN}")
        place = self.book.part(own, first, last, margin)
        if place is None:
            raise ToolError(f"lines=({first}, {last}) hold nothing of the transcript")
        return place

    def _opening(self, goal: str, place: Place) -> str:
        lines, characters = self.book.size(place)
        own = self.book.own(place)
        asked = f" You are asked about lines {own[0]} to {own[1]} of it." if own else ""
        return f"{goal}\n\nYour context has {lines} lines, {characters} characters.{asked}"

    def variables(self, node: Node) -> Mapping[str, Any]:
        """Return the node's text as `context`."""
        return {"context": self.book.text(node.payload["place"])}

    def verify(self, node: Node, result: Any) -> Verdict:
        """Score the root by its gold answer; a subagent exactly where possible, else by the judge."""
        if node.parent is None:
            return judge_root(self.gold, result)
        exact = Verifier(self.book, node.payload["place"])
        return FirstOf(exact, self.judge)(Case(node.goal, result, transcript=node.messages))

    def state(self) -> Mapping[str, Any]:
        """Return what agents wrote; all else follows from the task and the nodes' payloads."""
        return {"texts": list(self.book.texts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what agents wrote."""
        self.book = Book(self.book.session, state["texts"])


def open_session(payload: Mapping[str, Any]) -> Session:
    """Make or read the session that a payload names; the last few are kept.

    Raises:
        OptionError: it names none, or one that cannot be had.
    """
    if "text" in payload:
        return text_session(payload["text"])
    if "real" in payload:
        return _real(str(payload["real"]["folder"]), tuple(payload["real"]["ids"]))
    if "published" in payload:
        place = payload["published"]
        return _published(place["path"], place.get("split", "test"), int(place["row"]))
    if "seed" in payload:
        knobs = tuple(sorted((payload.get("knobs") or {}).items()))
        return _generated(payload["seed"], payload.get("episodes", 1), payload.get("tokens", 55_000), knobs)
    raise OptionError("payload", sorted(payload), 'must have "seed", "real", "published" or "text"')


@lru_cache(maxsize=4)
def _generated(seed: int, episodes: int, tokens: int, knobs: tuple[tuple[str, Any], ...]) -> Session:
    return generate(seed, episodes=episodes, tokens=tokens, knobs=Knobs(**dict(knobs)))


@lru_cache(maxsize=4)
def _real(folder: str, ids: tuple[str, ...]) -> Session:
    return load_episodes(folder).session(*ids)


@lru_cache(maxsize=2)
def _published(path: str | None, split: str, row: int) -> Session:
    found = next(islice(load_published(path, split=split), row, None), None)
    if found is None:
        raise OptionError("row", row, f"{path or PUBLISHED_SET} has fewer rows")
    return text_session(found.context)


def text_session(text: str) -> Session:
    """Read any text as a session without a log; what stands before its first episode is the preamble.

    Raises:
        OptionError: there is nothing in it.
    """
    if not isinstance(text, str) or not text.strip():
        raise OptionError("text", text, "the transcript is empty")
    # On a line of its own: a preamble may well mention the mark.
    starts = [found.start() for found in _START_LINE.finditer(text)]
    body = text[starts[0] if starts else 0 :].strip()
    head = text[: starts[0]].strip() if starts else ""
    return Session(body, SessionLog(episodes=max(1, len(starts))), line_starts(body), head, placed=False)


def _gold(book: Book, payload: Mapping[str, Any]) -> Answer:
    question = payload.get("question")
    if isinstance(question, Mapping):
        family, params = question.get("family"), {key: value for key, value in question.items() if key != "family"}
        if family not in FAMILIES:
            raise OptionError("family", family, f"choose from {', '.join(FAMILIES)}")
        gold = gold_of(book, str(family), params)
    elif payload.get("gold") is not None:
        gold = parse(render(payload["gold"]))
    else:
        raise OptionError("question", question, 'has no gold answer: give payload["gold"]')
    if gold in ("", []):
        raise OptionError("gold", payload.get("gold"), "the question has no gold answer; leave it out of the set")
    return gold
