"""Who acts next, who waits for whom, what ends a node: scenarios small enough to follow by hand."""

import pytest

from rao_envs import Action, ExecutionTree, ToolError, World, tool
from rao_envs.errors import EpisodeOver, InfrastructureError, NotReady, OptionError
from rao_envs.events import Blocked, Observed, Resumed, Returned, Sample, Spawned
from rao_envs.testing.toy import ToyWorld, finish, launch, note, say, toy_env

GATHER = "import asyncio\nresults = await asyncio.gather({})\nprint(results)"


def begin(action_format="calls", **options):
    env = toy_env(action_format, **options)
    env.reset(seed=0, options={"task": 0})
    return env


def gather(*goals):
    return GATHER.format(", ".join(f"launch_subagent({goal!r})" for goal in goals))


def seen(env, node=0):
    return env.tree.nodes[node].turns[-1].observation


def statuses(env):
    return [node.status for node in env.tree.nodes]


def names(events, *kinds):
    """Name events as "Type node", of these types or all."""
    return [f"{type(e).__name__} {e.node}" for e in events if not kinds or isinstance(e, kinds)]


# Order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action_format", "delegate", "end"),
    [("calls", say(launch("a"), launch("b")), say(finish())), ("code", gather("a", "b"), "finish(1)")],
)
def test_step_goes_depth_first(action_format, delegate, end):
    env = begin(action_format)
    # 0 launches 1 and 2, 1 launches 3 and 4: depth first is 0, 1, 3, 4, then 1 again, 2, then 0 again.
    order, done = [], False
    script = {0: [delegate, end], 1: [delegate, end], 2: [end], 3: [end], 4: [end]}
    while not done:
        node = env.ready[0]
        order.append(node)
        _, _, terminated, truncated, info = env.step(script[node].pop(0))
        done = terminated or truncated
    assert order == [0, 1, 3, 4, 1, 2, 0]
    assert [env.tree.nodes[n].path for n in (1, 3, 4, 2)] == [(0,), (0, 0), (0, 1), (1,)]
    assert info["tree"] is env.tree


def test_actions_take_effect_in_the_order_of_ready_whatever_the_mapping_s():
    env = begin()
    env.advance({0: say(launch("a"), launch("b"))})
    assert env.ready == (1, 2)
    env.advance({2: say(note("second")), 1: say(note("first"))})
    assert env.world.notes == ["first", "second"]
    env.advance({2: say(note("third"))})  # 1 is left out and stays ready
    assert env.ready == (1, 2)


def test_a_turn_that_gathers_waits_for_all_and_gets_results_in_the_order_of_its_calls():
    env = begin("code")
    events = env.advance({0: gather("a", "b")})
    assert names(events) == ["Acted 0", "Spawned 1", "Spawned 2", "Blocked 0"]
    assert env.tree.root.waits_for == (1, 2)
    env.advance({2: "finish('B')"})
    assert env.ready == (1,)
    env.advance({1: "finish('A')"})
    assert seen(env) == "['A', 'B']"
    assert env.ready == (0,)
    assert env.tree.root.waits_for == ()


def test_launches_of_one_list_of_calls_work_side_by_side():
    env = begin()
    env.advance({0: say(launch("a"), note("x"), launch("b"))})
    assert env.ready == (1, 2)
    env.advance({1: say(finish("A")), 2: say(finish("B"))})
    assert seen(env) == (
        '[{"name":"launch_subagent","result":"A"},{"name":"note","result":1},{"name":"launch_subagent","result":"B"}]'
    )


def test_sequential_awaits_launch_one_after_the_other():
    env = begin("code")
    env.advance({0: "a = await launch_subagent('a')\nb = await launch_subagent(a + '!')\nprint(a, b)"})
    assert env.ready == (1,)
    events = env.advance({1: "finish('A')"})
    assert names(events, Resumed, Blocked) == ["Resumed 0", "Blocked 0"]
    assert env.tree.nodes[2].goal == "A!"
    env.advance({2: "finish('B')"})
    assert seen(env) == "A B"


NESTED = """import asyncio
async def chain(name):
    first = await launch_subagent(name)
    return await launch_subagent(name + first)
print(await asyncio.gather(chain('x'), chain('y')))"""


