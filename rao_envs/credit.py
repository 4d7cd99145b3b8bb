"""Credit for every node of a batch of rollouts: the RAO objective as pure functions over arrays.

Source: *Recursive Agent Optimization*, arXiv:2605.06639. A batch is a *forest*: the nodes of all its trees
laid end to end, `N` in all. ``parent[i]`` is an index into the forest (-1 for a root; parents may come
before or after their children), and ``nan`` means unjudged, which is never 0.

| | |
|---|---|
| reward | ``r_i = s_i + λ · mean{s_j : j a judged child of i}`` (`node_rewards`) |
| baseline | ``b_k = mean{r_root(k') : k' ≠ k in the same group}`` (`leave_one_out`) |
| advantage | ``A_i = r_i − b_k(i)``; 0 where there is no other rollout to compare with |
| weight | ``w_i = N / (D · n_depth(i))`` over the nodes trained on (`depth_weights`) |
| gradient | ``E[Σ_i w_i · A_i · Σ_t ∇ log π(a_it | h_it)]`` |

`assign` does all of it for a list of trees, `assign_forest` for arrays.

**Bias.** A baseline is harmless if it is independent of what the node samples, given what the node was
shown: then ``E[b · ∇ log π] = b · E[∇ log π] = 0``. All baselines here are. Depth weights are another
matter: they count the nodes of the batch, the rollout's own included, so whatever the baseline, the weighted
sum is a ratio estimator, whose bias vanishes only as the batch grows. With ``depth_weighting=False`` the sum
over nodes is unbiased for a batch of any size.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rao_envs import _forest
from rao_envs._baselines import Forest, depth_loo, goal_loo, root_loo
from rao_envs._forest import Bools, Floats, Ints, Labels
from rao_envs.errors import OptionError
from rao_envs.tree import ExecutionTree

__all__ = [
    "Baseline",
    "Forest",
    "NodeTable",
    "Unjudged",
    "assign",
    "assign_forest",
    "depth_loo",
    "depth_weights",
    "depths",
    "goal_loo",
    "leave_one_out",
    "node_rewards",
    "root_loo",
    "sequence_weights",
]

Baseline: TypeAlias = Literal["root_loo", "depth_loo", "goal_loo", "none"]
"""What a node's reward is compared with: see the functions of these names; "none" is 0 for every node."""

Unjudged: TypeAlias = Literal["mask", "root"] | float
"""What becomes of an unjudged node: see `assign`."""

SAME_REWARD = 1e-12
"""Rewards closer than this are equal: what is left between them is the order of summation."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeTable:
    """Credit of every node of a batch: one array of length N per column.

    Attributes:
        group: group of the node's tree, an index into `groups`.
        tree: place of its tree in the input.
        node: its id in that tree.
        parent: row of its parent; -1 for a root.
        depth: 0 for a root.
        success: own success as credit used it, in [0, 1]; nan = unjudged.
        reward: success plus delegation bonus; nan = unjudged.
        baseline: what the reward is compared with; nan = there is nothing to compare with.
        advantage: reward − baseline; 0 where the baseline is nan; nan = unjudged.
        weight: factor on the node's loss; 0 = not trained on. The mean over the nodes trained on is 1.
        groups: names of the groups in order of appearance.
    """

    group: Ints
    tree: Ints
    node: Ints
    parent: Ints
    depth: Ints
    success: Floats
    reward: Floats
    baseline: Floats
    advantage: Floats
    weight: Floats
    groups: tuple[Hashable, ...]

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.node)

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict per node for people and files: groups by name, nan as None (JSON-able)."""
        columns: dict[str, list[Any]] = {}
        for name in (field.name for field in fields(self) if field.name != "groups"):
            values = getattr(self, name).tolist()
            columns[name] = [None if value != value else value for value in values]  # only nan is not itself
        columns["group"] = [self.groups[code] for code in columns["group"]]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def node_rewards(success: ArrayLike, parent: ArrayLike, delegation_bonus: float = 0.4) -> Floats:
    """Pay every node for its own success and for that of its immediate children.

    ``r_i = s_i + λ · mean{s_j : parent_j = i, s_j judged}`` (arXiv:2605.06639). The mean runs over the
    children's own success, not their rewards: a grandchild pays its own parent and nobody further up. Special
    cases: no judged child, ``r_i = s_i``; λ = 0, ``r = s``.

    Args:
        success: float [N] in [0, 1]; nan (or None) = unjudged.
        parent: int [N], -1 for a root, in any order.
        delegation_bonus: λ >= 0.

    Returns:
        float [N]; nan where `success` is.

    Raises:
        OptionError: shapes differ, or a value is out of range. (A `ValueError`, here and below.)
    """
    own, up = _forest.floats("success", success), _forest.indices("parent", parent)
    _forest.same_length(success=own, parent=up)
    _forest.check_success(own)
    _forest.check_parent(up)
    if not 0.0 <= delegation_bonus < np.inf:
        raise OptionError("delegation_bonus", delegation_bonus, "must be a finite number >= 0")
    payee = up + 1  # roots pay slot 0, which nobody reads
    judged = ~np.isnan(own)
    keep: slice | Bools = slice(None) if judged.all() else judged
    paid = np.bincount(payee[keep], own[keep], len(own) + 1)[1:]
    payers = np.bincount(payee[keep], minlength=len(own) + 1)[1:]
    mean: Floats = paid / np.maximum(payers, 1)
    mean *= delegation_bonus
    mean += own
    return mean


