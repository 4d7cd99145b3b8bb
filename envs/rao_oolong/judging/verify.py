"""Verdicts: exact where the answer can be computed, else a judge's, else none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rao_envs.events import Verdict
from rao_envs.judges import Case
from rao_oolong.judging.scoring import score
from rao_oolong.questions.answers import Answer, extract, parse, render
from rao_oolong.questions.families import FAMILIES, parse_goal
from rao_oolong.session.passages import Book, Place

__all__ = ["Verifier", "answer_of", "gold_of", "judge_root", "known_gold"]

_NOTHING = frozenset({"", "none", "nothing", "n/a"})


def answer_of(result: Any) -> Any:
    """Return the answer in a result, which is the answer itself or a dict with "answer"."""
    return result["answer"] if isinstance(result, Mapping) and "answer" in result else result


def gold_of(book: Book, family: str, params: Mapping[str, Any]) -> Answer:
    """Answer a question about the whole session."""
    return parse(render(FAMILIES[family].answer(book.session.log, **params)))


def judge_root(gold: Answer, result: Any) -> Verdict:
    """Score the root's result by the published rule."""
    return _scored(gold, answer_of(result))


def known_gold(book: Book, goal: str, place: Place) -> Answer | None:
    """Return the right answer to a subagent's question, or None where no program can know it.

    It can where the goal is a question of a known family over lines of a transcript with a log. Where the log knows
    no lines (fans' logs), these must be whole episodes. Questions that name an episode by its number are left out
    where the subagent was not told which episode it reads.
    """
    session = book.session
    known = parse_goal(goal, session.log) if session.log.cast_table else None
    lines = book.asked(place) if known else None
    if known is None or lines is None:
        return None
    family, params = known
    numbered = "episode" in FAMILIES[family].parameters
    if numbered and place is not None and place[0] == "chars" and book.episode(lines[0]) > 1:
        return None
    if not session.placed and not (family.startswith(("roll", "crit", "nat")) and book.whole_episodes(*lines)):
        return None
    return parse(render(FAMILIES[family].answer(session.log.between(*lines), **params)))


class Verifier:
    """Judges a subagent's case exactly, where that can be done: one link of a `rao_envs.judges.FirstOf`."""

    def __init__(self, book: Book, place: Place) -> None:
        """Judge by what is known of the passage at `place`."""
        self.book = book
        self.place = place

    def __call__(self, case: Case, /) -> Verdict | None:
        """Return a verdict, or None where the right answer is not known."""
        gold = known_gold(self.book, case.goal, self.place)
        if gold is None:
            return None
        return _scored(gold, answer_of(case.result))


def _scored(gold: Answer, answer: Any) -> Verdict:
    try:
        if gold in ("", []):
            # The published rule knows no empty gold, but a chunk may well hold nothing.
            empty = extract(render(answer)).strip(" .").lower() in _NOTHING
            return Verdict(float(empty), "exact", "exact" if empty else "answered something where there is nothing")
        value, why = score(gold, answer)
    except (ValueError, RecursionError):  # such as a list of integers too long for Python to write
        return Verdict(0.0, "exact", "the answer cannot be read")
    return Verdict(value, "exact", why)
