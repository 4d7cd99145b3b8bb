"""The world behind the web: names that are never the same, relations that make sense, the same in every process."""

import re
import subprocess
import sys
from collections import Counter
from difflib import SequenceMatcher

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rao_deepdive import RELATIONS, generate
from rao_deepdive.judging.answers import matches, normalise
from rao_deepdive.web.lexicon import KINDS, SORTS, SPANS
from rao_deepdive.web.names import Namer, name_key, slug
from rao_envs.errors import OptionError
from rao_envs.seeding import rng

SIZE = 3_000


@pytest.fixture(scope="module")
def graph():
    return generate(SIZE, 7)


def test_every_entity_has_a_kind_a_sort_and_a_year_of_its_kind(graph):
    assert sum(len(graph.members(kind)) for kind in range(len(KINDS))) == SIZE == len(graph.names)
    for kind in range(len(KINDS)):
        low, high = SPANS[kind]
        for entity in graph.members(kind):
            assert graph.kind(entity) == kind
            assert graph.sort(entity) in SORTS[kind]
            assert low <= graph.years[entity] <= high
    assert len({sort for sorts in SORTS for sort in sorts}) == sum(map(len, SORTS))


def test_no_answer_can_be_taken_for_another(graph):
    names = [*graph.names, *graph.aliases.values()]
    assert len({name_key(name) for name in names}) == len(names)
    assert len({normalise(name).replace(" ", "") for name in names}) == len(names)
    assert len({slug(name) for name in names}) == len(names)


def test_an_entity_is_found_by_name_alias_and_address(graph):
    for entity in range(0, SIZE, 7):
        assert graph.find(graph.url(entity)) == entity
        for name in graph.names_of(entity):
            assert graph.find(f"the {name.upper()}") == entity
            assert matches(name, *graph.names_of(entity)[:1], graph.names_of(entity)[1:])
    assert graph.find("Nobody at All") is None
    assert graph.find("https://atlas.example/nobody-at-all") is None


def test_one_in_ten_has_a_namesake_whose_name_is_nearly_the_same(graph):
    assert 0.08 < sum(other < entity for entity, other in graph.namesakes.items()) / SIZE < 0.16
    alike = []
    for entity, other in graph.namesakes.items():
        assert graph.kind(entity) == graph.kind(other)
        alike.append(SequenceMatcher(None, graph.names[entity], graph.names[other]).ratio())
    assert sorted(alike)[len(alike) // 10] > 0.6
    assert set(graph.namesakes.values()) <= set(graph.namesakes)


def test_half_of_the_namesakes_are_alike_in_more_than_the_name(graph):
    pairs = [(entity, other) for entity, other in graph.namesakes.items() if other < entity]
    alike = [
        graph.sorts[entity] == graph.sorts[other] and abs(graph.years[entity] - graph.years[other]) <= 25
        for entity, other in pairs
    ]
    assert 0.4 < sum(alike) / len(pairs) < 0.65
    assert 0.15 < len(graph.aliases) / SIZE < 0.25


def test_where_names_run_out_they_are_numbered(monkeypatch):
    namer = Namer(rng("namer"))
    monkeypatch.setattr(namer, "_draw", lambda kind, sort: "The Ledger")
    assert [namer.fresh(2, 0) for _ in range(3)] == ["The Ledger", "The Ledger 2", "The Ledger 3"]
    assert namer.near(2, "The Ledger") == "The Ledgers"
    assert namer.near(2, "The Ledger") is None


def test_near_names_keep_what_counts_and_do_not_pile_up():
    namer = Namer(rng("namer"))
    assert re.fullmatch(r"(Third|Fourth|Fifth|Sixth|Seventh|Second) Rye Siege", namer.near(4, "Second Rye Siege"))
    assert re.fullmatch(r"\w+ Rye", namer.near(1, "Old Rye"))
    assert re.fullmatch(r"Drowned Ledgers (Revisited|in Exile|at Dusk)", namer.near(2, "Drowned Ledgers"))


@pytest.mark.parametrize("name", list(RELATIONS))
def test_a_relation_leads_from_its_head_to_its_tail_at_a_possible_time(graph, name):
    relation = RELATIONS[name]
    backwards = Counter()
    for head in graph.members(relation.head):
        tail = graph.tail(name, head)
        if tail < 0:
            continue
        assert graph.kind(tail) == relation.tail
        assert tail != head
        least, most = relation.lag or (-10_000, 10_000)
        assert least <= graph.years[head] - graph.years[tail] <= most
        assert head in graph.heads(name, tail)
        backwards[tail] += 1
    for tail in graph.members(relation.tail):
        assert len(graph.heads(name, tail)) == backwards[tail] <= 6
    assert sum(backwards.values()) > 0.7 * relation.share * len(graph.members(relation.head))
    # Popular tails have several heads, or trails could not meet.
    assert max(backwards.values()) > 2


def test_networkx_has_the_same_entities_and_relations(graph):
    copy = graph.to_networkx()
    assert len(copy) == SIZE
    assert copy.number_of_edges() == sum(1 for entity in range(SIZE) for _ in graph.out(entity))
    for entity in range(0, SIZE, 13):
        assert copy.nodes[entity]["name"] == graph.names[entity]
        assert copy.nodes[entity]["hook"] == graph.hook(entity)
        assert sorted((r, t) for _, t, r in copy.out_edges(entity, keys=True)) == sorted(graph.out(entity))
        assert sorted((r, h) for h, _, r in copy.in_edges(entity, keys=True)) == sorted(graph.into(entity))
        assert graph.neighbours(entity) == set(copy.successors(entity)) | set(copy.predecessors(entity))


@settings(max_examples=30)
@given(size=st.integers(100, 400), seed=st.integers(-(2**40), 2**40))
@example(size=100, seed=0)
def test_any_size_and_seed_makes_a_world_without_doubles(size, seed):
    graph = generate(size, seed)
    assert len(graph.names) == size == graph.starts[-1]
    assert len({name_key(name) for name in graph.names}) == size
    assert all(len(graph.members(kind)) >= 3 for kind in range(len(KINDS)))


@pytest.mark.parametrize("size", [99, 1_000_001, 0, -5, 1000.0, True, "1000", None])
def test_an_impossible_size_is_refused_by_name(size):
    with pytest.raises(OptionError, match="size="):
        generate(size)


PROGRAM = """
import sys
from hashlib import sha256
from rao_deepdive import generate, pages, ask
graph = generate(500, 3)
question = ask(graph, "intersection", 5, "val", 1)
text = repr((graph.names, graph.aliases, graph.tails, [page.text for page in pages(graph)], question))
print(sha256(text.encode()).hexdigest(), "networkx" in sys.modules)
"""


def test_every_process_makes_the_same_world_and_loads_no_networkx():
    found = set()
    for hash_seed in ("1", "77"):
        env = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=env)
        found.add(done.stdout)
    assert len(found) == 1
    assert found.pop().split()[1] == "False"


def test_seeds_and_sizes_make_other_worlds():
    worlds = [generate(500, 0), generate(500, 1), generate(501, 0)]
    assert len({world.names[0] for world in worlds}) == 3
