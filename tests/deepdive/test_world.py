"""The environment: its tools, what it refuses, and who is judged how."""

import json
import re
from pathlib import Path

import gymnasium as gym
import pytest

import rao_deepdive
from rao_deepdive import DeepDiveEnv, DeepDiveWorld, generate, pages, phrase, tasks
from rao_deepdive.search import FullTextSearch, Hit, Page, build_index
from rao_deepdive.tasks import open_web
from rao_deepdive.world import PART
from rao_envs import Task, collect
from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.events import Spawned, Verdict
from rao_envs.judges import Case
from rao_envs.policies import ScriptedPolicy, views
from rao_envs.testing import check_env

SIZE = 1_000


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Keep what is built here out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAO_ENVS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def graph():
    return generate(SIZE, 0)


@pytest.fixture(scope="module")
def engine(graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("web") / "web.db"
    build_index(pages(graph), path)
    return FullTextSearch(path)


def begin(task=0, **options):
    env = DeepDiveEnv(**{"size": SIZE, "action_format": "calls", **options})
    env.reset(seed=0, options={"task": task})
    return env


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def act(env, node, *calls):
    """Send calls from a node; return what it sees of each."""
    env.advance({node: json.dumps(calls)})
    turn = env.tree.nodes[node].turns[-1]
    return None if turn.observation is None else json.loads(turn.observation)


def judged(env, goal, result):
    """Launch a subagent that finishes at once; return its verdict."""
    act(env, 0, call("launch_subagent", goal=goal))
    child = len(env.tree.nodes) - 1
    env.advance({child: json.dumps([call("finish", message=result)])})
    return env.tree.nodes[child].verdict


class Recorder:
    """A judge that notes what it is asked, and says the same each time."""

    def __init__(self, success):
        self.success, self.cases = success, []

    def __call__(self, case: Case):
        self.cases.append(case)
        return Verdict(self.success, "judge" if self.success is not None else "none", "as told")


# Tools ----------------------------------------------------------------------------------------------------------------


def test_a_search_shows_results_and_a_page_can_be_read(graph):
    env = begin()
    name = graph.names[5]
    (shown,) = act(env, 0, call("search_web", query=name))
    assert len(shown["result"]) == 5
    assert all(set(hit) == {"url", "title", "content", "score"} for hit in shown["result"])
    assert shown["result"][0]["title"] == name
    (page,) = act(env, 0, call("view_webpage_content", url=shown["result"][0]["url"]))
    head, _, text = page["result"].partition("\n\n")
    assert head == f"{name}\n{graph.url(5)}"
    assert name in text


def test_as_many_results_as_are_asked_for():
    env = begin()
    for count in (1, 7, 20):
        (shown,) = act(env, 0, call("search_web", query="a novel set in a town", max_results=count))
        assert len(shown["result"]) == count


@pytest.mark.parametrize(
    "wrong",
    [
        call("search_web", query=""),
        call("search_web", query=" \n\t"),
        call("search_web", query="novel", max_results=0),
        call("search_web", query="novel", max_results=21),
        call("search_web", query="novel", max_results=-3),
        call("search_web", query="novel", max_results="many"),
        call("search_web", query="x" * 5_000),
        call("search_web"),
        call("view_webpage_content", url=""),
        call("view_webpage_content", url="https://atlas.example/no-such-page"),
        call("view_webpage_content", url="file:///etc/passwd"),
        call("view_webpage_content", url="'; DROP TABLE pages; --"),
        call("view_webpage_content", url="https://atlas.example/" + "x" * 10_000),
        call("launch_subagent", goal=""),
        call("launch_subagent", goal="  \n"),
        call("launch_subagent", goal="... ?!"),
        call("launch_subagent", goal="find it " * 1_000),
        call("launch_subagent"),
    ],
    ids=lambda wrong: f"{wrong['name']}-{str(wrong['arguments'])[:30]}",
)
def test_a_mistake_is_an_observation_and_costs_nothing_else(wrong):
    env = begin()
    (shown,) = act(env, 0, wrong)
    assert "result" not in shown
    assert shown["error"]
    assert len(env.tree.nodes) == 1
    assert env.tree.invalid is None
    (shown,) = act(env, 0, call("search_web", query="novel"))
    assert shown["result"]


@pytest.mark.parametrize(
    "query", ['"', "novel AND (", "title:x OR *", "NEAR(a b)", "'; DROP TABLE pages; --", "a" * 900, "ü 日本 \x00"]
)
def test_no_query_is_a_program(query):
    env = begin()
    (shown,) = act(env, 0, call("search_web", query=query))
    assert isinstance(shown.get("result"), list) or shown["error"]
    (shown,) = act(env, 0, call("search_web", query="novel"))
    assert shown["result"]


class Library:
    """A search service with one page of any length, which may be out of order."""

    def __init__(self, text="", broken=False):
        self.text, self.broken = text, broken

    def search(self, query, max_results):
        if self.broken:
            raise InfrastructureError("the service is down")
        return [Hit("https://one.example/", "One", self.text[:50], 1.0)] * max_results

    def view(self, url):
        return Page("https://one.example/", "One", self.text)

    def close(self):
        pass


def test_a_page_of_megabytes_comes_in_parts():
    text = "".join(f"{number:07} " for number in range(250_000))
    env = begin(search=Library(text))
    parts = -(-len(text) // PART)
    for part in (1, 2, parts):
        (shown,) = act(env, 0, call("view_webpage_content", url="https://one.example/", part=part))
        head, _, body = shown["result"].partition("\n\n")
        assert head.endswith(f"[part {part} of {parts}]")
        assert body == text[(part - 1) * PART : part * PART]
    for part in (0, parts + 1):
        (shown,) = act(env, 0, call("view_webpage_content", url="https://one.example/", part=part))
        assert f"parts 1 to {parts}" in shown["error"]


def test_no_engine_is_asked_for_an_impossible_number_of_results():
    env = begin(search=Library("text"))
    for count, right in ((0, False), (1, True), (20, True), (21, False)):
        (shown,) = act(env, 0, call("search_web", query="text", max_results=count))
        assert ("result" in shown) == right
        assert right or f"max_results={count}" in shown["error"]


def test_a_short_page_has_no_parts_and_an_empty_one_is_shown():
    env = begin(search=Library(""))
    (shown,) = act(env, 0, call("view_webpage_content", url="https://one.example/"))
    assert shown["result"] == "One\nhttps://one.example/\n\n"


def test_a_service_that_is_down_spoils_the_rollout_and_is_nobodys_failure():
    options = {"size": SIZE, "action_format": "calls", "search": Library(broken=True)}
    policy = ScriptedPolicy(DeepDiveEnv.oracles["single"])
    (tree,) = collect(lambda: DeepDiveEnv(**options), policy, tasks=1, max_retries=1, progress=False)
    assert "the service is down" in tree.invalid
    assert tree.root.success is None


# The root -------------------------------------------------------------------------------------------------------------


def end(env, result):
    env.advance({0: json.dumps([call("finish", message=result)])})
    return env.tree.root.verdict


def test_the_answer_and_its_aliases_are_right_however_they_are_written():
    task = next(i for i in range(50) if begin(i).world.task.payload["aliases"])
    payload = begin(task).world.task.payload
    gold, alias = payload["answer"], payload["aliases"][0]
    for said in (gold, gold.upper(), f"  the {gold}. ", {"answer": gold}, alias, f"'{alias}'"):
        assert end(begin(task), said) == Verdict(1.0, "exact", "the gold answer")


@pytest.mark.parametrize(
    "said", ["", None, "...", [], {}, "Nobody at All", 7, True, ["a", "b"], {"name": "x"}, "x" * 50_000]
)
def test_everything_else_is_wrong(said):
    verdict = end(begin(), said)
    assert (verdict.success, verdict.source) == (0.0, "exact")


def test_a_list_of_everything_is_wrong(graph):
    env = begin()
    gold = env.world.task.payload["answer"]
    assert end(env, f"{gold} or {graph.names[3]}").success == 0.0
    assert end(begin(), [gold]).success == 0.0


def test_a_judge_decides_about_what_is_not_the_gold_answer_word_for_word():
    for success in (1.0, 0.0, 0.25, None):
        judge = Recorder(success)
        env = begin(judge=judge)
        gold = env.world.task.payload["answer"]
        assert end(env, f"I believe that it is {gold}").success == success
        (case,) = judge.cases
        assert (case.goal, case.reference) == (env.tree.root.goal, gold)
        assert case.transcript[1]["content"].startswith(env.tree.root.goal)


def test_a_judge_is_not_asked_about_the_gold_answer_or_about_nothing():
    judge = Recorder(1.0)
    for said in ("", None, "!", {}, []):
        assert end(begin(judge=judge), said).success == 0.0
    env = begin(judge=judge)
    assert end(env, env.world.task.payload["answer"]).success == 1.0
    assert judge.cases == []


def test_nothing_that_an_agent_sees_tells_the_answer():
    for task in range(20):
        env = begin(task)
        payload = env.world.task.payload
        seen = json.dumps(list(env.tree.root.messages))
        spawned = next(event for event in env.tree.events if isinstance(event, Spawned))
        for name in (payload["answer"], *payload["aliases"], *(step["name"] for step in payload["steps"])):
            assert name not in seen
            assert name not in json.dumps(spawned.payload)


# Subagents ------------------------------------------------------------------------------------------------------------


def test_a_goal_may_have_5000_characters():
    for length, children in ((5_000, 1), (5_001, 0)):
        env = begin()
        act(env, 0, call("launch_subagent", goal="x" * length))
        assert len(env.tree.nodes) == 1 + children


def test_a_subagent_is_judged_by_its_own_goal(graph):
    goal, gold = f"Where was {graph.names[5]} born?", graph.names[graph.tail("born_in", 5)]
    env = begin()
    assert judged(env, goal, gold) == Verdict(1.0, "exact", "the right answer")
    assert judged(env, goal, {"answer": gold, "url": "x"}).success == 1.0
    assert judged(env, goal, f"{graph.names[5]} was born in {gold}.").success == 1.0
    both, endless = f"{gold} or {graph.names[700]}", f"It is {gold}" + "!" * 2_000
    for wrong in ("", None, graph.names[5], goal, "I give up", both, endless, {"place": gold}, 7):
        verdict = judged(env, goal, wrong)
        assert (verdict.success, verdict.source) == (0.0, "exact"), wrong


def test_a_question_in_the_words_of_the_benchmark_is_judged_exactly(graph):
    env = begin(kind="chain", hops=3)
    query = env.world.task.payload["query"]
    steps = env.world.task.payload["steps"]
    assert judged(env, env.tree.root.goal, steps[-1]["name"]).success == 1.0
    assert judged(env, env.tree.root.goal, steps[0]["name"]).success == 0.0
    from rao_deepdive import Query

    first = phrase(Query.from_dict(query).only([0]))
    assert judged(env, first, steps[0]["name"]).success == 1.0
    assert judged(env, first, steps[1]["name"]).success == 0.0


def test_a_year_is_right_alone_or_in_a_sentence(graph):
    env = begin()
    goal, year = f"When was {graph.names[5]} born?", graph.years[5]
    assert judged(env, goal, str(year)).success == judged(env, goal, year).success == 1.0
    assert judged(env, goal, f"Born in {year}.").success == 1.0
    assert judged(env, goal, f"Born in {year} or {year + 1}.").success == 0.0
    goal = f"When was {graph.names[5]}, who was known by {year + 40}, born?"
    assert judged(env, goal, f"Born in {year}, known by {year + 40}.").success == 1.0


def test_what_no_program_can_judge_goes_to_the_judge_or_stays_unjudged():
    assert judged(begin(), "Summarise what you find about bells.", "Much.").success is None
    judge = Recorder(0.5)
    env = begin(judge=judge)
    assert judged(env, "Summarise what you find about bells.", "Much.") == Verdict(0.5, "judge", "as told")
    assert [case.goal for case in judge.cases] == ["Summarise what you find about bells."]


def test_a_judge_is_not_asked_where_a_program_knows(graph):
    judge = Recorder(1.0)
    assert judged(begin(judge=judge), f"Where was {graph.names[5]} born?", "nowhere").success == 0.0
    assert judge.cases == []


# Options --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"hops": 1}, "hops"),
        ({"hops": 9}, "hops"),
        ({"hops": 2.0}, "hops"),
        ({"hops": 4, "difficulty": "easy"}, "difficulty"),
        ({"difficulty": "impossible"}, "difficulty"),
        ({"kind": "tree"}, "kind"),
        ({"size": 10}, "size"),
        ({"split": "dev"}, "split"),
        ({"search": "bing"}, "search"),
        ({"corpus": "x.jsonl"}, "corpus"),
        ({"questions": "x.jsonl"}, "questions"),
        ({"limits": {"max_turns": 0}}, "max_turns"),
        ({"limits": {"nonsense": 1}}, "limits"),
        ({"action_format": "xml"}, "action_format"),
    ],
)
def test_an_impossible_option_is_refused_by_name(options, name):
    with pytest.raises(OptionError, match=f"{name}="):
        DeepDiveEnv(**{"size": SIZE, **options})


