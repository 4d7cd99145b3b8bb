"""What credit costs for a large batch, compared with the bare numpy passes that the objective needs."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from rao_envs import credit
from rao_envs.credit.arrays import Floats, Ints

__all__ = ["measure", "random_forest"]

MAX_TREE = 400
MAX_DEPTH = 10
GROUP_SIZE = 8
DELEGATION_BONUS = 0.4


def random_forest(nodes: int, seed: int = 0) -> tuple[Floats, Ints, Ints, Ints]:
    """Make a typical batch: trees of 1 to 400 nodes, at most 10 deep, parents first, in groups of 8.

    Args:
        nodes: N, the total number of nodes.
        seed: seed of the generator.

    Returns:
        success float [N], parent int [N], tree int [N], group int [T]: what `credit.assign_forest` takes.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, MAX_TREE + 1, size=nodes)
    ends = np.cumsum(sizes)
    sizes = sizes[: int(np.searchsorted(ends, nodes)) + 1]
    sizes[-1] -= ends[len(sizes) - 1] - nodes
    tree = np.repeat(np.arange(len(sizes)), sizes)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    index = np.arange(nodes) - first
    parent = np.where(index == 0, -1, first + (rng.random(nodes) * index).astype(np.int64))
    while (depth := credit.depths(parent)).max(initial=0) > MAX_DEPTH:
        too_deep = depth == MAX_DEPTH + 1
        parent[too_deep] = first[too_deep]
    return rng.random(nodes), parent, tree, np.arange(len(sizes)) // GROUP_SIZE


def measure(nodes: int = 1_000_000, repeats: int = 5, seed: int = 0) -> dict[str, Any]:
    """Time `credit.assign_forest`, and the bare passes for rewards, depths, baseline, advantage and weights.

    Args:
        nodes: size of the batch.
        repeats: how often to run each; the fastest counts.
        seed: seed of the batch.

    Returns:
        nodes, trees, max_depth, seconds, floor_seconds, and ratio = seconds / floor_seconds.

    Raises:
        RuntimeError: the two results differ.
    """
    success, parent, tree, group = random_forest(nodes, seed)
    max_depth = int(credit.depths(parent).max())
    seconds, table = _fastest(repeats, lambda: credit.assign_forest(success, parent, tree, group))
    floor_seconds, floor = _fastest(repeats, lambda: _bare_passes(success, parent, tree, group, max_depth))
    for name, expected in zip(("depth", "advantage", "weight"), floor, strict=True):
        if not np.allclose(getattr(table, name), expected):
            raise RuntimeError(f"the bare passes give another {name} than credit.assign_forest")
    return {
        "nodes": nodes,
        "trees": len(group),
        "max_depth": max_depth,
        "seconds": seconds,
        "floor_seconds": floor_seconds,
        "ratio": seconds / floor_seconds,
    }


def _fastest(repeats: int, run: Callable[[], Any]) -> tuple[float, Any]:
    best, result = float("inf"), None
    for _ in range(repeats):
        start = perf_counter()
        result = run()
        best = min(best, perf_counter() - start)
    return best, result


def _bare_passes(success: Floats, parent: Ints, tree: Ints, group: Ints, max_depth: int) -> tuple[Ints, Floats, Floats]:
    """Compute depth, advantage and weight with no checks, for a judged forest whose depth is known."""
    n = len(parent)
    payee = parent + 1
    paid, payers = np.bincount(payee, success, n + 1)[1:], np.bincount(payee, minlength=n + 1)[1:]
    reward: Floats = success + DELEGATION_BONUS * (paid / np.maximum(payers, 1))
    depth = np.zeros(n + 1, dtype=np.int16)
    depth[0] = -1
    for _ in range(max_depth + 1):
        depth[1:] = depth[payee] + 1
    level: Ints = depth[1:].astype(np.int64)
    root_reward = reward[parent < 0]
    total, count = np.bincount(group, root_reward), np.bincount(group)
    expected = (total[group] - root_reward) / np.maximum(count[group] - 1, 1)
    advantage: Floats = reward - expected[tree]
    at = np.bincount(level)
    weight: Floats = (n / (len(at) * at))[level]
    return level, advantage, weight
