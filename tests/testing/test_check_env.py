"""The checker passes every environment of ours, and each of its rules fires on an environment that breaks it."""

import random
import subprocess
import sys
from itertools import count

import gymnasium as gym
import numpy as np
import pytest

from rao_envs import RecursiveEnv, Task, Verdict, seeding
from rao_envs.errors import OptionError
from rao_envs.registration import ENVIRONMENTS
from rao_envs.testing import RuleBroken, check_env
from rao_envs.testing.env_checker import RULES
from rao_envs.testing.toy import ToyWorld, toy_env, toy_oracle, toy_task
from rao_envs.tree import Messages


@pytest.mark.parametrize("env_id", list(ENVIRONMENTS))
def test_every_registered_environment_passes(env_id):
    check_env(env_id)


def test_an_environment_or_a_function_that_makes_one_will_do():
    check_env(gym.make("TextCraft-v0", depth=2))
    check_env(good)
    check_env(toy_env, formats=["calls"])


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(OptionError, match="has no spec"):
        check_env(toy_env())
    with pytest.raises(OptionError, match="rao_envs"):
        check_env(lambda action_format: gym.make("CartPole-v1"))


def test_importing_the_tools_loads_no_environment_and_no_hypothesis():
    code = "import sys, rao_envs.testing as t; print({'hypothesis', 'rao_envs.env'} & sys.modules.keys()); t.check_env"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_other_names_do_not_exist():
    import rao_envs.testing

    with pytest.raises(AttributeError, match="no attribute 'chekc_env'"):
        _ = rao_envs.testing.chekc_env


# Environments that break one rule each --------------------------------------------------------------------------------


def toy(env_class=RecursiveEnv, world=ToyWorld, tasks=toy_task, **attributes):
    """Return a factory of toy environments with an oracle and something broken."""
    made = type("Broken", (env_class,), {"oracles": {"recursive": toy_oracle}, **attributes})
    return lambda action_format: made(tasks, world, action_format=action_format)


good = toy()


def warn_at_reset(self, *, seed=None, options=None):
    gym.logger.warn("this environment is not ready for use")
    return RecursiveEnv.reset(self, seed=seed, options=options)


def wrong_type(self, action):
    observation, _, terminated, truncated, info = RecursiveEnv.step(self, action)
    return observation, "high", terminated, truncated, info


counter = count()


def impure_tasks(index):
    return Task(f"t/{index}/{next(counter)}", "Do it.", {"goal": "x"})


def same_ids(index):
    return Task("t", "Do it.", {"goal": "x"})


def tuple_tasks(index):
    return Task(f"t/{index}", "Do it.", {"goal": ("a", "tuple")})


class Forgetful(ToyWorld):
    """Its judgement depends on what other rollouts did."""

    seen = 0

    def verify(self, node, result):
        Forgetful.seen += 1
        return Verdict(float(node.depth > 0 or result == 1), "exact", f"number {Forgetful.seen}")


def global_random(index):
    random.random()
    return toy_task(index)


def global_numpy(index):
    np.random.random()  # noqa: NPY002 (the mistake to be found)
    return toy_task(index)


class Amnesic(ToyWorld):
    """Leaves its state out of checkpoints."""

    def state(self):
        return {}

    def restore(self, state):
        pass

    def delegate(self, node, goal: str, turns: int | None = None):
        self.notes.append(goal)
        return super().delegate(node, f"{goal} {len(self.notes)}", turns)


class Unsavable(ToyWorld):
    def __init__(self, task):
        super().__init__(task)
        self.extra = {1, 2}


def no_messages(self, action):
    *rest, info = RecursiveEnv.step(self, action)
    del info["messages"]
    return *rest, info


class Chat(list):
    """A chat that is handed out as it is, and grows."""


def shared_chat(self, events):
    observation, info = RecursiveEnv._see(self, events)
    if not hasattr(self, "_chat") or not events or type(events[0]).__name__ == "Spawned":
        self._chat = Chat()
    self._chat[:] = list(info["messages"])
    return observation, info | {"messages": self._chat}


