"""The rules: each is a function that raises `RuleBroken` where an environment breaks it."""

from __future__ import annotations

import json
import random
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from rao_envs.actions.tools import FINISH
from rao_envs.env import RecursiveEnv
from rao_envs.errors import EpisodeOver
from rao_envs.events import Returned, Spawned
from rao_envs.policies.base import views
from rao_envs.seeding import rng
from rao_envs.testing.env_checker.subject import Play, RuleBroken, Subject, replay
from rao_envs.testing.exploring import write
from rao_envs.tree import ExecutionTree, Node
from rao_envs.world import Task

__all__ = ["GARBAGE", "RULES"]

_TASKS = 3
_INFO_STEPS = 40
_SAVES = 12

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


def _demand(rule: str, holds: object, message: str) -> None:
    if not holds:
        raise RuleBroken(rule, message)


def _gymnasium(subject: Subject) -> None:
    """Gymnasium's own checker passes without a warning."""
    with warnings.catch_warnings(), subject.open() as env:
        warnings.simplefilter("error")
        if env.spec is None:  # it then cannot be made anew in every render mode, which is all that is skipped
            warnings.filterwarnings("ignore", message=".*not having a spec.*")
        gymnasium_check_env(env, skip_render_check=env.spec is None)


def _tools(subject: Subject) -> None:
    """A valid call of a tool, or launch, never raises: what an agent does wrong is a `ToolError`."""
    assert subject.plays


def _verdicts(subject: Subject) -> None:
    """`verify` gives every node that finishes a `Verdict`."""
    for play in subject.plays:
        for node in ExecutionTree.from_json(play.tree).nodes:
            _demand("verdicts", node.status is None or node.verdict, f"node {node.address} ended without a verdict")


def _tasks(subject: Subject) -> None:
    """Tasks are pure, have ids of their own, and survive JSON."""
    with subject.open() as one, subject.open() as two:
        tasks = [one.tasks(index) for index in range(_TASKS)]
        for index, task in reversed(list(enumerate(tasks))):
            again = [env.tasks(index) for env in (one, two)]
            _demand("tasks", again == [task, task], f"task {index} is another one when it is made again")
            copy = Task(**json.loads(json.dumps(task.to_dict())))
            _demand("tasks", copy == task, f"task {index} does not survive JSON")
        _demand("tasks", len({task.id for task in tasks}) == _TASKS, "two task numbers share an id")


def _determinism(subject: Subject) -> None:
    """The same seed and the same actions give the same tree, in a used environment and in a fresh one."""
    with subject.open() as used:
        for play in subject.plays:
            with subject.open() as fresh:
                _same(play, replay(fresh, play), "in a fresh environment")
            _same(play, replay(used, play), "in a used environment")
    with subject.open() as one, subject.open() as two:
        same = [env.reset(seed=5)[0] for env in (one, two, one)]
        _demand("determinism", same == same[:1] * 3, "reset(seed=5) shows something else each time")


def _same(play: Play, again: str, where: str) -> None:
    if again == play.tree:
        return
    first, second = (json.loads(text)["events"] for text in (play.tree, again))
    pairs = zip(first, second, strict=False)
    changed = next(((old, new) for old, new in pairs if old != new), ("no event", "one more"))
    old, new = (json.dumps(event)[:200] for event in changed)
    raise RuleBroken("determinism", f"task {play.task}, played again {where}, went another way: {old}, then {new}")


def _random_state(subject: Subject) -> None:
    """The global random generators are left alone."""
    plays = subject.plays
    before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002 (the global one is what must not change)
    with subject.open(0) as env:
        for play in plays:
            replay(env, play)
    after = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    _demand("random_state", before == after, "making or playing it changes a global random generator")


