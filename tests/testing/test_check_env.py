"""The checker passes every environment of ours, and each of its rules fires on an environment that breaks it."""

import random
import subprocess
import sys
from itertools import count

import gymnasium as gym
import numpy as np
import pytest

from rao_envs import Node, RecursiveEnv, Subtask, Task, ToolError, Verdict, seeding, tool
from rao_envs.errors import OptionError
from rao_envs.registration import ENVIRONMENTS
from rao_envs.testing import RuleBroken, check_env
from rao_envs.testing.env_checker import RULES, Subject
from rao_envs.testing.toy import ToyWorld, toy_env, toy_oracle, toy_task
from rao_envs.tree import Messages


@pytest.mark.parametrize("env_id", list(ENVIRONMENTS))
def test_every_registered_environment_passes_with_every_tool_used(env_id):
    report = check_env(env_id)
    assert report.complete, report
    assert (report.env, report.rules) == (env_id, tuple(RULES))
    env = gym.make(env_id, difficulty="easy").unwrapped
    env.reset(seed=0)
    for used in report.used.values():
        assert used.keys() == {*env.world.tools, "launch_subagent"}


def test_an_environment_or_a_function_that_makes_one_will_do():
    assert check_env(gym.make("TextCraft-v0", depth=2)).env == "TextCraft-v0"
    assert check_env(good).complete
    report = check_env(toy_env, formats=["calls"])
    assert list(report.used) == ["calls"]
    assert report.used["calls"].keys() == {"note", "launch_subagent"}
    assert str(report).startswith(f"RecursiveEnv: {len(RULES)} rules hold in calls; used launch_subagent ")


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


# These have no oracle, so that nothing but what the checker draws can find them.


class Dice(ToyWorld):
    """A tool that draws from nowhere."""

    @tool
    def roll(self, node: Node) -> float:
        """Roll a die."""
        return random.Random().random()


class GlobalDice(ToyWorld):
    """A tool that draws from the generator that all programs share."""

    @tool
    def roll(self, node: Node) -> int:
        """Roll a die."""
        return random.randint(1, 6)


class Division(ToyWorld):
    @tool
    def share(self, node: Node, among: int) -> float:
        """Share what there is."""
        return 100 / among


class Fussy(ToyWorld):
    """A tool that fails for one of the values that its type allows, two levels down."""

    @tool
    def weigh(self, node: Node, weights: dict[str, list[int]]) -> float:
        """Take a mean."""
        return sum(sum(own) / len(own) for own in weights.values())


class Unjsonable(ToyWorld):
    """A tool that returns what JSON cannot hold."""

    @tool
    def who(self, node: Node) -> object:
        """Say who you are."""
        return node


class SetState(ToyWorld):
    """Its state is JSON until a tool is used."""

    @tool
    def mark(self, node: Node, name: str) -> int:
        """Mark a name."""
        self.marked = {*getattr(self, "marked", ()), name}
        return len(self.marked)


class Secretive(ToyWorld):
    """What a tool changes is not in the state."""

    def __init__(self, task):
        super().__init__(task)
        self._count = 0

    @tool
    def count(self, node: Node) -> int:
        """Count calls."""
        self._count += 1
        return self._count


class Charity(ToyWorld):
    """A child asked for nothing earns 1.0."""

    def delegate(self, node, parts: list[int]):
        return Subtask(f"Add {parts}.", {"parts": parts})

    def verify(self, node, result):
        parts = node.payload.get("parts", [7])
        return Verdict(float(result == sum(parts)))


class Ranges(ToyWorld):
    """The same where a range is empty."""

    def delegate(self, node, first: int, end: int):
        if first > end:
            raise ToolError("backwards")
        return Subtask(f"Add {first} to {end}.", {"first": first, "end": end})

    def verify(self, node, result):
        return Verdict(
            float("first" in node.payload and result == sum(range(node.payload["first"], node.payload["end"])))
        )


class Flatterer(ToyWorld):
    """Believes a child that asks for nothing in words."""

    def verify(self, node, result):
        return Verdict(1.0 if result == 1 or (node.depth and not node.goal) else 0.0)


class Float(ToyWorld):
    def verify(self, node, result):
        return 0.5


class Silent(ToyWorld):
    def verify(self, node, result):
        return None if node.depth else Verdict(0.0)


def lost_events(self, action):
    *rest, info = RecursiveEnv.step(self, action)
    return *rest, info | {"events": info["events"][1:]}


class Tuples(ToyWorld):
    """Puts into the log what JSON cannot give back."""

    def delegate(self, node, goal: str, turns: int | None = None):
        subtask = super().delegate(node, goal, turns)
        return type(subtask)(subtask.goal, {"goal": (goal,)}, turns)


def bare(world):
    """A factory of toy environments without an oracle."""
    return lambda action_format: RecursiveEnv(toy_task, world, action_format=action_format)


