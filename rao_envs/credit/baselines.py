"""What a node's reward is compared with; public as `rao_envs.credit.root_loo` and so on."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rao_envs.credit import arrays
from rao_envs.credit.arrays import Floats, Ints, Labels, mean_of_others, of_roots, pairs
from rao_envs.credit.forest import Forest
from rao_envs.errors import OptionError

__all__ = ["depth_loo", "goal_loo", "label_loo", "leave_one_out", "root_loo"]


def root_loo(forest: Forest) -> Floats:
    """Compare every node with the root rewards of the other rollouts in its group: the paper's baseline.

    Unbiased: it is one number for the whole tree, and rollouts are independent given the task, so it is
    independent of everything that this rollout samples. It is simple rather than of low variance: a node far down
    is measured by how roots fare.
    """
    rewards = of_roots(forest.reward, forest.parent, forest.tree, len(forest.group))
    return mean_of_others(rewards, forest.group, np.arange(len(rewards)))[forest.tree]


def depth_loo(forest: Forest) -> Floats:
    """Compare every node with the other rollouts' nodes at its own depth (mean over nodes); else `root_loo`.

    Unbiased: a node's depth is fixed before the node samples anything, and given the depth, both the number and
    the decision to fall back depend on other rollouts only. Meant for levels that differ in difficulty.
    """
    return _loo_of_code(forest, forest.depth)


def goal_loo(forest: Forest) -> Floats:
    """Compare every node with the other rollouts' nodes that were given the same goal; else `root_loo`.

    Unbiased for the same reason as `depth_loo`: a node's goal is written before the node samples anything.
    (The goal does depend on what the *parent* sampled, but a baseline multiplies its own node's log-probabilities
    only.) This is the closest match there is, where subgoals recur word for word across rollouts.

    Raises:
        OptionError: the forest has no goals.
    """
    if forest.goal is None:
        raise OptionError("goal", None, 'baseline="goal_loo" needs the goal of every node')
    return _loo_of_code(forest, forest.goal)


def label_loo(forest: Forest, label: Labels) -> Floats:
    """Compare every node with the other rollouts' nodes of its group and label; else `root_loo`.

    `depth_loo` and `goal_loo` are this with the depth or the goal as the label. A building block for rules of your
    own: unbiased for every label that is fixed before the node samples anything.

    Args:
        forest: the batch.
        label: ints or strings [N].

    Returns:
        float [N]; nan where nothing is left to compare with.

    Raises:
        OptionError: not one label for each node.
    """
    code = arrays.codes("label", label)[0]
    arrays.same_length(**{"forest.parent": forest.parent, "label": code})
    return _loo_of_code(forest, code)


def _loo_of_code(forest: Forest, code: Ints) -> Floats:
    cell, own = pairs(forest.group[forest.tree], code), pairs(forest.tree, code)
    closest = mean_of_others(forest.reward, cell, own)
    return np.where(np.isnan(closest), root_loo(forest), closest)


def leave_one_out(root_rewards: ArrayLike, group: Labels) -> Floats:
    """For each rollout, average the root rewards of the others in its group.

    ``b_k = mean{r_k' : k' ≠ k, group_k' = group_k, r_k' judged}`` (arXiv:2605.06639).

    Args:
        root_rewards: float [T], one per rollout; nan (or None) = unjudged: adds nothing to the others' means, but
            gets a baseline like any other.
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
