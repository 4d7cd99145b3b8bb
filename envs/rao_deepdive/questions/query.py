"""What a question asks, apart from its words: entities known by description, and the relations between them.

A query is a tree that runs towards its answer. Its parts are numbered in the order in which they are told; each
is described, or given by name, and the edges say how it hangs together with parts told before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rao_deepdive.web.graph import RELATIONS, Graph
from rao_deepdive.web.lexicon import SORTS

__all__ = ["Blur", "Edge", "Query", "answers", "fits"]


@dataclass(frozen=True, slots=True)
class Blur:
    """What is said of an entity in place of its name.

    Attributes:
        kind: its kind.
        sort: place in ``SORTS[kind]``; None if only the kind is told.
        decade: such as 1870; None if untold.
        hook: what sets it apart; None if untold.
        given: its name after all, in the goals of subagents; None in questions.
        url: its address, where the name is given with it.
    """

    kind: int
    sort: int | None = None
    decade: int | None = None
    hook: int | None = None
    given: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation between two parts of a query.

    Attributes:
        relation: its name.
        head: number of the head's part.
        tail: number of the tail's part.
    """

    relation: str
    head: int
    tail: int


@dataclass(frozen=True, slots=True)
class Query:
    """A question without words.

    Attributes:
        parts: the entities, in the order in which they are told; the last is the answer.
        edges: how they hang together. All edges of a part to parts before it come together; a part with none
            begins a trail, one with several is where trails meet.
    """

    parts: tuple[Blur, ...]
    edges: tuple[Edge, ...]

    @property
    def answer(self) -> int:
        """Number of the part that is asked for."""
        return len(self.parts) - 1

    def before(self, part: int) -> list[tuple[Edge, int]]:
        """Return the edges to parts told before, each with the number of that part."""
        found = []
        for edge in self.edges:
            if max(edge.head, edge.tail) == part:
                found.append((edge, min(edge.head, edge.tail)))
        return found

    def trails(self) -> list[list[int]]:
        """Return the parts of each trail up to where trails meet; a chain is one trail."""
        trails: list[list[int]] = []
        for part in range(len(self.parts)):
            known = self.before(part)
            if not known:
                trails.append([part])
            elif len(known) == 1 and trails[-1][-1] == known[0][1]:
                trails[-1].append(part)
            else:
                break
        return trails

    def only(self, parts: Sequence[int]) -> Query:
        """Return the query that consists of some parts and the edges between them; its answer is the last."""
        place = {part: number for number, part in enumerate(parts)}
        edges = (e for e in self.edges if e.head in place and e.tail in place)
        return Query(
            tuple(self.parts[part] for part in parts),
            tuple(Edge(e.relation, place[e.head], place[e.tail]) for e in edges),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the query as JSON-able data."""
        return {"parts": [asdict(part) for part in self.parts], "edges": [asdict(edge) for edge in self.edges]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Query:
        """Make a query of what `to_dict` returned."""
        return cls(tuple(Blur(**part) for part in data["parts"]), tuple(Edge(**edge) for edge in data["edges"]))


def fits(graph: Graph, entity: int, blur: Blur) -> bool:
    """Return whether a description is true of an entity."""
    return (
        graph.kind(entity) == blur.kind
        and (blur.sort is None or graph.sorts[entity] == blur.sort)
        and (blur.decade is None or graph.years[entity] // 10 * 10 == blur.decade)
        and (blur.hook is None or graph.hooks[entity] == blur.hook)
        and (blur.given is None or graph.find(blur.url or blur.given) == entity)
    )


def answers(graph: Graph, query: Query) -> set[int]:
    """Return every entity that answers a query: all its parts can be filled so that everything said is true.

    Since a query is a tree that runs towards its answer, it is enough to go through the parts once and to keep
    for each the entities that can fill it, given those before.
    """
    filled: list[set[int]] = []
    for number, blur in enumerate(query.parts):
        found: set[int] | None = None
        for edge, known in query.before(number):
            other = _across(graph, edge, number, filled[known])
            found = other if found is None else found & other
        if found is None:
            found = _described(graph, blur)
        filled.append({entity for entity in found if fits(graph, entity, blur)})
    return filled[query.answer]


def _across(graph: Graph, edge: Edge, part: int, known: set[int]) -> set[int]:
    if edge.head == part:
        return {head for entity in known for head in graph.heads(edge.relation, entity)}
    return {tail for entity in known if (tail := graph.tail(edge.relation, entity)) >= 0}


def _described(graph: Graph, blur: Blur) -> set[int]:
    if blur.given is not None:
        found = graph.find(blur.url or blur.given)
        return set() if found is None else {found}
    if blur.hook is not None:
        return set(graph.with_hook(blur.kind, blur.hook))
    return set(graph.members(blur.kind))


def check(query: Query) -> bool:
    """Return whether a query can be asked of any graph: its parts' kinds are those of its relations."""
    return all(
        RELATIONS[edge.relation].head == query.parts[edge.head].kind
        and RELATIONS[edge.relation].tail == query.parts[edge.tail].kind
        for edge in query.edges
    ) and all(part.sort is None or part.sort < len(SORTS[part.kind]) for part in query.parts)