BROKEN = {
    "gymnasium": [toy(reset=warn_at_reset), toy(step=wrong_type)],
    "tools": [bare(Division), bare(Fussy), bare(Unjsonable)],
    "verdicts": [bare(Float), toy(world=Float), bare(Silent)],
    "tasks": [toy(tasks=impure_tasks), toy(tasks=same_ids), toy(tasks=tuple_tasks)],
    "determinism": [toy(world=Forgetful), bare(Dice)],
    "random_state": [toy(tasks=global_random), toy(tasks=global_numpy), bare(GlobalDice)],
    "checkpoints": [toy(world=Amnesic), toy(world=Unsavable), bare(SetState), bare(Secretive)],
    "info": [toy(step=no_messages), toy(_see=shared_chat)],
    "garbage": [toy(step=fragile), toy(step=deaf)],
    "rewards": [toy(step=early_reward), toy(step=scaled_reward), toy(step=never_truncated), toy(step=endless)],
    "oracles": [toy(oracles={"recursive": lazy_oracle}), toy(oracles={"recursive": lonely_oracle})],
    "minimum": [toy(world=Generous), toy(world=Parrot), bare(Charity), bare(Ranges), bare(Flatterer)],
    "log": [toy(step=lost_events), toy(world=Tuples)],
}


def fires(name, factory, action_format):
    subject = Subject(lambda: factory(action_format))
    try:
        RULES[name](subject)
    except RuleBroken as failed:
        return failed.rule == name
    except Exception:
        return True  # `check_env` names the rule in which it was raised
    finally:
        subject.close()
    return False


@pytest.mark.parametrize("action_format", ["code", "calls"])
@pytest.mark.parametrize("name", list(RULES))
def test_a_rule_fires_on_what_breaks_it_and_on_nothing_else(name, action_format):
    assert not fires(name, good, action_format)
    assert not fires(name, bare(ToyWorld), action_format)
    assert BROKEN[name]
    for i, broken in enumerate(BROKEN[name]):
        assert fires(name, broken, action_format), f"broken environment {i} passes"


@pytest.mark.parametrize("name", list(RULES))
def test_the_failure_names_a_rule(name):
    for broken in BROKEN[name]:
        with pytest.raises(RuleBroken, match=r"^\w+: ") as failed:
            check_env(broken, formats=["calls"])
        assert failed.value.rule in RULES


@pytest.mark.parametrize(
    ("world", "rule", "message"),
    [
        (Division, "tools", r'"share", "arguments": \{"among": 0\}.* raises ZeroDivisionError'),
        (Dice, "determinism", "played again in a fresh environment, went another way"),
        (SetState, "checkpoints", "SetState.marked=.*does not survive JSON"),
        (Charity, "minimum", r'a child asked for nothing .*"parts": \[\].* succeeds by finish\(0\), doing nothing'),
        (Float, "verdicts", "verify returned 0.5, a float: it must return a Verdict"),
        (Silent, "verdicts", "verify returned None, a NoneType"),
    ],
)
def test_the_failure_says_what_was_done_and_what_came_of_it(world, rule, message):
    with pytest.raises(RuleBroken, match=message) as failed:
        check_env(bare(world), formats=["calls"])
    assert failed.value.rule == rule


class Locked(ToyWorld):
    """A tool that nobody can use, and launches that are always refused."""

    @tool
    def open(self, node: Node, key: str) -> str:
        """Open the door."""
        raise ToolError(f"no door has the key {key[:3]}")

    def delegate(self, node, goal: str):
        raise ToolError("nobody is there")


class Opaque(ToyWorld):
    """A tool that takes what no message can carry."""

    @tool
    def show(self, node: Node, what: random.Random) -> str:
        """Show it."""
        return str(what)


@pytest.mark.parametrize("action_format", ["code", "calls"])
def test_what_could_not_be_exercised_is_named(action_format):
    report = check_env(bare(Locked), [action_format])
    assert report.unexercised[action_format].keys() == {"open", "launch_subagent"}
    assert not report.complete
    assert f"not exercised in {action_format}: open: every valid call that was drawn was refused" in str(report)
    assert "no door has the key" in str(report)
    assert "nobody is there" in str(report)
    assert report.used[action_format].keys() == {"note"}


def test_a_tool_that_no_message_can_call_is_named():
    report = check_env(bare(Opaque), ["calls"])
    assert "its arguments have no JSON schema" in report.unexercised["calls"]["show"]


def test_a_lone_agent_s_environment_has_nothing_to_launch():
    report = check_env(lambda action_format: toy_env(action_format, recursive=False), ["calls"])
    assert (report.complete, report.used["calls"].keys()) == (True, {"note"})


def test_the_toy_s_chats_are_views():
    env = good("calls")
    _, info = env.reset(seed=0)
    assert isinstance(info["messages"], Messages)
    assert seeding.derive(0) != seeding.derive(1)
