"""Credit for every node of a batch: one row per node."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rao_envs.credit import arrays
from rao_envs.credit.arrays import Bools, Floats, Ints, Labels
from rao_envs.credit.baselines import Forest, depth_loo, goal_loo, root_loo
from rao_envs.credit.rewards import node_rewards
from rao_envs.credit.weights import depth_weights, depths
from rao_envs.errors import OptionError
from rao_envs.tree import ExecutionTree

__all__ = ["SAME_REWARD", "Baseline", "NodeTable", "Unjudged", "assign", "assign_forest"]

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
    own, up = arrays.floats("success", success), arrays.indices("parent", parent)
    of, (codes, groups) = arrays.indices("tree", tree), arrays.codes("group", group)
    goals = None if goal is None else arrays.codes("goal", goal)[0]
    arrays.same_length(success=own, parent=up, tree=of, **({} if goals is None else {"goal": goals}))
    arrays.check_trees(up, of, len(codes))
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
    node = arrays.places(of, len(codes))
    return NodeTable(codes[of], of, node, up, forest.depth, own, reward, expected, advantage, weight, groups)


def _fill_unjudged(own: Floats, parent: Ints, tree: Ints, n_trees: int, policy: Unjudged) -> Floats:
    if policy == "mask":
        return own
    if policy == "root":
        return np.where(np.isnan(own), arrays.of_roots(own, parent, tree, n_trees)[tree], own)
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
    reward = arrays.of_roots(forest.reward, forest.parent, forest.tree, len(forest.group))
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
