"""RAO's credit in Stable-Baselines3: rollout buffers that give every step the credit of the node that took it.

PPO and A2C weight each step with an advantage that the rollout buffer computes, by default with GAE from the rewards of
the environment. `RAORolloutBuffer` (and `RAOMaskableRolloutBuffer`, for the MaskablePPO of sb3-contrib) replaces it by
``A_i · w_i`` of `rao_envs.credit`, i being the node that took the step. `RAOCallback` tells the buffer which node that
was:

    model = PPO("MlpPolicy", vec_env, rollout_buffer_class=RAORolloutBuffer, normalize_advantage=False, vf_coef=0.0)
    model.learn(100_000, callback=RAOCallback())

**A buffer is a batch.** Every tree of a batch begins in it: the callback resets all copies of the environment to the
same episode number before a buffer is filled. Copies that play the same task in the same episode then form groups. A
tree that the end of the buffer cuts off is not lost: a node that has returned has its final reward (its children
returned before it) and gets its advantage. A node that is still running is unjudged: its advantage is 0, and it enters
no mean or count. So choose `n_steps` large enough for several episodes: nothing is learned from nodes that are still
running, and long episodes are cut off more often than short ones.

**What an environment must provide.** In ``info`` of every step "actor", the id of the node that took the step, and at
the end of an episode "tree", its finished `ExecutionTree`; an attribute ``tree``, the tree so far; and
``reset(options={"episode": n})``, which begins the episode of that number and counts up from there.
`rao_textcraft.numeric.NumericTextCraft` does.

Needs the extra ``sb3``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rao_envs.extras import extra

with extra("sb3", __name__):
    from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
    from stable_baselines3.common.buffers import RolloutBuffer
    from stable_baselines3.common.callbacks import BaseCallback

from rao_envs import credit
from rao_envs.credit import Baseline, LoneRolloutWarning, Reward
from rao_envs.errors import OptionError
from rao_envs.tree import ExecutionTree

__all__ = ["RAOCallback", "RAOMaskableRolloutBuffer", "RAORolloutBuffer"]

Floats = NDArray[np.float64]


class RAORolloutBuffer(RolloutBuffer):
    """A rollout buffer whose advantages are those of `rao_envs.credit`, times the depth weights.

    After `compute_returns_and_advantage`, for the step that environment e took at time t for node i:

    | array [n_steps, n_envs] | holds |
    |---|---|
    | `advantages` | ``A_i · w_i``; 0 if i is still running or unjudged |
    | `returns` | the node's reward ``r_i``, a target for a critic; the critic's own value where there is none |

    The environment's rewards, `gamma` and `gae_lambda` are not used. Every step of a node gets the node's whole
    advantage, so the mean over steps that PPO takes is ``Σ_i w_i A_i Σ_t ∇ log π`` up to a constant factor.

    Attributes:
        trees: the rollouts of this buffer, in the order in which they began; None where the tree is not known yet.
        rollout: int [n_steps, n_envs], index into `trees` for each step; -1 before it is noted.
        node: int [n_steps, n_envs], id of the node that took the step; -1 before it is noted.
    """

    trees: list[ExecutionTree | None]
    rollout: NDArray[np.int64]
    node: NDArray[np.int64]

    def __init__(
        self,
        *args: Any,
        reward: Reward = "delegation",
        delegation_bonus: float | None = None,
        baseline: Baseline = "root_loo",
        depth_weighting: bool | float = True,
        **kwargs: Any,
    ) -> None:
        """Make a buffer. Pass these options in `rollout_buffer_kwargs`.

        Args:
            args: as for `RolloutBuffer`.
            reward: as for `rao_envs.credit.assign`, like the next three. Rules are not given the nodes themselves.
            delegation_bonus: see there.
            baseline: see there.
            depth_weighting: see there.
            kwargs: as for `RolloutBuffer`.
        """
        self._options: dict[str, Any] = {
            "reward": reward,
            "delegation_bonus": delegation_bonus,
            "baseline": baseline,
            "depth_weighting": depth_weighting,
        }
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Empty the buffer and forget its trees."""
        super().reset()
        self.trees = [None] * self.n_envs
        self._open = list(range(self.n_envs))
        self.rollout = np.full((self.buffer_size, self.n_envs), -1, dtype=np.int64)
        self.node = np.full((self.buffer_size, self.n_envs), -1, dtype=np.int64)

    def note(self, infos: Sequence[Mapping[str, Any]], dones: Sequence[bool] | NDArray[np.bool_]) -> None:
        """Record which nodes took the steps that are added next.

        Args:
            infos: ``info`` of the step of each environment.
            dones: which episodes ended with it.

        Raises:
            OptionError: an environment does not say which node acted, or ended an episode without a tree.
        """
        for env, (info, done) in enumerate(zip(infos, dones, strict=True)):
            if "actor" not in info:
                raise OptionError("info", sorted(info), 'must have "actor", the id of the node that took the step')
            self.rollout[self.pos, env] = self._open[env]
            self.node[self.pos, env] = info["actor"]
            if done:
                if "tree" not in info:
                    fix = 'must have "tree" at the end of an episode; limit rollouts by Limits, not by TimeLimit'
                    raise OptionError("info", sorted(info), fix)
                self.trees[self._open[env]] = info["tree"]
                self._open[env] = len(self.trees)
                self.trees.append(None)

    def note_running(self, trees: Sequence[ExecutionTree]) -> None:
        """Record the trees that are still running when the buffer is full, one for each environment."""
        for rollout, tree in zip(self._open, trees, strict=True):
            self.trees[rollout] = tree

    def compute_returns_and_advantage(self, last_values: Any, dones: NDArray[Any]) -> None:
        """Give every step the advantage of its node.

        Args:
            last_values: not used, since nothing is bootstrapped.
            dones: not used.

        Warns:
            LoneRolloutWarning: no two rollouts of any task have finished, so all advantages are 0.

        Raises:
            OptionError: nothing recorded which nodes took these steps.
        """
        if (self.node < 0).any() or any(tree is None for tree in self.trees):
            raise OptionError(
                "callback", None, "pass callback=RAOCallback() to learn(): it records which nodes took these steps"
            )
        trees = [tree for tree in self.trees if tree is not None]
        for rollout, (advantage, reward) in enumerate(node_credit(trees, **self._options)):
            step, env = np.nonzero(self.rollout == rollout)
            node = self.node[step, env]
            self.advantages[step, env] = advantage[node]
            known = ~np.isnan(reward[node])
            self.returns[step, env] = np.where(known, reward[node], self.values[step, env])


