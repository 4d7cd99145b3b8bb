"""The embedded engine: finds what fits, in the same order everywhere, whatever is typed and however many search."""

import json
import os
import pickle
import re
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from hashlib import blake2b

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rao_deepdive.search import MAX_QUERY, FullTextSearch, Hit, Page, build_index, open_corpus, words
from rao_envs.errors import InfrastructureError, OptionError, ToolError
from rao_envs.seeding import rng

TOWNS = ["Aldermoor", "Brackwater", "Coldwell", "Dunmere", "Eastcliff"]
PAGES = [
    *(
        Page(
            f"https://web.example/{town.lower()}",
            town,
            f"{town} is a coastal town. It was founded in {1600 + 10 * n} and is known for its {sort} bells.",
        )
        for n, (town, sort) in enumerate(zip(TOWNS, ["amber", "bronze", "copper", "silver", "iron"], strict=True))
    ),
    Page(
        "https://web.example/bells", "A history of bells", "Bronze is cast. " * 30 + "Nothing else was used until 1820."
    ),
    Page("https://web.example/elan", "\u00c9lan vital", "The painter \u00c9lodie wrote of na\u00efvet\u00e9."),
    Page("https://web.example/empty", "Nothing", ""),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("index") / "web #1?.db"
    build_index(PAGES, path)
    return path


@pytest.fixture(scope="module")
def search(path):
    search = FullTextSearch(path)
    yield search
    search.close()


def titles(hits):
    return [hit.title for hit in hits]


def stem_of(word):
    return re.sub(r"(e?d|ing|e?s|e)$", "", word.lower())


# What is found


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("amber bells", "Aldermoor"),
        ("AMBER", "Aldermoor"),
        ("Which coastal town, founded in 1640, is known for its iron bells?", "Eastcliff"),
        ("Dunmere", "Dunmere"),
        ("casting", "A history of bells"),  # English endings
        ("elodie naivete", "\u00c9lan vital"),  # accents
        ("E\u0301LAN", "\u00c9lan vital"),
    ],
)
def test_the_page_that_fits_comes_first(search, query, first):
    assert search.search(query, 3)[0].title == first


