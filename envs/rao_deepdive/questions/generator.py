"""Questions about a graph: chains of relations, and trails that meet, every entity on the way blurred.

A question is drawn backwards from its answer. In the order in which it is read,

- each trail begins at an entity that its description fits alone in the whole graph;
- each step leads to exactly one entity. It follows a relation forwards, where the page of the entity at hand says
  where it leads, or backwards, where the page must be found that says that it leads here;
- where trails meet, at least two entities fit each of the trails, and one fits all.

No entity on the way is related to another but to its neighbours on the way, so that there is no shorter one.
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
"""Kinds of questions: one trail, or trails that meet."""

HOPS = range(2, 9)
"""Relations that a question may take."""

SPLITS = ("train", "val", "test")

_TRIES = 4_000


@dataclass(frozen=True, slots=True)
class Question:
    """A question and all that is known about it.

    Attributes:
        text: the question in words.
        query: the question without words.
        path: the gold path: the entity that fills each of the query's parts.
        kind: one of `QUESTION_KINDS`.
        hops: how many relations it takes.
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
        """Return the gold path as JSON-able data, one entry for each entity in the order of the question."""
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
    place = derive("deepdive-split", graph.seed, graph.size, entity) % 100
    return "train" if place < 70 else "val" if place < 85 else "test"


def ask(graph: Graph, kind: str, hops: int, split: str, *key: int | str) -> Question:
    """Draw a question.

    Args:
        graph: what to ask about.
        kind: one of `QUESTION_KINDS`.
        hops: one of `HOPS`.
        split: one of `SPLITS`.
        key: what the draw is seeded with, besides the other arguments.

    Raises:
        OptionError: an argument out of range, or a graph too small to hold such a question.
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
    raise OptionError("size", graph.size, f"has no {kind} of {hops} hops in {split}; take more pages")


class _Draft:
    """A question that is being drawn, from its answer backwards.

    Attributes:
        graph: the graph.
        random: the stream.
        taken: the entities so far.
        blurs: how each is described.
        links: for each entity the edges that lead to it, as (relation, entity before it).
    """

    def __init__(self, graph: Graph, random: Random, answer: int) -> None:
        self.graph, self.random = graph, random
        self.taken: list[int] = [answer]
        self.blurs: dict[int, Blur] = {}
        self.links: dict[int, list[tuple[str, bool, int]]] = {answer: []}

    def free(self, entity: int, beside: Sequence[int]) -> bool:
        """Return whether an entity may join: new, and related to none but those that it stands beside."""
        if entity in self.links:
            return False
        near = self.graph.neighbours(entity)
        return not any(other in near for other in self.taken if other not in beside)

    def join(self, entity: int, relation: str, forwards: bool, after: int) -> None:
        """Let `entity` come before `after`."""
        self.taken.append(entity)
        self.links[entity] = []
        self.links[after].append((relation, forwards, entity))

    def back(self, entity: int, steps: int) -> int | None:
        """Put so many entities before one; return the first of them, or None if that fails."""
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
        # Forwards the last page has the answer, backwards it must be searched for: as often the one as the other.
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
        """Describe an entity so that it is the only one at the end of this step; None if that cannot be done."""
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
        """Describe the entity at the head of a trail; False if its description fits another as well."""
        graph, kind = self.graph, self.graph.kind(entity)
        blur = Blur(kind, graph.sorts[entity], graph.years[entity] // 10 * 10, graph.hooks[entity])
        self.blurs[entity] = blur
        return sum(_alike(graph, other, blur) for other in graph.with_hook(kind, graph.hooks[entity])) == 1

    def meet(self, entity: int, trails: int) -> list[int] | None:
        """Make an entity the place where trails meet; return the last entity of each, or None if it cannot be."""
        graph, random = self.graph, self.random
        stated = list(graph.out(entity))
        random.shuffle(stated)
        # With a sort two trails seldom leave a choice; where they do, the better.
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
        """Number what was drawn in the order of reading, put it in words, and prove that one entity answers."""
        order = list(_in_order(self.links, self.taken[0]))
        place = {entity: number for number, entity in enumerate(order)}
        edges = tuple(
            Edge(relation, place[before], place[entity]) if forwards else Edge(relation, place[entity], place[before])
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
    # What is left goes to the trails as evenly as can be, so that working on them at once is worth it.
    left = hops - tail - trails
    for place, end in enumerate(ends):
        start = draft.back(end, (left + place) // trails)
        if start is None or not draft.begin(start):
            return False
    return True


def _alike(graph: Graph, entity: int, blur: Blur) -> bool:
    """Return whether a description fits an entity of its kind."""
    return (blur.sort is None or graph.sorts[entity] == blur.sort) and (
        blur.decade is None or graph.years[entity] // 10 * 10 == blur.decade
    )


def _in_order(links: dict[int, list[tuple[str, bool, int]]], entity: int) -> Iterator[int]:
    """Yield the entities before one, trail by trail, and then the entity itself."""
    for _, _, before in links[entity]:
        yield from _in_order(links, before)
    yield entity
