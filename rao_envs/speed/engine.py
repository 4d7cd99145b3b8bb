"""What the engine costs: compared with the bare sandbox, in turns per second, and with many suspended agents."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import pydantic_monty as monty

from rao_envs.env import RecursiveEnv
from rao_envs.policies.base import View
from rao_envs.sandbox.monty import MontySandbox
from rao_envs.speed.bare import Recorder, Recording, play
from rao_envs.speed.measuring import ENV, best, python, text_craft
from rao_envs.world import Task

__all__ = [
    "code_overhead",
    "code_overheads",
    "rollouts",
    "startup",
    "suspended",
    "turns",
]

Script = Sequence[tuple[int, str]]
"""Actions of one rollout: (node, message) in order."""


def turns(repeats: int = 5, difficulty: str = "medium", tasks: int = 20) -> dict[str, float]:
    """Measure turns per second in the tool-call format: whole recursive-oracle rollouts, scripted in advance."""
    with text_craft(difficulty, "calls") as env:
        scripts = [_script(env, task) for task in range(tasks)]
        seconds = best(repeats, lambda: _replay_all(env, scripts))
    count = sum(len(script) for script in scripts)
    return {"turns": count, "seconds": seconds, "turns_per_second": count / seconds}


def code_overheads(repeats: int = 5) -> list[dict[str, Any]]:
    """Measure `code_overhead` as the system schedules it, and with engine and workers bound to one core.

    On one core the interpreter answers faster, since no other core has to be woken, so the engine's work is a larger
    share.
    """
    rows: list[dict[str, Any]] = [{"cores": "all", **code_overhead(repeats)}]
    if hasattr(os, "sched_setaffinity"):
        # In a fresh process: threads that are already running, such as the interpreter client's, would not move.
        code = (
            "import json, os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
            f"from rao_envs.speed import engine; print(json.dumps(engine.code_overhead({repeats})))"
        )
        rows.append({"cores": "one", **json.loads(python(code))})
    return rows


def code_overhead(repeats: int = 5, difficulty: str = "medium", tasks: int = 10) -> dict[str, float]:
    """Measure what the engine adds to the sandbox and the tools in the code format.

    The same rollouts run alternately through the environment and without it: fresh interpreter sessions get the same
    snippets, the same tools are called with the same checked arguments, and nothing else is done (no tree, no
    events, no limits, no clock). `overhead_without_tools` compares with the interpreter alone, without tool calls.
    """
    with MontySandbox() as sandbox, text_craft(difficulty, "code", sandbox=sandbox) as env:
        recorder = Recorder(sandbox)
        with text_craft(difficulty, "code", sandbox=recorder) as recording:
            recordings, scripts = [], []
            for task in range(tasks):
                scripts.append(_script(recording, task))
                order = dict.fromkeys(node for node, _ in scripts[-1])
                nodes = [recording.tree.nodes[node] for node in order]
                recordings.append(Recording(recording.world.task, recorder.take(), nodes))
        engine, floor, alone = [], [], []
        with monty.Monty(max_processes=16) as pool:
            for _ in range(repeats):
                engine.append(best(1, lambda: _replay_all(env, scripts, [each.task for each in recordings])))
                floor.append(best(1, lambda: play(pool, sandbox, env, recordings)))
                alone.append(best(1, lambda: play(pool, sandbox, None, recordings)))
    count = sum(len(script) for script in scripts)
    return {
        "turns": count,
        "engine_seconds": min(engine),
        "without_engine_seconds": min(floor),
        "overhead": min(engine) / min(floor) - 1,
        "overhead_without_tools": min(engine) / min(alone) - 1,
        "turns_per_second": count / min(engine),
    }


def rollouts(repeats: int = 3, *, extreme: bool = True) -> list[dict[str, Any]]:
    """Measure whole recursive-oracle rollouts per second, by difficulty and format, including the policy's time."""
    levels = [("easy", 20), ("medium", 10), ("hard", 3)] + [("extreme", 1)] * extreme
    rows: list[dict[str, Any]] = []
    for action_format in ("calls", "code"):
        for difficulty, tasks in levels:
            with text_craft(difficulty, action_format) as env:
                times, nodes = [], 0
                for _ in range(1 if difficulty == "extreme" else repeats):
                    start, nodes = time.perf_counter(), 0
                    for task in range(tasks):
                        _script(env, task)
                        nodes += len(env.tree)
                    times.append(time.perf_counter() - start)
            row = {"format": action_format, "difficulty": difficulty, "nodes": nodes / tasks}
            rows.append({**row, "rollouts_per_second": tasks / min(times), "nodes_per_second": nodes / min(times)})
    return rows


def startup() -> dict[str, float]:
    """Measure `import rao_envs` and the first `make` + `reset` of a fresh process, and `make` + `reset` after that."""
    code = f"""
import time
start = time.perf_counter(); import rao_envs; imported = time.perf_counter() - start
import gymnasium
start = time.perf_counter(); env = gymnasium.make({ENV!r}); env.reset(seed=0); first = time.perf_counter() - start
print(imported, first)
"""
    runs = [tuple(map(float, python(code).split())) for _ in range(5)]

    def make_and_reset() -> None:
        env = gym.make(ENV)
        env.reset(seed=0)
        env.close()

    make_and_reset()
    return {
        "import_seconds": min(imported for imported, _ in runs),
        "first_make_and_reset_seconds": min(first for _, first in runs),
        "make_and_reset_seconds": best(10, make_and_reset),
    }


def suspended(nodes: int = 1_000, workers: int = 4) -> dict[str, float]:
    """Suspend `nodes` agents in the middle of a turn with a pool of `workers`, and let all of them finish."""
    deep = {"max_children": nodes, "max_nodes": 2 * nodes + 1, "max_depth": 2}
    with MontySandbox(max_workers=workers) as sandbox, text_craft("easy", "code", sandbox=sandbox, limits=deep) as env:
        env.reset(seed=0)
        item = next(iter(env.tree.root.payload["targets"]))
        launch = f"launch_subagent({{{item!r}: 1}}, 5)"
        start = time.perf_counter()
        env.advance({0: f"import asyncio\nawait asyncio.gather(*[{launch} for _ in range({nodes})])"})
        env.advance({node: f"x = {node}\nawait {launch}\nfinish(x)" for node in env.ready})
        waiting = sum(bool(node.waits_for) for node in env.tree.nodes)
        env.advance(dict.fromkeys(env.ready, "finish('done')"))
        seconds = time.perf_counter() - start
        kept = sum(node.result == node.id for node in env.tree.nodes if node.depth == 1)
    return {"suspended": waiting, "workers": workers, "resumed_with_their_state": kept, "seconds": seconds}


# The measured work ----------------------------------------------------------------------------------------------


def _script(env: RecursiveEnv, task: int) -> list[tuple[int, str]]:
    """Play a task with the recursive oracle, depth-first; return its messages."""
    oracle: Callable[[View], str] = env.oracles["recursive"]
    env.reset(seed=task, options={"task": task})
    said = []
    while env.ready:
        view = View(env.tree.nodes[env.ready[0]], env.action_format, task)
        said.append((view.node.id, oracle(view)))
        env.advance(dict(said[-1:]))
    return said


def _replay_all(env: RecursiveEnv, scripts: Sequence[Script], tasks: Sequence[Task] | None = None) -> None:
    for index, script in enumerate(scripts):
        env.reset(seed=index, options={"task": tasks[index] if tasks else index})
        for node, message in script:
            env.advance({node: message})
