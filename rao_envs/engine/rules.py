"""What is the same for all rollouts of one environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rao_envs.actions.format import ActionFormat
from rao_envs.engine.limits import Limits, TokenCounter

__all__ = ["Rules"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the same for all rollouts of one environment.

    Attributes:
        format: how actions are written and run.
        limits: what a rollout may use.
        recursive: whether agents may launch subagents.
        latency: (prompt tokens, output tokens) -> virtual seconds of a message.
        count: counts the tokens of one message.
    """

    format: ActionFormat
    limits: Limits
    recursive: bool
    latency: Callable[[int, int], float]
    count: TokenCounter
