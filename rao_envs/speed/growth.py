"""What a node and a turn cost as rollouts grow."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from rao_envs.env import RecursiveEnv
from rao_envs.speed.measuring import python, text_craft
from rao_envs.tree import ExecutionTree

__all__ = ["grow", "growth", "history", "memory"]

_WIDTH = 30
_FINISH = '[{"name":"finish","arguments":{"message":"done"}}]'


def growth(sizes: Sequence[int] = (1_000, 10_000, 100_000), repeats: int = 3) -> list[dict[str, Any]]:
    """Measure the cost per node as trees grow, which should stay constant (tool-call format).

    Two shapes: all nodes are children of the root, and each returns before the next acts; or every node has 30
    children, and all ready nodes are asked at once. Python's garbage collector runs with its default settings.
    Seconds are CPU time, which other programs on the machine affect less.

    Args:
        sizes: numbers of nodes; the others are compared with the first.
        repeats: repeats for sizes up to 10,000; the fastest counts.
    """
    rows: list[dict[str, Any]] = []
    shapes: dict[str, Callable[[RecursiveEnv, int], ExecutionTree]] = {"one parent": _fan_out, "30 each": _spread}
    for shape, play in shapes.items():
        base = None
        for size in sizes:
            with text_craft("easy", "calls", limits=_room(size)) as env:
                play(env, 100)
                runs = [_timed(play, env, size) for _ in range(repeats if size <= 10_000 else 1)]
            cost, longest = min(runs)
            base = base or cost
            row = {"shape": shape, "nodes": size, "microseconds_per_node": cost * 1e6, "ratio": cost / base}
            rows.append({**row, "longest_pause_ms": longest * 1e3})
    return rows


def _timed(play: Callable[[RecursiveEnv, int], ExecutionTree], env: RecursiveEnv, size: int) -> tuple[float, float]:
    """Return the CPU seconds per node, and the garbage collector's longest pause."""
    with _pauses() as pauses:
        start = time.process_time()
        nodes = len(play(env, size))
        seconds = time.process_time() - start
    return seconds / nodes, max(pauses, default=0.0)


@contextmanager
def _pauses() -> Iterator[list[float]]:
    begun = 0.0
    pauses: list[float] = []

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal begun
        if phase == "start":
            begun = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - begun)

    gc.callbacks.append(note)
    try:
        yield pauses
    finally:
        gc.callbacks.remove(note)


def history(turn: int = 300, around: int = 4, repeats: int = 15) -> dict[str, float]:
    """Measure a node's turns around number 5 and around number `turn`: they should cost the same."""
    message = '[{"name":"view_inventory"}]'
    early, late = [], []
    with text_craft("easy", "calls", limits={"max_turns": turn + around + 1, "context_tokens": 10**7}) as env:
        for _ in range(repeats):
            env.reset(seed=0)
            marks = []
            for _ in range(turn + around):
                marks.append(time.perf_counter())
                env.step(message)
            spans = [end - start for start, end in pairwise(marks)]
            early.append(min(spans[5 - 1 : 5 + around]))
            late.append(min(spans[turn - around : turn + around]))
    first, last = min(early) * 1e6, min(late) * 1e6
    return {"turn_5_microseconds": first, f"turn_{turn}_microseconds": last, "ratio": last / first}


def memory(nodes: int = 10_000) -> dict[str, float]:
    """Measure the peak memory of a fresh process that grows a tree of `nodes` nodes, chats and events included."""
    code = f"""
import re, resource, sys
from pathlib import Path
from rao_envs.speed import growth

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, the resource module's figure starts at the parent's peak
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

growth.grow(10)
before = peak()
tree = growth.grow({nodes})
print(len(tree), before, peak())
"""
    grown, before, after = map(float, python(code).split())
    return {"nodes": grown, "process_megabytes": after, "tree_megabytes": after - before}


def grow(nodes: int) -> ExecutionTree:
    """Grow and return a tree of that many nodes."""
    with text_craft("easy", "calls", limits=_room(nodes)) as env:
        return _fan_out(env, nodes)


def _launch(env: RecursiveEnv) -> dict[str, Any]:
    item = next(iter(env.tree.root.payload["targets"]))
    return {"name": "launch_subagent", "arguments": {"targets": {item: 1}, "num_steps": 5}}


def _fan_out(env: RecursiveEnv, size: int) -> ExecutionTree:
    """Grow a tree of `size` nodes, all children of the root, and finish it."""
    env.reset(seed=0)
    launch = _launch(env)
    for first in range(0, size - 1, 500):
        env.advance({0: json.dumps([launch] * min(500, size - 1 - first))})
        while env.ready[0] != 0:
            env.advance({env.ready[0]: _FINISH})
    env.advance({0: _FINISH})
    return env.tree


def _spread(env: RecursiveEnv, size: int) -> ExecutionTree:
    """Grow a tree of about `size` nodes, 30 children each, all asked at once, and finish it."""
    env.reset(seed=0)
    launches = json.dumps([_launch(env)] * _WIDTH)
    while env.ready:
        spare = (size - len(env.tree)) // _WIDTH
        fresh = [node for node in env.ready if not env.tree.nodes[node].turns][: max(spare, 0)]
        env.advance({**dict.fromkeys(env.ready, _FINISH), **dict.fromkeys(fresh, launches)})
    return env.tree


def _room(nodes: int) -> dict[str, int]:
    return {"max_children": nodes, "max_nodes": nodes, "max_turns": nodes, "context_tokens": 10**8, "max_depth": 50}