def fragile(self, action):
    if action.strip() == "[]":
        raise KeyError("nothing")
    return RecursiveEnv.step(self, action)


def deaf(self, action):
    if not isinstance(action, str) or len(action) > 10_000:
        raise ValueError("too long")
    return RecursiveEnv.step(self, action)


def early_reward(self, action):
    observation, reward, *rest = RecursiveEnv.step(self, action)
    return observation, 0.1 if self.ready else reward, *rest


def scaled_reward(self, action):
    observation, reward, *rest = RecursiveEnv.step(self, action)
    return observation, reward * 100.0, *rest


def never_truncated(self, action):
    observation, reward, terminated, truncated, info = RecursiveEnv.step(self, action)
    return observation, reward, terminated or truncated, terminated or truncated, info


def endless(self, action):
    if self._engine and not self.ready:
        return "", 0.0, True, False, {}
    return RecursiveEnv.step(self, action)


def lazy_oracle(view):
    return '[{"name": "finish"}]' if view.format == "calls" else "finish()"


def lonely_oracle(view):
    return '[{"name": "finish", "arguments": {"message": 1}}]' if view.format == "calls" else "finish(1)"


class Generous(ToyWorld):
    def verify(self, node, result):
        return Verdict(1.0 if result == 1 or not result else 0.0)


class Parrot(ToyWorld):
    def verify(self, node, result):
        return Verdict(1.0 if result == 1 or (node.depth and result == node.goal) else 0.0)


def lost_events(self, action):
    *rest, info = RecursiveEnv.step(self, action)
    return *rest, info | {"events": info["events"][1:]}


class Tuples(ToyWorld):
    """Puts into the log what JSON cannot give back."""

    def delegate(self, node, goal: str, turns: int | None = None):
        subtask = super().delegate(node, goal, turns)
        return type(subtask)(subtask.goal, {"goal": (goal,)}, turns)


BROKEN = {
    "gymnasium": [toy(reset=warn_at_reset), toy(step=wrong_type)],
    "tasks": [toy(tasks=impure_tasks), toy(tasks=same_ids), toy(tasks=tuple_tasks)],
    "determinism": [toy(world=Forgetful)],
    "random_state": [toy(tasks=global_random), toy(tasks=global_numpy)],
    "checkpoints": [toy(world=Amnesic), toy(world=Unsavable)],
    "info": [toy(step=no_messages), toy(_see=shared_chat)],
    "garbage": [toy(step=fragile), toy(step=deaf)],
    "rewards": [toy(step=early_reward), toy(step=scaled_reward), toy(step=never_truncated), toy(step=endless)],
    "oracles": [toy(oracles={"recursive": lazy_oracle}), toy(oracles={"recursive": lonely_oracle})],
    "minimum": [toy(world=Generous), toy(world=Parrot)],
    "log": [toy(step=lost_events), toy(world=Tuples)],
}


def fires(name, factory, action_format="calls"):
    try:
        RULES[name](lambda: factory(action_format))
    except RuleBroken as failed:
        return failed.rule == name
    except Exception:
        return True  # `check_env` names the rule in which it was raised
    return False


@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_fires_on_what_breaks_it_and_on_nothing_else(name):
    assert not fires(name, good)
    assert BROKEN[name]
    for place, broken in enumerate(BROKEN[name]):
        assert fires(name, broken), f"broken environment {place} passes"


@pytest.mark.parametrize("name", list(RULES))
def test_the_failure_names_a_rule(name):
    for broken in BROKEN[name]:
        with pytest.raises(RuleBroken, match=r"^\w+: ") as failed:
            check_env(broken, formats=["calls"])
        assert failed.value.rule in RULES


def test_the_toy_s_chats_are_views():
    env = good("calls")
    _, info = env.reset(seed=0)
    assert isinstance(info["messages"], Messages)
    assert seeding.derive(0) != seeding.derive(1)