def test_nested_coroutines_go_on_as_soon_as_their_own_child_is_back():
    env = begin("code")
    env.advance({0: NESTED})
    assert env.ready == (1, 2)
    # Both take as long: the result of 2 is delivered only once 1, launched before it, cannot return at that time.
    env.advance({1: Action("1", 1.0), 2: Action("finish('2')", 1.0)})
    assert env.ready == (1,)
    env.advance({1: Action("1", 1.0)})
    assert env.ready == (1, 3)
    assert env.tree.nodes[3].goal == "y2"
    env.advance({1: Action("finish('1')", 1.0), 3: Action("finish('3')", 1.0)})
    env.advance({4: "finish('4')"})
    assert seen(env) == "['4', '3']"


def test_variables_outlive_a_turn_that_waited():
    env = begin("code")
    env.advance({0: "kept = 40\nkept += len(await launch_subagent('a'))"})
    env.advance({1: "finish('ab')"})
    env.advance({0: "print(kept)"})
    assert seen(env) == "42"


# Launches that are lost or refused --------------------------------------------------------------------------------


def test_a_launch_that_is_not_awaited_never_starts_and_the_observation_says_so():
    env = begin("code")
    events = env.advance({0: "print('hello')\nx = launch_subagent('a')\ny = launch_subagent('b')"})
    assert seen(env) == "hello\n\nNot awaited, so not started: 2 x launch_subagent. Await each in its own turn."
    assert names(events, Spawned, Observed) == ["Observed 0"]
    env.advance({0: "await x"})  # of an earlier turn: an error of the agent's, and the episode goes on
    assert env.tree.root.turns[-1].fault == "agent"
    assert env.ready == (0,)


def test_a_refused_launch_is_no_child_and_the_rest_of_the_turn_runs():
    env = begin(limits={"max_depth": 1})
    env.advance({0: say(launch("a", 0), launch("b"), launch("c", -1))})
    assert [node.goal for node in env.tree.nodes] == ["Do 0.", "b"]
    env.advance({1: say(launch("too deep"))})
    assert len(env.tree) == 2
    assert "refused: you cannot delegate (depth 1 is the deepest allowed)" in seen(env, 1)
    env.advance({1: say(finish("B"))})
    refusal = "refused: {} turns were asked for; ask for at least 1"
    assert refusal.format(0) in seen(env)
    assert refusal.format(-1) in seen(env)


def test_code_can_catch_a_refusal():
    env = begin("code", recursive=False)
    env.advance({0: "try:\n    await launch_subagent('a')\nexcept ValueError as error:\n    print(error)"})
    assert seen(env) == "refused: you cannot delegate (it is switched off); do it yourself"
    env.advance({0: "x = launch_subagent('a')"})
    assert "Not awaited" in seen(env)


def test_a_refusal_that_ends_the_turn_cancels_what_was_started_with_it():
    env = begin("code", limits={"max_children": 2})
    events = env.advance({0: gather("a", "b", "c")})
    assert seen(env).endswith("ValueError: refused: you have launched 2 subagents, the most allowed")
    assert statuses(env) == [None, "cancelled", "cancelled"]
    assert names(events, Returned, Observed) == ["Returned 1", "Returned 2", "Observed 0"]
    assert env.tree.nodes[1].verdict.source == "engine"
    assert env.ready == (0,)


def test_a_refusal_that_is_caught_leaves_the_others_running():
    env = begin("code", limits={"max_children": 2})
    env.advance({0: "import asyncio\nasync def ask(goal):\n    try:\n        return await launch_subagent(goal)\n"
                    "    except ValueError:\n        return 'refused'\n"
                    "await asyncio.gather(ask('a'), ask('b'), ask('c'))"})  # fmt: skip
    assert env.ready == (1, 2)
    env.advance({1: "finish('A')", 2: "finish('B')"})
    assert seen(env) == "['A', 'B', 'refused']"


def test_what_the_world_refuses_is_no_child():
    class Picky(ToyWorld):
        def delegate(self, node, goal: str):
            raise ToolError("not today")

    env = begin(world=Picky)
    env.advance({0: say({"name": "launch_subagent", "arguments": {"goal": "a"}})})
    assert seen(env) == '[{"name":"launch_subagent","error":"refused: not today"}]'
    assert len(env.tree) == 1


