"""Questions have one answer, need every hop, and name nothing on the way."""

import json
import re
import time
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rao_deepdive import Blur, Edge, Query, answers, ask, generate, pages, parse, phrase
from rao_deepdive.questions.generator import HOPS, QUESTION_KINDS, SPLITS, split_of
from rao_deepdive.questions.proof import prove
from rao_deepdive.questions.query import fits
from rao_deepdive.web.names import name_key
from rao_deepdive.web.reader import read_web
from rao_envs.errors import OptionError
from rao_envs.seeding import rng

SIZE = 2_000
EACH = 6


@pytest.fixture(scope="module")
def graph():
    return generate(SIZE, 3)


@pytest.fixture(scope="module")
def web(graph):
    return read_web(pages(graph))


@pytest.fixture(scope="module")
def questions(graph):
    return [
        ask(graph, kind, hops, SPLITS[index % 3], index)
        for kind in QUESTION_KINDS
        for hops in HOPS
        for index in range(EACH)
    ]


def of_kind(questions, kind):
    return [question for question in questions if question.kind == kind]


# One answer -----------------------------------------------------------------------------------------------------------


def test_an_independent_query_over_the_pages_finds_the_gold_answer_and_no_other(graph, web, questions):
    for question in questions:
        assert prove(web, question.query) == {graph.url(question.answer)}, question.text


def test_both_queries_agree_on_questions_with_many_answers_or_none(graph, web, questions):
    counts = []
    for number, question in enumerate(questions):
        random, query = rng("loosened", number), question.query
        part = random.randrange(len(query.parts))
        loose = replace(query.parts[part], sort=None, decade=None, hook=None)
        other = replace(query.parts[part], decade=random.randrange(1700, 1950, 10))
        for blur in (loose, other):
            changed = replace(query, parts=(*query.parts[:part], blur, *query.parts[part + 1 :]))
            found = answers(graph, changed)
            assert prove(web, changed) == {graph.url(entity) for entity in found}
            counts.append(len(found))
    assert 0 in counts
    assert max(counts) > 3


def test_pages_that_are_missing_answer_nothing(graph, web, questions):
    part = web.subgraph([]).copy()
    part.add_edges_from(web.edges(keys=True))  # links to pages that are not there
    assert prove(part, questions[0].query) == set()


def test_every_step_leads_to_one_entity_so_that_nobody_has_to_go_back(graph, questions):
    for question in questions:
        for part in range(len(question.query.parts)):
            known = question.query.before(part)
            if len(known) > 1:
                continue
            (edge, other) = known[0] if known else (None, None)
            if edge is None:
                found = {e for e in range(SIZE) if fits(graph, e, question.query.parts[part])}
            elif edge.head == part:
                heads = graph.heads(edge.relation, question.path[other])
                found = {head for head in heads if fits(graph, head, question.query.parts[part])}
            else:
                found = {graph.tail(edge.relation, question.path[other])}
            assert found == {question.path[part]}


def test_a_trail_begins_at_one_entity_also_where_many_are_set_apart_by_the_same():
    graph = generate.__wrapped__(400, 5)
    for entity in range(400):
        graph.hooks[entity] = 0
        graph.years[entity] = 1800 + graph.years[entity] % 20
    for index in range(30):
        question = ask(graph, "chain", 2, "train", index)
        assert {e for e in range(400) if fits(graph, e, question.query.parts[0])} == {question.path[0]}


def test_the_gold_path_is_true(graph, questions):
    for question in questions:
        assert len(question.query.edges) == question.hops
        for edge in question.query.edges:
            assert graph.tail(edge.relation, question.path[edge.head]) == question.path[edge.tail]
        for entity, blur in zip(question.path, question.query.parts, strict=True):
            assert fits(graph, entity, blur)
        steps = question.steps(graph)
        assert json.loads(json.dumps(steps)) == steps
        assert [step["url"] for step in steps] == [graph.url(entity) for entity in question.path]
        assert sum(len(step["by"]) for step in steps) == question.hops
        for entity, step in zip(question.path, steps, strict=True):
            for by in step["by"]:
                known = question.path[by["from"]]
                head, tail = (known, entity) if by["forwards"] else (entity, known)
                assert graph.tail(by["relation"], head) == tail


