"""The live web: patient with a service in trouble, deaf to rubbish, silent about the key, never asking twice."""

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rao_deepdive.search import Hit, Page, Tavily
from rao_deepdive.search.replies import ReplyCache
from rao_deepdive.world import DeepDiveWorld
from rao_envs import RecursiveEnv, Task
from rao_envs.errors import InfrastructureError, OptionError, ToolError

SPEC = spec_from_file_location("misbehaving", Path(__file__).parents[2] / "misbehaving.py")
misbehaving = module_from_spec(SPEC)
SPEC.loader.exec_module(misbehaving)
sends = misbehaving.sends

RESULTS = [
    {"url": "https://a.example/1", "title": "One", "content": "the first", "score": 0.9, "raw_content": None},
    {"url": "https://a.example/2", "title": "Two", "content": "the second", "score": 0.5},
]
HITS = [
    Hit("https://a.example/1", "One", "the first", 0.9),
    Hit("https://a.example/2", "Two", "the second", 0.5),
]
URL = "https://a.example/1"
PAGE = Page(URL, URL, "All of it.")
SEARCHED = {"query": "q", "answer": None, "images": [], "results": RESULTS, "response_time": "1.1"}
EXTRACTED = {"results": [{"url": URL, "raw_content": "All of it.", "images": []}], "failed_results": []}


def usual(handler):
    sends(EXTRACTED if handler.path.endswith("/extract") else SEARCHED)(handler)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TAVILY_API_KEY", "tvly-sesame")
    with misbehaving.serving(usual) as server:
        yield server


@pytest.fixture
def make(server):
    """Make a client of the server, that notes its naps instead of taking them."""

    def make(**options):
        naps = []
        plain = {"base_url": server.url, "sleep": naps.append, "timeout": 5.0, "per_minute": 1e9}
        tavily = Tavily(**{**plain, **options})
        tavily.naps = naps
        return tavily

    return make


BOTH = pytest.mark.parametrize(
    ("use", "right"),
    [(lambda tavily: tavily.search("who?", 5), HITS), (lambda tavily: tavily.view(URL), PAGE)],
    ids=["search", "view"],
)


# Asking


def test_searches_and_reads(server, make):
    tavily = make(depth="advanced", options={"topic": "news", "search_depth": "fast"})
    assert tavily.search("  who \n was first? ", 7) == HITS
    assert tavily.view(f" {URL} ") == PAGE
    assert server.requests == [
        {"query": "who was first?", "max_results": 7, "topic": "news", "search_depth": "fast"},
        {"urls": [URL], "extract_depth": "advanced", "format": "text"},
    ]
    assert [(headers["path"], headers["Authorization"]) for headers in server.headers] == [
        ("/v1/search", "Bearer tvly-sesame"),
        ("/v1/extract", "Bearer tvly-sesame"),
    ]
    tavily.close()
    assert tavily.naps == []


def test_what_is_missing_is_filled_in(server, make):
    server.script = [
        sends({"results": [{"url": "https://b.example"}, {**RESULTS[0], "title": None, "score": 1, "content": None}]}),
        sends({"results": [{"url": URL, "title": "The title", "raw_content": "x\ud800y"}]}),
        sends({"results": []}),
    ]
    tavily = make()
    assert tavily.search("a", 5) == [
        Hit("https://b.example", "https://b.example", "", 0.0),
        Hit("https://a.example/1", "https://a.example/1", "", 1.0),
    ]
    assert tavily.view(URL) == Page(URL, "The title", "x?y")
    assert tavily.search("b", 5) == []


def test_more_results_than_asked_for_are_cut(server, make):
    server.script = [sends({"results": RESULTS * 20})]
    assert make().search("a", 3) == (HITS * 2)[:3]


@pytest.mark.parametrize("count", [0, 21, -1, True, None])
def test_impossible_counts_are_not_sent(server, make, count):
    with pytest.raises(ToolError, match="max_results="):
        make().search("a", count)
    assert server.requests == []


@pytest.mark.parametrize("query", ["", " \n", "x" * 401, "y" * 5_000])
def test_impossible_queries_are_not_sent(server, make, query):
    with pytest.raises(ToolError, match="query"):
        make().search(query, 5)
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    ["", "a.example", "file:///etc/passwd", "ftp://a.example", "http://", "https://a b.example", "javascript:alert(1)",
     "http://a.example:port/", "https://a.example/\x00", "https://a.example/" + "x" * 3_000, "http://[::1"],
)  # fmt: skip
def test_impossible_addresses_are_not_sent(server, make, url):
    with pytest.raises(ToolError, match=r"url|http"):
        make().view(url)
    assert server.requests == []