def test_a_task_without_an_answer_is_refused(engine):
    for payload in ({}, {"answer": ""}, {"answer": 7}):
        with pytest.raises(OptionError, match="answer="):
            DeepDiveWorld(Task("x", "What?", payload), engine)


def test_difficulties_and_kinds_give_what_they_say():
    for difficulty, hops in {"easy": {2}, "medium": {3, 4}, "hard": {5, 6}, "extreme": {7, 8}}.items():
        payloads = [DeepDiveEnv(difficulty=difficulty, size=SIZE).tasks(index).payload for index in range(30)]
        assert {payload["hops"] for payload in payloads} == hops
        assert {payload["kind"] for payload in payloads} == {"chain", "intersection"}
    for kind in ("chain", "intersection"):
        tasks = DeepDiveEnv(hops=4, kind=kind, size=SIZE).tasks
        assert {(tasks(index).payload["kind"], tasks(index).payload["hops"]) for index in range(10)} == {(kind, 4)}


def test_splits_share_no_answer_and_seeds_give_other_tasks():
    def drawn(**options):
        tasks = DeepDiveEnv(hops=2, size=SIZE, **options).tasks
        return [tasks(index).payload["answer"] for index in range(60)]

    splits = [set(drawn(split=split)) for split in ("train", "val", "test")]
    assert not splits[0] & splits[1] | splits[1] & splits[2] | splits[0] & splits[2]
    assert drawn() == drawn() != drawn(task_seed=1)
    assert set(drawn()) & set(drawn(task_seed=1))
    assert not set(drawn()) & set(drawn(world_seed=1))