def test_there_is_no_shorter_way_along_the_path(graph, questions):
    small = generate(150, 1)  # where most entities are related to one another over a few steps
    crowded = [ask(small, kind, 6, "train", index) for kind in QUESTION_KINDS for index in range(20)]
    for world, question in [*((graph, question) for question in questions), *((small, each) for each in crowded)]:
        assert len(set(question.path)) == len(question.path)
        linked = {frozenset((edge.head, edge.tail)) for edge in question.query.edges}
        for one, two in combinations(range(len(question.path)), 2):
            if frozenset((one, two)) not in linked:
                assert question.path[two] not in world.neighbours(question.path[one])


def test_nothing_on_the_way_is_named(graph, questions):
    for question in questions:
        said = name_key(question.text)
        for entity in question.path:
            assert not any(name_key(name) in said for name in graph.names_of(entity))
            assert str(graph.years[entity]) not in re.findall(r"\d+(?!\d*s)", question.text)


# Chains and intersections ---------------------------------------------------------------------------------------------


def test_a_chain_is_one_trail_and_uses_both_directions(questions):
    directions = []
    for question in of_kind(questions, "chain"):
        assert len(question.query.trails()) == 1
        assert all(len(question.query.before(part)) <= 1 for part in range(len(question.query.parts)))
        directions += [edge.tail > edge.head for edge in question.query.edges]
    assert 0.3 < sum(directions) / len(directions) < 0.7


def test_trails_meet_and_none_of_them_suffices(graph, questions):
    counts, beyond = set(), set()
    for question in of_kind(questions, "intersection"):
        query = question.query
        trails = query.trails()
        counts.add(len(trails))
        meeting = sum(map(len, trails))
        beyond.add(query.answer - meeting)
        assert answers(graph, query.only(range(meeting + 1))) == {question.path[meeting]}
        known = query.before(meeting)
        assert sorted(other for _, other in known) == [trail[-1] for trail in trails]
        for edge, other in known:
            alone = query.only([*next(trail for trail in trails if trail[-1] == other), meeting])
            assert len(alone.edges) == len(alone.parts) - 1
            assert edge.head == meeting
            assert len(answers(graph, alone)) >= 2
        lengths = sorted(map(len, trails))
        assert lengths[-1] - lengths[0] <= 1
    assert counts == {2, 3}
    assert beyond == {0, 1, 2}


# Words ----------------------------------------------------------------------------------------------------------------


def test_a_question_is_read_back_from_its_words(questions):
    for question in questions:
        assert parse(question.text) == question.query
        assert parse(phrase(question.query)) == question.query
        assert Query.from_dict(json.loads(json.dumps(question.query.to_dict()))) == question.query


def test_given_names_are_read_back_whatever_stops_are_in_them(graph):
    for entity in [*graph.members(0)[:40], *graph.members(2)[:40]]:
        name, url = graph.names[entity], graph.url(entity)
        for relation, head in graph.into(entity):
            for old in (Blur(graph.kind(entity), given=name), Blur(graph.kind(entity), given=name, url=url)):
                query = Query((old, Blur(graph.kind(head), graph.sorts[head])), (Edge(relation, 1, 0),))
                for seed in range(4):
                    assert parse(phrase(query, rng("wording", seed))) == query


def test_an_address_counts_for_more_than_the_name_before_it(graph):
    head = next(iter(graph.members(2)))
    creator = graph.tail("created_by", head)
    for name, right in ((graph.names[creator], True), ("Nobody at All", True), ("Nobody at All", False)):
        given = Blur(0, given=name, url=graph.url(creator) if right else None)
        query = Query((given, Blur(2)), (Edge("created_by", 1, 0),))
        assert answers(graph, query) == (set(graph.heads("created_by", creator)) if right else set())
        assert fits(graph, creator, given) == right
        assert not fits(graph, creator + 1, given)


