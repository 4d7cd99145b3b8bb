"""What a node's reward is compared with; public as `rao_envs.credit.root_loo` and so on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rao_envs.credit import arrays
from rao_envs.credit.arrays import Floats, Ints, Labels, mean_of_others, of_roots, pairs
from rao_envs.errors import OptionError

__all__ = ["Forest", "depth_loo", "goal_loo", "leave_one_out", "root_loo"]


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """What a baseline looks at.

    Attributes:
        reward: float [N]; nan = unjudged.
        parent: int [N], -1 for a root.
        depth: int [N].
        tree: int [N], the node's tree, an index into `group`.
        group: int [T], equal for rollouts of one task.
        goal: int [N], equal for equal goals; None = unknown.
    """

    reward: Floats
    parent: Ints
    depth: Ints
    tree: Ints
    group: Ints
    goal: Ints | None = None


def root_loo(forest: Forest) -> Floats:
    """Compare every node with the root rewards of the other rollouts in its group: the paper's baseline.

    Unbiased: it is one number for the whole tree, and rollouts are independent given the task, so it is
    independent of everything that this rollout samples. Simple rather than of least variance: a node far down
    is measured by how roots fare.
    """
    rewards = of_roots(forest.reward, forest.parent, forest.tree, len(forest.group))
    return mean_of_others(rewards, forest.group, np.arange(len(rewards)))[forest.tree]


def depth_loo(forest: Forest) -> Floats:
    """Compare every node with the other rollouts' nodes at its own depth (mean over nodes); else `root_loo`.

    Unbiased: a node's depth is settled before the node samples anything, and given the depth the number, like
    the decision to fall back, depends on other rollouts only. Meant for levels that differ in difficulty.
    """
    return _loo_of_label(forest, forest.depth)


def goal_loo(forest: Forest) -> Floats:
    """Compare every node with the other rollouts' nodes that were given the same goal; else `root_loo`.

    Unbiased for the reason that `depth_loo` is: a node's goal was written before the node sampled anything.
    (It does depend on what the *parent* sampled, but a baseline multiplies its own node's log-probabilities
    only.) The closest match there is, where subgoals recur across rollouts word for word.

    Raises:
        OptionError: the forest has no goals.
    """
    if forest.goal is None:
        raise OptionError("goal", None, 'baseline="goal_loo" needs the goal of every node')
    return _loo_of_label(forest, forest.goal)


def _loo_of_label(forest: Forest, label: Ints) -> Floats:
    cell, own = pairs(forest.group[forest.tree], label), pairs(forest.tree, label)
    closest = mean_of_others(forest.reward, cell, own)
    return np.where(np.isnan(closest), root_loo(forest), closest)


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
    rewards = arrays.floats("root_rewards", root_rewards)
    codes, _ = arrays.codes("group", group)
    arrays.same_length(root_rewards=rewards, group=codes)
    return arrays.mean_of_others(rewards, codes, np.arange(len(codes)))