def test_tasks_have_names_of_their_own():
    names = {
        DeepDiveEnv(size=SIZE, **options).tasks(index).id
        for index in range(3)
        for options in ({}, {"hops": 3}, {"kind": "chain"}, {"split": "val"}, {"task_seed": 1}, {"world_seed": 1})
    }
    names |= {DeepDiveEnv(size=SIZE + 1).tasks(index).id for index in range(3)}
    assert len(names) == 21


def test_every_web_has_a_file_of_its_own():
    for size, seed in ((100, 0), (101, 0), (100, 1)):
        assert [page.title for page in open_web(size, seed).pages()] == generate(size, seed).names


def test_a_kept_web_is_dropped_when_any_module_that_makes_its_pages_changes(monkeypatch):
    def needed(name):
        """Return a module of `web` and all that it imports from the room; the index has a version of its own."""
        source = Path(rao_deepdive.__path__[0], "web", f"{name}.py").read_text(encoding="utf-8")
        used = re.findall(r"^(?: {4})?from rao_deepdive\.web\.(\w+) import", source, re.MULTILINE)
        return {name}.union(*map(needed, used))

    read, read_bytes = set(), Path.read_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: read.add(path.stem) or read_bytes(path))
        tasks._edition.__wrapped__()
    assert read == needed("pages")


