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
from rao_envs.credit.baselines import depth_loo, goal_loo, root_loo
from rao_envs.credit.forest import Forest
from rao_envs.credit.rewards import DELEGATION_BONUS, node_rewards
from rao_envs.credit.rules import BaselineRule, RewardRule, computed_baseline, computed_reward, name_of
from rao_envs.credit.weights import depth_weights, depths
from rao_envs.errors import OptionError
from rao_envs.tree import ExecutionTree

__all__ = [
    "SAME_REWARD",
    "Baseline",
    "LoneRolloutWarning",
    "NodeTable",
    "Reward",
    "Unjudged",
    "assign",
    "assign_forest",
]

Reward: TypeAlias = Literal["delegation"] | RewardRule
"""How nodes are rewarded: "delegation" is `node_rewards`; or a rule of your own."""

Baseline: TypeAlias = Literal["root_loo", "depth_loo", "goal_loo", "none"] | BaselineRule
"""What a node's reward is compared with: the function of that name, 0 for "none"; or a rule of your own."""

Unjudged: TypeAlias = Literal["mask", "root"] | float
"""What happens to an unjudged node: see `assign`."""

SAME_REWARD = 1e-12
"""Rewards closer than this are equal: they differ only by the order of summation."""


class LoneRolloutWarning(UserWarning):
    """Some rollouts have no other rollout to be compared with, so their advantages are 0."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeTable:
    """Credit of every node of a batch: one array of length N per column.

    Attributes:
        group: group of the node's tree, an index into `groups`.
        tree: index of its tree in the input.
        node: its id in that tree.
        parent: row of its parent; -1 for a root.
        depth: 0 for a root.
        success: own success, unjudged nodes filled in as `assign` was told, in [0, 1]; nan = unjudged.
        reward: success plus delegation bonus, or what the reward rule returned; nan = unjudged.
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
    reward: Reward = "delegation",
    delegation_bonus: float | None = None,
    baseline: Baseline = "root_loo",
    depth_weighting: bool | float = True,
    unjudged: Unjudged = "mask",
    drop_zero_variance: bool = False,
) -> NodeTable:
    """Give every node of a batch of rollouts its credit (arXiv:2605.06639).

    Trees of one task (`ExecutionTree.group`) are compared with each other. Invalid trees are left out, as if they
    had not been collected, but `NodeTable.tree` still counts them. Every other node has a row and, if it is judged,
    a weight. A cancelled child counts as one with success 0. Goals are equal if their text is.

    Args:
        trees: finished rollouts, all groups of one optimiser step; may be empty.
        reward: "delegation" (the paper's, `node_rewards`), or a `RewardRule`, a function from a `Forest` to the
            reward of every node.
        delegation_bonus: λ >= 0 of "delegation"; None = 0.4, as in the paper.
        baseline: "root_loo" (the paper's), "depth_loo", "goal_loo", "none" (0 for every node: unbiased, since there
            is nothing to be biased by, and usually of the highest variance), or a `BaselineRule`, a function from a
            `Forest` to what each node's reward is compared with.
        depth_weighting: True for inverse frequency (the paper's), False for weight 1, or a float γ in (0, 1]
            for ``γ^depth``; the mean is always 1: see `depth_weights`.
        unjudged: "mask" gives an unjudged node weight 0 and leaves it out of all means. "root" gives it its
            root's success (masked if that is unjudged too), and a number in [0, 1] that success, before
            anything else is computed: from there on the node counts as judged.
        drop_zero_variance: give weight 0 to groups whose judged root rewards are all equal (including those
            with fewer than two). Off by default: their children may still differ.

    Returns:
        One row per node: trees in the order given, nodes in order of spawning.

    Warns:
        LoneRolloutWarning: once, if some rollouts have nothing to be compared with, such as a group of one.

    Raises:
        OptionError: a tree is unfinished, an option is out of range, or a rule returned something else than one
            number for each node.
    """
    options = _Options(reward, delegation_bonus, baseline, depth_weighting, unjudged, drop_zero_variance)
    kept = [i for i, tree in enumerate(trees) if tree.invalid is None]
    unfinished = [i for i in kept if not trees[i].finished or any(node.status is None for node in trees[i].nodes)]
    if unfinished:
        raise OptionError("trees", unfinished, "the trees at these indices are unfinished; run them to their end first")
    nodes = [node for i in kept for node in trees[i].nodes]
    sizes = np.array([len(trees[i]) for i in kept], dtype=np.int64)
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    inside = np.array([-1 if node.parent is None else node.parent for node in nodes], dtype=np.int64)
    forest, groups = _forest(
        np.array([node.success for node in nodes], dtype=np.float64),
        np.where(inside < 0, -1, inside + start),
        np.repeat(np.arange(len(kept)), sizes),
        [trees[i].group for i in kept],
        [node.goal for node in nodes] if options.needs_goals else None,
        options.unjudged,
    )
    table = _credit(replace(forest, nodes=tuple(nodes)), groups, options)
    return replace(table, tree=np.array(kept, dtype=np.int64)[table.tree])


