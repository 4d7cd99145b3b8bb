"""Check an environment against every rule of this library; each rule has a name, and none has an exemption.

from rao_envs.testing import check_env

check_env("TextCraftSynth-v0")
"""

from __future__ import annotations

import json
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from rao_envs.env import RecursiveEnv
from rao_envs.errors import EpisodeOver, OptionError
from rao_envs.events import Returned, Spawned
from rao_envs.policies.base import View, views
from rao_envs.tree import ExecutionTree
from rao_envs.world import Task

__all__ = ["RULES", "RuleBroken", "check_env"]

Make = Callable[[], RecursiveEnv]
Speak = Callable[[View], str]

_FORMATS = ("code", "calls")
_TASKS = 3
_MOST_STEPS = 400
_SAVED_STEPS = 12

GARBAGE: Sequence[str] = (
    "",
    " \n\t ",
    "I think that we should begin.",
    "finish(",
    "[{",
    "[]",
    "{}",
    "null",
    '[{"name": "finish", "arguments": 7}]',
    '[{"name": "no_such_tool", "arguments": {}}]',
    '{"name": "launch_subagent", "arguments": {}}',
    "launch_subagent()",
    "await launch_subagent(0, 0, 0, 0, 0, 0, 0, 0)",
    "<python>",
    "```python\n```",
    "raise SystemExit",
    "1 / 0",
    "x" * 50_000,
    "[" * 5_000,
    "\0\x1b[2J\ud800 ünï¢ødé \U0001f4a3",
)
"""What an agent may say without doing any harm."""


class RuleBroken(AssertionError):
    """An environment breaks a rule.

    Attributes:
        rule: name of the rule.
    """

    def __init__(self, rule: str, message: str) -> None:
        """Name the rule, and say how it is broken."""
        super().__init__(f"{rule}: {message}")
        self.rule = rule


def check_env(
    env: str | gym.Env[Any, Any] | Callable[..., gym.Env[Any, Any]], formats: Sequence[str] = _FORMATS
) -> None:
    """Check an environment by all `RULES`, in every action format.

    Args:
        env: an id, an environment made by `gymnasium.make`, or a function that takes `action_format` and makes one.
        formats: the action formats to check.

    Raises:
        RuleBroken: a rule is broken; the error names it.
        OptionError: not an environment of this library, or one that cannot be made anew.
    """
    for action_format in formats:
        make = partial(_make, env, action_format)
        make().close()  # what cannot be made at all is no broken rule
        for name, rule in RULES.items():
            try:
                rule(make)
            except RuleBroken:
                raise
            except Exception as error:
                raise RuleBroken(name, f"{type(error).__name__}: {error}") from error


def _make(env: Any, action_format: str) -> RecursiveEnv:
    if isinstance(env, gym.Env):
        if env.spec is None:
            raise OptionError("env", env, "has no spec: pass its id, or a function that makes it")
        env = env.spec
    made = env(action_format=action_format) if callable(env) else gym.make(env, action_format=action_format)
    inner = made.unwrapped
    if not isinstance(inner, RecursiveEnv):
        raise OptionError("env", env, "must make environments of rao_envs")
    return inner


# Help -----------------------------------------------------------------------------------------------------------------


def _demand(rule: str, holds: object, message: str) -> None:
    if not holds:
        raise RuleBroken(rule, message)


@contextmanager
def _open(make: Make, task: int | None = None) -> Iterator[RecursiveEnv]:
    env = make()
    try:
        if task is not None:
            env.reset(seed=task, options={"task": task})
        yield env
    finally:
        env.close()


def _call(env: RecursiveEnv, name: str, **arguments: Any) -> str:
    """Write a message that calls one tool, in the environment's format."""
    if env.action_format == "calls":
        return json.dumps([{"name": name, "arguments": arguments}])
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _oracle(env: RecursiveEnv) -> Speak:
    """Return the recursive oracle, or what finishes at once where there is none."""
    return env.oracles.get("recursive", lambda view: _call(env, "finish", message="done"))


def _play(env: RecursiveEnv, speak: Speak, most: int = _MOST_STEPS) -> ExecutionTree:
    for _ in range(most):
        if not env.ready:
            break
        env.step(speak(views(env)[0]))
    return env.tree


# Rules ----------------------------------------------------------------------------------------------------------------


