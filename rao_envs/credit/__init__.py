"""Credit for every node of a batch of rollouts: the RAO objective as pure functions over arrays.

Source: *Recursive Agent Optimization*, arXiv:2605.06639. A batch is a *forest*: the nodes of all its trees
laid end to end, `N` in all. ``parent[i]`` is an index into the forest (-1 for a root; parents may come
before or after their children). ``nan`` means unjudged, which is not 0.

| | |
|---|---|
| reward | ``r_i = s_i + λ · mean{s_j : j a judged child of i}`` (`node_rewards`) |
| baseline | ``b_k = mean{r_root(k') : k' ≠ k in the same group}`` (`leave_one_out`) |
| advantage | ``A_i = r_i − b_k(i)``; 0 where there is no other rollout to compare with |
| weight | ``w_i = N / (D · n_depth(i))`` over the nodes trained on (`depth_weights`) |
| gradient | ``E[Σ_i w_i · A_i · Σ_t ∇ log π(a_it | h_it)]`` |

`assign` does all of it for a list of trees, `assign_forest` for arrays. The rules for reward and baseline can be
replaced by functions of your own: each is given a `Forest` and returns one number for each node (`RewardRule`,
`BaselineRule`).

**Bias.** A baseline is harmless if it is independent of what the node samples, given what the node was shown: then
``E[b · ∇ log π] = b · E[∇ log π] = 0``. This holds for all baselines here. Depth weights are different: they count the
nodes of the batch, including the rollout's own, so whatever the baseline, the weighted sum is a ratio estimator, whose
bias vanishes only as the batch grows. With ``depth_weighting=False`` the sum over nodes is unbiased for a batch of any
size.
"""

from rao_envs.credit.baselines import depth_loo, goal_loo, label_loo, leave_one_out, root_loo
from rao_envs.credit.forest import Forest
from rao_envs.credit.rewards import node_rewards
from rao_envs.credit.rules import BaselineRule, RewardRule
from rao_envs.credit.table import (
    SAME_REWARD,
    Baseline,
    LoneRolloutWarning,
    NodeTable,
    Reward,
    Unjudged,
    assign,
    assign_forest,
)
from rao_envs.credit.weights import depth_weights, depths, sequence_weights

__all__ = [
    "SAME_REWARD",
    "Baseline",
    "BaselineRule",
    "Forest",
    "LoneRolloutWarning",
    "NodeTable",
    "Reward",
    "RewardRule",
    "Unjudged",
    "assign",
    "assign_forest",
    "depth_loo",
    "depth_weights",
    "depths",
    "goal_loo",
    "label_loo",
    "leave_one_out",
    "node_rewards",
    "root_loo",
    "sequence_weights",
]
