"""A trainer to read in one sitting: collect, assign, optimise, log, checkpoint, resume."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rao_envs.credit import LoneRolloutWarning, NodeTable, assign
from rao_envs.errors import CorruptCheckpoint, InfrastructureError, OptionError
from rao_envs.policies.local import TorchPolicy
from rao_envs.rollout import collect
from rao_envs.rollout.collect import EnvFactory
from rao_envs.seeding import derive
from rao_envs.training.batch import Batch, Decoder, build_batch
from rao_envs.training.checkpoint import Checkpoints, plain
from rao_envs.training.journal import Journal, Progress, Row, describe
from rao_envs.training.loss import Kind, LossOutput, Normalise, rao_loss, sampled_logprobs
from rao_envs.training.timing import Clock, Timed
from rao_envs.tree import ExecutionTree

__all__ = ["Evaluate", "RAOTrainer", "warm_up"]

Evaluate = Callable[[TorchPolicy, int], Mapping[str, float]]
"""Measures a policy after so many steps; its figures are logged under "eval/"."""

_CONFIG = (
    *("env", "env_options", "task_of", "tasks_per_step", "group_size", "seed", "credit", "policy", "reference"),
    *("schedule", "epochs", "minibatches", "max_grad_norm", "max_length", "max_sequences"),
)
"""What the figures of a run depend on, beside its loss and its optimiser. The rest changes speed only."""


def warm_up(step: int) -> float:
    """Raise the learning rate over the first 10 steps, and keep it."""
    return min(1.0, (step + 1) / 10)


class RAOTrainer:
    """Recursive agent optimisation of a policy in this process.

    A step collects `group_size` rollouts of each of `tasks_per_step` tasks, gives every node its credit, and takes
    one optimiser step for each epoch and mini-batch. Everything random in a step is hashed from (seed, step), torch's
    global generator included, which is as it was before afterwards.

    With a `folder`, a run that was killed goes on from its last checkpoint when the same trainer is made again, and
    ends as it would have ended. The folder holds `config.json`, `metrics.jsonl`, `tensorboard/` and the checkpoints.

    Attributes:
        policy: what is trained.
        done: steps done, those of the run that is resumed included.
        tokens: tokens sampled so far.
        rows: one dict of figures a step, as in `metrics.jsonl`.
    """

    def __init__(
        self,
        policy: TorchPolicy,
        env: str | EnvFactory,
        *,
        steps: int,
        tasks_per_step: int,
        group_size: int,
        seed: int = 0,
        env_options: Mapping[str, Any] | None = None,
        task_of: Callable[[int, int], int] | None = None,
        credit: Mapping[str, Any] | None = None,
        kind: Kind = "cispo",
        clip_low: float | None = None,
        clip_high: float | None = None,
        normalise: Normalise = "tokens",
        entropy: float = 0.0,
        kl: float = 0.0,
        reference: TorchPolicy | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        lr: float = 3e-4,
        schedule: Callable[[int], float] = warm_up,
        epochs: int = 1,
        minibatches: int = 1,
        max_grad_norm: float = 1.0,
        max_tokens: int = 16_384,
        max_length: int | None = None,
        max_sequences: int | None = None,
        tokenizer: Decoder | None = None,
        concurrency: int = 64,
        folder: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 10,
        keep: int = 3,
        evaluate: Evaluate | None = None,
        evaluate_every: int = 10,
        tensorboard: bool = True,
        progress: bool | None = None,
    ) -> None:
        """Prepare a run, and take up the one that `folder` holds, if any.

        Args:
            policy: see `TorchPolicy`.
            env: an id for `gymnasium.make`, or a function that makes an environment.
            steps: steps of the whole run. A finished run goes on if there are more now.
            tasks_per_step: tasks of a step.
            group_size: rollouts of each task: the K of the objective, at least 2.
            seed: everything random is hashed from this.
            env_options: keyword arguments for `gymnasium.make`.
            task_of: (step, i) -> number of the step's i-th task; by default every step has new ones.
            credit: options of `credit.assign`.
            kind: see `rao_loss`, as for the next five.
            clip_low: see `rao_loss`.
            clip_high: see `rao_loss`.
            normalise: see `rao_loss`.
            entropy: coefficient of the entropy.
            kl: coefficient of the divergence from `reference`.
            reference: a frozen policy.
            optimizer: over the policy's parameters; by default AdamW without weight decay.
            lr: learning rate of the default optimiser.
            schedule: steps done -> factor on the optimiser's learning rate.
            epochs: passes over the batch.
            minibatches: optimiser steps in each pass, every one on a random part of the sequences, its loss scaled so
                that its expectation is that of the batch.
            max_grad_norm: gradients are scaled down to this norm; infinity leaves them.
            max_tokens: padded tokens in one forward pass; changes memory and speed only.
            max_length: longer sequences are left out, and counted; None trains on all.
            max_sequences: at most so many sequences a step, drawn by `Batch.subsample`; None trains on all.
            tokenizer: see `build_batch`.
            concurrency: environments at once; for a policy that draws from `View.seed` it changes speed only.
            folder: where the run is kept; None keeps nothing.
            checkpoint_every: steps between checkpoints; the last step always makes one.
            keep: checkpoints kept.
            evaluate: measures the policy.
            evaluate_every: steps between evaluations; the last step is always evaluated.
            tensorboard: also write TensorBoard's files.
            progress: show a bar on stderr; None shows one if stderr is a terminal.

        Raises:
            OptionError: an impossible option, or a folder that holds a run with another configuration.
            CorruptCheckpoint: the checkpoint cannot be read or does not fit the policy.
            ImportError: TensorBoard is wanted and not installed.
        """
        counts = {"steps": steps, "tasks_per_step": tasks_per_step, "epochs": epochs, "minibatches": minibatches}
        counts |= {"checkpoint_every": checkpoint_every, "evaluate_every": evaluate_every, "max_tokens": max_tokens}
        for name, value in counts.items():
            if value < 1:
                raise OptionError(name, value, "must be at least 1")
        if group_size < 2:
            raise OptionError(
                "group_size", group_size, "must be at least 2: a lone rollout has nothing to be compared with"
            )
        known = set(signature(assign).parameters) - {"trees"}
        if unknown := set(credit or {}) - known:
            raise OptionError(
                "credit", dict(credit or {}), f"{', '.join(unknown)}: must be among {', '.join(sorted(known))}"
            )
        if kl and reference is None:
            raise OptionError("kl", kl, "needs a reference policy")
        self.policy, self.env, self.env_options = policy, env, dict(env_options or {})
        self.steps, self.tasks_per_step, self.group_size, self.seed = steps, tasks_per_step, group_size, seed
        self.task_of = task_of or self._new_task
        self.credit = dict(credit or {})
        self.loss = {"kind": kind, "clip_low": clip_low, "clip_high": clip_high, "normalise": normalise}
        self.loss |= {"kl": kl, "entropy": entropy}
        self.reference, self.tokenizer, self.schedule = reference, tokenizer, schedule
        self.parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        self.optimizer = optimizer or torch.optim.AdamW(self.parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.epochs, self.minibatches, self.max_grad_norm = epochs, minibatches, max_grad_norm
        self.max_tokens, self.max_length, self.max_sequences = max_tokens, max_length, max_sequences
        self.concurrency, self.checkpoint_every, self.progress = concurrency, checkpoint_every, progress
        self.evaluate, self.evaluate_every = evaluate, evaluate_every
        self.done = self.tokens = 0
        path = None if folder is None else Path(folder)
        self._checkpoints = None if path is None else Checkpoints(path, keep, self._config())
        self._resume()
        self._journal = Journal(path, done=self.done, tensorboard=tensorboard)

    @property
    def rows(self) -> list[Row]:
        """One dict of figures a step."""
        return self._journal.rows

    def run(self) -> list[Row]:
        """Do the steps that are left, and return the figures of all."""
        try:
            with Progress(self.steps, self.done, self.progress) as bar:
                while self.done < self.steps:
                    bar.show(self.step())
        finally:
            self.close()
        return self.rows

    def step(self) -> Row:
        """Do one step and return its figures.

        Raises:
            InfrastructureError: not one rollout was valid.
            FloatingPointError: the gradient is not finite; the last checkpoint is sound.
            OptionError: the rollouts cannot be trained on; see `build_batch`.
        """
        clock = Clock()
        with self._seeded("step"):
            with clock("collect"):
                trees, sampling = self._collect()
            with clock("build"):
                table = self._assign(trees)
                batch = self._batch(trees, table)
            with clock("optimise"):
                figures = self._optimise(batch)
        self.policy.train(False)
        clock.seconds |= {"sample": sampling}
        outcome = describe(trees, table)
        self.done += 1
        self.tokens += outcome["tokens"]
        row = {"step": self.done, "tokens_seen": self.tokens, **outcome, **figures}
        row |= {"sequences": batch.totals.sequences, "zero_advantage": batch.totals.zero, "trained_on": len(batch)}
        row |= {"too_long": batch.totals.too_long}
        last = self.done == self.steps
        if self.evaluate is not None and (last or self.done % self.evaluate_every == 0):
            with clock("evaluate"), self._seeded("evaluate"):
                row |= {f"eval/{name}": value for name, value in self.evaluate(self.policy, self.done).items()}
        written = self._journal.write({**row, **clock.figures()})
        if last or self.done % self.checkpoint_every == 0:
            self.save()
        return written

    def save(self) -> None:
        """Write a checkpoint now; does nothing without a folder."""
        if self._checkpoints is not None:
            state = {"step": self.done, "tokens": self.tokens, "policy": self.policy.state_dict()}
            self._checkpoints.save(self.done, {**state, "optimizer": self.optimizer.state_dict()})

    def close(self) -> None:
        """Close the files of a run that is driven by `step`; `run` does it itself."""
        self._journal.close()

    # The parts of a step --------------------------------------------------------------------------------

    def _collect(self) -> tuple[list[ExecutionTree], float]:
        """Return the rollouts of this step, and the seconds that the policy's model took."""
        self.policy.train(False)
        policy = Timed(self.policy)
        trees = collect(
            self.env,
            policy,
            tasks=[self.task_of(self.done, i) for i in range(self.tasks_per_step)],
            group_size=self.group_size,
            seed=derive(self.seed, "step", self.done),
            env_options=self.env_options or None,
            concurrency=self.concurrency,
            progress=False,
        )
        reasons = [tree.invalid for tree in trees if tree.invalid is not None]
        if len(reasons) == len(trees):
            raise InfrastructureError(f"step {self.done + 1}: no rollout was valid; the first: {reasons[0]}")
        return trees, policy.seconds

    def _assign(self, trees: Sequence[ExecutionTree]) -> NodeTable:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LoneRolloutWarning)  # the row counts these rollouts, as "uncompared"
            return assign(trees, **self.credit)

    def _batch(self, trees: Sequence[ExecutionTree], table: NodeTable) -> Batch:
        batch = build_batch(
            trees,
            table=table,
            pad_id=self.policy.pad_id,
            max_length=self.max_length,
            too_long="drop",
            drop_zero=not (self.loss["kl"] or self.loss["entropy"]),
            tokenizer=self.tokenizer,
        )
        if self.max_sequences is None:
            return batch
        return batch.subsample(self.max_sequences, derive(self.seed, "subsample", self.done))

    def _optimise(self, batch: Batch) -> dict[str, float]:
        """Take the optimiser's steps; return the loss and entropy of the first pass, and the ratios of the last."""
        factor = self.schedule(self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.policy.train(True)
        norms: list[float] = []
        passes: list[dict[str, float]] = []
        gap = math.nan
        for epoch in range(self.epochs):
            outputs: list[LossOutput] = []
            for portion in self._portions(batch, epoch):
                outputs += self._accumulate(portion)
                if not norms:  # the weights are still those that sampled
                    gap = LossOutput.combine(outputs)["gap"]
                norms.append(self._descend())
            passes.append(LossOutput.combine(outputs))
        first, last = passes[0], passes[-1]
        return {
            **{name: first[name] for name in ("loss", "policy", "entropy")},
            **{name: last[name] for name in ("clipped", "ratio", "ratio_max", "kl")},
            "gap": gap,
            "grad_norm": float(np.mean(norms)) if norms else 0.0,
            "lr": self.optimizer.param_groups[0]["lr"],
        }

    def _portions(self, batch: Batch, epoch: int) -> list[Batch]:
        """Deal the sequences out to the optimiser steps of one pass."""
        if self.minibatches == 1:
            return [batch] if len(batch) else []
        generator = np.random.default_rng(derive(self.seed, "order", self.done, epoch))
        parts = np.array_split(generator.permutation(len(batch)), self.minibatches)
        return [batch.select(part) for part in parts if len(part)]

    def _accumulate(self, batch: Batch) -> list[LossOutput]:
        """Add up the gradient of a batch, one forward pass at a time."""
        self.optimizer.zero_grad(set_to_none=True)
        outputs = []
        for part in batch.micro_batches(self.max_tokens):
            here = part.to(self.policy.device)
            output = rao_loss(
                self.policy.logits(here.input_ids, here.attention_mask),
                here,
                reference_logprobs=self._reference(here),
                **self.loss,  # type: ignore[arg-type]
            )
            (output.loss * self.minibatches).backward()  # type: ignore[no-untyped-call]
            outputs.append(replace(output, loss=output.loss.detach()))
        return outputs

    def _reference(self, batch: Batch) -> torch.Tensor | None:
        if self.reference is None:
            return None
        with torch.no_grad():
            logits = self.reference.logits(batch.input_ids, batch.attention_mask)
            sampled, _ = sampled_logprobs(logits, batch)
            return sampled.new_zeros(batch.input_ids.shape).masked_scatter(batch.loss_mask, sampled)

    def _descend(self) -> float:
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm))
        if not math.isfinite(norm):
            raise FloatingPointError(f"step {self.done + 1}: the gradient's norm is {norm}; try a lower learning rate")
        self.optimizer.step()
        return norm

    # Keeping and taking up -------------------------------------------------------------------------------

    def _new_task(self, step: int, i: int) -> int:
        return step * self.tasks_per_step + i

    @contextmanager
    def _seeded(self, what: str) -> Iterator[None]:
        """Seed torch's global generator for what draws from it, such as dropout, and put it back afterwards."""
        device = self.policy.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive(self.seed, what, self.done))
            yield

    def _config(self) -> dict[str, Any]:
        """Return all that the figures depend on: a run goes on only under the same."""
        config = {name: plain(getattr(self, name)) for name in _CONFIG}
        weights = [list(parameter.shape) for parameter in self.parameters]
        optimizer = {name: plain(value) for name, value in self.optimizer.defaults.items()}
        lrs = [group["initial_lr"] for group in self.optimizer.param_groups]
        return {
            **config,
            "loss": self.loss,
            "weights": weights,
            "optimizer": {"class": type(self.optimizer).__name__, **optimizer, "lrs": lrs},
        }

    def _resume(self) -> None:
        state = None if self._checkpoints is None else self._checkpoints.latest()
        if state is None:
            return
        try:
            self.policy.load_state_dict(state["policy"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CorruptCheckpoint(f"the checkpoint does not fit the policy or its optimiser: {error}") from error
        self.done, self.tokens = state["step"], state["tokens"]
