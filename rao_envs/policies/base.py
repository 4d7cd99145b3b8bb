"""The policy's side of the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import gymnasium as gym

from rao_envs.action import Action
from rao_envs.env import RecursiveEnv
from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.seeding import derive
from rao_envs.tree import Messages, Node

__all__ = ["Answer", "Policy", "View", "views"]

Answer: TypeAlias = str | Action | InfrastructureError
"""What a policy returns for one view: a message, or why none could be had."""


@dataclass(frozen=True, slots=True)
class View:
    """One node that waits for an action.

    Attributes:
        node: the node, with its turns so far.
        format: "code" or "calls".
        rollout: seed of the rollout: `RecursiveEnv.rollout_seed`, or the one that `collect` derived for it.
    """

    node: Node
    format: str
    rollout: int

    @property
    def seed(self) -> int:
        """Seed for this message: hashed from the rollout's seed, the node's path and the turn."""
        return derive(self.rollout, self.node.address, len(self.node.turns))

    @property
    def observation(self) -> str:
        """What the node saw last: the outcome of its last turn, or what it was asked."""
        turns = self.node.turns
        return (turns[-1].observation if turns else self.node.opening) or ""

    @property
    def messages(self) -> Messages:
        """The node's chat so far, an immutable view."""
        return self.node.messages


class Policy(Protocol):
    """Answers many nodes at once: all that wait, of all rollouts, in one batch."""

    def __call__(self, views: Sequence[View]) -> Sequence[Answer]:
        """Return one answer for each view, in order.

        An `InfrastructureError` in place of an answer (or raised, for the whole batch) spoils that rollout: it
        is marked invalid and tried again, never scored as the policy's failure.
        """
        ...


def views(env: gym.Env[str, str], rollout: int | None = None) -> list[View]:
    """Return the nodes of a recursive environment that wait for an action, depth first.

    Args:
        env: the environment, wrapped or not.
        rollout: seed of the views, for policies that sample; None takes the rollout's own, which `reset` fixed.

    Raises:
        OptionError: not a recursive environment.
        EpisodeOver: `reset` was not called.
    """
    inner = env.unwrapped
    if not isinstance(inner, RecursiveEnv):
        raise OptionError("env", env, "must be an environment made by rao_envs")
    nodes = inner.tree.nodes
    seed = inner.rollout_seed if rollout is None else rollout
    return [View(nodes[node], inner.action_format, seed) for node in inner.ready]
