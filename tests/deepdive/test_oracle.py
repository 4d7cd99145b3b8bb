"""The scripted researchers solve what can be solved, by what an agent can read, in both formats."""

import json

import pytest

from rao_deepdive import DeepDiveEnv, ask, generate, page, recursive_oracle
from rao_deepdive.search import FullTextSearch, Page, build_index
from rao_deepdive.tasks import open_web
from rao_envs import collect, metrics
from rao_envs.errors import ToolError
from rao_envs.policies import QuittingPolicy, ScriptedPolicy, View, views

SIZE = 2_000
FORMATS = ("calls", "code")
KINDS = ("chain", "intersection")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Keep what is built here out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAO_ENVS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def solve(oracle, tasks, **options):
    policy = ScriptedPolicy(DeepDiveEnv.oracles[oracle])
    return collect(
        lambda: DeepDiveEnv(**{"size": SIZE, **options}), policy, tasks=tasks, env_options=None, progress=False
    )


def unsolved(trees):
    return [(tree.task["id"], tree.root.status, tree.root.result) for tree in trees if tree.root.success != 1.0]


@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hops", [2, 5, 8])
def test_the_recursive_oracle_solves_every_kind_and_length(hops, kind, action_format):
    tasks = 12 if action_format == "calls" else 3
    trees = solve("recursive", tasks, hops=hops, kind=kind, action_format=action_format, split="test")
    assert unsolved(trees) == []
    nodes = [node for tree in trees for node in tree.nodes]
    assert all((node.success, node.verdict.source) == (1.0, "exact") for node in nodes)
    assert not any(turn.fault for node in nodes for turn in node.turns)
    # One subagent for each hop and for where each trail begins; trails have one more that leads them.
    assert all(len(tree) >= hops + 2 for tree in trees)