def test_a_world_without_delegation_has_no_launch_subagent():
    class Alone(World):
        @tool
        def look(self, node) -> int:
            """Look."""
            return 1

        def verify(self, node, result):
            raise NotImplementedError

    env = begin(world=Alone)
    assert "launch_subagent" not in env.tree.root.system
    env.advance({0: say({"name": "launch_subagent", "arguments": {}})})
    assert "refused: you cannot delegate" in seen(env)


# Ends -----------------------------------------------------------------------------------------------------------


def test_finish_inside_a_gathered_coroutine_ends_the_node_when_its_children_are_back():
    env = begin("code")
    early = "import asyncio\nasync def early():\n    finish(await launch_subagent('a'))\n"
    env.advance({0: Action(f"{early}print('going')\nawait asyncio.gather(early(), launch_subagent('b'))", 0.0)})
    # Arguments are evaluated first: 1 does "b", and 2, which the coroutine launches once it runs, does "a".
    env.advance({1: Action(gather("c"), 5.0), 2: Action(gather("d"), 1.0)})
    env.advance({4: Action("finish(0.5)", 1.0)})
    events = env.advance({2: Action("finish(0.5)", 1.0)})
    # 2 returned at 2 s; 1 was asked at 0 s and is busy until 5 s: the root learns of 2 first, and is done.
    assert names(events, Returned, Resumed) == ["Returned 2", "Resumed 0"]
    assert env.ready == (3,)
    env.advance({3: Action("finish(1)", 1.0)})
    events = env.advance({1: Action("finish(1)", 1.0)})
    assert names(events, Returned, Resumed) == ["Returned 1", "Resumed 0", "Returned 0"]
    assert env.tree.makespan == 7.0
    assert (env.tree.root.result, env.tree.root.success) == (0.5, 0.5)
    assert seen(env) == "going"
    assert env.ready == ()


@pytest.mark.parametrize("message", ["finish()", "finish('')", "finish(message=None)", "finish(1, 2)"])
def test_finish_ends_the_node_whatever_it_is_given(message):
    env = begin("code")
    env.advance({0: message})
    assert statuses(env) == ["finished"]


def test_finish_in_the_middle_of_a_list_of_calls_ends_it_there():
    env = begin()
    env.advance({0: say(note("a"), launch("x"), finish(1), note("b"))})
    assert env.ready == (1,)  # finish waits for the launches before it
    env.advance({1: say(finish(0))})
    assert env.world.notes == ["a"]
    assert statuses(env) == ["finished", "finished"]


def test_a_finish_with_what_is_no_data_is_refused_and_the_turn_continues():
    env = begin("code")
    env.advance(
        {
            0: "for _ in range(9):\n    try:\n        finish(print)\n    except ValueError as error:\n        print(error)"
        }
    )
    assert seen(env).count("finish: ") == 9
    assert env.ready == (0,)


def test_a_finish_that_is_refused_in_a_list_of_calls_counts_towards_the_limit():
    env = begin(limits={"max_calls": 2, "max_value_bytes": 10})
    env.advance({0: say(*[finish("a long result")] * 5)})
    assert "Stopped: more than 2 tool calls in one turn." in seen(env)
    assert env.tree.root.turns[0].calls == 3


def test_step_tells_terminated_from_truncated_and_rewards_the_root_s_own_success():
    env = begin()
    assert env.step(say(launch("a")))[1:4] == (0.0, False, False)
    assert env.step(say(finish(1)))[1:4] == (0.0, False, False)  # a child's success is not the root's
    assert env.step(say(finish(0.25)))[1:4] == (0.25, True, False)
    env = begin(limits={"max_turns": 1})
    assert env.step(say(note("x")))[1:4] == (0.0, False, True)
    assert env.tree.root.status == "turns"
    env = begin()
    assert env.step(say(finish("unjudged")))[1:4] == (0.0, True, False)
    assert env.tree.root.success is None


def test_a_child_that_did_not_finish_says_why_to_its_parent():
    env = begin(limits={"max_turns": 2})
    env.advance({0: say(launch("a", 1))})
    env.advance({1: say(note("x"))})
    assert seen(env) == ('[{"name":"launch_subagent","result":"[the subagent did not finish: it ran out of turns]"}]')


# The caller's mistakes, and the infrastructure's ----------------------------------------------------------------


