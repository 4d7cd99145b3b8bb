"""The environment under test: how it is made, and plays of it that use its tools and delegate."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

from rao_envs.actions.calls import parse_calls
from rao_envs.actions.tools import FINISH, LAUNCH
from rao_envs.env import RecursiveEnv
from rao_envs.errors import ToolError
from rao_envs.events import Verdict
from rao_envs.policies.base import View, views
from rao_envs.seeding import rng
from rao_envs.testing.exploring import Explorer, least, write
from rao_envs.tree import Node, Turn
from rao_envs.world import Task, World

__all__ = ["Make", "Play", "RuleBroken", "Subject", "replay"]

Make = Callable[[], RecursiveEnv]

_ORACLE_TASKS = 2
_ORACLE_STEPS = 400
_EXPLORED_TASKS = (2, 6)  # at least, and at most while something has not been exercised
_EXPLORED_STEPS = 80
_TURNS_OF_A_NODE = 16
_ENOUGH = 2


class RuleBroken(AssertionError):
    """An environment breaks a rule.

    Attributes:
        rule: name of the rule.
    """

    def __init__(self, rule: str, message: str) -> None:
        """Name the rule, and say how it is broken."""
        super().__init__(f"{rule}: {message}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Play:
    """What was said in one rollout, each message by the first node that was ready.

    Attributes:
        task: number of the task.
        messages: what was said.
        tree: the tree that came of it, as JSON.
    """

    task: int
    messages: tuple[str, ...]
    tree: str


class Subject:
    """An environment under test.

    Attributes:
        make: makes it anew.
        used: accepted calls by name of the tool, launches among them.
        refused: what the agent read when a call was refused last, by name.
    """

    def __init__(self, make: Make) -> None:
        """Keep how it is made; it is played when a rule asks for plays."""
        self.make = make
        self.used: Counter[str] = Counter()
        self.refused: dict[str, str] = {}

    @contextmanager
    def open(self, task: int | None = None) -> Iterator[RecursiveEnv]:
        """Make the environment, reset it to a task if one is named, and close it."""
        env = self.make()
        try:
            if task is not None:
                env.reset(seed=task, options={"task": task})
            yield env
        finally:
            env.close()

    @cached_property
    def plays(self) -> tuple[Play, ...]:
        """Rollouts that use the tools and delegate: those of the recursive oracle, if there is one, and explored ones.

        Raises:
            RuleBroken: "tools", if a valid call raises; "verdicts", if a node is not given a verdict.
        """
        with self.open() as env:
            _spy_on_verdicts(env)
            oracle = env.oracles.get("recursive")
            plays = [] if oracle is None else [self._play(env, task, oracle) for task in range(_ORACLE_TASKS)]
            for task in range(_EXPLORED_TASKS[1]):
                if task < _EXPLORED_TASKS[0] or self.missing:
                    plays.append(self._explore(env, task))
        return tuple(plays)

    @cached_property
    def explorer(self) -> Explorer:
        """Draws calls; its environment stays open for the world that it reads."""
        env = self.make()
        env.reset(seed=0, options={"task": 0})
        return Explorer(env)

    def close(self) -> None:
        """Close what it keeps open."""
        if "explorer" in vars(self):
            self.explorer.env.close()

    @property
    def missing(self) -> Mapping[str, str]:
        """Why, for each tool that no call has exercised, and for launching, where that is possible."""
        reasons = dict(self.explorer.hidden)
        for name in self.explorer.schemas:
            if not self.used[name]:
                last = f"; the last time: {self.refused[name]}" if name in self.refused else ""
                reasons[name] = f"every valid call that was drawn was refused{last}"
        return reasons

    def _play(self, env: RecursiveEnv, task: int, speak: Callable[[View], str]) -> Play:
        env.reset(seed=task, options={"task": task})
        said: list[str] = []
        while env.ready and len(said) < _ORACLE_STEPS:
            said.append(speak(views(env)[0]))
            env.step(said[-1])
        for node in env.tree.nodes:
            for turn in node.turns:
                for name in _named(turn, env.action_format, tuple(self.explorer.schemas)):
                    self.used[name] += 1
        return Play(task, tuple(said), env.tree.to_json())

    def _explore(self, env: RecursiveEnv, task: int) -> Play:
        env.reset(seed=task, options={"task": task})
        random = rng("check_env", task)
        explorer, said = Explorer(env), list[str]()
        while env.ready:
            node = views(env)[0].node
            name = self._choose(node, explorer, random) if len(said) < _EXPLORED_STEPS else FINISH
            arguments = explorer.arguments(name, node, random) if name != FINISH else _result(node, random)
            message = write(env.action_format, name, **arguments)
            said.append(message)
            before = len(env.tree)
            try:
                env.step(message)
            except RuleBroken:
                raise
            except Exception as error:
                rule = "verdicts" if name == FINISH else "tools"
                raise RuleBroken(rule, f"task {task}: {message} raises {type(error).__name__}: {error}") from error
            self._note(name, node, len(env.tree) > before)
        return Play(task, tuple(said), env.tree.to_json())

    def _choose(self, node: Node, explorer: Explorer, random: Random) -> str:
        if len(node.turns) + 1 >= min(node.budget, _TURNS_OF_A_NODE if node.depth == 0 else 5):
            return FINISH
        names = [name for name in explorer.schemas if name != LAUNCH or explorer.may_launch(node)]
        wanted = [name for name in names if self.used[name] < _ENOUGH]
        return random.choice(wanted if wanted and random.random() < 0.7 else names or [FINISH])

    def _note(self, name: str, node: Node, launched: bool) -> None:
        turn = node.turns[-1]
        if name == FINISH:
            return
        if launched if name == LAUNCH else turn.fault is None:
            self.used[name] += 1
        elif turn.observation:
            self.refused[name] = turn.observation.strip().splitlines()[-1][-200:]

    def launches(self, env: RecursiveEnv, node: Node, random: Random, rounds: int) -> Iterator[tuple[str, bool]]:
        """Yield messages that launch a subagent, each with whether it asks for nothing at all.

        That is so where every text, list and dict is empty, and where there are numbers only, all of them equal (an
        empty range).
        """
        explorer = Explorer(env)
        if LAUNCH not in explorer.schemas:
            return
        properties: Mapping[str, Any] = explorer.schemas[LAUNCH]["properties"]
        empty = {name: value for name, part in properties.items() if (value := least(part)) in ("", [], {})}
        for _ in range(rounds):
            drawn = explorer.arguments(LAUNCH, node, random)
            yield write(env.action_format, LAUNCH, **drawn), False
            number = random.randint(1, 5)  # turns, often: a launch with none is refused
            hollow = {name: number if type(value) is int else value for name, value in drawn.items()}
            if emptied := {name: value for name, value in empty.items() if name in drawn}:
                yield write(env.action_format, LAUNCH, **hollow | emptied), True
                for name, value in emptied.items():
                    yield write(env.action_format, LAUNCH, **hollow | {name: value}), False
            elif len(drawn) > 1 and all(type(value) is int for value in drawn.values()):
                yield write(env.action_format, LAUNCH, **hollow), True


def replay(env: RecursiveEnv, play: Play) -> str:
    """Say the same again, and return the tree as JSON."""
    env.reset(seed=play.task, options={"task": play.task})
    for message in play.messages:
        if not env.ready:
            break
        env.step(message)
    return env.tree.to_json()


def _result(node: Node, random: Random) -> dict[str, Any]:
    seen = (node.turns[-1].observation if node.turns else node.goal) or ""
    numbers = [json.loads(number) for number in re.findall(r"\b[1-9]\d{0,8}\b", seen)]
    return {"message": random.choice([*numbers[:20], *seen.split()[:20], 1, "done"])}


def _named(turn: Turn, action_format: str, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the tools that a turn called without a failure."""
    if turn.fault is not None:
        return
    if action_format == "calls":
        try:
            called = {name for name, _ in parse_calls(turn.action)}
        except ToolError:
            called = set()
        yield from (name for name in names if name in called)
    else:
        yield from (name for name in names if re.search(rf"\b{name}\(", turn.action))


def _spy_on_verdicts(env: RecursiveEnv) -> None:
    """Look at what `verify` returns before the engine does."""
    make_world = env.make_world

    def make(task: Task) -> World:
        world = make_world(task)
        verify = world.verify

        def judge(node: Node, result: Any) -> Verdict:
            verdict = verify(node, result)
            if not isinstance(verdict, Verdict):
                kind = type(verdict).__name__
                raise RuleBroken("verdicts", f"verify returned {verdict!r:.80}, a {kind}: it must return a Verdict")
            return verdict

        world.verify = judge  # type: ignore[method-assign]
        return world

    env.make_world = make