# The service is in trouble

TROUBLE = {
    "500": sends("oops", 500),
    "502 page": sends("<html><body>Bad Gateway</body></html>", 502),
    "503": sends("", 503),
    "429": sends({"detail": {"error": "slow down"}}, 429),
    "408": sends("", 408),
    "hangs": misbehaving.hangs,
    "drips": misbehaving.drips,
    "hangs up": misbehaving.hangs_up,
    "hangs up in the middle": sends('{"results": [', Content_Length=1000),
    "says it is shorter": sends(json.dumps(SEARCHED), Content_Length=40),
    "empty": sends(""),
    "not json": sends("results: none"),
    "a page": sends("<html>Welcome to the hotel's wireless network</html>"),
    "not http": lambda handler: handler.wfile.write(b"hello\r\n\r\n"),
    "chunks that are none": sends("zz\r\n", Transfer_Encoding="chunked"),
    "null": sends("null"),
    "a list": sends([1]),
    "no results": sends({"query": "q"}),
    "results null": sends({"results": None}),
    "results a dict": sends({"results": {"url": URL}}),
    "results of numbers": sends({"results": [1, 2]}),
    "nested": sends("[" * 100_000),
    "not utf-8": sends(b'{"results": [{"url": "\xff"}]}'),
}


@BOTH
@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
def test_trouble_is_waited_out_and_then_raised(server, make, use, right, trouble):
    slow = trouble in (misbehaving.hangs, misbehaving.drips)
    server.script = [trouble, trouble]
    tavily = make(timeout=0.2 if slow else 5.0, retries=1)
    with pytest.raises(InfrastructureError, match="failed 2 times"):
        use(tavily)
    (nap,) = tavily.naps
    assert 0.5 <= nap <= 1.0
    assert slow or server.script == []  # a busy server may not even have heard of a client in such haste

    server.script = [trouble]
    began = time.monotonic()
    tavily = make(timeout=0.2 if slow else 5.0, retries=15)
    assert use(tavily) == right
    assert tavily.naps
    assert time.monotonic() - began < 4, "the timeout did not hold"


@pytest.mark.parametrize(
    "row",
    [
        {"title": "no url"},
        {"url": None},
        {"url": " "},
        {"url": 5},
        {"url": URL, "title": ["One"]},
        {"url": URL, "content": {"text": "x"}},
        {"url": URL, "score": "high"},
        {"url": URL, "score": True},
        {"url": URL, "score": float("nan")},
        {"url": URL, "score": float("inf")},
    ],
    ids=str,
)
def test_a_result_that_is_none_is_trouble(server, make, row):
    server.script = [sends({"results": [RESULTS[0], row]})]
    tavily = make()
    assert tavily.search("a", 5) == HITS
    assert len(tavily.naps) == 1


@pytest.mark.parametrize("row", [{"url": URL}, {"raw_content": 3}, {"raw_content": "x", "title": 3}], ids=str)
def test_a_page_that_is_none_is_trouble(server, make, row):
    server.script = [sends({"results": [row]})]
    tavily = make()
    assert tavily.view(URL) == PAGE
    assert len(tavily.naps) == 1


def test_nobody_at_home(server, make):
    tavily = make(retries=0)
    server.server_close()
    with pytest.raises(InfrastructureError, match="Connection"):
        tavily.search("a", 5)


@pytest.mark.parametrize(("asked", "nap"), [("0", 0.0), ("7.5", 7.5), ("-3", 0.0), ("soon", None), ("nan", None)])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(server, make, status, asked, nap):
    server.script = [sends("", status, Retry_After=asked)]
    tavily = make()
    assert tavily.search("a", 5) == HITS
    assert tavily.naps == [nap] if nap is not None else 0.5 <= tavily.naps[0] <= 1


def test_a_wait_beyond_patience_is_refused(server, make):
    server.script = [sends("quota", 429, Retry_After="3600")]
    tavily = make()
    with pytest.raises(InfrastructureError, match=r"3600 s.*quota"):
        tavily.search("a", 5)
    assert tavily.naps == []


def test_waits_double_and_are_spread_by_the_request(server, make):
    naps = []
    for query in ("a", "a", "b"):
        server.script = [sends("", 500)] * 9
        tavily = make(retries=8)
        with pytest.raises(InfrastructureError):
            tavily.search(query, 5)
        naps.append(tavily.naps)
        assert all(min(120, 2**k) / 2 <= nap <= min(120, 2**k) for k, nap in enumerate(tavily.naps))
    assert naps[0] == naps[1] != naps[2]


