"""The same seed gives the same tasks and trees, in any process; nothing of ours touches global random state."""

import hashlib
import os
import random
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from rao_envs import collect
from rao_envs.policies import RandomPolicy, ScriptedPolicy
from rao_envs.registration import ENVIRONMENTS
from rao_envs.testing.toy import toy_env

DIGEST = """
import hashlib, random, sys
import gymnasium as gym, numpy as np, rao_envs
from rao_envs.policies import views

def digest(env_id, action_format, seeds=(0, 1)):
    env = gym.make(env_id, difficulty="easy", action_format=action_format).unwrapped
    found = hashlib.sha256()
    for seed in seeds:
        env.reset(seed=seed)
        while env.ready:
            (view, *_) = views(env, seed)
            env.step(env.oracles["recursive"](view))
        found.update(env.tree.to_json().encode())
    env.close()
    return found.hexdigest()
"""
exec(DIGEST)


@pytest.mark.parametrize("env_id", list(ENVIRONMENTS))
def test_another_process_with_another_hash_seed_grows_the_same_trees(env_id):
    code = f"{DIGEST}\nprint(digest({env_id!r}, 'code'), digest({env_id!r}, 'calls'))"
    expected = f"{digest(env_id, 'code')} {digest(env_id, 'calls')}"  # noqa: F821 (from DIGEST)
    for hash_seed in ("0", "4321"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert done.stdout.strip() == expected


def global_state():
    return random.getstate(), repr(np.random.get_state())  # noqa: NPY002 (the global one is what must not change)


@pytest.mark.parametrize("action_format", ["code", "calls"])
@pytest.mark.parametrize("env_id", list(ENVIRONMENTS))
def test_global_random_state_is_neither_written_nor_read(env_id, action_format):
    trees = []
    for scramble in (1, 2):
        random.seed(scramble)
        np.random.seed(scramble)  # noqa: NPY002
        before = global_state()
        env = gym.make(env_id, difficulty="easy", action_format=action_format).unwrapped
        env.reset(seed=0)
        env.step("import random; print(random.random())")
        env.load(env.save())
        env.close()
        options = {"difficulty": "easy", "action_format": action_format}
        oracle = ScriptedPolicy(env.oracles["recursive"])
        for policy in (oracle, RandomPolicy()):
            trees.append(collect(env_id, policy, tasks=2, env_options=options, progress=False))
        assert global_state() == before
    assert trees[:2] == trees[2:]


def test_an_agent_s_random_numbers_follow_from_the_seed_and_its_place():
    def numbers(seed):
        env = toy_env("code")
        env.reset(seed=seed, options={"task": 0})
        draw = "import random\nprint(random.random())"
        env.advance({0: "import asyncio\nawait asyncio.gather(launch_subagent('a'), launch_subagent('a'))"})
        env.advance({1: draw, 2: draw})
        return [node.turns[0].observation for node in env.tree.nodes[1:]]

    first, second = numbers(0), numbers(1)
    assert numbers(0) == first
    assert len({*first, *second}) == 4


def test_an_agent_cannot_tell_the_time():
    env = toy_env("code")
    seen = []
    for _ in range(2):
        env.reset(seed=0, options={"task": 0})
        env.step("import datetime\nprint(datetime.datetime.now())")
        seen.append(env.tree.root.turns[0].observation)
    assert seen[0] == seen[1]


def test_digests_tell_trees_apart():
    one = digest("TextCraftSynth-v0", "calls", (0,))  # noqa: F821
    assert one != digest("TextCraftSynth-v0", "calls", (1,))  # noqa: F821
    assert len(one) == len(hashlib.sha256().hexdigest())