def test_ones_own_engine_over_the_same_pages(engine):
    env = begin(search=engine, kind="chain", hops=2)
    while env.ready:
        env.step(env.oracles["recursive"](views(env)[0]))
    assert env.tree.root.success == 1.0


def test_ones_own_corpus_and_questions(tmp_path):
    corpus, questions = tmp_path / "corpus.jsonl", tmp_path / "questions.jsonl"
    rows = [
        {"title": "Rye Bridge", "text": "Rye Bridge was built by Ann Moor."},
        {"title": "Ann Moor", "text": "A mason."},
    ]
    corpus.write_text("\n".join(map(json.dumps, rows)))
    asked = {"id": "7", "question": "Who built Rye Bridge?", "answer": "Ann Moor", "supporting_titles": ["Rye Bridge"]}
    questions.write_text(json.dumps(asked))
    env = DeepDiveEnv(corpus=corpus, questions=questions, action_format="calls")
    observation, _ = env.reset(seed=0)
    assert observation.startswith("Who built Rye Bridge?")
    (shown,) = act(env, 0, call("search_web", query="Who built Rye Bridge?"))
    assert shown["result"][0]["title"] == "Rye Bridge"
    assert judged(env, "Who built Rye Bridge?", "Ann Moor").success is None
    assert end(env, "ann moor").success == 1.0
    for options in ({"hops": 2}, {"kind": "chain"}, {"difficulty": "easy"}, {"split": "dev"}, {"search": Library()}):
        with pytest.raises(OptionError):
            DeepDiveEnv(corpus=corpus, questions=questions, **options)


@pytest.mark.parametrize("kind", ["chain", "intersection"])
def test_the_environment_keeps_every_rule(kind):
    check_env(lambda **options: DeepDiveEnv(kind=kind, size=SIZE, **options))


def test_a_lone_agent_has_no_subagents():
    env = begin(recursive=False)
    assert "launch_subagent" not in env.tree.root.system
    (shown,) = act(env, 0, call("launch_subagent", goal="Who founded it?"))
    assert "error" in shown


def test_it_is_a_gymnasium_environment():
    assert isinstance(DeepDiveEnv(size=SIZE), gym.Env)
