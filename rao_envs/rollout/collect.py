"""Collect groups of rollouts, many environments at a time."""

from __future__ import annotations

import json
import operator
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym

from rao_envs.env import RecursiveEnv
from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.policies.base import Answer, Policy, View, views
from rao_envs.seeding import derive
from rao_envs.storage import TreeWriter, read_trees
from rao_envs.tree import ExecutionTree
from rao_envs.world import Task

__all__ = ["EnvFactory", "collect", "stream"]

EnvFactory = Callable[[], gym.Env[str, str]]


@dataclass(slots=True)
class _Job:
    """One rollout to collect; `index` is its index in the result, `rollout` its index in its group."""

    index: int
    task: int | Task
    name: int | str
    rollout: int
    seed: int
    attempt: int = 0


@dataclass(slots=True)
class _Slot:
    """An environment and the rollout it runs."""

    env: gym.Env[str, str]
    inner: RecursiveEnv
    job: _Job


def collect(
    env: str | EnvFactory,
    policy: Policy,
    *,
    tasks: int | Iterable[int | Task],
    group_size: int = 1,
    seed: int = 0,
    env_options: Mapping[str, Any] | None = None,
    concurrency: int = 16,
    max_retries: int = 2,
    sink: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> list[ExecutionTree]:
    """Collect `group_size` rollouts of each task and return their trees, in order of task and rollout.

    Up to `concurrency` environments run at once; in every round the policy gets *all* their ready nodes in one batch.

    Args:
        env: an id for `gymnasium.make`, or a function that makes an environment.
        policy: answers the nodes.
        tasks: how many tasks (numbers 0, 1, ...), or the task numbers or `Task`s themselves.
        group_size: rollouts per task: the K of the objective.
        seed: the rollout with index k in its group is seeded with a hash of (seed, task, k).
        env_options: keyword arguments for `gymnasium.make`.
        concurrency: environments that run at once.
        max_retries: how often a rollout is retried after an infrastructure failure; if it never succeeds, its tree is
            returned with `invalid` set.
        sink: a JSONL file to which each tree is appended as soon as it is finished. Rollouts already in it are not
            repeated, so an interrupted collection resumes where it stopped. Only one collection at a time may write
            to it; once it holds every rollout, it is only read.
        progress: show a progress bar on stderr; None shows one if stderr is a terminal.

    Raises:
        OptionError: an impossible option, or a `sink` that holds rollouts of another seed or environment, or that
            lacks rollouts and cannot be written.
        SinkInUse: another collection is writing to the `sink`; nothing has been done.
        InfrastructureError: an environment could not be reset, even after all retries.
    """
    trees = dict(
        stream(
            env,
            policy,
            tasks=tasks,
            group_size=group_size,
            seed=seed,
            env_options=env_options,
            concurrency=concurrency,
            max_retries=max_retries,
            sink=sink,
            progress=progress,
        )
    )
    return [trees[index] for index in sorted(trees)]


def stream(
    env: str | EnvFactory,
    policy: Policy,
    *,
    tasks: int | Iterable[int | Task],
    group_size: int = 1,
    seed: int = 0,
    env_options: Mapping[str, Any] | None = None,
    concurrency: int = 16,
    max_retries: int = 2,
    sink: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Iterator[tuple[int, ExecutionTree]]:
    """Like `collect`, but yield (index in the result, tree) as each rollout finishes, and keep none."""
    for name, value in (("group_size", group_size), ("concurrency", concurrency)):
        if value < 1:
            raise OptionError(name, value, "must be at least 1")
    if max_retries < 0:
        raise OptionError("max_retries", max_retries, "must be at least 0")
    make = _factory(env, env_options or {})
    jobs = _jobs(tasks, group_size, seed)
    if not jobs:
        raise OptionError("tasks", tasks, "names no task; give a number above 0 or some task numbers")
    label = env if isinstance(env, str) else getattr(env, "__name__", "env")
    marks: dict[str, Any] = {"env": label}
    if env_options:
        marks["options"] = {name: _plain(value) for name, value in env_options.items()}
    writer, done = (None, {}) if sink is None else _open_sink(sink, jobs, marks)
    todo = [job for job in jobs if job.index not in done]
    try:
        with _Bar(label, len(jobs), progress) as bar:
            for index, tree in done.items():
                bar.advance(tree)
                yield index, tree
            for index, tree in _run(make, policy, todo, concurrency, max_retries, marks):
                if writer is not None:
                    writer.write(tree)
                bar.advance(tree)
                yield index, tree
    finally:
        if writer is not None:
            writer.close()


def _factory(env: str | EnvFactory, options: Mapping[str, Any]) -> EnvFactory:
    if isinstance(env, str):
        return lambda: gym.make(env, **options)
    if options:
        raise OptionError("env_options", dict(options), "need an environment id; with a factory, pass them inside it")
    return env


def _jobs(tasks: int | Iterable[int | Task], group_size: int, seed: int) -> list[_Job]:
    chosen: Sequence[int | Task] = range(tasks) if isinstance(tasks, int) else list(tasks)
    jobs: list[_Job] = []
    seen: set[int | str] = set()
    for task in chosen:
        if not isinstance(task, Task):
            task = _number(task)
        name = task.id if isinstance(task, Task) else task
        if name in seen:
            raise OptionError("tasks", name, "is listed twice, so its rollouts would repeat; raise group_size instead")
        seen.add(name)
        for k in range(group_size):
            jobs.append(_Job(len(jobs), task, name, k, derive(seed, name, k)))
    return jobs


def _number(task: Any) -> int:
    if isinstance(task, bool) or not hasattr(task, "__index__") or task < 0:
        raise OptionError("tasks", task, "must be task numbers (ints >= 0) or Tasks")
    return operator.index(task)


def _plain(value: Any) -> Any:
    """Return an option as JSON-able data that distinguishes it from others and is the same in every process."""
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return getattr(value, "__qualname__", type(value).__qualname__)


def _open_sink(
    sink: str | os.PathLike[str], jobs: Sequence[_Job], marks: Mapping[str, Any]
) -> tuple[TreeWriter | None, dict[int, ExecutionTree]]:
    """Return the rollouts that a sink already holds, and its writer if some are missing."""
    before = _version(sink)
    try:
        done = _already_done(sink, jobs, marks)
    except OSError as error:
        raise OptionError("sink", str(sink), f"cannot be read ({error.strerror}); name a file") from error
    if len(done) == len(jobs):
        return None, done
    try:
        writer = TreeWriter(sink, name="sink")
    except OSError as error:
        why = f"lacks {len(jobs) - len(done)} of {len(jobs)} rollouts and cannot be written ({error.strerror})"
        raise OptionError("sink", str(sink), f"{why}; make it writable, or name another file") from error
    try:
        # Another collection may have written to it before we got the lock.
        return writer, done if _version(sink) == before else _already_done(sink, jobs, marks)
    except BaseException:
        writer.close()
        raise


def _version(sink: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        known = os.stat(sink)
    except OSError:
        return None
    return known.st_ino, known.st_size, known.st_mtime_ns


def _already_done(
    sink: str | os.PathLike[str], jobs: Sequence[_Job], marks: Mapping[str, Any]
) -> dict[int, ExecutionTree]:
    if not Path(sink).exists():
        return {}
    wanted: dict[Any, _Job] = {(job.name, job.rollout): job for job in jobs}
    done: dict[int, ExecutionTree] = {}
    for tree in read_trees(sink):
        job = wanted.get((tree.meta.get("task"), tree.meta.get("rollout")))
        if job is None or tree.invalid:
            continue
        expected = {"seed": job.seed, "options": None, **marks}
        for name, ours in expected.items():
            theirs = tree.meta.get(name)
            if theirs != ours:
                fix = f"holds rollouts with {name}={theirs!r:.200}, but here it is {ours!r:.200}; use a new file"
                raise OptionError("sink", str(sink), fix)
        done[job.index] = tree
    return done


def _run(
    make: EnvFactory,
    policy: Policy,
    todo: list[_Job],
    concurrency: int,
    max_retries: int,
    marks: Mapping[str, Any],
) -> Iterator[tuple[int, ExecutionTree]]:
    waiting = todo[::-1]
    slots: list[_Slot] = []
    idle: list[gym.Env[str, str]] = []
    try:
        while waiting or slots:
            while waiting and len(slots) < concurrency:
                env = idle.pop() if idle else make()
                job = waiting.pop()
                try:
                    slots.append(_begin(env, job, marks))
                except InfrastructureError:
                    idle.append(env)
                    if job.attempt >= max_retries:
                        raise
                    job.attempt += 1
                    waiting.append(job)
                except BaseException:
                    env.close()
                    raise
            _round(policy, slots)
            for slot in [slot for slot in slots if slot.inner.tree.invalid or not slot.inner.ready]:
                slots.remove(slot)
                idle.append(slot.env)
                if slot.inner.tree.invalid and slot.job.attempt < max_retries:
                    slot.job.attempt += 1
                    waiting.append(slot.job)
                else:
                    yield slot.job.index, slot.inner.tree
    finally:
        for env in [*idle, *(slot.env for slot in slots)]:
            env.close()


def _begin(env: gym.Env[str, str], job: _Job, marks: Mapping[str, Any]) -> _Slot:
    inner = env.unwrapped
    if not isinstance(inner, RecursiveEnv):
        raise OptionError("env", env, "must make a RecursiveEnv")
    env.reset(seed=job.seed, options={"task": job.task})
    inner.tree.meta |= {**marks, "task": job.name, "rollout": job.rollout, "seed": job.seed}
    return _Slot(env, inner, job)


def _round(policy: Policy, slots: Sequence[_Slot]) -> None:
    """Ask the policy once for every ready node of every environment, and apply its answers."""
    asked: list[View] = []
    owners: list[_Slot] = []
    for slot in slots:
        waiting = views(slot.env, slot.job.seed)
        asked.extend(waiting)
        owners.extend([slot] * len(waiting))
    try:
        answers: Sequence[Answer] = policy(asked)
    except InfrastructureError as error:
        answers = [error] * len(asked)
    if isinstance(answers, str | bytes | Mapping) or not isinstance(answers, Sequence):
        raise OptionError("policy", policy, f"returned a {type(answers).__name__}; return a list, one answer per view")
    if len(answers) != len(asked):
        raise OptionError("policy", policy, f"returned {len(answers)} answers to {len(asked)} views; return one each")
    actions: dict[int, dict[int, Any]] = {}
    for view, slot, answer in zip(asked, owners, answers, strict=True):
        actions.setdefault(id(slot), {})[view.node.id] = answer
    for slot in slots:
        _apply(slot.inner, actions[id(slot)])


def _apply(env: RecursiveEnv, actions: Mapping[int, Any]) -> None:
    failed = next((a for a in actions.values() if isinstance(a, InfrastructureError)), None)
    try:
        if failed is not None:
            raise failed
        env.advance(actions)
    except InfrastructureError as error:
        env.abort(str(error) or type(error).__name__)


class _Bar:
    """A progress bar on stderr, or nothing."""

    def __init__(self, label: str, total: int, show: bool | None) -> None:
        self._progress: Any = None
        self._label, self._total = label, total
        self._show = sys.stderr.isatty() if show is None else show
        self._solved = 0.0
        self._judged = 0

    def __enter__(self) -> _Bar:
        if self._show:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._progress.start()
            self._task = self._progress.add_task(self._label, total=self._total)
        return self

    def advance(self, tree: ExecutionTree) -> None:
        if self._progress is None:
            return
        if tree.root.success is not None and not tree.invalid:
            self._solved += tree.root.success
            self._judged += 1
        rate = f"  success {self._solved / self._judged:.0%}" if self._judged else ""
        self._progress.update(self._task, advance=1, description=f"{self._label}{rate}")

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
