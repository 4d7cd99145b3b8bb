"""The virtual clock: start, end and wait of every node, computed by hand."""

import math

import pytest

from rao_envs import Action, ExecutionTree, Latency, Limits, metrics
from rao_envs.engine import Engine, count_tokens
from rao_envs.engine.rules import Rules
from rao_envs.errors import OptionError
from rao_envs.events import Resumed
from rao_envs.steps import Call, Wait
from rao_envs.testing.toy import ToyWorld, finish, launch, note, say, toy_env, toy_task


def begin(action_format="calls", **options):
    env = toy_env(action_format, **options)
    env.reset(seed=0, options={"task": 0})
    return env


def life(env, node):
    return env.tree.nodes[node].spawned_at, env.tree.nodes[node].returned_at


def resumed(env, node=0):
    """List (child, time) in order of delivery."""
    return [(e.child, e.time) for e in env.tree.events if isinstance(e, Resumed) and e.node == node]


GATHER = "import asyncio\nawait asyncio.gather(launch_subagent('a'), launch_subagent('b'))\n"


def test_children_run_side_by_side():
    env = begin()
    env.step(Action(say(launch("a"), launch("b")), 2.0))
    env.step(Action(say(finish()), 3.0))
    env.step(Action(say(finish()), 5.0))
    env.step(Action(say(finish()), 1.0))
    # Root: 0-2 thinks, both children start at 2 and end at 5 and 7; it goes on at 7 and is over at 8.
    assert [life(env, node) for node in range(3)] == [(0.0, 8.0), (2.0, 5.0), (2.0, 7.0)]
    assert env.tree.makespan == 8.0
    assert [(turn.start, turn.end) for turn in env.tree.root.turns] == [(0.0, 7.0), (7.0, 8.0)]
    summary = metrics.summary([env.tree])
    assert (summary["serial_time"], summary["speedup"]) == (2 + 3 + 5 + 1, 11 / 8)
    assert summary["concurrent_share"] == 1.0


def test_sequential_awaits_add_up():
    env = begin("code")
    env.step(Action("await launch_subagent('a')\nawait launch_subagent('b')", 2.0))
    env.step(Action("finish(1)", 3.0))
    env.step(Action("finish(1)", 5.0))
    env.step(Action("finish(1)", 1.0))
    assert [life(env, node) for node in range(3)] == [(0.0, 11.0), (2.0, 5.0), (5.0, 10.0)]
    assert metrics.summary([env.tree])["concurrent_share"] == 0.0


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_what_follows_a_gather_starts_when_its_last_child_is_back_whoever_was_asked_last(order):
    env = begin("code")
    env.advance({0: Action(GATHER + "await launch_subagent('c')", 1.0)})
    latency = {1: 9.0, 2: 2.0}
    for node in order:
        env.advance({node: Action("finish(1)", latency[node])})
    # a: 1-10, b: 1-3. In whatever order they were asked, c depends on both.
    assert resumed(env) == [(2, 3.0), (1, 10.0)]
    assert env.tree.nodes[3].spawned_at == 10.0
    env.advance({3: Action("finish(1)", 1.0)})
    env.advance({0: Action("finish(1)", 1.0)})
    assert env.tree.makespan == 12.0


CHAINS = """import asyncio
async def chain(first, second):
    await launch_subagent(first)
    await launch_subagent(second)
await asyncio.gather(chain('slow', 'short'), chain('quick', 'long'))"""


@pytest.mark.parametrize("last_first", [False, True])
def test_independent_chains_do_not_wait_for_each_other_in_virtual_time(last_first):
    env = begin("code")
    env.advance({0: Action(CHAINS, 0.0)})
    latency = {"slow": 10.0, "quick": 3.0, "short": 1.0, "long": 9.0}
    while env.ready != (0,):
        node = env.ready[-1 if last_first else 0]
        env.advance({node: Action("finish(1)", latency[env.tree.nodes[node].goal])})
    # slow 0-10, short 10-11; quick 0-3, long 3-12.
    lives = {node.goal: (node.spawned_at, node.returned_at) for node in env.tree.nodes[1:]}
    assert lives == {"slow": (0.0, 10.0), "quick": (0.0, 3.0), "long": (3.0, 12.0), "short": (10.0, 11.0)}
    assert env.tree.root.turns[0].end == 12.0


