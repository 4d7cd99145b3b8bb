"""What a rollout may use: every limit, in both budget modes, at its exact edge."""

import json

import pytest

from rao_envs import Action, Latency, Limits, Subtask
from rao_envs.engine import count_tokens
from rao_envs.errors import OptionError
from rao_envs.testing.toy import ToyWorld, finish, launch, note, say, toy_env


def begin(action_format="calls", *, world=ToyWorld, recursive=True, token_counter=count_tokens, **limits):
    env = toy_env(action_format, world=world, recursive=recursive, token_counter=token_counter, limits=limits)
    env.reset(seed=0, options={"task": 0})
    return env


def results(env, node=0):
    """Return the entries of a node's last observation."""
    return json.loads(env.tree.nodes[node].turns[-1].observation)


def errors(env, node=0):
    return [entry["error"] for entry in results(env, node) if "error" in entry]


# Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(Limits().to_dict()))
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", float("inf")])
def test_limits_of_nothing_less_or_no_number_are_refused(name, value):
    if name == "max_depth" and value == 0 and value is not False:
        assert Limits(max_depth=0).max_depth == 0
        return
    with pytest.raises(OptionError, match=name):
        toy_env(limits={name: value})


def test_only_the_shared_budget_may_be_switched_off():
    assert Limits(tree_turns=None).tree_turns is None
    with pytest.raises(OptionError, match="max_turns=None"):
        Limits(max_turns=None)


@pytest.mark.parametrize("limits", [{"max_depht": 3}, 5, ["max_depth"], "max_depth"])
def test_unknown_limits_are_refused(limits):
    with pytest.raises(OptionError, match="limits"):
        toy_env(limits=limits)