def depths(parent: ArrayLike) -> Ints:
    """Return the depth of every node: 0 for a root, one more than its parent's otherwise.

    Every node's pointer to its parent is replaced by the one to its grandparent, then to the ancestor 4
    levels up, 8, ...: log2(greatest depth) passes, whatever the order of the nodes.

    Args:
        parent: int [N], -1 for a root, in any order.

    Returns:
        int [N].

    Raises:
        OptionError: a parent is out of range, or a node is its own ancestor.
    """
    start = _forest.indices("parent", parent)
    _forest.check_parent(start)
    up = np.zeros(len(start) + 1, dtype=np.int64)  # slot 0 lies above all roots and points to itself
    np.add(start, 1, out=up[1:])
    hops = np.ones(len(up), dtype=np.int32)
    hops[0] = 0
    far, more = np.empty_like(up), np.empty_like(hops)
    for _ in range(len(start).bit_length() + 1):
        if not up.any():
            return hops[1:].astype(np.int64) - 1
        np.take(hops, up, out=more, mode="clip")  # all are in range; "clip" only skips the check
        hops += more
        np.take(up, up, out=far, mode="clip")
        up, far = far, up
    node = int(up[np.flatnonzero(up)[0]]) - 1
    raise OptionError(f"parent[{node}]", int(start[node]), f"node {node} is its own ancestor; break the cycle")


def leave_one_out(root_rewards: ArrayLike, group: Labels) -> Floats:
    """Average, for each rollout, the root rewards of the others in its group.

    ``b_k = mean{r_k' : k' ≠ k, group_k' = group_k, r_k' judged}`` (arXiv:2605.06639).

    Args:
        root_rewards: float [T], one per rollout; nan (or None) = unjudged: gives nothing to the others,
            but is itself compared with them.
        group: ints or strings [T].

    Returns:
        float [T]; nan where no other rollout of the group is judged.

    Raises:
        OptionError: shapes differ.
    """
    rewards = _forest.floats("root_rewards", root_rewards)
    codes, _ = _forest.codes("group", group)
    _forest.same_length(root_rewards=rewards, group=codes)
    return _forest.mean_of_others(rewards, codes, np.arange(len(codes)))


def depth_weights(depth: ArrayLike, trained: ArrayLike | None = None, *, discount: float | None = None) -> Floats:
    """Weigh nodes so that every depth carries the same total weight: ``w_i = N / (D · n_depth(i))``.

    N nodes, D depths and n_d nodes at depth d are counted over the nodes trained on. Each depth then carries
    ``N / D``, and the mean weight is 1 (arXiv:2605.06639). With a discount γ instead: ``w_i =
    N · γ^depth(i) / Σ_j γ^depth(j)``, of mean 1 too. Special cases: a single depth, or γ = 1, gives 1.

    Args:
        depth: int [N], >= 0.
        trained: bool [N]; the others weigh 0 and are not counted. None = all.
        discount: γ in (0, 1]; None = inverse frequency.

    Returns:
        float [N].

    Raises:
        OptionError: shapes differ, a depth is negative, or the discount is out of range.
    """
    level = _forest.indices("depth", depth)
    counted = np.ones(len(level), dtype=bool) if trained is None else np.asarray(trained)
    if counted.dtype != np.bool_ and counted.size:
        raise OptionError("trained.dtype", str(counted.dtype), "must be bool: a mask, not indices")
    _forest.same_length(depth=level, trained=counted)
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
    """Spread node weights over training sequences, of which a node may give several.

    ``v_q = M · w_node(q) / Σ_q' w_node(q')`` over the M sequences whose node has a weight: in proportion to
    the *node's* weight (1/n_d counts nodes, not sequences), with a mean over the sequences trained on of 1.
    Special case: one sequence per node, ``v = w``.

    Args:
        weight: float [N], node weights as in `NodeTable.weight`.
        node: int [Q], the row of the node that each sequence comes from.

    Returns:
        float [Q].

    Raises:
        OptionError: a weight is negative or not finite, or a row is out of range.
    """
    weights, rows = _forest.floats("weight", weight), _forest.indices("node", node)
    wrong = ~((weights >= 0) & np.isfinite(weights))
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        raise OptionError(f"weight[{row}]", float(weights[row]), "must be finite and >= 0")
    outside = (rows < 0) | (rows >= len(weights))
    if outside.any():
        mend = f"must be a row of weight, 0 to {len(weights) - 1}"
        raise OptionError("node", int(rows[outside][0]), mend)
    spread: Floats = weights[rows]
    total = float(spread.sum())
    return spread * (np.count_nonzero(spread) / total) if total > 0 else spread