def assign_forest(
    success: ArrayLike,
    parent: ArrayLike,
    tree: ArrayLike,
    group: Labels,
    *,
    goal: Labels | None = None,
    reward: Reward = "delegation",
    delegation_bonus: float | None = None,
    baseline: Baseline = "root_loo",
    depth_weighting: bool | float = True,
    unjudged: Unjudged = "mask",
    drop_zero_variance: bool = False,
) -> NodeTable:
    """Do for arrays what `assign` does for trees, with the same options, warning and errors.

    Args:
        success: float [N] in [0, 1]; nan (or None) = unjudged.
        parent: int [N], index into the forest, -1 for a root, in any order.
        tree: int [N], the node's tree, an index into `group`. Every tree has one root.
        group: ints or strings [T], equal for rollouts of one task.
        goal: ints or strings [N]; used by "goal_loo", and by your own rules if they read it.
        reward: see `assign`, as for the rest.
        delegation_bonus: see `assign`.
        baseline: see `assign`.
        depth_weighting: see `assign`.
        unjudged: see `assign`.
        drop_zero_variance: see `assign`.

    Returns:
        One row per node, in the order given; `NodeTable.node` counts within each tree.

    Raises:
        OptionError: shapes differ, a value is out of range, the nodes do not form trees, or a rule returned
            something else than one number for each node.
    """
    options = _Options(reward, delegation_bonus, baseline, depth_weighting, unjudged, drop_zero_variance)
    forest, groups = _forest(success, parent, tree, group, goal, unjudged)
    return _credit(forest, groups, options)


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of `assign`."""

    reward: Reward
    delegation_bonus: float | None
    baseline: Baseline
    depth_weighting: bool | float
    unjudged: Unjudged
    drop_zero_variance: bool

    def __post_init__(self) -> None:
        if not callable(self.reward) and self.reward != "delegation":
            raise OptionError("reward", self.reward, 'must be "delegation", or a function of a Forest')
        if callable(self.reward) and self.delegation_bonus is not None:
            fix = f"is not used by the reward rule {name_of(self.reward)}; leave it out, or bind it to the rule"
            raise OptionError("delegation_bonus", self.delegation_bonus, fix)
        if not callable(self.baseline) and self.baseline not in (*_BASELINES, "none"):
            known = ", ".join((*_BASELINES, "none"))
            raise OptionError("baseline", self.baseline, f"must be one of {known}, or a function of a Forest")

    @property
    def needs_goals(self) -> bool:
        """Numbering a million goals takes as long as all the rest, so it is done only if a rule may read them."""
        return callable(self.reward) or callable(self.baseline) or self.baseline == "goal_loo"


_BASELINES = {"root_loo": root_loo, "depth_loo": depth_loo, "goal_loo": goal_loo}


def _forest(
    success: ArrayLike, parent: ArrayLike, tree: ArrayLike, group: Labels, goal: Labels | None, unjudged: Unjudged
) -> tuple[Forest, tuple[Hashable, ...]]:
    """Check the arrays; return them as a forest whose rewards are not known yet, and the names of its groups."""
    own, up = arrays.floats("success", success), arrays.indices("parent", parent)
    of, (codes, groups) = arrays.indices("tree", tree), arrays.codes("group", group)
    goals = None if goal is None else arrays.codes("goal", goal)[0]
    arrays.same_length(success=own, parent=up, tree=of, **({} if goals is None else {"goal": goals}))
    arrays.check_success(own)
    arrays.check_trees(up, of, len(codes))
    own = _fill_unjudged(own, up, of, len(codes), unjudged)
    return Forest(own, np.broadcast_to(np.nan, own.shape), up, depths(up), of, codes, goals), groups


def _credit(forest: Forest, groups: tuple[Hashable, ...], options: _Options) -> NodeTable:
    """Compute the table. Called by the public functions directly: the warning names the line that called those."""
    reward = _reward(forest, options)
    forest = replace(forest, reward=reward)
    expected = _baseline(forest, options.baseline)
    advantage = reward - expected
    trained = ~np.isnan(reward)
    alone = np.isnan(expected) & trained
    if alone.any():
        advantage[alone] = 0.0
        warnings.warn(
            f"{len(np.unique(forest.tree[alone]))} of {len(forest.group)} rollouts have nothing in their group to be "
            "compared with, so their advantages are 0; collect at least 2 judged rollouts of every task",
            LoneRolloutWarning,
            stacklevel=3,
        )
    if options.drop_zero_variance:
        trained &= ~_no_variance(forest)[forest.tree]
    return NodeTable(
        group=forest.group[forest.tree],
        tree=forest.tree,
        node=arrays.index_in_tree(forest.tree, len(forest.group)),
        parent=forest.parent,
        depth=forest.depth,
        success=forest.success,
        reward=reward,
        baseline=expected,
        advantage=advantage,
        weight=_weights(forest.depth, trained, options.depth_weighting),
        groups=groups,
    )


def _fill_unjudged(own: Floats, parent: Ints, tree: Ints, n_trees: int, unjudged: Unjudged) -> Floats:
    if unjudged == "mask":
        return own
    if unjudged == "root":
        return np.where(np.isnan(own), arrays.of_roots(own, parent, tree, n_trees)[tree], own)
    if isinstance(unjudged, str | bool) or not 0.0 <= unjudged <= 1.0:
        raise OptionError("unjudged", unjudged, 'must be "mask", "root" or a number in [0, 1]')
    return np.where(np.isnan(own), unjudged, own)


def _reward(forest: Forest, options: _Options) -> Floats:
    if callable(options.reward):
        return computed_reward(options.reward, _guarded(forest))
    bonus = DELEGATION_BONUS if options.delegation_bonus is None else options.delegation_bonus
    return node_rewards(forest.success, forest.parent, bonus)


def _baseline(forest: Forest, baseline: Baseline) -> Floats:
    if callable(baseline):
        return computed_baseline(baseline, _guarded(forest))
    return np.zeros(len(forest)) if baseline == "none" else _BASELINES[baseline](forest)


def _guarded(forest: Forest) -> Forest:
    """Return the forest with read-only arrays: a rule must not change what the next one is given."""
    columns = {field.name: getattr(forest, field.name) for field in fields(forest)}
    guarded: dict[str, Any] = {
        name: arrays.read_only(value) for name, value in columns.items() if isinstance(value, np.ndarray)
    }
    return replace(forest, **guarded)


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