@pytest.mark.parametrize(
    "options",
    [
        {"action_format": "xml"},
        {"render_mode": "human"},
        {"latency": 1.0},
        {"token_counter": 4},
    ],
)
def test_impossible_options_are_refused_by_name(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        toy_env(**options)


@pytest.mark.parametrize(
    "options", [{"base": -1.0}, {"base": float("nan")}, {"prompt_rate": 0.0}, {"output_rate": float("nan")}]
)
def test_a_clock_that_stands_still_or_runs_backwards_is_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        Latency(**options)


# Shape --------------------------------------------------------------------------------------------------------------


def test_max_depth_is_the_depth_of_the_deepest_node():
    env = begin(max_depth=2)
    for node in (0, 1):
        env.advance({node: say(launch("deeper"))})
    env.advance({2: say(launch("too deep"))})
    assert [node.depth for node in env.tree.nodes] == [0, 1, 2]
    assert "launch_subagent" in env.tree.nodes[1].system
    assert "launch_subagent" not in env.tree.nodes[2].system


def test_depth_zero_forbids_delegation():
    env = begin(max_depth=0)
    env.advance({0: say(launch("a"))})
    assert "depth 0 is the deepest allowed" in errors(env)[0]


def test_max_children_counts_the_launches_of_one_node_over_all_its_turns():
    env = begin(max_children=2)
    env.advance({0: say(launch("a"))})
    env.advance({1: say(finish())})
    env.advance({0: say(launch("b"), launch("c"))})
    env.advance({2: say(finish())})
    assert errors(env) == ["refused: you have launched 2 subagents, the most allowed"]
    assert len(env.tree) == 3


def test_max_nodes_counts_the_whole_tree():
    env = begin(max_nodes=3)
    env.advance({0: say(launch("a"), launch("b"), launch("c"))})
    assert env.ready == (1, 2)
    env.advance({1: say(launch("d"))})
    assert "the most allowed" in errors(env, 1)[0]
    assert len(env.tree) == 3


def test_max_turns_ends_a_node_after_its_last_observation():
    env = begin(max_turns=2)
    env.advance({0: say(note("a"))})
    env.advance({0: say(note("b"))})
    root = env.tree.root
    assert (root.status, len(root.turns), root.turns[1].end) == ("turns", 2, root.returned_at)
    assert (root.verdict.success, root.verdict.source) == (0.0, "engine")
    assert results(env) == [{"name": "note", "result": 2}]


def test_max_calls_stops_the_turn_but_finish_is_always_heard():
    env = begin(max_calls=2)
    env.advance({0: say(note("a"), note("b"), note("c"), note("d"))})
    assert env.world.notes == ["a", "b"]
    observation = env.tree.root.turns[0].observation
    assert observation.endswith("Stopped: more than 2 tool calls in one turn.")
    assert '"result":2' in observation  # what was done is shown
    assert env.tree.root.turns[0].fault == "agent"
    env.advance({0: say(note("c"), note("d"), finish())})
    assert env.tree.root.status == "finished"


def test_a_turn_stopped_by_max_calls_starts_nothing_more():
    env = begin(max_calls=2)
    env.advance({0: say(launch("a"), launch("b"), launch("c"))})
    assert len(env.tree) == 1
    assert env.ready == (0,)
    assert "Not awaited, so not started: 2 x launch_subagent." in env.tree.root.turns[0].observation


def test_a_long_observation_is_cut_in_the_middle_and_says_by_how_much():
    env = begin("code", max_observation_chars=30)
    env.advance({0: "print('a' * 50 + 'z' * 50)"})
    # 100 characters, 30 kept: two thirds of them from the start.
    assert env.tree.root.turns[0].observation == "a" * 20 + "\n[... 70 of 100 characters cut ...]\n" + "z" * 10
    env.advance({0: "print('b' * 30)"})
    assert env.tree.root.turns[1].observation == "b" * 30


# The context window -------------------------------------------------------------------------------------------------


def one_each(text):
    """Count one token for every ten characters, rounded up."""
    return -(-len(text) // 10)


def prompt_size(**options):
    root = begin(token_counter=one_each, **options).tree.root
    return one_each(root.system) + one_each(root.opening)


def test_a_window_that_cannot_hold_the_root_s_prompt_is_the_caller_s_mistake():
    size = prompt_size()
    assert begin(token_counter=one_each, context_tokens=size + 1).ready == (0,)
    with pytest.raises(OptionError, match=f"context_tokens={size}: cannot hold the root's prompt of {size}"):
        begin(token_counter=one_each, context_tokens=size)


def test_an_action_may_fill_the_window_but_not_outgrow_it():
    action = say(finish())
    need = prompt_size() + one_each(action)
    env = begin(token_counter=one_each, context_tokens=need)
    env.step(action)
    assert env.tree.root.status == "finished"
    env = begin(token_counter=one_each, context_tokens=need - 1)
    assert env.step(action)[1:4] == (0.0, False, True)
    root = env.tree.root
    assert (root.status, root.turns[0].observation, root.verdict.why) == (
        "context",
        None,
        "outgrew its context window",
    )


def test_an_observation_that_leaves_no_room_for_an_answer_ends_the_node():
    action, seen = say(note("a")), '[{"name":"note","result":1}]'
    need = prompt_size() + one_each(action) + one_each(seen)
    env = begin(token_counter=one_each, context_tokens=need + 1)
    env.step(action)
    assert env.ready == (0,)
    env = begin(token_counter=one_each, context_tokens=need)
    env.step(action)
    assert env.tree.root.status == "context"
    assert env.tree.root.turns[0].observation == seen


def test_a_child_whose_prompt_would_fill_its_window_is_refused():
    class Wordy(ToyWorld):
        def delegate(self, node, goal: str, turns: int | None = None):
            return Subtask(goal, opening="x" * 5000)

    env = begin(world=Wordy, token_counter=one_each, context_tokens=prompt_size(world=Wordy) + 60)
    env.advance({0: say(launch("a"))})
    assert errors(env)[0].startswith("refused: its prompt of ")
    assert len(env.tree) == 1


def test_a_child_that_outgrows_its_window_is_reported_to_its_parent():
    env = begin(token_counter=one_each, context_tokens=prompt_size() + 60)
    env.advance({0: say(launch("a"))})
    env.advance({1: say(note("y" * 700))})
    assert env.tree.nodes[1].status == "context"
    assert results(env)[0]["result"] == "[the subagent did not finish: it outgrew its context window]"


def test_tokens_are_counted_turn_by_turn():
    env = begin(token_counter=one_each)
    for _ in range(3):
        env.advance({0: say(note("abc"))})
    root = env.tree.root
    total = one_each(root.system) + one_each(root.opening)
    for turn in root.turns:
        assert turn.prompt_tokens == total
        assert turn.output_tokens == one_each(turn.action)
        total += one_each(turn.action) + one_each(turn.observation)


def test_the_default_count_is_a_quarter_of_the_bytes_and_a_frame():
    assert [count_tokens(text) for text in ("", "abcd", "abcde", "äöü")] == [4, 5, 6, 6]


# Turns of one's own -------------------------------------------------------------------------------------------------


def test_a_child_gets_what_it_is_granted_but_no_more_than_max_turns():
    env = begin(max_turns=5)
    env.advance({0: say(launch("a", 2), launch("b", 99), launch("c"), launch("d", 0), launch("e", -3))})
    assert [node.budget for node in env.tree.nodes] == [5, 2, 5, 5]
    assert env.tree.nodes[1].opening.endswith("You have 2 messages for this.")


@pytest.mark.parametrize("budget", [0, -3])
def test_a_world_that_grants_its_root_nothing_is_refused(budget):
    class Stingy(ToyWorld):
        def root(self):
            return Subtask("x", budget=budget)

    with pytest.raises(OptionError, match="budget"):
        begin(world=Stingy)


# One budget for the whole tree --------------------------------------------------------------------------------------


def left(env, node=0):
    return env.unwrapped._engine.agents[node].left


def test_a_shared_budget_is_charged_once_and_what_is_left_comes_back():
    env = begin(tree_turns=10)
    env.advance({0: say(launch("a", 4))})
    # 10 - 1 for the turn itself - 4 set aside.
    assert (left(env), env.tree.nodes[1].budget) == (5, 4)
    env.advance({1: say(launch("b", 2))})
    assert (left(env), left(env, 1), left(env, 2)) == (5, 1, 2)
    env.advance({2: say(finish())})  # used 1 of 2
    assert left(env, 1) == 2
    env.advance({1: say(finish())})  # used 2 of 4 itself, and 1 by its child
    assert left(env) == 6
    assert sum(len(node.turns) for node in env.tree.nodes) + left(env) == 10


def test_a_parent_must_keep_a_turn_for_itself():
    env = begin(tree_turns=5)
    env.advance({0: say(launch("a", 4), launch("b", 3), launch("c", 1))})
    # 4 are left in the turn: 4 are too many, 3 leave one, and then there is nothing to hand on.
    assert [node.goal for node in env.tree.nodes[1:]] == ["b"]
    env.advance({1: say(finish())})
    assert errors(env) == [
        "refused: 4 turns were asked for; you can hand on at most 3 and keep 1 to finish",
        "refused: no turns are left to hand on: keep the last one to finish",
    ]
    assert env.ready == (0,)


def test_an_unspecified_grant_is_half_of_what_is_left():
    env = begin(tree_turns=10)
    env.advance({0: say(launch("a"), launch("b"), launch("c"), launch("d"))})
    # 9 left: 4, then 5 -> 2, then 3 -> 1, then 2 -> 1, and one is kept.
    assert [node.budget for node in env.tree.nodes[1:]] == [4, 2, 1, 1]
    assert left(env) == 1


@pytest.mark.parametrize("asked", [0, -1])
def test_nothing_cannot_be_granted_from_a_shared_budget(asked):
    env = begin(tree_turns=10)
    env.advance({0: say(launch("a", asked))})
    assert errors(env) == [f"refused: {asked} turns were asked for; ask for at least 1"]
    assert left(env) == 9


def test_a_subtree_whose_result_is_lost_gives_back_what_it_has_not_used():
    env = begin("code", tree_turns=20)
    env.advance({0: "a = launch_subagent('a', 5)\nb = launch_subagent('b', 6)\nawait a"})
    env.advance({2: Action("await launch_subagent('c', 3)", 20.0)})
    assert (left(env), left(env, 2), left(env, 3)) == (8, 2, 3)
    env.advance({1: Action("finish(1)", 10.0)})
    # What a gives back counts once the root knows of its return: b could not have come before it.
    assert left(env) == 8 + 4
    env.advance({3: Action("finish(1)", 1.0)})
    env.advance({2: Action("finish(1)", 1.0)})
    # Used: a turn of the root, of a and of c, and two of b.
    assert left(env) == 20 - 5


def test_a_launch_that_a_refusal_cancels_gives_its_turns_back():
    env = begin("code", tree_turns=20, max_children=1)
    env.advance({0: "import asyncio\nawait asyncio.gather(launch_subagent('a'), launch_subagent('b'))"})
    assert [node.status for node in env.tree.nodes] == [None, "cancelled"]
    assert left(env) == 20 - 1


def test_the_shared_budget_bounds_the_turns_of_the_whole_tree():
    env = begin(tree_turns=7)
    turns = 0
    while env.ready:
        env.step(say(launch("x"), note("n")) if turns % 2 == 0 else say(note("m")))
        turns += 1
    assert turns <= 7
    assert env.tree.root.status == "turns"