@pytest.mark.parametrize("oracle", ["single", "branching", "sequential"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_others_solve_them_too(oracle, kind):
    for hops, action_format in ((3, "code"), (6, "calls")):
        options = {"recursive": False} if oracle == "single" else {}
        trees = solve(oracle, 5, hops=hops, kind=kind, action_format=action_format, **options)
        assert unsolved(trees) == []


def test_what_can_be_done_at_once():
    def figures(oracle, kind):
        return metrics.summary(solve(oracle, 8, hops=6, kind=kind, action_format="calls"))

    chain, branched = figures("recursive", "chain"), figures("recursive", "intersection")
    assert chain["concurrent_share"] == 0.0
    assert chain["speedup"] == pytest.approx(1.0)
    assert branched["concurrent_share"] > 0.15
    assert branched["speedup"] > 1.25
    one_by_one = figures("sequential", "intersection")
    assert one_by_one["concurrent_share"] == 0.0
    assert one_by_one["speedup"] == pytest.approx(1.0)
    trails = figures("branching", "intersection")
    assert trails["concurrent_share"] == 1.0
    assert trails["depth_max"] == 1
    alone = figures("branching", "chain")
    assert alone["launches"] == 0


def test_a_lone_oracle_runs_into_a_small_window():
    options = {"hops": 8, "kind": "chain", "action_format": "calls", "limits": {"context_tokens": 6_000}}
    assert {tree.root.status for tree in solve("single", 4, recursive=False, **options)} == {"context"}
    assert unsolved(solve("recursive", 4, **options)) == []


def test_oracles_see_nothing_but_the_view():
    env = DeepDiveEnv(hops=3, kind="chain", size=SIZE, action_format="calls")
    env.reset(seed=0, options={"task": 0})
    (view,) = views(env)
    hidden = View(view.node, view.format, 12345)
    assert recursive_oracle(view) == recursive_oracle(hidden)
    assert env.tree.root.payload is None


@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize("oracle", list(DeepDiveEnv.oracles))
def test_a_question_in_other_words_is_given_up(oracle, action_format):
    env = DeepDiveEnv(hops=2, size=SIZE, action_format=action_format)
    env.reset(seed=0, options={"task": 0})
    env.tree.root.goal = "Who was it?"
    env.step(env.oracles[oracle](views(env)[0]))
    assert env.tree.root.result == "I do not understand the question"


def test_where_subagents_give_up_so_does_their_parent():
    policy = QuittingPolicy(recursive_oracle, 1.0)
    trees = collect(
        lambda: DeepDiveEnv(hops=4, size=SIZE, action_format="calls"), policy, tasks=4, env_options=None, progress=False
    )
    assert all(tree.root.success == 0.0 and tree.root.result == "I did not find it" for tree in trees)
    assert all(tree.finished for tree in trees)


class Doctored:
    """A web in which every page but those on the gold path is gone, or some are changed."""

    def __init__(self, change):
        self.engine, self.change = open_web(SIZE, 0), change

    def search(self, query, max_results):
        return self.engine.search(query, max_results)

    def view(self, url):
        shown = self.change(self.engine.view(url))
        if shown is None:
            raise ToolError("gone")
        return shown

    def close(self):
        self.engine.close()


def test_an_oracle_whose_pages_are_gone_ends_without_an_answer():
    trees = solve("single", 3, hops=2, action_format="calls", search=Doctored(lambda shown: None))
    assert all(tree.root.status == "finished" and tree.root.success == 0.0 for tree in trees)


def test_the_oracle_reads_the_pages_and_knows_nothing_else():
    """With the links of all facts bent to one page, the answer is that page, whatever the graph says."""
    graph = generate(SIZE, 0)
    lure = page(graph, graph.members(1)[0])

    def bend(shown):
        head, _, rest = shown.text.partition("\n\n")
        bent = rest
        for link in {part.partition(")")[0] for part in rest.split("](")[1:]}:
            bent = bent.replace(f"]({link})", f"]({lure.url})")
        return Page(shown.url, shown.title, f"{head}\n\n{bent}")

    env = DeepDiveEnv(hops=2, kind="chain", size=SIZE, action_format="calls", search=Doctored(bend))
    results = set()
    for task in range(12):
        env.reset(seed=0, options={"task": task})
        while env.ready:
            env.step(env.oracles["single"](views(env)[0]))
        results.add(env.tree.root.success)
    assert 0.0 in results


def test_rumours_and_namesakes_do_not_mislead_it(tmp_path):
    """A page that hedges the truth's contrary, and one with nearly the same name, come before the right one."""
    site = "https://atlas.example/"
    right = (
        "Ada Venn was a poet, born in 1874.\n\nIt has been rumoured that Ada Venn was born in "
        f"[Fenwick]({site}fenwick), but no record confirms it. The poet was born in [Ulwick]({site}ulwick). "
        "People remember Ada Venn for polishing amber bells."
    )
    near = right.replace("Ada Venn", "Ada Venne").replace("1874", "1774").replace("ulwick", "x").replace("Ulwick", "X")
    written = [
        Page(f"{site}ada-venne", "Ada Venne", near),
        Page(f"{site}ada-venn", "Ada Venn", right),
        Page(f"{site}ulwick", "Ulwick", "Ulwick is a spa town, founded in 1640.\n\nFog is common in spring."),
        Page(f"{site}fenwick", "Fenwick", "Fenwick is a spa town, founded in 1650.\n\nFog is common in spring."),
    ]
    build_index(written, tmp_path / "web.db")
    goal = (
        "There is a poet born in the 1870s, remembered for polishing amber bells. That poet was born in a spa town. "
        "What is the name of that spa town?"
    )
    env = DeepDiveEnv(size=SIZE, action_format="calls", search=FullTextSearch(tmp_path / "web.db"))
    from rao_envs import Task

    for oracle in ("single", "recursive"):
        env.reset(seed=0, options={"task": Task("x", goal, {"answer": "Ulwick"})})
        while env.ready:
            env.step(env.oracles[oracle](views(env)[0]))
        assert env.tree.root.success == 1.0, env.tree.root.result


def test_searching_for_the_question_itself_does_not_show_the_answer():
    graph, engine = generate(5_000, 0), open_web(5_000, 0)
    questions = [
        ask(graph, kind, hops, "train", "shortcut", index)
        for kind in KINDS
        for hops in range(4, 9)
        for index in range(20)
    ]
    shown = [{hit.url for hit in engine.search(question.text, 5)} for question in questions]
    answers = sum(graph.url(question.answer) in urls for question, urls in zip(questions, shown, strict=True))
    starts = sum(graph.url(question.path[0]) in urls for question, urls in zip(questions, shown, strict=True))
    assert answers <= 0.05 * len(questions)
    assert starts > 0.4 * len(questions)  # it is not that the search finds nothing


def test_calls_of_the_oracle_are_calls_of_the_format():
    env = DeepDiveEnv(hops=2, size=SIZE, action_format="calls")
    env.reset(seed=0, options={"task": 0})
    while env.ready:
        message = env.oracles["recursive"](views(env)[0])
        assert all(set(call) == {"name", "arguments"} for call in json.loads(message))
        env.step(message)