def assign(
    trees: Sequence[ExecutionTree],
    *,
    delegation_bonus: float = 0.4,
    baseline: Baseline = "root_loo",
    depth_weighting: bool | float = True,
    unjudged: Unjudged = "mask",
    drop_zero_variance: bool = False,
) -> NodeTable:
    """Give every node of a batch of rollouts its credit (arXiv:2605.06639).

    Trees of one task (`ExecutionTree.group`) are compared with each other. Invalid trees are left out, as if
    they had not been collected, but `NodeTable.tree` still counts them. Every other node has a row and, if it
    is judged, a weight. A cancelled child counts as one with success 0. Goals are compared by their words.

    Args:
        trees: finished rollouts, all groups of one optimiser step; may be empty.
        delegation_bonus: λ >= 0; 0.4 in the paper.
        baseline: "root_loo" (the paper's), "depth_loo", "goal_loo", or "none" (0 for every node: unbiased, as
            there is nothing to be biased by, and usually of the greatest variance).
        depth_weighting: True for inverse frequency (the paper's), False for weight 1, or a float γ in (0, 1]
            for ``γ^depth``; the mean is always 1: see `depth_weights`.
        unjudged: "mask" gives an unjudged node weight 0 and leaves it out of all means. "root" gives it its
            root's success (masked if that is unjudged too), and a number in [0, 1] that success, before
            anything else is computed: from there on the node counts as judged.
        drop_zero_variance: give weight 0 to groups whose judged root rewards are all equal (among them those
            with fewer than two). Off by default: their children may still differ.

    Returns:
        One row per node: trees in the order given, nodes in order of spawning.

    Warns:
        UserWarning: once, if some rollouts have nothing to be compared with, such as a group of one.

    Raises:
        OptionError: a tree is unfinished, or an option is out of range.
    """
    kept = [place for place, tree in enumerate(trees) if tree.invalid is None]
    unfinished = [
        place for place in kept if not trees[place].finished or any(node.status is None for node in trees[place].nodes)
    ]
    if unfinished:
        mend = "the trees at these places are unfinished; run them to their end first"
        raise OptionError("trees", unfinished, mend)
    nodes = [node for place in kept for node in trees[place].nodes]
    sizes = np.array([len(trees[place]) for place in kept], dtype=np.int64)
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    inside = np.array([-1 if node.parent is None else node.parent for node in nodes], dtype=np.int64)
    forest = (
        np.array([node.success for node in nodes], dtype=np.float64),
        np.where(inside < 0, -1, inside + start),
        np.repeat(np.arange(len(kept)), sizes),
        [trees[place].group for place in kept],
        [node.goal for node in nodes] if baseline == "goal_loo" else None,
    )
    table = _credit(*forest, delegation_bonus, baseline, depth_weighting, unjudged, drop_zero_variance)
    return replace(table, tree=np.array(kept, dtype=np.int64)[table.tree])