@pytest.mark.parametrize("bad", [1, 7, -1, "0", None, (0,)])
def test_a_node_that_is_not_ready_is_named_and_nothing_happens(bad):
    env = begin()
    before = list(env.tree.events)
    with pytest.raises(NotReady, match=r"is not ready; ready: 0"):
        env.advance({0: say(finish()), bad: say(finish())})
    assert env.tree.events == before
    with pytest.raises(NotReady, match="no actions"):
        env.advance({})
    assert env.ready == (0,)


@pytest.mark.parametrize("bad", [None, 3, b"finish(1)", ["x"], {"name": "finish"}])
def test_an_action_that_is_no_text_is_refused_and_nothing_happens(bad):
    env = begin()
    env.advance({0: say(launch("a"), launch("b"))})
    before = list(env.tree.events)
    with pytest.raises(OptionError, match="must be text"):
        env.advance({1: say(note("x")), 2: bad})
    with pytest.raises(OptionError, match="must be text"):
        env.step(bad)
    assert env.tree.events == before
    assert env.world.notes == []


def test_acting_before_reset_or_after_the_end_is_refused():
    env = toy_env()
    for use in (lambda: env.step("x"), lambda: env.advance({0: "x"}), lambda: env.ready, env.save, lambda: env.tree):
        with pytest.raises(EpisodeOver, match="reset"):
            use()
    env.reset(seed=0)
    env.step(say(finish()))
    log = list(env.tree.events)
    for use in (lambda: env.step("x"), lambda: env.advance({0: "x"}), lambda: env.advance({})):
        with pytest.raises(EpisodeOver, match="reset"):
            use()
    assert env.tree.events == log


@pytest.mark.parametrize("latency", [-1.0, float("nan"), float("inf")])
def test_an_impossible_latency_is_refused(latency):
    with pytest.raises(OptionError, match="latency"):
        Action("x", latency)


def test_a_mistake_in_the_world_is_raised_and_spoils_the_rollout_without_losing_the_log():
    class Buggy(ToyWorld):
        def verify(self, node, result):
            raise ZeroDivisionError("oops")

    env = begin(world=Buggy)
    env.advance({0: say(note("kept"))})
    with pytest.raises(ZeroDivisionError):
        env.advance({0: say(finish())})
    assert env.tree.invalid == "ZeroDivisionError: oops"
    assert env.tree.nodes[0].turns[0].action == say(note("kept"))
    assert not env.tree.finished
    with pytest.raises(EpisodeOver):
        env.step("x")
    env.reset(seed=1)
    assert env.tree.invalid is None


def test_a_dead_sandbox_spoils_the_rollout_once():
    class Dead(ToyWorld):
        @tool
        def note(self, node, text: str):
            raise InfrastructureError("the server is gone")

    env = begin(world=Dead)
    with pytest.raises(InfrastructureError):
        env.advance({0: Action(say(note("x")), 2.0)})
    env.abort("said again")
    assert env.tree.invalid == "InfrastructureError: the server is gone"
    assert names(env.tree.events).count("Aborted 0") == 1
    assert env.tree.events[-1].time == 2.0
    assert env.ready == ()


def test_samples_and_measured_latencies_are_recorded():
    env = begin()
    sample = Sample((1, 2, 3), (4, 5), (-0.5, -0.25))
    env.advance({0: Action(say(note("x")), 1.5, sample)})
    turn = env.tree.root.turns[0]
    assert (turn.sample, turn.latency, turn.prompt_tokens, turn.output_tokens) == (sample, 1.5, 3, 2)
    # The next transcript goes on from what the model saw: 3 + 2 tokens and the observation.
    env.advance({0: say(note("x"))})
    assert env.tree.root.turns[1].prompt_tokens == 5 + env.rules.count(turn.observation)


def test_a_node_says_whether_it_may_delegate():
    env = toy_env(limits={"max_depth": 1})
    env.reset(seed=0)
    env.step(say(launch("left")))
    assert [node.may_delegate for node in env.tree.nodes] == [True, False]
    assert ExecutionTree.from_json(env.tree.to_json()).nodes[1].may_delegate is False
    alone = toy_env(recursive=False)
    alone.reset(seed=0)
    assert alone.tree.root.may_delegate is False
