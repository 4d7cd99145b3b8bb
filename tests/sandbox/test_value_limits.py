"""`Limits.max_value_bytes`: what a node hands on is bounded in both formats, and the error names the limit."""

import json

import gymnasium as gym
import pytest

import rao_envs  # noqa: F401 (registers the ids)
from rao_envs.errors import OptionError
from rao_envs.testing.toy import ToyWorld, launch, say, toy_env
from rao_envs.tree import Node
from rao_envs.world import Subtask

LIMIT = 1_000
NAMED = f"above max_value_bytes = {LIMIT:,}"


def begin(action_format, limit=LIMIT, **limits):
    limits = {"max_value_bytes": limit, "context_tokens": 10**8, **limits}
    env = gym.make("TextCraftSynth-v0", difficulty="easy", action_format=action_format, limits=limits).unwrapped
    env.reset(seed=3, options={"task": 3})
    return env


def call(action_format, name, **arguments):
    if action_format == "calls":
        return json.dumps([{"name": name, "arguments": arguments}])
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return f"print({'await ' if name == 'launch_subagent' else ''}{name}({given}))"


@pytest.mark.parametrize("action_format", ["code", "calls"])
def test_results_are_bounded(action_format):
    env = begin(action_format)
    env.advance({0: call(action_format, "finish", message=["y" * LIMIT])})
    turn = env.tree.root.turns[0]
    assert turn.fault == "agent"
    assert f"finish: a value takes at least 1,002 bytes as JSON, {NAMED}" in turn.observation
    env.advance({0: call(action_format, "finish", message="y" * (LIMIT - 2))})
    assert env.tree.root.result == "y" * (LIMIT - 2)
    env.close()


@pytest.mark.parametrize("action_format", ["code", "calls"])
def test_arguments_are_bounded(action_format):
    env = begin(action_format)
    env.advance({0: call(action_format, "get_info", items=["y" * 10] * 100)})
    turn = env.tree.root.turns[0]
    assert turn.fault == "agent"
    assert "get_info: a value takes" in turn.observation
    assert NAMED in turn.observation
    env.close()


@pytest.mark.parametrize("action_format", ["code", "calls"])
def test_what_a_subagent_is_given_is_bounded(action_format):
    env = begin(action_format)
    item = next(iter(env.tree.root.payload["targets"]))
    launch = {"targets": {item: 1}, "num_steps": 3}
    env.advance({0: call(action_format, "launch_subagent", **launch, context="y" * LIMIT)})
    assert len(env.tree) == 1
    assert NAMED in env.tree.root.turns[0].observation
    env.advance({0: call(action_format, "launch_subagent", **launch)})
    assert len(env.tree) == 2
    env.close()


class Generous(ToyWorld):
    """Gives every subagent more than it was asked to."""

    def delegate(self, node: Node, goal: str, turns: int | None = None) -> Subtask:
        return Subtask(goal, ["y" * LIMIT])


def test_a_payload_is_bounded_though_its_arguments_are_short():
    env = toy_env("calls", world=Generous, limits={"max_value_bytes": LIMIT})
    env.reset(seed=0)
    env.advance({0: say(launch("left"))})
    assert len(env.tree) == 1
    said = env.tree.root.turns[0].observation
    assert f"its payload is too large: a value takes at least 1,002 bytes as JSON, {NAMED}" in said


def test_what_a_tool_returns_is_the_worlds_business():
    env = begin("code", limit=10)
    env.advance({0: "view_inventory()"})
    assert env.tree.root.turns[0].fault is None
    assert len(env.tree.root.turns[0].observation) > 10
    env.close()


@pytest.mark.parametrize("value", [0, -1, None, 1.5, True])
def test_there_is_no_unlimited(value):
    with pytest.raises(OptionError, match="max_value_bytes"):
        begin("calls", limit=value)
