"""The pages say what is so, once and plainly; what is not so they hedge."""

import re
import sqlite3
from collections import Counter

import pytest

from rao_deepdive import RELATIONS, generate, page, pages
from rao_deepdive.web.lexicon import HOOK_DEEDS, HOOK_QUALITIES, HOOK_THINGS, SORTS
from rao_deepdive.web.reader import read_page
from rao_deepdive.web.wordings import CLAUSES, DOUBTS, article, pattern

SIZE = 1_200


@pytest.fixture(scope="module")
def graph():
    return generate(SIZE, 7)


@pytest.fixture(scope="module")
def web(graph):
    return list(pages(graph))


def test_there_is_one_page_for_each_entity_and_each_can_be_written_alone(graph, web):
    assert [page.title for page in web] == graph.names
    assert len({page.url for page in web}) == SIZE
    for entity in (0, 17, SIZE - 1):
        assert page(graph, entity) == web[entity]


def test_a_reader_of_the_page_learns_exactly_what_the_graph_says(graph, web):
    for entity, written in enumerate(web):
        facts = read_page(written.title, written.url, written.text)
        assert facts is not None, written.text
        assert (facts.kind, facts.sort, facts.year) == (graph.kind(entity), graph.sorts[entity], graph.years[entity])
        assert facts.tails == {name: (graph.names[tail], graph.url(tail)) for name, tail in graph.out(entity)}
        assert facts.set_apart_by(graph.hook(entity))
        assert not facts.set_apart_by(graph.hook((entity + 1) % SIZE)) or graph.hooks[entity] == graph.hooks[entity + 1]


def test_every_link_leads_to_the_page_of_its_name(graph, web):
    for written in web:
        for name, url in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", written.text):
            assert graph.names[graph.find(url)] == name


def test_a_page_tells_the_other_name_and_no_other_year(graph, web):
    for entity, written in enumerate(web):
        lead, _, body = written.text.partition("\n\n")
        assert graph.aliases.get(entity, "") in lead
        assert str(graph.years[entity]) in lead
        assert str(graph.years[entity]) not in re.findall(r"\d+", re.sub(r"\]\(\S+\)", "", body))


def test_see_also_leads_to_some_pages_that_lead_here(graph, web):
    counts = Counter()
    for entity, written in enumerate(web):
        told = re.findall(r"\]\((\S+?)\)", written.text.partition("See also: ")[2])
        assert {graph.find(url) for url in told} <= {head for _, head in graph.into(entity)}
        counts[len(told)] += 1
    assert set(counts) == {0, 1, 2, 3}


def test_no_page_leads_to_itself():
    for seed in range(40):
        for written in pages(generate(100, seed)):
            assert f"({written.url})" not in written.text


def test_pages_are_short_and_grow_with_nothing(web):
    lengths = sorted(len(written.text) for written in web)
    assert lengths[0] > 200
    assert 500 < sum(lengths) / SIZE < 1_000
    assert lengths[-1] < 2_500


def test_every_wording_is_used_about_as_often_as_the_others(web):
    text = "\n".join(written.text for written in web).replace("The ", "the ")
    for name, clauses in CLAUSES.items():
        used = [text.count(max(re.split(r"\{\w\}", clause), key=len)) for clause in clauses]
        assert min(used) > 0.3 * max(used), (name, used)


# What leads astray ----------------------------------------------------------------------------------------------------


LINK = r"\[[^\]]+\]\((?P<url>\S+?)\)"
DOUBTED = [re.compile(pattern(doubt, clause=r"(?P<clause>.+?)") + r"(?=\s|\Z)") for doubt in DOUBTS]
CLAIMS = [
    (name, own, re.compile(pattern(clause, **{own: "SELF", "ht".replace(own, ""): LINK})))
    for name, clauses in CLAUSES.items()
    for clause in clauses
    for own in "ht"
]


@pytest.fixture(scope="module")
def rumours(web):
    """Everything that is said with a doubt: (page, relation, address of the head, address of the tail)."""
    return [
        (written, *claim(written, found["clause"]))
        for written in web
        for doubted in DOUBTED
        for found in doubted.finditer(written.text)
    ]


def claim(written, clause):
    for name, own, expression in CLAIMS:
        if found := expression.fullmatch(re.sub(rf"{re.escape(written.title)}(?![^\[]*\])", "SELF", clause)):
            return (name, written.url, found["url"]) if own == "h" else (name, found["url"], written.url)
    raise AssertionError(clause)


def test_every_rumour_is_false_and_contradicted_by_the_page_that_it_is_about(graph, rumours):
    count, about_others = 0, 0
    for written, name, head_url, tail_url in rumours:
        head, tail = graph.find(head_url), graph.find(tail_url)
        assert graph.kind(tail) == RELATIONS[name].tail
        assert graph.tail(name, head) not in (-1, tail), written.text
        facts = read_page(graph.names[head], head_url, page(graph, head).text)
        assert facts.tails[name][1] != tail_url
        count += 1
        about_others += head_url != written.url
    assert count > 0.5 * SIZE
    assert 0.2 < about_others / count < 0.6


def test_some_rumours_name_the_namesake_of_the_truth(graph, rumours):
    truths = [(graph.tail(name, graph.find(head)), graph.find(tail)) for _, name, head, tail in rumours]
    assert sum(graph.namesakes.get(truth) == told for truth, told in truths) > 20


def test_what_leads_to_an_entity_is_not_stated_on_its_page(graph, web):
    for entity in range(0, SIZE, 3):
        text = web[entity].text.partition("See also: ")[0].partition("Not to be confused")[0]
        for doubted in DOUBTED:
            text = doubted.sub("", text)
        own = {other for _, other in graph.out(entity)}
        linked = {graph.find(url) for url in re.findall(r"\]\(([^)]+)\)", text)}
        assert linked == own


def test_namesakes_are_told_apart(graph, web):
    for entity, other in graph.namesakes.items():
        assert f"Not to be confused with [{graph.names[other]}]" in web[entity].text


# What sets apart ------------------------------------------------------------------------------------------------------


def test_the_words_that_set_apart_stand_nowhere_else_even_for_a_search_that_stems(graph, web):
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE web USING fts5(title, text, tokenize='porter unicode61')")
    rows = ((place, written.title, written.text) for place, written in enumerate(web))
    db.executemany("INSERT INTO web (rowid, title, text) VALUES (?, ?, ?)", rows)
    for word in (*HOOK_DEEDS, *HOOK_QUALITIES, *HOOK_THINGS):
        found = [row for (row,) in db.execute("SELECT rowid FROM web WHERE web MATCH ?", (f'"{word}"',))]
        assert found
        assert [graph.names[row] for row in found if word not in graph.hook(row)] == []
    db.close()


def test_attributes_are_spread_evenly(graph):
    for kind, sorts in enumerate(SORTS):
        used = Counter(graph.sorts[entity] for entity in graph.members(kind))
        assert len(used) == len(sorts)
        assert max(used.values()) < 0.2 * sum(used.values())


def test_articles():
    assert article("observatory") == "an observatory"
    assert article("novel") == "a novel"


def test_a_page_of_another_world_is_not_understood():
    assert read_page("Paris", "https://example.org/paris", "Paris is the capital of France.") is None
    assert read_page("", "", "") is None
