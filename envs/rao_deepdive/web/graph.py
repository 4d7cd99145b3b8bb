"""The knowledge graph behind the web: entities with attributes, and typed relations between them.

It is kept in arrays, so that a hundred thousand entities take a few seconds and a few dozen megabytes;
`Graph.to_networkx` gives the same as a NetworkX graph, for analysis.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from random import Random
from typing import TYPE_CHECKING

from rao_deepdive.web.lexicon import (
    EVENT,
    HOOK_DEEDS,
    HOOK_QUALITIES,
    HOOK_THINGS,
    HOOKS,
    KINDS,
    ORGANISATION,
    PERSON,
    PLACE,
    SORTS,
    SPANS,
    WORK,
)
from rao_deepdive.web.names import Namer, name_key, slug
from rao_envs.errors import OptionError
from rao_envs.seeding import rng

if TYPE_CHECKING:
    import networkx

__all__ = ["LEAST_SIZE", "MOST_SIZE", "RELATIONS", "Graph", "Relation", "generate"]

LEAST_SIZE, MOST_SIZE = 100, 1_000_000

_SITE = "https://atlas.example/"
_SHARES = (0.36, 0.17, 0.25, 0.12, 0.10)
_NEAR = 0.12
_ALIASED = 0.2
_MOST_HEADS = 6
_TRIES = 30


@dataclass(frozen=True, slots=True)
class Relation:
    """A typed relation. An entity of the head's kind has at most one tail.

    Attributes:
        name: its name.
        head: kind of the entity whose page states it.
        tail: kind of the entity it leads to.
        share: share of the heads that have it, where a tail is found for them.
        lag: least and most years from the tail's year to the head's; None if any will do.
    """

    name: str
    head: int
    tail: int
    share: float
    lag: tuple[int, int] | None = None


RELATIONS: Mapping[str, Relation] = {
    relation.name: relation
    for relation in (
        Relation("born_in", PERSON, PLACE, 1.0, (0, 800)),
        Relation("studied_under", PERSON, PERSON, 0.7, (15, 50)),
        Relation("worked_for", PERSON, ORGANISATION, 0.7, (-50, 60)),
        Relation("governed_from", PLACE, PLACE, 0.8),
        Relation("planned_by", PLACE, PERSON, 0.8),
        Relation("created_by", WORK, PERSON, 1.0, (20, 75)),
        Relation("set_in", WORK, PLACE, 0.9),
        Relation("commissioned_by", WORK, ORGANISATION, 0.6, (0, 150)),
        Relation("recalls", WORK, EVENT, 0.6, (0, 200)),
        Relation("founded_by", ORGANISATION, PERSON, 1.0, (20, 70)),
        Relation("based_in", ORGANISATION, PLACE, 1.0, (0, 800)),
        Relation("grew_from", ORGANISATION, ORGANISATION, 0.5, (5, 200)),
        Relation("held_in", EVENT, PLACE, 1.0, (0, 800)),
        Relation("led_by", EVENT, PERSON, 0.9, (22, 75)),
        Relation("paid_by", EVENT, ORGANISATION, 0.7, (0, 150)),
    )
}
"""All relations by name."""

_OF_KIND: Sequence[tuple[Relation, ...]] = tuple(
    tuple(relation for relation in RELATIONS.values() if relation.head == kind) for kind in range(len(KINDS))
)


class Graph:
    """A world. Entities are numbered from 0, kind by kind; see `generate`.

    Attributes:
        size: how many entities.
        seed: what it was made with.
        starts: first entity of each kind, and `size`.
        sorts: int [size], place in ``SORTS[kind]``.
        years: int [size].
        hooks: int [size], what sets the entity apart; `hook` puts it in words.
        names: [size].
        aliases: another name, for the entities that have one.
        namesakes: an entity whose name is nearly the same, for those that have one.
        tails: relation -> int [entities of the head's kind]: the tail, or -1.
    """

    def __init__(self, size: int, seed: int) -> None:
        """Make room for `size` entities."""
        self.size, self.seed = size, seed
        counts = [max(3, round(size * share)) for share in _SHARES]
        counts[0] += size - sum(counts)
        self.starts = [sum(counts[:kind]) for kind in range(len(counts) + 1)]
        self.sorts, self.years, self.hooks = (
            array("b", bytes(size)),
            array("h", bytes(2 * size)),
            array("i", bytes(4 * size)),
        )
        self.names: list[str] = []
        self.aliases: dict[int, str] = {}
        self.namesakes: dict[int, int] = {}
        self.tails: dict[str, array[int]] = {}

    def kind(self, entity: int) -> int:
        """Return the kind of an entity."""
        kind = 0
        while entity >= self.starts[kind + 1]:
            kind += 1
        return kind

    def members(self, kind: int) -> range:
        """Return all entities of a kind."""
        return range(self.starts[kind], self.starts[kind + 1])

    def sort(self, entity: int) -> str:
        """Return the sort of an entity in words, such as "fishing town"."""
        return SORTS[self.kind(entity)][self.sorts[entity]]

    def hook(self, entity: int) -> str:
        """Return what sets an entity apart, such as "known for its amber bells"."""
        return hook_text(self.kind(entity), self.hooks[entity])

    def url(self, entity: int) -> str:
        """Return the address of an entity's page."""
        return _SITE + slug(self.names[entity])

    def tail(self, relation: str, head: int) -> int:
        """Return where a relation leads from `head`; -1 if nowhere."""
        return self.tails[relation][head - self.starts[RELATIONS[relation].head]]

    def heads(self, relation: str, tail: int) -> Sequence[int]:
        """Return the entities from which a relation leads to `tail`, in order."""
        first, members = self._inverse[relation]
        place = tail - self.starts[RELATIONS[relation].tail]
        return members[first[place] : first[place + 1]]

    def out(self, entity: int) -> Iterator[tuple[str, int]]:
        """Yield (relation, tail) for what the entity's page states."""
        for relation in _OF_KIND[self.kind(entity)]:
            if (tail := self.tail(relation.name, entity)) >= 0:
                yield relation.name, tail

    def into(self, entity: int) -> Iterator[tuple[str, int]]:
        """Yield (relation, head) for every relation that leads to the entity."""
        kind = self.kind(entity)
        for relation in RELATIONS.values():
            if relation.tail == kind:
                for head in self.heads(relation.name, entity):
                    yield relation.name, head

    def neighbours(self, entity: int) -> set[int]:
        """Return all entities that a relation connects with this one."""
        return {other for _, other in self.out(entity)} | {other for _, other in self.into(entity)}

    def with_hook(self, kind: int, hook: int) -> Sequence[int]:
        """Return the entities of a kind that the same thing sets apart."""
        return self._by_hook.get((kind, hook), ())

    def find(self, name: str) -> int | None:
        """Return the entity of a name, an alias, or an address; None if there is none."""
        if name.startswith("http"):
            return self._by_slug.get(name.removeprefix(_SITE))
        return self._by_name.get(name_key(name))

    def names_of(self, entity: int) -> tuple[str, ...]:
        """Return the entity's name, and its alias if it has one."""
        alias = self.aliases.get(entity)
        return (self.names[entity],) if alias is None else (self.names[entity], alias)

    def to_networkx(self) -> networkx.MultiDiGraph[int]:
        """Return a copy: nodes with name, kind, sort, year, hook and alias; an edge's key is its relation."""
        import networkx

        graph: networkx.MultiDiGraph[int] = networkx.MultiDiGraph(size=self.size, seed=self.seed)
        for entity, name in enumerate(self.names):
            graph.add_node(
                entity,
                name=name,
                kind=KINDS[self.kind(entity)],
                sort=self.sort(entity),
                year=self.years[entity],
                hook=self.hook(entity),
                alias=self.aliases.get(entity),
            )
        for entity in range(self.size):
            for relation, tail in self.out(entity):
                graph.add_edge(entity, tail, key=relation)
        return graph

    @cached_property
    def _inverse(self) -> dict[str, tuple[array[int], array[int]]]:
        """For each relation where each tail's heads begin, and the heads: compressed rows."""
        return {name: _invert(self, relation) for name, relation in RELATIONS.items()}

    @cached_property
    def _by_hook(self) -> dict[tuple[int, int], list[int]]:
        index: dict[tuple[int, int], list[int]] = {}
        for kind in range(len(KINDS)):
            for entity in self.members(kind):
                index.setdefault((kind, self.hooks[entity]), []).append(entity)
        return index

    @cached_property
    def _by_name(self) -> dict[str, int]:
        index = {name_key(name): entity for entity, name in enumerate(self.names)}
        index.update((name_key(alias), entity) for entity, alias in self.aliases.items())
        return index

    @cached_property
    def _by_slug(self) -> dict[str, int]:
        return {slug(name): entity for entity, name in enumerate(self.names)}

    def __repr__(self) -> str:
        """Show size and seed."""
        return f"Graph({self.size:,} entities, seed {self.seed})"


@lru_cache(maxsize=4)
def generate(size: int, seed: int = 0) -> Graph:
    """Make a world; the same arguments give the same world in every process. The last 4 are kept.

    Args:
        size: how many entities, and so pages; 100 to 1,000,000.
        seed: any integer.

    Raises:
        OptionError: the size is out of range.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not LEAST_SIZE <= size <= MOST_SIZE:
        raise OptionError("size", size, f"must be a number of pages from {LEAST_SIZE} to {MOST_SIZE:,}")
    random = rng("deepdive-graph", seed, size)
    graph = Graph(size, seed)
    namer = Namer(random)
    for kind in range(len(KINDS)):
        for entity in graph.members(kind):
            _describe(graph, namer, random, kind, entity)
    for relation in RELATIONS.values():
        graph.tails[relation.name] = _connect(graph, random, relation)
    return graph


def hook_text(kind: int, hook: int) -> str:
    """Put a hook's number in words."""
    hook, thing = divmod(hook, len(HOOK_THINGS))
    deed, quality = divmod(hook, len(HOOK_QUALITIES))
    return HOOKS[kind].format(deed=HOOK_DEEDS[deed], quality=HOOK_QUALITIES[quality], thing=HOOK_THINGS[thing])


def _describe(graph: Graph, namer: Namer, random: Random, kind: int, entity: int) -> None:
    low, high = SPANS[kind]
    sort, year = random.randrange(len(SORTS[kind])), random.randint(low, high)
    model = random.randrange(graph.starts[kind], entity) if entity > graph.starts[kind] else -1
    name = None
    if model >= 0 and random.random() < _NEAR:
        name = namer.near(kind, graph.names[model])
    if name is not None:
        graph.namesakes[entity] = model
        graph.namesakes.setdefault(model, entity)
        # Half of the namesakes are alike in more than the name.
        if random.random() < 0.5:
            sort = graph.sorts[model]
            year = min(high, max(low, graph.years[model] + random.randint(-25, 25)))
    graph.names.append(name or namer.fresh(kind, sort))
    graph.sorts[entity], graph.years[entity] = sort, year
    deeds = len(HOOK_DEEDS) if kind == PERSON else 1
    graph.hooks[entity] = random.randrange(deeds * len(HOOK_QUALITIES) * len(HOOK_THINGS))
    if random.random() < _ALIASED:
        alias = namer.epithet(graph.names[-1]) if kind == PERSON else namer.fresh(kind, sort)
        if alias:
            graph.aliases[entity] = alias


def _connect(graph: Graph, random: Random, relation: Relation) -> array[int]:
    """Draw the tails of one relation: few entities are popular, none has more than a handful of heads."""
    tails = list(graph.members(relation.tail))
    random.shuffle(tails)
    first, count, years = graph.starts[relation.tail], len(tails), graph.years
    least, most = relation.lag or (-10_000, 10_000)
    taken = bytearray(count)
    found = array("i")
    for head in graph.members(relation.head):
        tail = -1
        if random.random() < relation.share:
            for _ in range(_TRIES):
                drawn = tails[int(count * random.random() ** 1.6)]
                if taken[drawn - first] < _MOST_HEADS and least <= years[head] - years[drawn] <= most and drawn != head:
                    tail = drawn
                    taken[tail - first] += 1
                    break
        found.append(tail)
    return found


def _invert(graph: Graph, relation: Relation) -> tuple[array[int], array[int]]:
    tails, base = graph.tails[relation.name], graph.starts[relation.tail]
    first = array("i", bytes(4 * (len(graph.members(relation.tail)) + 1)))
    for tail in tails:
        if tail >= 0:
            first[tail - base + 1] += 1
    for place in range(1, len(first)):
        first[place] += first[place - 1]
    members, free = array("i", bytes(4 * first[-1])), array("i", first)
    for place, tail in enumerate(tails):
        if tail >= 0:
            members[free[tail - base]] = graph.starts[relation.head] + place
            free[tail - base] += 1
    return first, members