def test_hits_are_complete_and_ranked(search):
    hits = search.search("bronze bells", 20)
    assert all(isinstance(hit, Hit) and hit.url.startswith("https://web.example/") for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert set(titles(hits)) == {*TOWNS, "A history of bells"}
    assert search.search("zeppelin", 5) == []


def test_a_word_in_the_title_weighs_more(tmp_path):
    filler = [Page(f"f{n}", f"filler {n}", "grass and water") for n in range(9)]
    build_index([*filler, Page("b", "of a lake", "stone"), Page("a", "stone", "of a lake")], tmp_path / "i")
    assert [hit.url for hit in FullTextSearch(tmp_path / "i").search("stone", 5)] == ["a", "b"]


def test_equal_pages_come_in_the_order_in_which_they_were_written(tmp_path):
    order = [f"u{n}" for n in rng("order").sample(range(50), 50)]
    build_index([Page(url, "same", "the same text") for url in order], tmp_path / "i")
    assert [hit.url for hit in FullTextSearch(tmp_path / "i").search("same text", 20)] == order[:20]


def test_equal_pages_that_different_words_find_come_in_that_order_too(tmp_path, monkeypatch):
    monkeypatch.setattr(words, "MOST_ALONE", 0)  # each word is looked for by itself, the first of the alphabet first
    build_index([Page("a", "page", "berry"), Page("b", "page", "apple")], tmp_path / "i")
    assert [hit.url for hit in FullTextSearch(tmp_path / "i").search("apple berry", 5)] == ["a", "b"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_more_hits_than_asked_for(search, count):
    assert len(search.search("coastal town bells", count)) == count


@pytest.mark.parametrize("count", [0, -1, 21, 10**9, True, 2.0, "5", None])
def test_impossible_counts_are_the_agents_mistake(search, count):
    with pytest.raises(ToolError, match="max_results="):
        search.search("bells", count)


@pytest.mark.parametrize("query", ["", " \t\n", "!?", '"', "\0", "_", "\ud800", "x" * (MAX_QUERY + 1), None, 7])
def test_a_query_without_words_is_the_agents_mistake(search, query):
    with pytest.raises(ToolError, match="query"):
        search.search(query, 5)
    assert search.search("x" * MAX_QUERY, 5) == []


# Snippets


def test_a_snippet_shows_the_words_asked_for(search):
    (hit, *_) = search.search("nothing else until 1820", 1)
    assert "until 1820" in hit.content
    assert hit.content.startswith("... ")
    assert len(hit.content) < 400


@given(st.lists(st.sampled_from(re.findall(r"\w+", " ".join(page.text for page in PAGES))), min_size=1, max_size=12))
def test_every_snippet_shows_a_word_of_the_query(search, chosen):
    wanted = {stem_of(word) for word in chosen}
    for hit in search.search(" ".join(chosen), 20):
        shown = {stem_of(word) for word in re.findall(r"\w+", hit.content)}
        assert shown & wanted or {stem_of(word) for word in re.findall(r"\w+", hit.title)} & wanted


def test_snippets_are_one_line_and_short_also_of_odd_pages(tmp_path):
    pages = [
        Page("lines", "lines", "one\n\n  two\tneedle\r\nthree"),
        Page("glued", "glued", "x" * 100_000 + " needle " + "y" * 100_000),
        Page("mark", "mark", "\1 a\1b needle"),
    ]
    build_index(pages, tmp_path / "i")
    found = {hit.url: hit.content for hit in FullTextSearch(tmp_path / "i").search("needle", 5)}
    assert found["lines"] == "one two needle three"
    assert "needle" in found["glued"]
    assert len(found["glued"]) <= 600
    assert "needle" in found["mark"]


# Whatever is typed

SYNTAX = [
    '"',
    "'",
    "*",
    "^",
    ":",
    "(",
    ")",
    "{title}",
    "AND",
    "OR",
    "NOT",
    "NEAR",
    "+",
    "-",
    ";--",
    "DROP TABLE pages",
    "\0",
    "\ud800",
    "amber",
    "bells",
    "title:",
    "?1",
    ":match",
    "%",
    "\\",
]
QUERIES = st.text() | st.lists(st.sampled_from(SYNTAX), min_size=1, max_size=12).map(" ".join)


@given(QUERIES, st.integers(1, 20))
@example('" OR words MATCH "a', 5)
@example("'); DELETE FROM pages; --", 5)
@example("NEAR(amber bells, 2)", 5)
@example("amber* OR {title text}: bells NOT iron", 5)
@example("a " * 450, 20)
@example(" ".join(chr(0x4E00 + n) for n in range(450)), 5)
@example("\u0130 \ufb01 \u0345 \u1e9e", 5)
@example("\u0300", 5)
def test_a_query_is_data(search, query, count):
    try:
        hits = search.search(query, count)
    except ToolError:
        return
    assert len(hits) <= count
    assert hits == search.search(query, count)
    assert hits == search.search(
        " ".join(re.findall(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*|[\u0300-\u036f]+", query)), count
    )


@given(QUERIES)
@example("https://web.example/aldermoor' OR '1'='1")
@example("https://web.example/%")
def test_an_address_is_data(search, url):
    known = {page.url: page for page in PAGES}
    if url.strip() in known:
        assert search.view(url) == known[url.strip()]
        return
    with pytest.raises(ToolError) as error:
        search.view(url)
    assert len(str(error.value)) < 1_000


def test_nothing_that_was_typed_has_changed_the_database(path, search):
    before = blake2b(path.read_bytes()).digest()
    for query in [*SYNTAX, "'); DELETE FROM pages; --", "x'; PRAGMA writable_schema=1; --"]:
        for use in (lambda q: search.search(q, 5), search.view):
            with suppress(ToolError):
                use(query)
    with search._connection() as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM pages")
    assert blake2b(path.read_bytes()).digest() == before
    assert os.listdir(path.parent) == [path.name], "a journal or a part was left behind"


# Which words count


@pytest.fixture
def bells(tmp_path):
    """A web in which words are on 1, 10, 200 and 201 pages; make a fresh engine each time, since it remembers."""
    pages = [Page(f"u{n}", "page", "the house of the mayor" + (" heron" if n % 20 == 0 else "")) for n in range(200)]
    build_index([*pages, Page("gold", "page", "the heron and the kingfisher")], tmp_path / "i")
    return lambda query, most=20: [hit.url for hit in FullTextSearch(tmp_path / "i").search(query, most)]


HERONS = [f"u{n}" for n in range(0, 200, 20)]


def test_a_rare_word_finds_by_itself_and_common_ones_do_not(bells, monkeypatch):
    monkeypatch.setattr(words, "MOST_RANKED", 50)
    monkeypatch.setattr(words, "MOST_ALONE", 5)
    assert bells("what is the name of the mayor with the kingfisher") == ["gold"]
    assert set(bells("the heron")) == {"gold", *HERONS}, "a word above its budget finds where too little is found"
    assert bells("kingfisher heron")[0] == "gold"
    assert set(bells("heron mayor")) == {"gold", *HERONS}


def test_where_all_words_are_everywhere_pages_come_as_they_are(tmp_path, bells, monkeypatch):
    monkeypatch.setattr(words, "MOST_RANKED", 50)
    assert bells("the mayor of the house", 3) == ["u0", "u1", "u2"]
    hits = FullTextSearch(tmp_path / "i").search("the mayor", 2)
    assert [(hit.url, hit.score) for hit in hits] == [("u0", 0.0), ("u1", 0.0)]
    assert "mayor" in hits[0].content
    monkeypatch.setattr(words, "MOST_RANKED", 0)
    assert bells("heron kingfisher", 3) == ["gold", "u0", "u20"], "first what has all of them"


def test_two_words_find_together_what_neither_finds_alone(bells, monkeypatch):
    monkeypatch.setattr(words, "MOST_ALONE", 0)
    assert bells("heron house", 10) == HERONS
    assert bells("kingfisher heron", 1) == ["gold"]
    assert set(bells("kingfisher heron")) == {"gold", *HERONS}, "single words stand in where pairs are too few"
    assert len(bells("kingfisher heron mayor")) == 20


def test_all_words_of_a_query_count(tmp_path):
    pages = [Page(f"u{n}", "p", f"a lamp in a harbour with {n} masts") for n in range(50)]
    pages += [Page("plain", "p", "a heron in a garden with 9 masts"), Page("gold", "p", "a heron in a harbour at dawn")]
    build_index(pages, tmp_path / "i")
    search = FullTextSearch(tmp_path / "i")
    assert [hit.url for hit in search.search("a heron in the harbour at dawn", 2)] == ["gold", "plain"]
    assert search.search("masts 9", 1)[0].url in ("u9", "plain")


def test_most_of_a_query_finds_what_ranking_every_page_finds(tmp_path, monkeypatch):
    draw = rng("prose")
    vocabulary = [f"w{n}" for n in range(2_000)]
    weights = [1 / (n + 3) for n in range(2_000)]
    pages = [Page(f"u{n}", f"t{n}", " ".join(draw.choices(vocabulary, weights, k=60))) for n in range(3_000)]
    build_index(pages, tmp_path / "i")
    queries = []
    for page in draw.sample(pages, 60):
        part = draw.sample(page.text.split(), 12)
        queries.append((" ".join([*part, *draw.choices(vocabulary, weights, k=20)]), page.url))
    search, same = FullTextSearch(tmp_path / "i"), 0
    quick = [[hit.url for hit in search.search(query, 5)] for query, _ in queries]
    for name in ("MOST_ALONE", "MOST_PAIRED", "MOST_READ", "MOST_RANKED"):
        monkeypatch.setattr(words, name, 10**9)
    search = FullTextSearch(tmp_path / "i")
    slow = [[hit.url for hit in search.search(query, 5)] for query, _ in queries]
    same = sum(one[0] == other[0] for one, other in zip(quick, slow, strict=True))
    right = [sum(url in found for (_, url), found in zip(queries, way, strict=True)) for way in (quick, slow)]
    assert same >= 50, (same, right)
    assert right[0] >= right[1] - 2


COUNTED = st.lists(st.tuples(st.text("abc", min_size=1), st.integers(0, 40_000)), unique_by=lambda pair: pair[0])


@given(COUNTED, st.integers(40_000, 10**6))
@example([("a", 15_000), ("b", 16_000), ("c", 17_000)], 40_000)
@example([("a", 300), ("b", 300)], 40_000)
def test_a_plan_keeps_to_its_budgets(counted, size):
    plan = words.plan(counted, size)
    known = {word: count for word, count in counted if count}
    if not known:
        assert plan is None
        return
    rarest = min(known.values())
    assert plan.ranked == (rarest <= words.MOST_RANKED)
    if not plan.ranked:
        assert set(re.findall(r'"(\w+)"', plan.searches[0])) == set(known) or len(known) > 48
        return
    spares = [known[word] for spare in plan.spares for word in re.findall(r'"(\w+)"', spare)]
    assert spares == sorted(spares)
    assert spares[0] == rarest
    assert spares[-1] <= words.MOST_RANKED
    for search in plan.searches:
        sides = [[known[word] for word in re.findall(r'"(\w+)"', side)] for side in search.split(" AND ")]
        every = [count for side in sides for count in side]
        assert rarest in every
        assert max(every) <= words.MOST_RANKED
        if len(sides) == 1:
            assert sum(every) <= words.MOST_ALONE
        elif len(every) > 2:
            assert sum(every) <= words.MOST_READ
            assert min(sum(sides[0]), size) * min(sum(sides[1]), size) / size <= words.MOST_PAIRED


def test_a_search_is_remembered_and_the_memory_bounded(path, monkeypatch):
    search = FullTextSearch(path)
    first = search.search("amber bells", 5)
    first.clear()
    hits = search.search(" amber  bells ", 5)
    assert hits
    assert len(search._known) == 1
    assert search.search("amber bells", 1) == hits[:1]
    for n in range(3_000):
        search.search(f"bells {n}", 1)
    assert len(search._known) <= 1_024
    assert search.search("amber bells", 5) == hits
    search.close()


def test_the_memory_for_stems_is_bounded(path, monkeypatch):
    monkeypatch.setattr(words, "_KEPT", 10)
    with closing(FullTextSearch(path)) as search:
        for n in range(30):
            assert search.search(f"amber bells {n}", 1)[0].title == "Aldermoor"
            assert len(search._stemmer._known) <= 10


# Reading pages


def test_pages_are_read_as_they_were_written(search):
    assert [search.view(page.url) for page in PAGES] == PAGES
    assert list(search.pages()) == PAGES
    assert len(search) == len(PAGES)
    assert search.view(f"  {PAGES[0].url}\n") == PAGES[0]
    assert search.addresses(["Dunmere", "None"]) == {"Dunmere": ["https://web.example/dunmere"], "None": []}


@pytest.mark.parametrize(
    "url",
    [
        "https://web.example/aldermor",
        "http://web.example/Aldermoor",
        "https://web.example/aldermoor/",
        "https://other.example/wiki/aldermoor?x",
        "aldermoor",
    ],
)
def test_an_unknown_address_gets_the_near_ones_named(search, url):
    with pytest.raises(ToolError, match=r"there is no page at .*; there is https://web.example/aldermoor$"):
        search.view(url)


def test_an_unknown_address_gets_no_strange_ones_named(search):
    for url in ("https://web.example/zzz", "https://web.example/", "https://web.example/bookkeeping", "?"):
        with pytest.raises(ToolError, match=r"there is no page at [^;]*$"):
            search.view(url)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        *((url, "the url is empty") for url in ("", "  ", None, 3)),
        *((url, "is no url") for url in ("a\nb", "two words", "\0", "\ud800")),
        ("x" * 2_001, "2,001 characters"),
        ("x" * 2_000, "no page at"),
    ],
)
def test_what_is_no_address_is_the_agents_mistake(search, url, match):
    with pytest.raises(ToolError, match=match):
        search.view(url)


def test_megabytes_on_a_page(tmp_path):
    text = " ".join(rng("big").choices(["lorem", "ipsum", "dolor", "sit", "amet"], k=600_000)) + " needle"
    build_index([Page("big", "big", text), Page("small", "small", "a needle")], tmp_path / "i")
    search = FullTextSearch(tmp_path / "i")
    small, big = search.search("needle", 5)
    assert (small.url, big.url) == ("small", "big")
    assert big.content.endswith("needle")
    assert len(big.content) < 600
    assert search.view("big").text == text


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_any_text_can_be_a_page(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "i"
    build_index([Page(f"u{n}", title, text) for n, (title, text) in enumerate([("t", "t"), *texts])], path)
    with closing(FullTextSearch(path)) as search:
        for n, (title, text) in enumerate(texts, start=1):
            page = search.view(f"u{n}")
            assert (page.title, page.text) == tuple(re.sub("[\0\ud800-\udfff]", "?", part) for part in (title, text))


# Building


@pytest.mark.parametrize(
    ("pages", "match"),
    [
        ([], "there are none"),
        ([Page("u", "a", "b"), Page("v", "", ""), Page("u", "c", "d")], "pages='u': two pages"),
        ([Page("u", "a", None)], "Page objects"),
        ([("u", "a", "b")], "Page objects"),
    ],
)
def test_what_is_no_web_is_refused_and_leaves_nothing(tmp_path, pages, match):
    with pytest.raises(OptionError, match=match):
        build_index(pages, tmp_path / "i")
    assert os.listdir(tmp_path) == []


def test_a_build_that_fails_leaves_the_old_index(tmp_path):
    build_index(PAGES, tmp_path / "i")

    def torn():
        yield PAGES[0]
        raise RuntimeError("the pages end here")

    with pytest.raises(RuntimeError, match="end here"):
        build_index(torn(), tmp_path / "i")
    assert len(FullTextSearch(tmp_path / "i")) == len(PAGES)
    assert os.listdir(tmp_path) == ["i"]
    build_index(PAGES[:2], tmp_path / "i")
    assert len(FullTextSearch(tmp_path / "i")) == 2


def test_pages_are_not_all_held_in_memory(tmp_path):
    alive, most = 0, 0

    class Counted(str):
        def __init__(self, *_):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    build_index((Page(f"u{n}", "t", Counted("text")) for n in range(1_000)), tmp_path / "i")
    assert most < 10


def test_the_same_pages_make_the_same_file(tmp_path):
    code = """if True:
        import sys
        from rao_deepdive.search import Page, build_index
        build_index([Page(f"u{n}", f"title {n % 7}", f"text {n % 11} of {n}") for n in range(300)], sys.argv[1])
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    builders = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / seed], env={**environment, "PYTHONHASHSEED": seed})
        for seed in "12"
    ]
    assert [builder.wait(300) for builder in builders] == [0, 0]
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def damage_missing(path):
    path.unlink()


def damage_rubbish(path):
    path.write_bytes(b"not a database " * 999)


def damage_short(path):
    path.write_bytes(path.read_bytes()[:5000])


def damage_empty(path):
    path.write_bytes(b"")


def damage_other(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE pages (id, url, title, text)")


def damage_version(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version = 999")


def damage_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [damage_missing, damage_rubbish, damage_short, damage_empty, damage_other, damage_version, damage_folder]
)
def test_what_is_no_index_is_refused_at_once(tmp_path, damage):
    path = tmp_path / "i"
    build_index(PAGES, path)
    damage(path)
    with pytest.raises(OptionError, match=r"path=.*build_index"):
        FullTextSearch(path)
    assert path.exists() == (damage is not damage_missing)


def test_an_index_that_breaks_later_is_nobodys_fault(tmp_path):
    path = tmp_path / "i"
    build_index([*PAGES, *(Page(f"u{n}", f"t{n}", f"word{n} " * 200) for n in range(300))], path)
    search = FullTextSearch(path)
    with path.open("r+b") as file:
        file.seek(8192 * 2)
        file.write(b"\xff" * (path.stat().st_size - 8192 * 4))
    for use in (lambda: search.search("word7", 5), lambda: search.view("u250")):
        with pytest.raises(InfrastructureError, match="cannot be read"):
            use()


# Many at once


def test_threads_search_side_by_side(path):
    search = FullTextSearch(path)
    queries = [f"{town} bells {n}" for n, town in enumerate(TOWNS * 20)]
    alone = [search.search(query, 5) for query in queries]
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(lambda query: search.search(query, 5), queries)) == alone
        assert list(pool.map(search.view, [PAGES[0].url] * 50)) == [PAGES[0]] * 50
    assert len(search._idle) <= 20
    search.close()
    assert search._idle == []
    assert search.search(queries[0], 5) == alone[0], "closed for good"
    search.close()


def test_a_connection_is_not_shared_by_two_searches_at_once(path):
    search = FullTextSearch(path)
    with search._connection() as first, search._connection() as second:
        assert first is not second
    search.close()


def test_it_travels_by_its_path(search):
    search.search("amber", 1)
    sent = pickle.dumps(search)
    assert len(sent) < 500
    twin = pickle.loads(sent)
    assert twin.search("amber bells", 5) == search.search("amber bells", 5)
    assert repr(twin) == repr(search) == f"FullTextSearch({str(search.path)!r})"
    twin.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_it_works_on_both_sides_of_a_fork(path):
    code = """if True:
        import os, sys
        from rao_deepdive.search import FullTextSearch
        search = FullTextSearch(sys.argv[1])
        want = search.search("amber bells", 5)
        inherited = set(map(id, search._idle))
        children = []
        for _ in range(4):
            child = os.fork()
            if not child:
                right = [search.search(f"amber bells zz{n}", 5) == want for n in range(20)]
                fresh = not inherited & set(map(id, search._idle))
                os._exit(0 if all(right) and fresh else 1)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(codes, search.search("amber bells", 5) == want)
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)], env=environment, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("[0, 0, 0, 0] True", "")


def test_fifty_agents_do_not_wait_for_each_other(path):
    search = FullTextSearch(path)
    start = threading.Barrier(50)

    def agent(number):
        start.wait(timeout=120)
        began = time.monotonic()
        for turn in range(5):
            assert search.search(f"{TOWNS[(number + turn) % 5]} and its bells", 5)
        return (time.monotonic() - began) / 5

    with ThreadPoolExecutor(50) as pool:
        slowest = max(pool.map(agent, range(50)))
    search.close()
    assert slowest < 20


# Corpora


def lines(path, *rows):
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else row.encode() for row in rows))
    return path