def assign_forest(
    success: ArrayLike,
    parent: ArrayLike,
    tree: ArrayLike,
    group: Labels,
    *,
    goal: Labels | None = None,
    delegation_bonus: float = 0.4,
    baseline: Baseline = "root_loo",
    depth_weighting: bool | float = True,
    unjudged: Unjudged = "mask",
    drop_zero_variance: bool = False,
) -> NodeTable:
    """Do for arrays what `assign` does for trees, with its options, warning and errors.

    Args:
        success: float [N] in [0, 1]; nan (or None) = unjudged.
        parent: int [N], index into the forest, -1 for a root, in any order.
        tree: int [N], the node's tree, an index into `group`. Every tree has one root.
        group: ints or strings [T], equal for rollouts of one task.
        goal: ints or strings [N]; only "goal_loo" looks at it.
        delegation_bonus: see `assign`, as for the rest.
        baseline: see `assign`.
        depth_weighting: see `assign`.
        unjudged: see `assign`.
        drop_zero_variance: see `assign`.

    Returns:
        One row per node, in the order given; `NodeTable.node` counts along each tree.

    Raises:
        OptionError: shapes differ, a value is out of range, or the nodes do not form trees.
    """
    forest = (success, parent, tree, group, goal)
    return _credit(*forest, delegation_bonus, baseline, depth_weighting, unjudged, drop_zero_variance)


def _credit(
    success: ArrayLike,
    parent: ArrayLike,
    tree: ArrayLike,
    group: Labels,
    goal: Labels | None,
    delegation_bonus: float,
    baseline: Baseline,
    depth_weighting: bool | float,
    unjudged: Unjudged,
    drop_zero_variance: bool,
) -> NodeTable:
    own, up = _forest.floats("success", success), _forest.indices("parent", parent)
    of, (codes, groups) = _forest.indices("tree", tree), _forest.codes("group", group)
    goals = None if goal is None else _forest.codes("goal", goal)[0]
    _forest.same_length(success=own, parent=up, tree=of, **({} if goals is None else {"goal": goals}))
    _forest.check_trees(up, of, len(codes))
    own = _fill_unjudged(own, up, of, len(codes), unjudged)
    reward = node_rewards(own, up, delegation_bonus)
    forest = Forest(reward, up, depths(up), of, codes, goals)
    expected = _baseline(forest, baseline)
    advantage = reward - expected
    trained = ~np.isnan(reward)
    alone = np.isnan(expected) & trained
    if alone.any():
        advantage[alone] = 0.0
        warnings.warn(
            f"{len(np.unique(of[alone]))} of {len(codes)} rollouts have nothing in their group to be "
            "compared with, so their advantages are 0; collect at least 2 judged rollouts of every task",
            UserWarning,
            stacklevel=3,
        )
    if drop_zero_variance:
        trained &= ~_no_variance(forest)[of]
    weight = _weights(forest.depth, trained, depth_weighting)
    node = _forest.places(of, len(codes))
    return NodeTable(codes[of], of, node, up, forest.depth, own, reward, expected, advantage, weight, groups)


def _fill_unjudged(own: Floats, parent: Ints, tree: Ints, n_trees: int, policy: Unjudged) -> Floats:
    if policy == "mask":
        return own
    if policy == "root":
        return np.where(np.isnan(own), _forest.of_roots(own, parent, tree, n_trees)[tree], own)
    if isinstance(policy, str | bool) or not 0.0 <= policy <= 1.0:
        raise OptionError("unjudged", policy, 'must be "mask", "root" or a number in [0, 1]')
    return np.where(np.isnan(own), policy, own)


def _baseline(forest: Forest, name: str) -> Floats:
    if name == "none":
        return np.zeros(len(forest.reward))
    known = {"root_loo": root_loo, "depth_loo": depth_loo, "goal_loo": goal_loo}
    if name not in known:
        raise OptionError("baseline", name, f"must be one of {', '.join(known)}, none")
    return known[name](forest)


def _no_variance(forest: Forest) -> Bools:
    """Say of each tree whether its group's judged root rewards are all equal."""
    reward = _forest.of_roots(forest.reward, forest.parent, forest.tree, len(forest.group))
    low, high = np.full(len(reward), np.inf), np.full(len(reward), -np.inf)
    np.fmin.at(low, forest.group, reward)
    np.fmax.at(high, forest.group, reward)
    equal: Bools = high - low <= SAME_REWARD
    return equal[forest.group]


def _weights(depth: Ints, trained: Bools, weighting: bool | float) -> Floats:
    if isinstance(weighting, bool):
        return depth_weights(depth, trained) if weighting else trained.astype(np.float64)
    if not isinstance(weighting, float | np.floating) or not 0.0 < weighting <= 1.0:
        raise OptionError("depth_weighting", weighting, "must be True, False or a float in (0, 1]")
    return depth_weights(depth, trained, discount=float(weighting))