# The service refuses


@pytest.mark.parametrize(
    ("status", "error", "match"),
    [
        (400, ToolError, "HTTP 400: Query is too vague"),
        (422, ToolError, "HTTP 422"),
        (401, OptionError, r"api_key='\*\*\*'.*TAVILY_API_KEY"),
        (404, OptionError, "base_url="),
        (402, InfrastructureError, "HTTP 402"),
        (432, InfrastructureError, "HTTP 432: Query"),
        (433, InfrastructureError, "HTTP 433"),
        (302, InfrastructureError, "HTTP 302"),
        (307, InfrastructureError, "HTTP 307"),
        (204, InfrastructureError, "HTTP 204"),
    ],
)
@BOTH
def test_a_refusal_is_not_repeated_and_a_redirect_not_followed(server, make, use, right, status, error, match):
    body = "" if status == 204 else "Query is too vague"
    server.script = [sends(body, status, Location=f"{server.url}/elsewhere")]
    with pytest.raises(error, match=match):
        use(make())
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (sends({"results": [], "failed_results": [{"url": URL, "error": "gone"}]}), "cannot be read"),
        (sends({"results": []}), "cannot be read"),
        (sends("URL is not supported", 403), "may not be read"),
        (sends(json.dumps(EXTRACTED) + " " * (9 << 20)), "too long"),
    ],
)
def test_a_page_that_cannot_be_read_is_the_agents_to_hear(server, make, reply, match):
    server.script = [reply]
    tavily = make(cache=None)
    with pytest.raises(ToolError, match=match):
        tavily.view(URL)
    assert tavily.naps == []
    assert tavily.view(URL) == PAGE


def test_a_search_may_not_be_endless(server, make):
    server.script = [sends(json.dumps(SEARCHED) + " " * (9 << 20))]
    tavily = make(retries=0)
    with pytest.raises(InfrastructureError, match="longer than"):
        tavily.search("a", 5)


def test_a_megabyte_page_is_read(server, make):
    text = "All of it. " * 200_000
    server.script = [sends({"results": [{"url": URL, "raw_content": text}]})]
    assert make().view(URL).text == text[:2_000_000]


# The key


def test_the_key_is_sent_and_never_shown(server, make, monkeypatch, tmp_path, recwarn):
    monkeypatch.setenv("TAVILY_API_KEY", "from-env\n")
    make().search("a", 5)
    given_key = make(api_key="tvly-other", cache=tmp_path)
    given_key.search("a", 5)
    given_key.view(URL)
    keys = [headers["Authorization"] for headers in server.headers]
    assert keys == ["Bearer from-env", "Bearer tvly-other", "Bearer tvly-other"]
    assert b"from-env" not in pickle.dumps(Tavily(base_url=server.url))
    assert "tvly-other" not in repr(given_key) + str(vars(given_key)["_service"])
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert kept
    assert b"tvly-other" not in kept
    for status in (302, 400, 401, 403, 404, 422, 432, 500):
        for use in (lambda tavily: tavily.search("b", 5), lambda tavily: tavily.view(f"{URL}/b")):
            server.script = [sends("your key tvly-other is bad", status)]
            with pytest.raises((ToolError, OptionError, InfrastructureError)) as error:
                use(make(api_key="tvly-other", retries=0))
            chain = [error.value, error.value.__cause__, error.value.__context__]
            assert "tvly-other" not in "".join(map(repr, chain))


ECHOED = "tvly-Sesame/0123+45=="


