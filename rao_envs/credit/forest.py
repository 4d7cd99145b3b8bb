"""The nodes of a batch as arrays: what every rule for rewards and baselines is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rao_envs.credit.arrays import Floats, Ints
from rao_envs.tree import Node

__all__ = ["Forest"]


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """All N nodes of a batch of T trees, laid end to end. Rules get read-only arrays.

    Attributes:
        success: float [N] in [0, 1], own success; nan = unjudged.
        reward: float [N]; nan = unjudged. All nan while the rewards themselves are being computed.
        parent: int [N], index of the parent; -1 for a root.
        depth: int [N], 0 for a root.
        tree: int [N], the node's tree, an index into `group`.
        group: int [T], equal for rollouts of one task.
        goal: int [N], equal for equal goals; None = unknown.
        nodes: the N nodes themselves, for rules that need more than arrays (turns, tokens, results); None where
            only arrays were given, as to `assign_forest`.
    """

    success: Floats
    reward: Floats
    parent: Ints
    depth: Ints
    tree: Ints
    group: Ints
    goal: Ints | None = None
    nodes: tuple[Node, ...] | None = None

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.parent)

    @property
    def root(self) -> Ints:
        """Int [N], index of the root of each node's tree: ``reward[root]`` is the reward of its root."""
        roots = np.flatnonzero(self.parent < 0)
        of_tree = np.full(len(self.group), -1, dtype=np.int64)
        of_tree[self.tree[roots]] = roots
        return of_tree[self.tree]