def _checkpoints(subject: Subject) -> None:
    """A rollout saved and loaded time and again ends as the uninterrupted one does."""
    for play in subject.plays:
        env = subject.make()
        try:
            env.reset(seed=play.task, options={"task": play.task})
            every = max(1, len(play.messages) // _SAVES)
            for step, message in enumerate(play.messages):
                if step % every == 0:
                    env = _resumed(subject, env)
                if env.ready:
                    env.step(message)
            env = _resumed(subject, env)
            same = env.tree.to_json() == play.tree
            _demand("checkpoints", same, f"task {play.task}, saved and loaded on the way, went another way")
        finally:
            env.close()


def _resumed(subject: Subject, env: RecursiveEnv) -> RecursiveEnv:
    saved, again = env.save(), subject.make()
    again.load(saved)
    same = again.save() == saved and again.ready == env.ready
    env.close()
    _demand("checkpoints", same, "what was loaded is not what was saved")
    return again


def _info(subject: Subject) -> None:
    """`info` tells who acts next; what it holds neither changes later nor can be used to change anything."""
    for play in subject.plays:
        with subject.open() as env:
            observation, info = env.reset(seed=play.task, options={"task": play.task})
            kept = []
            for message in (*play.messages[:_INFO_STEPS], None):
                missing = {"node", "depth", "events", "messages", "task"} - info.keys()
                _demand("info", not missing, f"info lacks {sorted(missing)}")
                _demand("info", not env.ready or info["node"] == env.ready[0], "info['node'] is not who acts next")
                chat = info["messages"]
                shown = chat[-1]["content"]
                _demand("info", not env.ready or shown == observation, "the observation is not the end of the chat")
                kept.append((chat, json.dumps(list(chat))))
                chat[0]["content"] = "forged"
                info["messages"] = []
                if message is None or not env.ready:
                    break
                observation, *_, info = env.step(message)
            changed = sum(json.dumps(list(chat)) != text for chat, text in kept)
            _demand("info", not changed, f"{changed} chats changed after they were shown")


def _garbage(subject: Subject) -> None:
    """Whatever an agent says is answered with an observation, and never with an exception."""
    with subject.open(0) as env:
        own = env.tree.root.system  # agents do repeat their instructions
    for text in (*GARBAGE, own):
        with subject.open(0) as env:
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


def _rewards(subject: Subject) -> None:
    """The reward is 0 until the root is over, and then the root's own success in [0, 1]."""
    for play in subject.plays:
        with subject.open(play.task) as env:
            for message in play.messages:
                _, reward, terminated, truncated, _ = env.step(message)
                if terminated or truncated:
                    break
                _demand("rewards", reward == 0.0, f"a reward of {reward!r} before the root is over")
            else:
                continue  # an oracle's play that was cut short
            root = env.tree.root
            _demand("rewards", terminated != truncated, "the end is neither terminated nor truncated, or both")
            finished = root.status == "finished"
            _demand("rewards", terminated == finished, "terminated does not mean that the root finished")
            _demand("rewards", 0.0 <= reward <= 1.0, f"the reward {reward!r} lies outside [0, 1]")
            _demand("rewards", reward == (root.success or 0.0), f"the reward {reward!r} is not the root's own success")
            _demand("rewards", not env.ready, "nodes wait for actions after the end")
            try:
                env.step("again")
            except EpisodeOver:
                continue
            raise RuleBroken("rewards", "an episode that is over can be stepped")


def _oracles(subject: Subject) -> None:
    """The recursive oracle, if there is one, solves the tasks and launches subagents."""
    for task in range(_TASKS):
        with subject.open(task) as env:
            if "recursive" not in env.oracles:
                return
            while env.ready:
                env.step(env.oracles["recursive"](views(env)[0]))
            tree = env.tree
            _demand("oracles", tree.root.success == 1.0, f"the recursive oracle leaves task {task} unsolved: {tree}")
            _demand("oracles", len(tree) > 1 or not env.rules.recursive, f"it solves task {task} alone")


_Pick = Callable[[Node], Any]
_IDLE: Sequence[_Pick] = (lambda node: "", lambda node: None, lambda node: node.goal, lambda node: node.opening)
"""Answers of an agent that has done nothing."""
_NOTHING: Sequence[_Pick] = (*_IDLE, lambda node: "done", lambda node: 0, lambda node: [], lambda node: {})
"""What may be right where nothing was asked."""


def _minimum(subject: Subject) -> None:
    """Empty, malformed and copied answers score nothing, at the root and below; nor does a child asked for nothing."""
    for pick in _IDLE:
        for task in range(_TASKS):
            with subject.open(task) as env:
                root = env.tree.root
                answer = pick(root)
                env.step(write(env.action_format, FINISH, message=answer))
                _demand("minimum", not root.success, f"finish({answer!r:.60}) succeeds as the root")
    for task in range(_TASKS):
        _idle_children(subject, task)
    for play in subject.plays[:1]:
        _idle_child_of(subject, play)


def _idle_children(subject: Subject, task: int) -> None:
    """Launch children of the root, for something and for nothing, each of which finishes at once."""
    chosen = rng("check_env", "idle", task)
    for number in range(max(len(_IDLE), len(_NOTHING))):
        with subject.open(task) as env:
            root = env.tree.root
            for message, hollow in subject.launches(env, root, chosen, rounds=3):
                if env.ready != (0,):
                    break
                before = len(env.tree)
                env.step(message)
                picks = _NOTHING if hollow else _IDLE
                for child in env.tree.nodes[before:]:
                    answer = picks[number % len(picks)](child)
                    env.step(write(env.action_format, FINISH, message=answer))
                    asked = "for nothing" if hollow else f"for {child.goal!r:.60}"
                    what = f"a child asked {asked} ({message:.200}) succeeds by finish({answer!r:.60}), doing nothing"
                    _demand("minimum", not child.success, what)


def _idle_child_of(subject: Subject, play: Play) -> None:
    """Let the first child of a play finish at once."""
    for pick in _IDLE:
        with subject.open(play.task) as env:
            for message in play.messages:
                env.step(message)
                below = [view.node for view in views(env) if view.node.depth]
                if below or not env.ready:
                    break
            for node in below:
                answer = pick(node)
                env.advance({node.id: write(env.action_format, FINISH, message=answer)})
                _demand("minimum", not node.success, f"finish({answer!r:.60}) succeeds as a subagent")


def _log(subject: Subject) -> None:
    """The log holds all that happened: the tree can be rebuilt from it, and its times make sense."""
    for play in subject.plays:
        with subject.open() as env:
            _, info = env.reset(seed=play.task, options={"task": play.task})
            reported = list(info["events"])
            for message in play.messages:
                reported += env.step(message)[-1]["events"]
            tree = env.tree
        _demand("log", reported == tree.events, "the events reported are not the log")
        _demand("log", ExecutionTree.from_events(reported[::-1], tree.meta) == tree, "the log does not give the tree")
        _demand("log", ExecutionTree.from_json(tree.to_json()) == tree, "the tree does not survive JSON exactly")
        counts = Counter((type(event), event.node) for event in tree.events)
        for node in tree.nodes if tree.finished else ():
            once = counts[Spawned, node.id] == counts[Returned, node.id] == 1
            _demand("log", once, f"node {node.id} was not spawned and returned once each")
            parent = tree.nodes[node.parent] if node.parent is not None else node
            inside = parent.spawned_at <= node.spawned_at <= (node.returned_at or 0.0) <= (parent.returned_at or 0.0)
            _demand("log", inside, f"node {node.id} does not live inside the life of its parent")


RULES: Mapping[str, Callable[[Subject], None]] = {
    rule.__name__.removeprefix("_"): rule
    for rule in (
        _gymnasium,
        _tasks,
        _tools,
        _verdicts,
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