@pytest.mark.parametrize(
    "echo",
    [ECHOED, quote(ECHOED, safe=""), "".join(f"\\u{ord(char):04x}" for char in ECHOED)],
    ids=["as it is", "percent-encoded", "escaped"],
)
def test_an_echoed_key_reaches_no_page_no_hit_no_cache_and_no_error(server, make, tmp_path, echo):
    tavily = make(api_key=ECHOED, cache=tmp_path)
    hit = f'{{"url": "https://a.example/?k={echo}", "title": "{echo}", "content": "Bearer {echo}", "score": 1}}'
    page = f'{{"url": "{URL}", "title": "{echo}", "raw_content": "Bearer {echo}"}}'
    server.script = [sends(f'{{"results": [{hit}]}}'), sends(f'{{"results": [{page}]}}', X_Echo=echo)]
    assert tavily.search("a", 5) == [Hit("https://a.example/?k=***", "***", "Bearer ***", 1.0)]
    assert tavily.view(URL) == Page(URL, "***", "Bearer ***")
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*.json"))
    assert kept.count(b"Bearer ***") == 2
    assert b"0123" not in kept
    for status in (200, 302, 400, 401, 403, 404, 422, 432, 500):
        for offset in (0, *range(270, 301, 6)):
            scripts = [sends("." * offset + echo, status)]
            if status == 200:
                scripts.append(sends(f'{{"results": [{{"url": 7, "note": "{"." * offset}{echo}"}}]}}'))
            for script in scripts:
                server.script = [script]
                with pytest.raises((ToolError, OptionError, InfrastructureError)) as caught:
                    make(api_key=ECHOED, retries=0).search("b", 5)
                error = caught.value
                told = "".join(map(repr, [error, error.__cause__, error.__context__]))
                assert "esame" not in told
                assert "s\\" not in told


@pytest.mark.parametrize("key", ["", " ", None])
def test_there_must_be_a_key(monkeypatch, key):
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    with pytest.raises(OptionError, match=r"^api_key=.*TAVILY_API_KEY"):
        Tavily(key)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "localhost"},
        {"base_url": "https://a.example/?x=1"},
        {"depth": "deep"},
        {"per_minute": 0},
        {"per_minute": float("inf")},
        {"timeout": 0},
        {"retries": -1},
        {"options": {"query": "x"}},
        {"options": {"api_key": "x"}},
        {"options": {"include_domains": {1}}},
        {"options": {"x": float("nan")}},
        {"cache": os.devnull},
    ],
    ids=str,
)
def test_impossible_options_are_refused(make, options):
    with pytest.raises(OptionError, match=f"^{next(iter(options))}="):
        make(**options)
    with pytest.raises(OptionError) as error:
        make(api_key="se\nsame")
    assert "same" not in str(error.value)


# The limit


def test_requests_are_spread(server, make):
    naps = []
    tavily = make(per_minute=600, sleep=naps.append)
    for number in range(5):
        tavily.search(f"q{number}", 5)
    assert len(naps) == 4
    assert all(0 < nap <= 0.1 * (number + 1) for number, nap in enumerate(naps))
    assert naps == sorted(naps), "nobody slept, so the waits add up"


def test_threads_share_the_limit(server, make):
    tavily = make(per_minute=1200, sleep=time.sleep)
    began = time.monotonic()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: tavily.search(f"q{n}", 5), range(6)))
    assert found == [HITS] * 6
    assert time.monotonic() - began >= 5 * 0.05


def test_a_retry_takes_its_turn(server, make):
    server.script = [sends("", 500)]
    naps = []
    make(per_minute=60, sleep=naps.append).search("a", 5)
    backoff, turn = naps
    assert 0.5 <= backoff <= 1
    assert 0 < turn <= 1


# The cache


@BOTH
def test_a_request_is_sent_once(server, make, tmp_path, use, right):
    assert use(make(cache=tmp_path)) == use(make(cache=str(tmp_path), api_key="other")) == right
    assert len(server.requests) == 1
    server.server_close()
    assert use(make(cache=tmp_path, retries=0)) == right


def test_another_request_is_another(server, make, tmp_path):
    tavily = make(cache=tmp_path)
    for use in [
        lambda: tavily.search("a", 5),
        lambda: tavily.search("a", 6),
        lambda: tavily.search("A", 5),
        lambda: make(cache=tmp_path, depth="advanced").search("a", 5),
        lambda: make(cache=tmp_path, options={"topic": "news"}).search("a", 5),
        lambda: make(cache=tmp_path, base_url=f"{server.url}/x").search("a", 5),
        lambda: tavily.view(URL),
        lambda: tavily.view(f"{URL}/"),
    ]:
        before = len(server.requests)
        use()
        use()
        assert len(server.requests) == before + 1
    tavily.search(" a ", 5)
    assert len(server.requests) == 8