def test_a_corpus_is_searched(tmp_path):
    corpus = lines(
        tmp_path / "c.jsonl",
        '\ufeff{"title": "The Jump", "text": "a show", "url": "https://a.example/jump", "more": 1}',
        "",
        '{"title": "The Jump!", "text": "on ski"}',
        '{"title": "the jump", "text": "on snow"}',
        '{"title": "The Jump-2", "text": "a sequel"}',
        json.dumps({"title": "x" * 300, "text": "long"}),
        '{"title": "???", "text": "\\ud800 odd"}',
        '{"title": "\u65e5\u672c", "text": "\u5c71"}',
    )
    search = open_corpus(corpus, folder=tmp_path)
    assert [page.url for page in search.pages()] == [
        "https://a.example/jump",
        "corpus://the-jump",
        "corpus://the-jump-2",
        "corpus://the-jump-2-2",
        f"corpus://{'x' * 200}",
        "corpus://untitled",
        "corpus://\u65e5\u672c",
    ]
    assert titles(search.search("ski", 5)) == ["The Jump!"]
    assert search.view("corpus://\u65e5\u672c").text == "\u5c71"
    with pytest.raises(ToolError, match=r"; there is corpus://the-jump, corpus://the-jump-2, corpus"):
        search.view("corpus://the-jumps")


