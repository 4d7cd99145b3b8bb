"""Gymnasium's wrappers and vectors around recursive environments, and `RecordTrees` among them."""

import subprocess
import sys
import warnings
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers

from rao_envs import ExecutionTree, RecordTrees, credit
from rao_envs.registration import ENVIRONMENTS
from rao_envs.spaces import SharedTexts, TextSpace
from rao_envs.testing.toy import finish, launch, note, say, toy_env

IDS = list(ENVIRONMENTS)
FORMATS = ("code", "calls")
END = {"code": "finish('dönë 💣')", "calls": say(finish("dönë 💣"))}


def play_out(env, *messages, seed=0):
    """Reset and give the messages until the episode ends; return the last step."""
    env.reset(seed=seed)
    for message in messages:
        *_, terminated, truncated, info = env.step(message)
        if terminated or truncated:
            return terminated, truncated, info
    raise AssertionError("the episode does not end")


# A time limit and a recorder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action_format", FORMATS)
def test_a_time_limit_inside_the_recorder_ends_the_tree(action_format):
    env = RecordTrees(wrappers.TimeLimit(toy_env(action_format), 2))
    two = {
        "code": "import asyncio\nawait asyncio.gather(launch_subagent('a'), launch_subagent('b'))",
        "calls": say(launch("a"), launch("b")),
    }[action_format]
    env.reset(seed=0)
    *_, before = env.step(two)
    *_, terminated, truncated, info = env.step(END[action_format])
    (tree,) = env.trees
    assert (terminated, truncated, info["tree"]) == (False, True, tree)
    assert [node.status for node in tree.nodes] == ["turns", "finished", "cancelled"]
    assert tree.root.success == 0.0
    assert tree.meta["truncated"] is True
    assert tree.events[-len(info["events"]) :] == list(info["events"])
    assert len(before["events"]) + len(info["events"]) == len(tree.events) - 1  # the first is of the reset
    assert ExecutionTree.from_json(tree.to_json()) == tree
    assert env.unwrapped.ready == ()
    assert credit.assign([tree, tree]).success.tolist() == [0.0] * 6  # nothing about it is unfinished


def test_a_tree_that_ends_on_the_last_step_allowed_is_not_marked():
    env = RecordTrees(wrappers.TimeLimit(toy_env(), 1))
    _, _, info = play_out(env, say(finish(1)))
    assert info["tree"].root.success == 1.0
    assert "truncated" not in info["tree"].meta


def test_make_with_a_limit_of_steps_records_every_episode(tmp_path):
    env = RecordTrees(gym.make("TextCraft-v0", action_format="calls", max_episode_steps=3))
    for seed in range(3):
        terminated, truncated, _ = play_out(env, *["[]"] * 3, seed=seed)
        assert (terminated, truncated) == (False, True)
    assert [(tree.root.status, len(tree.root.turns)) for tree in env.trees] == [("turns", 3)] * 3
    env.close()


def test_a_limit_outside_the_recorder_is_named_once():
    env = wrappers.TimeLimit(RecordTrees(toy_env()), 1)
    play_out(env, say(note("x")))
    with pytest.warns(UserWarning, match="put RecordTrees outermost"):
        env.reset(seed=1)
    env.step(say(note("x")))
    env.reset(seed=2)  # warned already; every warning is an error here
    play_out(env, say(finish(1)))
    assert [tree.finished for tree in env.env.trees] == [True]


def test_truncate_leaves_a_rollout_that_is_over_as_it_is():
    env = toy_env()
    play_out(env, say(finish(1)))
    log = env.tree.to_json()
    assert env.truncate() == ()
    assert env.tree.to_json() == log


@pytest.mark.parametrize("action_format", FORMATS)
def test_truncate_ends_what_waits_and_closes_every_session(action_format):
    env = toy_env(action_format)
    env.reset(seed=0)
    one = {"code": "await launch_subagent('a')", "calls": say(launch("a"))}[action_format]
    env.step(one)
    env.step(one)
    env.truncate()
    assert [node.status for node in env.tree.nodes] == ["turns", "cancelled", "cancelled"]
    assert env.tree == ExecutionTree.from_events(env.tree.events, env.tree.meta)


@pytest.mark.parametrize(
    "wrap",
    [
        wrappers.Autoreset,
        wrappers.OrderEnforcing,
        wrappers.PassiveEnvChecker,
        wrappers.RecordEpisodeStatistics,
        partial(wrappers.TransformReward, func=lambda reward: 2 * reward),
        partial(wrappers.TransformObservation, func=str.upper, observation_space=TextSpace(10)),
    ],
)
def test_gymnasium_s_wrappers_go_inside_and_outside_the_recorder(wrap):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not within the observation space.*")
        inside = RecordTrees(wrap(toy_env()))
        _, _, info = play_out(inside, say(note("x")), say(finish(1)))
        assert inside.trees == [info["tree"]]
        outside = wrap(RecordTrees(toy_env()))
        play_out(outside, say(note("x")), say(finish(1)))
        assert outside.get_wrapper_attr("trees") == inside.trees


# Vectors --------------------------------------------------------------------------------------------------------------


VECTORS = """
import gymnasium as gym, rao_envs

if __name__ == "__main__":
    for mode in ("async", "sync"):  # in this order: workers forked from a process that has run code can run none
        for env_id in {ids}:
            envs = gym.make_vec(env_id, 2, mode, difficulty="easy", action_format={action_format!r})
            alone = gym.make(env_id, difficulty="easy", action_format={action_format!r})
            first, infos = envs.reset(seed=[1, 2])
            assert first == (alone.reset(seed=1)[0], alone.reset(seed=2)[0]), first
            kept, actions = str(first), ({end!r}, "nonsense")
            shown, rewards, terminated, truncated, infos = envs.step(actions)
            assert str(first) == kept and type(shown) is tuple
            assert (terminated.tolist(), truncated.any(), rewards.tolist()) == ([True, False], False, [0.0, 0.0])
            assert infos["tree"][0].finished
            again, *_ = envs.step(actions)  # the first resets itself
            assert again[0] not in (first[0], shown[0]) and again[0].endswith("for this."), again
            if mode == "sync":
                assert shown[1] == alone.step("nonsense")[0]
            envs.close()
            alone.close()
            print(mode, env_id)
"""


@pytest.mark.parametrize("action_format", FORMATS)
def test_default_vectors_step_and_reset(action_format):
    code = VECTORS.format(ids=IDS, action_format=action_format, end=END[action_format])
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("".join(f"{mode} {name}\n" for mode in ("async", "sync") for name in IDS), "")


def test_shared_texts_hold_any_text_for_every_environment():
    texts = SharedTexts(3, 10)
    assert texts[:] == ("", "", "")
    texts.write(0, "C" * 10)
    texts.write(2, "💣" * 10)
    texts.write(1, "\0\ud800é")
    assert list(texts) == ["C" * 10, "\0\ud800é", "💣" * 10]
    texts.write(0, "c")
    assert texts[0] == "c"
    assert texts[-1] == "💣" * 10
    with pytest.raises(IndexError):
        texts[3]


def test_recorders_in_a_vector_keep_their_own_trees():
    envs = gym.make_vec("TextCraft-v0", 2, "sync", action_format="calls", wrappers=[RecordTrees])
    envs.reset(seed=[1, 2])
    envs.step((END["calls"], END["calls"]))
    assert [len(trees) for trees in envs.get_attr("trees")] == [1, 1]
    assert np.unique([trees[0].group for trees in envs.get_attr("trees")]).size == 2
    envs.close()