def test_a_result_is_held_back_while_another_child_could_still_be_first():
    env = begin("code")
    env.advance({0: Action(CHAINS, 0.0)})
    env.advance({1: Action("finish(1)", 10.0)})
    assert resumed(env) == []  # node 2 stands at 0 s
    env.advance({2: Action("1", 4.0)})
    assert resumed(env) == []  # ... at 4 s
    env.advance({2: Action("1", 6.0)})
    assert resumed(env) == [(1, 10.0)]  # ... at 10 s: it cannot return before
    assert env.tree.nodes[3].goal == "short"


def test_a_late_await_of_a_child_that_is_long_back_costs_nothing():
    env = begin("code")
    env.advance(
        {0: Action("b = launch_subagent('b')\nawait launch_subagent('a')\nawait b\nawait launch_subagent('c')", 0.0)}
    )
    env.advance({1: Action("finish(1)", 2.0)})
    env.advance({2: Action("finish(1)", 7.0)})
    assert env.tree.nodes[3].spawned_at == 7.0


def test_a_refused_launch_takes_no_time_and_holds_nothing_up():
    env = begin(limits={"max_children": 1})
    env.advance({0: Action(say(launch("a"), launch("b")), 2.0)})
    env.advance({1: Action(say(finish()), 3.0)})
    assert resumed(env) == [(1, 5.0)]
    assert env.tree.root.turns[0].end == 5.0


def test_a_node_that_finishes_ends_when_everything_that_it_started_has_returned():
    env = begin("code")
    env.advance({0: Action("b = launch_subagent('b')\nawait launch_subagent('a')\nfinish(1)", 0.0)})
    env.advance({1: Action("1", 8.0), 2: Action("finish(1)", 5.0)})
    assert env.ready == (1,)  # a is back at 5, and the root is done; b still runs
    env.advance({1: Action("finish(1)", 2.0)})
    assert [(node.goal, node.status, node.returned_at) for node in env.tree.nodes] == [
        ("Do 0.", "finished", 10.0),
        ("b", "finished", 10.0),
        ("a", "finished", 5.0),
    ]
    assert resumed(env) == [(2, 5.0), (1, 10.0)]


def test_a_turn_that_fails_ends_when_everything_that_it_started_has_returned():
    env = begin("code")
    env.advance({0: Action("b = launch_subagent('b')\nprint(await launch_subagent('a'))\n1 / 0", 0.0)})
    env.advance({1: Action("c = await launch_subagent('c')\nfinish(c)", 4.0)})
    env.advance({3: Action("finish(1)", 20.0)})
    assert env.tree.nodes[1].returned_at == 24.0
    env.advance({2: Action("finish(1)", 3.0)})
    turn = env.tree.root.turns[0]
    assert (turn.end, turn.fault) == (24.0, "agent")
    assert turn.observation.startswith("1\nTraceback")
    assert turn.observation.endswith("\nNot awaited, so what it returned is lost: 1 x launch_subagent.")


def test_of_two_that_return_at_the_same_time_the_one_launched_first_comes_first():
    seen = []
    for order in ((1, 2), (2, 1)):
        env = begin("code")
        env.advance({0: Action("import asyncio\nasync def ask(goal):\n    print(await launch_subagent(goal))\n"
                               "x = await asyncio.gather(ask('a'), ask('b'))", 0.0)})  # fmt: skip
        for node in order:
            env.advance({node: Action(f"finish({node})", 3.0)})
        seen.append((env.tree.root.turns[0].observation, resumed(env)))
    assert seen == [("1\n2", [(1, 3.0), (2, 3.0)])] * 2