def test_two_given_names_may_meet(graph):
    work = next(e for e in graph.members(2) if len(dict(graph.out(e))) >= 2)
    (first, one), (second, two) = list(graph.out(work))[:2]
    parts = tuple(Blur(graph.kind(e), given=graph.names[e], url=graph.url(e)) for e in (one, two))
    query = Query((*parts, Blur(2)), (Edge(first, 2, 0), Edge(second, 2, 1)))
    assert parse(phrase(query)) == query
    assert work in answers(graph, query)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is the name of that novel?",
        "There is a novel.",
        "There is a novel, known for its amber bells. What is the name of that novel?",
        "There is a spa town, known for its amber bells. Who knows? What is the name of that spa town?",
        "There is a spa town, known for its amber bells. What is the name of that spa town? And its mayor?",
        "There is a spa town, known for its amber bells. That novel was created by a poet. What is the name of that "
        "poet?",
        "A novel was created by the poet of trail A. What is the name of that novel?",
        "The same novel was created by Ada. What is the name of that novel?",
        "a" * 100_000,
        " " * 5_000 + "There is a spa town, known for its amber bells. What is the name of that spa town?",
        # One noun for another
        "There is a spa town, known for its amber bells. What is the name of that river port?",
        "There is a spa town, known for its amber bells. A novel is set in that spa town. What is the name of that spa "
        "town?",
        "There is a spa town, known for its amber bells. A novel is set in that river port. What is the name of that "
        "novel?",
        "Trail A: There is a spa town, known for its amber bells.\nA novel is set in the river port of trail A. What "
        "is the name of that novel?",
        "A novel is set in Rye. The same opera was created by Ada. What is the name of that novel?",
        "A novel is set in Rye. The same novel finished in the 1920s was created by Ada. What is the name of that "
        "novel?",
        "Trail A: There is a spa town, known for its amber bells.\nTrail B: There is a weaver, remembered for "
        "collecting amber bells.\nThe same weaver is set in the spa town of trail A. What is the name of that weaver?",
        "Trail A: There is a spa town, known for its amber bells.\nTrail B: There is a weaver, remembered for "
        "collecting amber bells.\nThe same novel is set in the spa town of trail A. What is the name of that weaver?",
    ],
)
def test_other_words_are_no_question(text):
    assert parse(text) is None


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from(["There is a", "novel", "that", "trail A:", ". ", ",", "was created by"])).map(" ".join)
)
def test_any_text_is_read_without_an_error(text):
    parse(text)


@pytest.mark.parametrize(
    "piece", ["There is a ", "that novel ", "a novel was created by ", "Trail A: ", "A. ", "x (", "of trail A "]
)
def test_long_nonsense_is_refused_quickly(piece):
    start = time.perf_counter()
    assert parse((piece * 5_000)[:4_900] + "What is the name of that novel?") is None
    assert time.perf_counter() - start < 5


# Draws ----------------------------------------------------------------------------------------------------------------


def test_no_answer_occurs_in_two_splits(graph, questions):
    for question in questions:
        assert split_of(graph, question.answer) in SPLITS
    shares = [sum(split_of(graph, entity) == split for entity in range(SIZE)) / SIZE for split in SPLITS]
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.04)
    drawn = {split: {ask(graph, "chain", 2, split, i).answer for i in range(60)} for split in SPLITS}
    assert all(not drawn[one] & drawn[two] for one, two in combinations(SPLITS, 2))
    assert all(len(found) > 40 for found in drawn.values())


def test_draws_are_pure_and_differ_by_key(graph):
    first = [ask(graph, "intersection", 4, "test", index) for index in range(12)]
    assert first[::-1] == [ask(graph, "intersection", 4, "test", index) for index in reversed(range(12))]
    assert len({question.text for question in first}) > 10


@settings(max_examples=25)
@given(
    size=st.integers(150, 600),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(QUESTION_KINDS),
    hops=st.sampled_from(HOPS),
)
def test_small_worlds_have_questions_too(size, seed, kind, hops):
    graph = generate(size, seed)
    question = ask(graph, kind, hops, "train", seed)
    assert answers(graph, question.query) == {question.answer}
    assert parse(question.text) == question.query


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"kind": "tree"}, "kind"),
        ({"hops": 1}, "hops"),
        ({"hops": 9}, "hops"),
        ({"hops": 2.0}, "hops"),
        ({"split": "dev"}, "split"),
    ],
)
def test_an_impossible_question_is_refused_by_name(graph, change, name):
    with pytest.raises(OptionError, match=f"{name}="):
        ask(graph, **{"kind": "chain", "hops": 2, "split": "train", **change})
