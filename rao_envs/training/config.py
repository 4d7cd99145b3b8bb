"""The options of a training run, one frozen class for each part of the loop. Importing this needs no torch."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from rao_envs.errors import OptionError
from rao_envs.policies.local import TorchPolicy

__all__ = [
    "CollectConfig",
    "Evaluate",
    "Kind",
    "LossConfig",
    "Normalise",
    "OptimConfig",
    "RunConfig",
    "warm_up",
]

Kind: TypeAlias = Literal["reinforce", "ppo", "cispo"]
Normalise: TypeAlias = Literal["tokens", "sequences", "nodes", "rollouts"]
Evaluate: TypeAlias = Callable[[TorchPolicy, int], Mapping[str, float]]
"""Measures a policy after a number of steps; its figures are logged under "eval/"."""

CLIPS: Mapping[str, tuple[float, float]] = {"reinforce": (0.0, 0.0), "ppo": (0.2, 0.2), "cispo": (0.0, 5.0)}
"""Default clip_low and clip_high of each kind."""


def warm_up(step: int) -> float:
    """Raise the learning rate linearly over the first 10 steps, then hold it."""
    return min(1.0, (step + 1) / 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectConfig:
    """Which rollouts a step collects.

    Attributes:
        tasks_per_step: tasks of one step, at least 1.
        group_size: rollouts of each task: the K of the objective, at least 2.
        env_options: keyword arguments for `gymnasium.make`.
        task_of: (step, i) -> number of the step's i-th task; None gives every step new tasks.
        concurrency: environments that run at once. For a policy that draws from `View.seed`, it affects speed only.

    Raises:
        OptionError: an attribute is out of range.
    """

    tasks_per_step: int
    group_size: int
    env_options: Mapping[str, Any] | None = None
    task_of: Callable[[int, int], int] | None = None
    concurrency: int = 64

    def __post_init__(self) -> None:
        """Check the values."""
        _whole("tasks_per_step", self.tasks_per_step)
        _whole("group_size", self.group_size, 2, "a lone rollout has nothing to be compared with")
        _whole("concurrency", self.concurrency)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The loss; `rao_loss` takes the same options.

    Attributes:
        kind: "reinforce", "ppo" or "cispo" (the paper's).
        clip_low: for "ppo" how far below 1 a ratio counts, for "cispo" the smallest coefficient; None = 0.2, 0.
        clip_high: for "ppo" how far above 1 a ratio counts, for "cispo" the largest coefficient; None = 0.2, 5.
        normalise: the count of the whole batch that the loss is divided by.
        entropy: coefficient of the entropy bonus, >= 0.
        kl: coefficient of the divergence from the trainer's `reference` policy, >= 0.

    Raises:
        OptionError: an attribute is unknown or out of range.
    """

    kind: Kind = "cispo"
    clip_low: float | None = None
    clip_high: float | None = None
    normalise: Normalise = "tokens"
    entropy: float = 0.0
    kl: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if self.normalise not in get_args(Normalise):
            raise OptionError("normalise", self.normalise, f"must be one of {', '.join(get_args(Normalise))}")
        for name in ("kl", "entropy"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise OptionError(name, value, "must be a finite number >= 0")
        _ = self.clip

    @property
    def clip(self) -> tuple[float, float]:
        """The two bounds of the clip, defaults filled in."""
        if self.kind not in CLIPS:
            raise OptionError("kind", self.kind, f"must be one of {', '.join(CLIPS)}")
        low = CLIPS[self.kind][0] if self.clip_low is None else self.clip_low
        high = CLIPS[self.kind][1] if self.clip_high is None else self.clip_high
        if self.kind == "ppo" and not (0 <= low <= 1 and high >= 0):
            raise OptionError("clip_low, clip_high", (low, high), "ppo needs clip_low in [0, 1] and clip_high >= 0")
        if self.kind == "cispo" and not 0 <= low <= high:
            raise OptionError("clip_low, clip_high", (low, high), "cispo needs 0 <= clip_low <= clip_high")
        return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """How a batch becomes optimiser steps.

    Attributes:
        lr: learning rate of the default optimiser, >= 0.
        schedule: steps done -> factor on the optimiser's learning rate.
        epochs: passes over the batch.
        minibatches: optimiser steps in each pass, each on a random part of the sequences. The loss of a part is
            scaled so that its expectation is that of the batch.
        max_grad_norm: gradients are scaled down to this norm; infinity never scales.
        max_tokens: padded tokens in one forward pass; affects memory and speed only.
        max_length: longer sequences are left out, and counted; None trains on all.
        max_sequences: maximum number of sequences a step, drawn by `Batch.subsample`; None trains on all.

    Raises:
        OptionError: an attribute is out of range.
    """

    lr: float = 3e-4
    schedule: Callable[[int], float] = warm_up
    epochs: int = 1
    minibatches: int = 1
    max_grad_norm: float = 1.0
    max_tokens: int = 16_384
    max_length: int | None = None
    max_sequences: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.lr < math.inf:
            raise OptionError("lr", self.lr, "must be a finite number >= 0")
        if not callable(self.schedule):
            raise OptionError("schedule", self.schedule, "must be a function: steps done -> factor")
        if not self.max_grad_norm > 0:
            raise OptionError("max_grad_norm", self.max_grad_norm, "must be above 0; math.inf switches it off")
        for name in ("epochs", "minibatches", "max_tokens"):
            _whole(name, getattr(self, name))
        for name in ("max_length", "max_sequences"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1, "None trains on all")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What a run keeps, measures and shows. None of it affects what is learned.

    Attributes:
        folder: where checkpoints, figures and TensorBoard's files go; None keeps nothing.
        checkpoint_every: steps between checkpoints; the last step always makes one.
        keep: how many of the latest checkpoints are kept.
        evaluate: measures the policy.
        evaluate_every: steps between evaluations; the last step is always evaluated.
        tensorboard: whether to write TensorBoard's files too.
        progress: whether to show a bar on stderr; None shows one if stderr is a terminal.

    Raises:
        OptionError: an attribute is out of range.
    """

    folder: str | os.PathLike[str] | None = None
    checkpoint_every: int = 10
    keep: int = 3
    evaluate: Evaluate | None = None
    evaluate_every: int = 10
    tensorboard: bool = True
    progress: bool | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("checkpoint_every", "keep", "evaluate_every"):
            _whole(name, getattr(self, name))
        if self.evaluate is not None and not callable(self.evaluate):
            raise OptionError("evaluate", self.evaluate, "must be a function: (policy, steps done) -> figures by name")


def _whole(name: str, value: object, least: int = 1, why: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise OptionError(name, value, f"must be an int of at least {least}{': ' if why else ''}{why}")