def _gymnasium(make: Make) -> None:
    """Gymnasium's own checker passes without a warning."""
    with warnings.catch_warnings(), _open(make) as env:
        warnings.simplefilter("error")
        if env.spec is None:  # it then cannot be made anew in every render mode, which is all that is skipped
            warnings.filterwarnings("ignore", message=".*not having a spec.*")
        gymnasium_check_env(env, skip_render_check=env.spec is None)


def _tasks(make: Make) -> None:
    """Tasks are pure, have ids of their own, and survive JSON."""
    with _open(make) as one, _open(make) as two:
        tasks = [one.tasks(index) for index in range(_TASKS)]
        for index, task in reversed(list(enumerate(tasks))):
            again = [env.tasks(index) for env in (one, two)]
            _demand("tasks", again == [task, task], f"task {index} is another one when it is made again")
            copy = Task(**json.loads(json.dumps(task.to_dict())))
            _demand("tasks", copy == task, f"task {index} does not survive JSON")
        _demand("tasks", len({task.id for task in tasks}) == _TASKS, "two task numbers share an id")


def _determinism(make: Make) -> None:
    """The same seed and the same actions give the same tree, in a used environment and in a fresh one."""
    for task in range(2):
        with _open(make, task) as one, _open(make, task) as two:
            first = _play(one, _oracle(one)).to_json()
            _demand("determinism", _play(two, _oracle(two)).to_json() == first, "two environments grow other trees")
            one.reset(seed=task, options={"task": task})
            _demand("determinism", _play(one, _oracle(one)).to_json() == first, "a second episode grows another tree")
    with _open(make) as one, _open(make) as two:
        same = [env.reset(seed=5)[0] for env in (one, two, one)]
        _demand("determinism", same == same[:1] * 3, "reset(seed=5) shows something else each time")


def _random_state(make: Make) -> None:
    """The global random generators are left alone."""
    before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002 (the global one is what must not change)
    with _open(make, 0) as env:
        _play(env, _oracle(env))
    after = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    _demand("random_state", before == after, "making or playing it changes a global random generator")


