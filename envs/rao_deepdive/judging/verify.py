"""Verdicts: the gold answer, a program that knows the graph, a judge, or nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rao_deepdive.judging.answers import matches
from rao_deepdive.judging.goals import accepted, mentioned
from rao_deepdive.web.graph import Graph
from rao_envs.events import Verdict
from rao_envs.judges import Case, FirstOf, Judge

__all__ = ["GoalVerifier", "answer_of", "judge_root"]


_YEAR = re.compile(r"\b\d{3,4}\b")
_LONGEST = 2_000


def answer_of(result: Any) -> Any:
    """Return the answer in a result, which is the answer itself or a dict with "answer"."""
    return result["answer"] if isinstance(result, Mapping) and "answer" in result else result


def judge_root(case: Case, gold: str, aliases: Sequence[str], judge: Judge | None) -> Verdict:
    """Judge the root: the gold answer or an alias of it is right, both normalised.

    About any other answer that says something a judge decides; without one it is wrong.
    """
    answer = answer_of(case.result)
    if matches(answer, gold, aliases):
        return Verdict(1.0, "exact", "the gold answer")
    if judge is None or _says_nothing(answer):
        return Verdict(0.0, "exact", "not the gold answer")
    return FirstOf(judge)(case)


class GoalVerifier:
    """Judges a subagent exactly, where its goal can be understood: one link of a `rao_envs.judges.FirstOf`.

    Its result is right if it is the answer, or if it is a text that names the answer and, but for what the goal
    names itself, no other entity: subagents answer in sentences.
    """

    def __init__(self, graph: Graph) -> None:
        """Judge by what `graph` says."""
        self.graph = graph

    def __call__(self, case: Case, /) -> Verdict | None:
        """Return a verdict, or None where the right answer is not known."""
        names = accepted(self.graph, case.goal)
        if names is None:
            return None
        answer = answer_of(case.result)
        if matches(answer, names[0], names[1:]) or self._named(case.goal, answer, names[0]):
            return Verdict(1.0, "exact", "the right answer")
        return Verdict(0.0, "exact", "not the right answer")

    def _named(self, goal: str, answer: Any, name: str) -> bool:
        if not isinstance(answer, str) or len(answer) > _LONGEST:
            return False
        if name.isdecimal():
            return set(_YEAR.findall(answer)) - set(_YEAR.findall(goal)) == {name}
        gold = self.graph.find(name)
        asked = {entity for entity, _, _ in mentioned(self.graph, goal)}
        return {entity for entity, _, _ in mentioned(self.graph, answer)} - asked == {gold}


def _says_nothing(answer: Any) -> bool:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return answer is None or not any(character.isalnum() for character in text)
