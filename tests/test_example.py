"""The example benchmark of the documentation runs as a script, and its environment is a good one."""

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.utils.env_checker import check_env

from rao_envs import collect
from rao_envs.policies import ScriptedPolicy

SCRIPT = Path(__file__).parent.parent / "docs" / "examples" / "box_sum.py"


@pytest.fixture(scope="module")
def box_sum():
    spec = importlib.util.spec_from_file_location("box_sum", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    gym.registry.pop("BoxSum-v0")


def test_it_runs_as_a_script():
    done = subprocess.run([sys.executable, "-W", "error", SCRIPT], capture_output=True, text=True, check=True)
    first, root, *children = done.stdout.splitlines()
    assert "success=1.0" in first
    assert root.startswith("<Node 0 finished success=1.0")
    assert len(children) >= 2
    assert done.stderr == ""


@pytest.mark.parametrize("action_format", ["code", "calls"])
def test_its_environment_passes_gymnasium_s_checker(box_sum, action_format):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gym.make("BoxSum-v0", action_format=action_format).unwrapped)


def test_its_oracle_solves_it_and_every_node_is_judged_on_its_own_boxes(box_sum):
    trees = collect("BoxSum-v0", ScriptedPolicy(lambda view: box_sum.oracle(view.node)), tasks=10, progress=False)
    assert all(node.success == 1.0 for tree in trees for node in tree.nodes)
    wrong = ScriptedPolicy(lambda view: box_sum.oracle(view.node) if view.node.depth < 1 else "finish(-1)")
    (tree,) = collect("BoxSum-v0", wrong, tasks=1, progress=False)
    assert [node.success for node in tree.nodes] == [0.0, 0.0, 0.0]


def test_a_part_must_be_smaller_and_one_s_own(box_sum):
    env = gym.make("BoxSum-v0", action_format="calls").unwrapped
    env.reset(seed=0, options={"task": 0})
    for first, end in ((0, env.tree.root.payload["end"]), (2, 2), (-1, 2), (3, 2), (0, 99)):
        env.step(f'[{{"name": "launch_subagent", "arguments": {{"first": {first}, "end": {end}}}}}]')
    assert len(env.tree) == 1
    env.step('[{"name": "launch_subagent", "arguments": {"first": 0, "end": 2}}]')
    assert env.tree.nodes[1].payload == {"first": 0, "end": 2}