def test_failures_are_not_kept(server, make, tmp_path):
    server.script = [sends("", 400), sends("", 500), sends("rubbish"), sends("", 401)]
    for _ in range(4):
        with pytest.raises((ToolError, InfrastructureError, OptionError)):
            make(cache=tmp_path, retries=0).search("a", 5)
    assert make(cache=tmp_path).search("a", 5) == HITS


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-5],
        lambda content: content.replace(b"the first", b"the worst"),
        lambda content: content.replace(b"query", b"quest"),
        lambda content: b"[1]",
        lambda content: b"\xff" * 50,
        lambda content: b"[" * 100_000,
    ],
)
def test_a_damaged_reply_is_asked_for_again(server, make, tmp_path, damage):
    make(cache=tmp_path).search("a", 5)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_bytes(damage(kept.read_bytes()))
    assert make(cache=tmp_path).search("a", 5) == HITS
    assert make(cache=tmp_path).search("a", 5) == HITS
    assert len(server.requests) == 2


def test_a_cache_that_cannot_be_written_costs_no_reply(server, make, tmp_path):
    tavily = make(cache=tmp_path / "c")
    (tmp_path / "c").rmdir()
    (tmp_path / "c").touch()
    with pytest.warns(RuntimeWarning, match="going on without it"):
        assert tavily.search("a", 5) == HITS


def test_of_two_at_the_same_time_the_first_counts(tmp_path):
    cache = ReplyCache(tmp_path)
    assert cache.put("r", [1]) == [1]
    assert cache.put("r", [2]) == [1]
    assert cache.get("r") == [1]
    assert cache.get("s") is None
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: cache.put(f"t{n % 3}", n), range(60)))
    assert all(cache.get(f"t{n}") % 3 == n for n in range(3))
    assert len(said) == 60
    assert not list(tmp_path.rglob("*.part"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.recursive(st.none() | st.text() | st.floats(allow_nan=False), lambda t: st.lists(t, max_size=3)))
def test_every_reply_can_be_kept(tmp_path, request_text, reply):
    cache = ReplyCache(tmp_path / str(len(os.listdir(tmp_path))))
    request_text = request_text.encode("utf-8", "replace").decode()
    assert cache.put(request_text, reply) == reply
    assert cache.get(request_text) == reply


# In other processes, and in a rollout


def test_it_travels(server, make, tmp_path):
    tavily = Tavily(base_url=server.url, cache=tmp_path, timeout=5.0, retries=0, per_minute=1e9)
    assert pickle.loads(pickle.dumps(tavily)).search("a", 5) == HITS
    sent = tmp_path / "tavily"
    sent.write_bytes(pickle.dumps(tavily))
    code = "import pickle, sys; print(pickle.loads(open(sys.argv[1], 'rb').read()).search('a', 5)[0].title)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, sent], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("One\n", "")
    assert len(server.requests) == 1


def play(tavily, *calls):
    task = Task("t", "Who?", {"answer": "Ada"})
    env = RecursiveEnv(lambda index: task, lambda task: DeepDiveWorld(task, tavily), action_format="calls")
    env.reset(seed=0)
    for name, arguments in calls:
        observation, _, _, _, info = env.step(json.dumps([{"name": name, "arguments": arguments}]))
    return env, observation, info


def test_a_rollout_on_the_live_web(server, make):
    _, _, info = play(
        make(),
        ("search_web", {"query": "who was first"}),
        ("view_webpage_content", {"url": URL}),
        ("finish", {"message": "ada"}),
    )
    tree = info["tree"]
    assert tree.root.success == 1.0
    assert "All of it." in tree.root.turns[1].observation
    assert "sesame" not in tree.to_json()


def test_what_an_agent_asks_wrongly_it_reads(server, make):
    server.script = [sends("bad query, key tvly-sesame", 400)]
    _, seen, _ = play(make(), ("search_web", {"query": "?!"}))
    assert "refuses the query" in seen
    assert "sesame" not in seen


def test_a_dead_service_spoils_the_rollout(server, make):
    server.script = [sends("", 500)] * 2
    env = RecursiveEnv(
        lambda index: Task("t", "Who?", {"answer": "Ada"}),
        lambda task: DeepDiveWorld(task, make(retries=1)),
        action_format="calls",
    )
    env.reset(seed=0)
    with pytest.raises(InfrastructureError, match="failed 2 times"):
        env.step('[{"name": "search_web", "arguments": {"query": "a"}}]')
    assert "failed 2 times" in env.tree.invalid


def test_many_threads_at_once(server, make, tmp_path):
    tavily = make(cache=tmp_path)
    together = threading.Barrier(10, timeout=120)

    def agent(number):
        together.wait()
        return [tavily.search(f"q{turn}", 5) == HITS for turn in range(5)]

    with ThreadPoolExecutor(10) as pool:
        assert all(all(right) for right in pool.map(agent, range(10)))
    assert 5 <= len(server.requests) <= 50