def test_latency_comes_from_the_model_unless_it_was_measured():
    env = begin(latency=Latency(base=1.0, prompt_rate=100.0, output_rate=10.0), token_counter=len)
    text = say(note("x"))
    env.step(text)
    prompt = len(env.tree.root.system) + len(env.tree.root.opening)
    assert env.tree.root.turns[0].latency == 1.0 + prompt / 100.0 + len(text) / 10.0
    env.step(Action(text, 0.25))
    assert env.tree.root.turns[1].latency == 0.25


def test_a_wait_is_the_time_between_blocked_and_resumed():
    env = begin()
    env.step(Action(say(launch("a")), 1.0))
    env.step(Action(say(note("x")), 2.0))
    env.step(Action(say(finish()), 2.0))
    assert metrics.summary([env.tree])["unfinished"] == 1
    env.step(Action(say(finish()), 1.0))
    blocked = next(e.time for e in env.tree.events if type(e).__name__ == "Blocked")
    assert (blocked, resumed(env)) == (1.0, [(1, 5.0)])
    assert env.tree.makespan == 6.0


def test_a_result_is_due_as_soon_as_the_other_child_blocks_at_a_later_time():
    env = begin("code")
    env.advance({0: Action(CHAINS, 0.0)})
    env.advance({1: Action("finish(1)", 10.0)})
    env.advance({2: Action("await launch_subagent('below')", 12.0)})
    assert resumed(env) == [(1, 10.0)]


# A sandbox that says less ---------------------------------------------------------------------------------------------


class Scripted:
    """A session that takes steps by hand; unlike the default sandbox it waits for what it awaits, and no more."""

    def __init__(self, script):
        self.script = script

    def start(self, message):
        self.steps = self.script() if message == "script" else iter([Call(0, "finish", (1,), {})])
        return next(self.steps)

    def answer(self, call, answer):
        return self.steps.send((call, answer))

    settle = answer

    def abandon(self):
        return ""

    def close(self):
        pass


class ScriptedFormat:
    name = "scripted"
    growth = None

    def __init__(self, script):
        self.script = script

    def explain(self, tools):
        return ""

    def start(self, session, message):
        return session.start(message)

    def open(self, tools, variables, seed):
        return Scripted(self.script)


def run_script(script, latencies, **limits):
    """Run a script as the root's turn, its children in the given order; return the tree."""
    rules = Rules(ScriptedFormat(script), Limits(**limits), True, Latency(), count_tokens)
    engine = Engine(ToyWorld(toy_task(0)), rules, 0)
    engine.start()
    engine.advance({0: Action("script", 0.0)})
    for node, latency in latencies.items():
        engine.advance({node: Action("end", latency)})
    return engine.tree


def test_a_child_that_is_back_before_it_is_awaited_does_not_turn_time_back():
    def script():
        yield Call(0, "launch_subagent", ("a",), {})
        yield Call(1, "launch_subagent", ("b",), {})
        yield Wait((0,))
        yield Wait((1,))
        yield Call(2, "launch_subagent", ("c",), {})
        yield Wait((2,))

    tree = run_script(script, {2: 3.0, 1: 10.0})
    assert [node.goal for node in tree.nodes[1:]] == ["a", "b", "c"]
    assert tree.nodes[3].spawned_at == 10.0


@pytest.mark.parametrize("seconds", [math.nan, -1.0, math.inf, 1e101])
def test_a_clock_that_no_tree_could_keep_is_named(seconds):
    env = toy_env(latency=lambda prompt, output: seconds)
    env.reset(seed=0)
    with pytest.raises(OptionError, match="latency="):
        env.step(say(note("x")))
    assert ExecutionTree.from_json(env.tree.to_json()).invalid is not None
    with pytest.raises(OptionError, match="latency="):
        Action("x", seconds)