class RAOMaskableRolloutBuffer(RAORolloutBuffer, MaskableRolloutBuffer):
    """`RAORolloutBuffer` with action masks, for the MaskablePPO of sb3-contrib."""


def node_credit(trees: Sequence[ExecutionTree], **options: Any) -> list[tuple[Floats, Floats]]:
    """Assign credit to the nodes of finished and running trees.

    For finished trees it is that of `rao_envs.credit.assign`. Nodes that are still running count as unjudged.

    Args:
        trees: one batch.
        options: reward, delegation_bonus, baseline and depth_weighting of `assign`.

    Returns:
        For each tree ``A_i · w_i`` (0 for a node that is not trained on) and ``r_i`` (nan = unjudged) of its nodes by
        id, each float [nodes of the tree]. All 0 and nan for an invalid tree.

    Warns:
        LoneRolloutWarning: no rollout can be compared with another.
    """
    valid = [tree for tree in trees if tree.invalid is None]
    success: list[float] = []
    parent: list[int] = []
    of: list[int] = []
    for index, tree in enumerate(valid):
        start = len(of)
        success += [np.nan if node.success is None else node.success for node in tree.nodes]
        parent += [-1 if node.parent is None else start + node.parent for node in tree.nodes]
        of += [index] * len(tree)
    goal = [node.goal for tree in valid for node in tree.nodes]
    group = [tree.group for tree in valid]
    with warnings.catch_warnings():
        # In a buffer of fixed size, a lone rollout of the last task is normal; warn below if all are lone.
        warnings.simplefilter("ignore", LoneRolloutWarning)
        table = credit.assign_forest(success, parent, of, group, goal=goal, **options)
    if np.isnan(table.baseline).all():
        warnings.warn(
            f"none of the {len(trees)} rollouts in this buffer can be compared with another, so all advantages are 0; "
            "let environments play the same tasks, and make n_steps large enough for them to finish",
            LoneRolloutWarning,
            stacklevel=3,
        )
    paid = np.where(table.weight > 0, np.nan_to_num(table.advantage) * table.weight, 0.0)
    parts = iter(np.split(np.arange(len(table)), np.cumsum([len(tree) for tree in valid])[:-1]))
    rows = (next(parts) if tree.invalid is None else None for tree in trees)
    return [
        (paid[own], table.reward[own]) if own is not None else (np.zeros(len(tree)), np.full(len(tree), np.nan))
        for own, tree in zip(rows, trees, strict=True)
    ]


