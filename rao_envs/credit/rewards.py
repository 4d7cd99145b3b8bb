"""The reward of a node: its own success, and a bonus for that of its immediate children."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rao_envs.credit import arrays
from rao_envs.credit.arrays import Bools, Floats
from rao_envs.errors import OptionError

__all__ = ["DELEGATION_BONUS", "node_rewards"]

DELEGATION_BONUS = 0.4
"""λ of the paper."""


def node_rewards(success: ArrayLike, parent: ArrayLike, delegation_bonus: float = DELEGATION_BONUS) -> Floats:
    """Reward every node for its own success and for that of its immediate children.

    ``r_i = s_i + λ · mean{s_j : parent_j = i, s_j judged}`` (arXiv:2605.06639). The mean runs over the children's
    own success, not their rewards: a grandchild counts for its parent only. Special cases: no judged child,
    ``r_i = s_i``; λ = 0, ``r = s``.

    Args:
        success: float [N] in [0, 1]; nan (or None) = unjudged.
        parent: int [N], -1 for a root, in any order.
        delegation_bonus: λ >= 0.

    Returns:
        float [N]; nan where `success` is.

    Raises:
        OptionError: shapes differ, or a value is out of range. (A `ValueError`, here and below.)
    """
    own, up = arrays.floats("success", success), arrays.indices("parent", parent)
    arrays.same_length(success=own, parent=up)
    arrays.check_success(own)
    arrays.check_parent(up)
    if not 0.0 <= delegation_bonus < np.inf:
        raise OptionError("delegation_bonus", delegation_bonus, "must be a finite number >= 0")
    slot = up + 1  # roots add to slot 0, which is dropped
    judged = ~np.isnan(own)
    keep: slice | Bools = slice(None) if judged.all() else judged
    total = np.bincount(slot[keep], own[keep], len(own) + 1)[1:]
    count = np.bincount(slot[keep], minlength=len(own) + 1)[1:]
    reward: Floats = total / np.maximum(count, 1)
    reward *= delegation_bonus
    reward += own
    return reward
