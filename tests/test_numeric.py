"""The numeric view of TextCraft: a Gymnasium environment that drives the real one, with masks that tell the truth."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from rao_envs import ExecutionTree, credit
from rao_envs.errors import EpisodeOver, OptionError
from rao_envs.policies import View, views
from rao_textcraft import TextCraftSynthEnv, recursive_oracle
from rao_textcraft.numeric import (
    CRAFT,
    DELEGATE,
    FEATURES,
    FINISH,
    LOOK_UP,
    SLOTS,
    NumericTextCraft,
    Schedule,
)

ID = "rao_textcraft.numeric:TextCraftNumeric-v0"
PREFERENCE = (LOOK_UP, CRAFT, *range(DELEGATE, CRAFT), FINISH)


def feature(observation, name):
    return float(observation[FEATURES.index(name)])


def diligent(env):
    """Do the first useful thing: what a perfect policy would do."""
    mask = env.action_masks()
    return next(move for move in PREFERENCE if mask[move])


def play(env, choose, **reset):
    observation, info = env.reset(**reset)
    trail = [(observation, None, 0.0, info)]
    over = False
    while not over:
        move = choose(env)
        observation, reward, terminated, truncated, info = env.step(move)
        trail.append((observation, move, reward, info))
        over = terminated or truncated
    return trail


def test_gymnasium_accepts_it_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make(ID).unwrapped)
        check_env(gym.make(ID, difficulty="easy", schedule=Schedule(), render_mode="ansi").unwrapped)


def test_it_is_not_among_the_ids_of_recursive_environments():
    from rao_envs.registration import ENVIRONMENTS

    assert not any("Numeric" in name for name in ENVIRONMENTS)
    assert isinstance(gym.make(ID).unwrapped, NumericTextCraft)


@pytest.mark.parametrize(("difficulty", "tasks"), [("easy", 20), ("medium", 4), ("hard", 1)])
def test_the_masks_leave_a_way_that_solves_every_task(difficulty, tasks):
    env = NumericTextCraft(difficulty, split="test")
    for task in range(tasks):
        trail = play(env, diligent, options={"task": task})
        assert trail[-1][2] == 1.0
        assert all(node.success == 1.0 for node in env.tree.nodes)
        assert all(turn.fault is None for node in env.tree.nodes for turn in node.turns)


def test_the_tree_is_one_that_text_agents_make():
    env = NumericTextCraft("easy")
    trail = play(env, diligent, options={"task": 1})
    tree = trail[-1][3]["tree"]
    assert tree is env.unwrapped.tree
    assert ExecutionTree.from_json(tree.to_json()) == tree
    # The very messages, sent by hand to the environment of text, bring about the same events.
    text = TextCraftSynthEnv(difficulty="easy", action_format="calls")
    text.reset(seed=0, options={"task": 1})
    messages = [event.action for event in tree.events if hasattr(event, "action")]
    for message in messages:
        _, reward, over, _, _ = text.step(message)
    assert over
    assert reward == 1.0
    assert text.tree.events == tree.events
    assert credit.assign([tree, tree]).success.tolist() == [1.0] * (2 * len(tree))


def test_it_needs_no_more_nodes_than_the_oracle_that_writes():
    text = TextCraftSynthEnv(difficulty="medium", action_format="calls")
    text.reset(options={"task": 3})
    while waiting := views(text):
        text.advance({view.node.id: recursive_oracle(View(view.node, "calls", 0)) for view in waiting})
    env = NumericTextCraft("medium")
    play(env, diligent, options={"task": 3})
    assert 1 < len(env.tree) <= len(text.tree)


def test_what_a_node_sees_by_hand():
    # Task 0 of depth 2 asks for 3 c18_i2: 2 at a time, from 2 c18_i1 and 2 c5_i1, both of depth 1.
    env = NumericTextCraft(depth=2)
    observation, info = env.reset(options={"task": 0})
    book = env.text.world.shop.cookbook
    ((target, wanted),) = env.tree.root.payload["targets"].items()
    (recipe,) = book.recipes(target)
    assert env.action_masks().tolist() == [True, *[False] * SLOTS, False, True]
    assert feature(observation, "wanted") == pytest.approx(np.log2(1 + wanted) / 10)
    assert feature(observation, "nothing_done") == 1.0
    assert not observation[FEATURES.index("present_0") :].any()  # nothing of the recipe is known yet
    observation, *_ = env.step(LOOK_UP)
    crafts = -(-wanted // recipe.yields)
    for k, slot in enumerate(recipe.ingredients):
        assert feature(observation, f"needed_{k}") == pytest.approx(np.log2(1 + slot.count * crafts) / 10)
        assert feature(observation, f"known_{k}") == 0.0
    assert not env.action_masks()[DELEGATE:CRAFT].any()
    observation, *_ = env.step(LOOK_UP)
    assert feature(observation, "ingredients_known") == 1.0
    assert feature(observation, "item_depth") == pytest.approx(2 / 12)
    craftable = [not book.is_base(slot.name) for slot in recipe.ingredients]
    assert [feature(observation, f"craftable_{k}") for k in range(len(craftable))] == craftable
    assert env.action_masks()[DELEGATE:CRAFT].tolist() == craftable + [False] * (SLOTS - len(craftable))
    assert not env.action_masks()[LOOK_UP]
    observation, _, _, _, info = env.step(DELEGATE + craftable.index(True))
    assert (info["actor"], info["node"], info["depth"]) == (0, 1, 1)
    first = recipe.ingredients[craftable.index(True)]
    assert env.tree.nodes[1].payload["targets"] == {first.name: first.count * crafts}
    assert feature(observation, "node_depth") == pytest.approx(1 / 12)
    while info["node"] == 1:
        observation, _, _, _, info = env.step(diligent(env))
    assert feature(observation, f"held_share_{craftable.index(True)}") == 1.0
    assert feature(observation, f"launches_{craftable.index(True)}") == 0.25
    assert not env.action_masks()[DELEGATE + craftable.index(True)]


def test_what_is_delegated_is_only_what_is_missing():
    env = NumericTextCraft(depth=2)
    env.reset(options={"task": 0})
    env.step(LOOK_UP)
    env.step(LOOK_UP)
    slot = env._now.slots[0]
    env.text.world.shop._stock[slot.item] = 1
    env._now = env._look()
    env.step(DELEGATE)
    assert env.tree.nodes[1].payload["targets"] == {slot.item: slot.needed - 1}


@given(st.lists(st.integers(0, FINISH), max_size=40), st.integers(0, 5))
@settings(max_examples=40)
def test_whatever_is_done_observations_stay_in_bounds_and_masks_tell_the_truth(moves, task):
    env = NumericTextCraft("easy")
    observation, _ = env.reset(options={"task": task})
    for move in moves:
        assert env.observation_space.contains(observation)
        mask, node = env.action_masks(), env.tree.nodes[env.text.ready[0]]
        launched, known = len(node.children), feature(observation, "ingredients_known")
        assert mask[FINISH]
        observation, _, terminated, truncated, info = env.step(move)
        assert info["actor"] == node.id
        turn = node.turns[-1]
        if mask[move] and move != FINISH:
            assert "error" not in (turn.observation or "")  # None: it waits for what it launched
        elif DELEGATE <= move < CRAFT and known:
            assert turn.fault == "agent"  # refused by the world or by the engine
            assert len(node.children) == launched
        if terminated or truncated:
            assert not observation.any()
            assert env.action_masks().tolist() == [False] * FINISH + [True]
            return


def test_at_the_deepest_level_nothing_can_be_delegated():
    env = NumericTextCraft("easy", limits={"max_depth": 0})
    observation, _ = env.reset(options={"task": 1})
    env.step(LOOK_UP)
    observation, *_ = env.step(LOOK_UP)
    assert feature(observation, "levels_left") == 0.0
    assert any(feature(observation, f"craftable_{k}") for k in range(SLOTS))
    assert not env.action_masks()[DELEGATE:CRAFT].any()
    env.step(DELEGATE)
    assert len(env.tree) == 1
    assert json.loads(env.tree.root.turns[-1].observation)[0]["error"]


def test_turns_run_out():
    env = NumericTextCraft("easy", limits={"max_turns": 2})
    observation, _ = env.reset(options={"task": 0})
    assert feature(observation, "turns_left") == 1.0
    observation, *_ = env.step(LOOK_UP)
    assert feature(observation, "turns_left") == 0.5
    _, reward, terminated, truncated, info = env.step(LOOK_UP)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["tree"].root.status == "turns"


def test_schedules():
    assert [Schedule().task(e) for e in range(4)] == [0, 1, 2, 3]
    assert [Schedule(first=1, stride=4, repeat=2).task(e) for e in range(5)] == [1, 1, 5, 5, 9]
    copies = [NumericTextCraft("easy", schedule=Schedule()) for _ in range(2)]
    tasks = [[env.reset(seed=seed)[1]["task"] for seed in (place, None, None)] for place, env in enumerate(copies)]
    assert tasks[0] == tasks[1]
    assert len(set(tasks[0])) == 3
    _, info = copies[0].reset(options={"episode": 1})
    assert info["task"] == tasks[0][1]
    assert copies[0].reset()[1]["task"] == tasks[0][2]
    assert copies[0].reset(options={"task": 0})[1]["task"] == tasks[0][0]
    assert copies[0].reset(seed=1)[1]["task"] == tasks[0][0]


def test_without_a_schedule_the_seed_draws_the_task():
    env = NumericTextCraft("easy")
    first = env.reset(seed=7)[1]["task"]
    others = {env.reset()[1]["task"] for _ in range(5)}
    assert len(others | {first}) > 3
    assert env.reset(seed=7)[1]["task"] == first


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Schedule(first=-1), "first"),
        (lambda: Schedule(stride=0), "stride"),
        (lambda: Schedule(repeat=True), "repeat"),
        (lambda: NumericTextCraft("easy", schedule=3), "schedule"),
        (lambda: NumericTextCraft("easy").reset(options={"episode": -1}), "episode"),
        (lambda: NumericTextCraft("easy").reset(options={"tusk": 1}), "tusk"),
    ],
)
def test_wrong_options_are_named(make, name):
    with pytest.raises(OptionError, match=name):
        make()


@pytest.mark.parametrize("action", [9, -1, 0.5, "look", None, np.array([0, 1])])
def test_what_is_no_action_changes_nothing(action):
    env = NumericTextCraft("easy")
    env.reset(options={"task": 0})
    with pytest.raises(OptionError, match="action"):
        env.step(action)
    assert not env.tree.root.turns
    env.step(np.int64(LOOK_UP))
    env.step(np.array(LOOK_UP))
    assert len(env.tree.root.turns) == 2


def test_after_the_end_comes_a_reset():
    env = NumericTextCraft("easy")
    with pytest.raises(EpisodeOver):
        env.step(FINISH)
    env.reset()
    _, reward, terminated, _, _ = env.step(FINISH)
    assert (reward, terminated) == (0.0, True)
    with pytest.raises(EpisodeOver):
        env.step(FINISH)
    env.close()


def test_it_renders_the_tree():
    env = NumericTextCraft("easy", render_mode="ansi")
    env.reset(options={"task": 0})
    assert "Node 0" in env.render()
    env.close()
