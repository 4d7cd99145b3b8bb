"""Questions about a graph: chains of relations, and trails that meet; entities on the way are described, not named.

A question is drawn backwards from its answer. In reading order:

- Each trail begins at the only entity in the graph that its description fits.
- Each step leads to exactly one entity. It follows a relation forwards, where the current entity's page states
  where it leads, or backwards, where the page that states it must be found.
- Where trails meet, at least two entities fit each trail, and exactly one fits all.

No entity on the path is related to any other on it except its neighbours, so there is no shortcut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from rao_deepdive.questions.phrasing import phrase
from rao_deepdive.questions.query import Blur, Edge, Query, answers
from rao_deepdive.web.graph import Graph
from rao_envs.errors import OptionError
from rao_envs.seeding import derive, rng

__all__ = ["HOPS", "QUESTION_KINDS", "SPLITS", "Question", "ask", "split_of"]

QUESTION_KINDS = ("chain", "intersection")
"""Kinds of questions: a single trail, or trails that meet."""

HOPS = range(2, 9)
"""Possible numbers of relations in a question."""

SPLITS = ("train", "val", "test")

_TRIES = 4_000


@dataclass(frozen=True, slots=True)
class Question:
    """A question and everything known about it.

    Attributes:
        text: the question in words.
        query: the question in structured form.
        path: the gold path: the entity that fills each of the query's parts.
        kind: one of `QUESTION_KINDS`.
        hops: the number of relations in it.
    """

    text: str
    query: Query
    path: tuple[int, ...]
    kind: str
    hops: int

    @property
    def answer(self) -> int:
        """The gold answer, an entity."""
        return self.path[self.query.answer]

    def steps(self, graph: Graph) -> list[dict[str, Any]]:
        """Return the gold path as JSON-able data, one entry per entity in the order of the question."""
        return [
            {
                "name": graph.names[entity],
                "url": graph.url(entity),
                "by": [
                    {"relation": edge.relation, "from": known, "forwards": edge.tail == part}
                    for edge, known in self.query.before(part)
                ],
            }
            for part, entity in enumerate(self.path)
        ]


def split_of(graph: Graph, entity: int) -> str:
    """Return the only split in which an entity may be the answer: 70% train, 15% val, 15% test."""
    percentile = derive("deepdive-split", graph.seed, graph.size, entity) % 100
    return "train" if percentile < 70 else "val" if percentile < 85 else "test"


def ask(graph: Graph, kind: str, hops: int, split: str, *key: int | str) -> Question:
    """Draw a question.

    Args:
        graph: what to ask about.
        kind: one of `QUESTION_KINDS`.
        hops: one of `HOPS`.
        split: one of `SPLITS`.
        key: what the draw is seeded with, in addition to the other arguments.

    Raises:
        OptionError: an argument is out of range, or the graph is too small for such a question.
    """
    if kind not in QUESTION_KINDS:
        raise OptionError("kind", kind, f"choose from {', '.join(QUESTION_KINDS)}")
    if type(hops) is not int or hops not in HOPS:
        raise OptionError("hops", hops, f"must be from {HOPS[0]} to {HOPS[-1]}")
    if split not in SPLITS:
        raise OptionError("split", split, f"choose from {', '.join(SPLITS)}")
    random = rng("deepdive-question", graph.seed, graph.size, kind, hops, split, *key)
    draw = _chain if kind == "chain" else _intersection
    for _ in range(_TRIES):
        answer = int(graph.size * random.random())
        if split_of(graph, answer) != split:
            continue
        draft = _Draft(graph, random, answer)
        if draw(draft, hops) and (question := draft.finished(kind, hops)):
            return question
    raise OptionError("size", graph.size, f"has no {kind} of {hops} hops in {split}; use more pages")


class _Draft:
    """A question under construction, from its answer backwards.

    Attributes:
        graph: the graph.
        random: the random stream.
        taken: the entities so far.
        blurs: the description of each.
        links: for each entity the edges that lead to it, as (relation, whether forwards, previous entity).
    """

    def __init__(self, graph: Graph, random: Random, answer: int) -> None:
        self.graph, self.random = graph, random
        self.taken: list[int] = [answer]
        self.blurs: dict[int, Blur] = {}
        self.links: dict[int, list[tuple[str, bool, int]]] = {answer: []}

    def free(self, entity: int, beside: Sequence[int]) -> bool:
        """Return whether an entity may join: it is new, and related to none except those it will be next to."""
        if entity in self.links:
            return False
        near = self.graph.neighbours(entity)
        return not any(other in near for other in self.taken if other not in beside)

    def join(self, entity: int, relation: str, forwards: bool, after: int) -> None:
        """Put `entity` before `after`."""
        self.taken.append(entity)
        self.links[entity] = []
        self.links[after].append((relation, forwards, entity))

    def back(self, entity: int, steps: int) -> int | None:
        """Put `steps` entities before one; return the first of them, or None if that fails."""
        for _ in range(steps):
            before = self._one_back(entity)
            if before is None:
                return None
            entity = before
        return entity

    def _one_back(self, entity: int) -> int | None:
        graph, random = self.graph, self.random
        options = [(name, False, tail) for name, tail in graph.out(entity)]
        into = [(name, True, head) for name, head in graph.into(entity)]
        # Forwards, the last page states the answer; backwards, it must be searched for. Both should be equally likely.
        if into and options:
            options = into if random.random() < 0.5 else options
        options = options or into
        random.shuffle(options)
        for relation, forwards, other in options:
            if self.free(other, (entity,)) and (blur := self._blur(entity, relation, forwards, other)):
                self.blurs[entity] = blur
                self.join(other, relation, forwards, entity)
                return other
        return None

    def _blur(self, entity: int, relation: str, forwards: bool, known: int) -> Blur | None:
        """Describe an entity so that this step leads to it alone; None if that is impossible."""
        graph = self.graph
        vague = Blur(graph.kind(entity), graph.sorts[entity])
        exact = Blur(graph.kind(entity), graph.sorts[entity], graph.years[entity] // 10 * 10)
        if forwards:
            return exact if self.random.random() < 0.4 else vague
        rivals = [other for other in graph.heads(relation, known) if other != entity]
        for blur in (vague, exact):
            if not any(_alike(graph, other, blur) for other in rivals):
                return blur
        return None

    def begin(self, entity: int) -> bool:
        """Describe the entity at the start of a trail; False if its description also fits another."""
        graph, kind = self.graph, self.graph.kind(entity)
        blur = Blur(kind, graph.sorts[entity], graph.years[entity] // 10 * 10, graph.hooks[entity])
        self.blurs[entity] = blur
        return sum(_alike(graph, other, blur) for other in graph.with_hook(kind, graph.hooks[entity])) == 1

    def meet(self, entity: int, trails: int) -> list[int] | None:
        """Let trails meet at an entity; return the last entity of each, or None if that is impossible."""
        graph, random = self.graph, self.random
        stated = list(graph.out(entity))
        random.shuffle(stated)
        # With a sort, trails rarely leave a choice; prefer it where they do.
        for blur in (Blur(graph.kind(entity), graph.sorts[entity]), Blur(graph.kind(entity))):
            choices = {
                (relation, tail): {e for e in graph.heads(relation, tail) if _alike(graph, e, blur)}
                for relation, tail in stated
            }
            wide = [way for way in stated if len(choices[way]) > 1][:trails]
            if len(wide) < trails or set.intersection(*(choices[way] for way in wide)) != {entity}:
                continue
            self.blurs[entity] = blur
            for relation, tail in wide:
                if not self.free(tail, (entity,)):
                    return None
                self.join(tail, relation, False, entity)
            return [tail for _, tail in wide]
        return None

    def finished(self, kind: str, hops: int) -> Question | None:
        """Number the entities in reading order, put the question in words, and prove that one entity answers it."""
        order = list(_in_order(self.links, self.taken[0]))
        part = {entity: number for number, entity in enumerate(order)}
        edges = tuple(
            Edge(relation, part[before], part[entity]) if forwards else Edge(relation, part[entity], part[before])
            for entity in order
            for relation, forwards, before in self.links[entity]
        )
        query = Query(tuple(self.blurs[entity] for entity in order), edges)
        if answers(self.graph, query) != {order[-1]}:
            return None
        return Question(phrase(query, self.random), query, tuple(order), kind, hops)


def _chain(draft: _Draft, hops: int) -> bool:
    start = draft.back(draft.taken[0], hops)
    return start is not None and draft.begin(start)


def _intersection(draft: _Draft, hops: int) -> bool:
    random = draft.random
    trails = 3 if hops >= 6 and random.random() < 0.3 else 2
    tail = int(random.random() * (min(2, hops - trails) + 1))
    meeting = draft.back(draft.taken[0], tail)
    ends = draft.meet(meeting, trails) if meeting is not None else None
    if ends is None:
        return False
    # The remaining hops are spread evenly over the trails, so that working on them in parallel pays off.
    left = hops - tail - trails
    for i, end in enumerate(ends):
        start = draft.back(end, (left + i) // trails)
        if start is None or not draft.begin(start):
            return False
    return True


def _alike(graph: Graph, entity: int, blur: Blur) -> bool:
    """Return whether a description fits an entity of its kind."""
    return (blur.sort is None or graph.sorts[entity] == blur.sort) and (
        blur.decade is None or graph.years[entity] // 10 * 10 == blur.decade
    )


def _in_order(links: dict[int, list[tuple[str, bool, int]]], entity: int) -> Iterator[int]:
    """Yield the entities that lead to one, trail by trail, then the entity itself."""
    for _, _, before in links[entity]:
        yield from _in_order(links, before)
    yield entity
