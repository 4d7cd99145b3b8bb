"""The oracles solve what can be solved, by what an agent can read, in both formats."""

import json
import random

import gymnasium as gym
import pytest

from rao_envs import Task, collect
from rao_envs.policies import ScriptedPolicy, View, views
from rao_textcraft import minecraft, program_oracle, recursive_oracle, single_oracle
from rao_textcraft.plan import base_need

FORMATS = ("calls", "code")
ORACLES = {"recursive": recursive_oracle, "single": single_oracle, "program": program_oracle}


def solve(env_id, oracle, tasks, **env_options):
    return collect(env_id, ScriptedPolicy(ORACLES[oracle]), tasks=tasks, env_options=env_options, progress=False)


def unsolved(trees):
    return [(tree.group, tree.root.status, tree.root.verdict.why) for tree in trees if tree.root.success != 1.0]


@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize(("difficulty", "tasks"), [("easy", 12), ("medium", 6), ("hard", 1)])
def test_the_recursive_oracle_solves_the_synthetic_world(difficulty, tasks, action_format):
    trees = solve("TextCraftSynth-v0", "recursive", tasks, difficulty=difficulty, action_format=action_format)
    assert unsolved(trees) == []
    assert all(node.success == 1.0 for tree in trees for node in tree.nodes)
    assert all(not turn.fault for tree in trees for node in tree.nodes for turn in node.turns)


def test_the_recursive_oracle_solves_an_extreme_task():
    # Of the first extreme tasks of the training split, number 1 is the smallest: 1,722 nodes.
    (tree,) = solve("TextCraftSynth-v0", "recursive", [1], difficulty="extreme", action_format="calls")
    assert unsolved([tree]) == []
    assert max(node.depth for node in tree.nodes) >= 9


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_recursive_oracle_solves_held_out_tasks(split):
    assert unsolved(solve("TextCraftSynth-v0", "recursive", 6, split=split, action_format="calls")) == []
    assert unsolved(solve("TextCraft-v0", "recursive", 6, split=split, action_format="calls", difficulty="easy")) == []


@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_the_single_oracle_solves_what_fits_its_window(difficulty, action_format):
    options = {"difficulty": difficulty, "action_format": action_format, "recursive": False}
    trees = solve("TextCraftSynth-v0", "single", 3, **options, limits={"context_tokens": 10**6})
    assert unsolved(trees) == []
    assert all(len(tree.nodes) == 1 for tree in trees)


def test_the_single_oracle_runs_into_a_small_window():
    options = {"difficulty": "hard", "action_format": "calls", "recursive": False}
    trees = solve("TextCraftSynth-v0", "single", 4, **options, limits={"context_tokens": 2_048})
    assert {tree.root.status for tree in trees} == {"context"}


def test_the_program_oracle_solves_any_difficulty_in_one_message():
    for difficulty, tasks in (("easy", 3), ("medium", 2), ("hard", 1)):
        trees = solve("TextCraftSynth-v0", "program", tasks, difficulty=difficulty)
        assert unsolved(trees) == []
        assert all(len(tree.root.turns) == 1 for tree in trees)


# The original ---------------------------------------------------------------------------------------------------------


def every_task():
    """Every craftable item of the built-in recipes, in 1 to 3 units, with exactly the material that it takes."""
    book = minecraft.builtin()
    for item in book:
        for units in (1, 2, 3) if book.depth(item) else ():
            targets = {item: units}
            payload = {"targets": targets, "inventory": base_need(book, targets)}
            yield Task(f"{item}/{units}", f"Craft {units} {item}.", payload)


@pytest.mark.parametrize("oracle", ["recursive", "single"])
def test_oracles_solve_every_item_of_the_original_with_nothing_to_spare(oracle):
    tasks = list(every_task())
    assert len(tasks) > 400
    assert unsolved(solve("TextCraft-v0", oracle, tasks, action_format="calls")) == []


@pytest.mark.parametrize("oracle", ["recursive", "single"])
def test_code_solves_a_sample_of_the_original(oracle):
    assert unsolved(solve("TextCraft-v0", oracle, list(every_task())[::9], action_format="code")) == []


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_oracles_solve_drawn_tasks_of_the_original(difficulty):
    for oracle in ("recursive", "single"):
        assert unsolved(solve("TextCraft-v0", oracle, 40, difficulty=difficulty, action_format="calls")) == []


# Manners --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["TextCraftSynth-v0", "TextCraft-v0"])
def test_the_order_in_which_nodes_are_asked_does_not_matter(env_id):
    env = gym.make(env_id, difficulty="medium", action_format="calls").unwrapped
    for seed in range(8):
        order = random.Random(seed)
        env.reset(seed=seed, options={"task": seed})
        while env.ready:
            waiting = views(env)
            asked = order.sample(waiting, order.randint(1, len(waiting)))
            env.advance({view.node.id: recursive_oracle(view) for view in asked})
        assert env.tree.root.success == 1.0


@pytest.mark.parametrize("name", ["recursive", "single", "program"])
def test_oracles_see_nothing_but_their_node(name):
    env = gym.make("TextCraftSynth-v0", depth=3).unwrapped
    env.reset(seed=0)
    view = View(env.tree.root, "code", 0)
    env.close()
    assert ORACLES[name](view) == ORACLES[name](view)


@pytest.mark.parametrize("env_id", ["TextCraftSynth-v0", "TextCraft-v0"])
@pytest.mark.parametrize("action_format", FORMATS)
@pytest.mark.parametrize("limits", [{"max_observation_chars": 60}, {"max_turns": 1}, {"max_turns": 2}])
def test_an_oracle_that_cannot_read_on_gives_up_in_order(env_id, action_format, limits):
    for oracle in ("recursive", "single"):
        for tree in solve(env_id, oracle, 3, limits=limits, action_format=action_format, difficulty="medium"):
            assert tree.finished
            assert tree.root.success == 0.0


def test_the_calls_of_an_oracle_are_json():
    env = gym.make("TextCraftSynth-v0", depth=3, action_format="calls").unwrapped
    env.reset(seed=0)
    assert json.loads(recursive_oracle(views(env)[0]))[0]["name"] == "get_info"