def _checkpoints(make: Make) -> None:
    """A rollout saved and loaded at every step ends as the uninterrupted one does."""
    with _open(make, 1) as env:
        expected = _play(env, _oracle(env)).to_json()
        length = sum(len(node.turns) for node in env.tree.nodes)
    every = max(1, length // _SAVED_STEPS)
    broken = make()
    try:
        broken.reset(seed=1, options={"task": 1})
        while broken.ready:
            _play(broken, _oracle(broken), every)
            saved, broken_off = broken.save(), broken
            broken = make()
            broken.load(saved)
            same = broken.save() == saved and broken.ready == broken_off.ready
            broken_off.close()
            _demand("checkpoints", same, "what was loaded is not what was saved")
        _demand("checkpoints", broken.tree.to_json() == expected, "the rollout went on otherwise than without a break")
    finally:
        broken.close()


def _info(make: Make) -> None:
    """`info` tells who acts next; what it holds neither changes later nor can be used to change anything."""
    with _open(make) as env:
        observation, info = env.reset(seed=2)
        oracle, kept = _oracle(env), []
        for _ in range(40):
            missing = {"node", "depth", "events", "messages", "task"} - info.keys()
            _demand("info", not missing, f"info lacks {sorted(missing)}")
            _demand("info", not env.ready or info["node"] == env.ready[0], "info['node'] is not who acts next")
            chat = info["messages"]
            shown = chat[-1]["content"]
            _demand("info", not env.ready or shown == observation, "the observation is not the end of the chat")
            kept.append((chat, json.dumps(list(chat))))
            chat[0]["content"] = "forged"
            info["messages"] = []
            if not env.ready:
                break
            observation, *_, info = env.step(oracle(views(env)[0]))
        changed = sum(json.dumps(list(chat)) != text for chat, text in kept)
        _demand("info", not changed, f"{changed} chats changed after they were shown")


def _garbage(make: Make) -> None:
    """Whatever an agent says is answered with an observation, and never with an exception."""
    for text in (*GARBAGE, _text_of(make)):
        with _open(make, 0) as env:
            for _ in range(2):
                if not env.ready:
                    break
                try:
                    observation, *_ = env.step(text)
                except Exception as error:
                    raise RuleBroken("garbage", f"{text[:60]!r} raises {type(error).__name__}: {error}") from error
                _demand("garbage", env.observation_space.contains(observation), f"{text[:60]!r} shows no text")
            _demand("garbage", env.tree.invalid is None, f"{text[:60]!r} spoils the rollout")
            _demand("garbage", not env.tree.root.success, f"{text[:60]!r} succeeds")


def _text_of(make: Make) -> str:
    """Return the root's own instructions: agents do repeat them."""
    with _open(make, 0) as env:
        return env.tree.root.system


def _rewards(make: Make) -> None:
    """The reward is 0 until the root is over, and then the root's own success in [0, 1]."""
    with _open(make, 0) as env:
        oracle = _oracle(env)
        for _ in range(_MOST_STEPS):
            _, reward, terminated, truncated, _ = env.step(oracle(views(env)[0]))
            if terminated or truncated:
                break
            _demand("rewards", reward == 0.0, f"a reward of {reward!r} before the root is over")
        root = env.tree.root
        _demand("rewards", terminated != truncated, "the end is neither terminated nor truncated, or both")
        _demand("rewards", terminated == (root.status == "finished"), "terminated does not mean that the root finished")
        _demand("rewards", 0.0 <= reward <= 1.0, f"the reward {reward!r} lies outside [0, 1]")
        _demand("rewards", reward == (root.success or 0.0), f"the reward {reward!r} is not the root's own success")
        _demand("rewards", not env.ready, "nodes wait for actions after the end")
        try:
            env.step("again")
        except EpisodeOver:
            return
        raise RuleBroken("rewards", "an episode that is over can be stepped")


def _oracles(make: Make) -> None:
    """The recursive oracle, if there is one, solves the tasks and launches subagents."""
    for task in range(_TASKS):
        with _open(make, task) as env:
            if "recursive" not in env.oracles:
                return
            tree = _play(env, _oracle(env), 100_000)
            _demand("oracles", tree.root.success == 1.0, f"the recursive oracle leaves task {task} unsolved: {tree}")
            _demand("oracles", len(tree) > 1 or not env.rules.recursive, f"it solves task {task} alone")


def _minimum(make: Make) -> None:
    """Empty, malformed and copied answers score nothing, at the root and below."""
    for pick in (lambda node: "", lambda node: None, lambda node: node.goal, lambda node: node.opening):
        for task in range(_TASKS):
            with _open(make, task) as env:
                root = env.tree.root
                env.step(_call(env, "finish", message=pick(root)))
                _demand("minimum", not root.success, f"finish({pick(root)!r:.60}) succeeds as the root")
        with _open(make, 0) as env:
            oracle = _oracle(env)
            for _ in range(20):
                below = [view.node for view in views(env) if view.node.depth]
                if below or not env.ready:
                    break
                env.step(oracle(views(env)[0]))
            for node in below:
                env.advance({node.id: _call(env, "finish", message=pick(node))})
                _demand("minimum", not node.success, f"finish({pick(node)!r:.60}) succeeds as a subagent")


def _log(make: Make) -> None:
    """The log holds all that happened: the tree can be rebuilt from it, and its times make sense."""
    with _open(make) as env:
        _, info = env.reset(seed=3)
        reported, oracle = list(info["events"]), _oracle(env)
        for _ in range(_MOST_STEPS):
            if not env.ready:
                break
            reported += env.step(oracle(views(env)[0]))[-1]["events"]
        tree = env.tree
    _demand("log", reported == tree.events, "the events reported are not the log")
    _demand("log", ExecutionTree.from_events(reported[::-1], tree.meta) == tree, "the log does not give the tree")
    _demand("log", ExecutionTree.from_json(tree.to_json()) == tree, "the tree does not survive JSON exactly")
    counts = Counter((type(event), event.node) for event in tree.events)
    for node in tree.nodes if tree.finished else ():
        whole = counts[Spawned, node.id] == counts[Returned, node.id] == 1
        _demand("log", whole, f"node {node.id} was not spawned and returned once each")
        parent = tree.nodes[node.parent] if node.parent is not None else node
        inside = parent.spawned_at <= node.spawned_at <= (node.returned_at or 0.0) <= (parent.returned_at or 0.0)
        _demand("log", inside, f"node {node.id} does not live inside the life of its parent")


RULES: Mapping[str, Callable[[Make], None]] = {
    rule.__name__.removeprefix("_"): rule
    for rule in (
        _gymnasium,
        _tasks,
        _determinism,
        _random_state,
        _checkpoints,
        _info,
        _garbage,
        _rewards,
        _oracles,
        _minimum,
        _log,
    )
}
"""The rules by name, in the order in which they are checked."""