class RAOCallback(BaseCallback):
    """Tells an `RAORolloutBuffer` which nodes took its steps, and starts every buffer with fresh episodes.

    Logs, for each buffer: ``rao/trees`` (finished), ``rao/root_success`` and ``rao/node_success`` (means over the roots
    and nodes of finished trees), ``rao/nodes`` (mean size of a finished tree) and ``rao/credited`` (share of steps with
    an advantage other than 0).
    """

    def __init__(self, verbose: int = 0) -> None:
        """Make the callback for one run of `learn`."""
        super().__init__(verbose)
        self._episode = 0

    @property
    def _buffer(self) -> RAORolloutBuffer:
        buffer = getattr(self.model, "rollout_buffer", None)
        if not isinstance(buffer, RAORolloutBuffer):
            fix = "must be RAORolloutBuffer, or RAOMaskableRolloutBuffer for MaskablePPO"
            raise OptionError("rollout_buffer_class", type(buffer).__name__, fix)
        return buffer

    def _on_training_start(self) -> None:
        self._buffer  # noqa: B018 (the check)
        if getattr(self.model, "normalize_advantage", False):
            fix = "must be False: the objective has its own baseline, and does not divide by a standard deviation"
            raise OptionError("normalize_advantage", True, fix)

    def _on_rollout_start(self) -> None:
        env = self.training_env
        env.set_options({"episode": self._episode})
        self.model._last_obs = cast(NDArray[Any], env.reset())
        self.model._last_episode_starts = np.ones(env.num_envs, dtype=bool)

    def _on_step(self) -> bool:
        buffer = self._buffer
        buffer.note(self.locals["infos"], self.locals["dones"])
        if buffer.pos == buffer.buffer_size - 1:
            buffer.note_running(self.training_env.get_attr("tree"))
        return True

    def _on_rollout_end(self) -> None:
        buffer = self._buffer
        per_env = [len(np.unique(rollouts)) for rollouts in buffer.rollout.T]
        self._episode += max(per_env)
        trees = [tree for tree in buffer.trees if tree is not None and tree.finished and tree.invalid is None]
        figures: dict[str, list[float]] = {
            "root_success": [tree.root.success for tree in trees if tree.root.success is not None],
            "node_success": [node.success for tree in trees for node in tree.nodes if node.success is not None],
            "nodes": [len(tree) for tree in trees],
        }
        self.logger.record("rao/trees", len(trees))
        self.logger.record("rao/credited", float(np.mean(buffer.advantages != 0.0)))
        for name, values in figures.items():
            if values:
                self.logger.record(f"rao/{name}", float(np.mean(values)))
