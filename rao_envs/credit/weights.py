"""How much each node, and each of its training sequences, counts in the loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rao_envs.credit import arrays
from rao_envs.credit.arrays import Floats, Ints
from rao_envs.errors import OptionError

__all__ = ["depth_weights", "depths", "sequence_weights"]


def depths(parent: ArrayLike) -> Ints:
    """Return the depth of every node: 0 for a root, one more than its parent's otherwise.

    Pointer jumping: every node's pointer to its parent is replaced by one to its grandparent, then to the ancestor
    4 levels up, 8, and so on. That takes log2(maximum depth) passes, whatever the order of the nodes.

    Args:
        parent: int [N], -1 for a root, in any order.

    Returns:
        int [N].

    Raises:
        OptionError: a parent is out of range, or a node is its own ancestor.
    """
    start = arrays.indices("parent", parent)
    arrays.check_parent(start)
    up = np.zeros(len(start) + 1, dtype=np.int64)  # slot 0 is above all roots and points to itself
    np.add(start, 1, out=up[1:])
    hops = np.ones(len(up), dtype=np.int32)
    hops[0] = 0
    far, more = np.empty_like(up), np.empty_like(hops)
    for _ in range(len(start).bit_length() + 1):
        if not up.any():
            return hops[1:].astype(np.int64) - 1
        np.take(hops, up, out=more, mode="clip")  # every index is in range; "clip" skips the check
        hops += more
        np.take(up, up, out=far, mode="clip")
        up, far = far, up
    node = int(up[np.flatnonzero(up)[0]]) - 1
    raise OptionError(f"parent[{node}]", int(start[node]), f"node {node} is its own ancestor; break the cycle")


def depth_weights(depth: ArrayLike, trained: ArrayLike | None = None, *, discount: float | None = None) -> Floats:
    """Weight nodes so that every depth carries the same total: ``w_i = N / (D · n_depth(i))``.

    N nodes, D depths and n_d nodes at depth d are counted over the nodes trained on. Each depth then carries
    ``N / D``, and the mean weight is 1 (arXiv:2605.06639). With a discount γ instead, ``w_i =
    N · γ^depth(i) / Σ_j γ^depth(j)``, whose mean is 1 too. Special cases: a single depth, or γ = 1, gives 1.

    Args:
        depth: int [N], >= 0.
        trained: bool [N]; the other nodes get weight 0 and are not counted. None = all.
        discount: γ in (0, 1]; None = inverse frequency.

    Returns:
        float [N].

    Raises:
        OptionError: shapes differ, a depth is negative, or the discount is out of range.
    """
    level = arrays.indices("depth", depth)
    counted = np.ones(len(level), dtype=bool) if trained is None else np.asarray(trained)
    if counted.dtype != np.bool_ and counted.size:
        raise OptionError("trained.dtype", str(counted.dtype), "must be bool: a mask, not indices")
    arrays.same_length(depth=level, trained=counted)
    if len(level) and level.min() < 0:
        raise OptionError("depth", int(level.min()), "must be >= 0 (0 = root)")
    if discount is not None and not 0.0 < discount <= 1.0:
        raise OptionError("discount", discount, "must lie in (0, 1]")
    if not counted.any():
        return np.zeros(len(level))
    every = bool(counted.all())
    n = np.bincount(level if every else level[counted], minlength=int(level.max()) + 1)
    share = 1.0 / np.maximum(n, 1) if discount is None else discount ** np.arange(len(n))
    weight: Floats = (share * (n.sum() / (n * share).sum()))[level]
    return weight if every else np.where(counted, weight, 0.0)


def sequence_weights(weight: ArrayLike, node: ArrayLike) -> Floats:
    """Spread node weights over training sequences; a node may have several.

    ``v_q = M · w_node(q) / Σ_q' w_node(q')`` over the M sequences whose node has a weight. So a sequence's weight is
    proportional to its *node's* (1/n_d counts nodes, not sequences), and its mean over the sequences trained on
    is 1. Special case: one sequence per node, ``v = w``.

    Args:
        weight: float [N], node weights as in `NodeTable.weight`.
        node: int [Q], the row of the node that each sequence comes from.

    Returns:
        float [Q].

    Raises:
        OptionError: a weight is negative or not finite, or a row is out of range.
    """
    weights, rows = arrays.floats("weight", weight), arrays.indices("node", node)
    wrong = ~((weights >= 0) & np.isfinite(weights))
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise OptionError(f"weight[{row}]", float(weights[row]), "must be finite and >= 0")
    outside = (rows < 0) | (rows >= len(weights))
    if outside.any():
        fix = f"must be a row of weight, 0 to {len(weights) - 1}"
        raise OptionError("node", int(rows[outside][0]), fix)
    spread: Floats = weights[rows]
    total = float(spread.sum())
    return spread * (np.count_nonzero(spread) / total) if total > 0 else spread