def test_a_corpus_is_indexed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("RAO_ENVS_CACHE", str(tmp_path / "cache"))
    corpus = lines(tmp_path / "c.jsonl", '{"title": "a", "text": "b"}')
    first = open_corpus(corpus).path
    assert first.parent == tmp_path / "cache"
    copied = lines(tmp_path / "d.jsonl", '{"title": "a", "text": "b"}')
    assert open_corpus(copied).path == first
    lines(corpus, '{"title": "a", "text": "c"}')
    changed = open_corpus(corpus)
    assert changed.path != first
    assert changed.view("corpus://a").text == "c"


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ('{"title": "a"', "line 2 is not JSON"),
        (b"\xff\xfe", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[1]", "line 2 is no object"),
        ('{"title": "a"}', 'line 2 must have "title" and "text"'),
        ('{"title": 1, "text": "b"}', "line 2 must have"),
        ('{"title": "a", "text": "b", "url": 5}', "line 2 must have"),
        ('{"title": "a", "text": "b", "url": ""}', "line 2: the url is empty"),
        ('{"title": "a", "text": "b", "url": "a\\nb"}', "line 2: "),
        ('{"title": "x", "text": "b", "url": "corpus://first"}', "two pages"),
    ],
)
def test_a_line_that_is_no_passage_is_named(tmp_path, row, match):
    corpus = lines(tmp_path / "c.jsonl", '{"title": "first", "text": "b"}', row)
    with pytest.raises(OptionError, match=match):
        open_corpus(corpus, folder=tmp_path / "cache")
    assert [name for name in os.listdir(tmp_path / "cache") if not name.endswith(".lock")] == []


def test_a_corpus_that_is_not_there(tmp_path):
    with pytest.raises(OptionError, match=r"corpus=.*cannot be read"):
        open_corpus(tmp_path / "none.jsonl")
    with pytest.raises(OptionError, match=r"corpus=.*cannot be read"):
        open_corpus(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(OptionError, match="there are none"):
        open_corpus(tmp_path / "empty.jsonl", folder=tmp_path / "cache")
