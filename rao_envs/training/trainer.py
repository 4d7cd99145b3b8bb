"""A trainer short enough to read in one sitting: collect, assign, optimise, log, checkpoint, resume."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from rao_envs.extras import extra

with extra("train", __name__):
    import torch

from rao_envs.credit import LoneRolloutWarning, NodeTable, assign
from rao_envs.credit.rules import name_of
from rao_envs.errors import CorruptCheckpoint, InfrastructureError, OptionError
from rao_envs.policies.local import TorchPolicy
from rao_envs.rollout import collect
from rao_envs.rollout.collect import EnvFactory
from rao_envs.seeding import derive
from rao_envs.training.batch import Batch, Decoder, build_batch
from rao_envs.training.checkpoint import Checkpoints, plain
from rao_envs.training.config import CollectConfig, LossConfig, OptimConfig, RunConfig
from rao_envs.training.journal import Journal, Progress, Row, describe
from rao_envs.training.loss import LossOutput, rao_loss, sampled_logprobs
from rao_envs.training.timing import Clock, Timed
from rao_envs.tree import ExecutionTree

__all__ = ["RAOTrainer"]

_FIGURES_DEPEND_ON: Mapping[str, tuple[str, ...]] = {
    "collect_config": ("env_options", "tasks_per_step", "group_size"),
    "optim_config": ("schedule", "epochs", "minibatches", "max_grad_norm", "max_length", "max_sequences"),
}
"""Options that a resumed run must share with the one in its folder. The loss and the optimiser are compared too; what
is not named here affects speed and what is kept, but no figure."""


class RAOTrainer:
    """Recursive agent optimisation of a policy in this process.

    A step collects a group of rollouts of each of its tasks, gives every node its credit, and takes one optimiser step
    for each epoch and mini-batch. Everything random in a step is hashed from (seed, step), including torch's global
    generator, whose state is restored afterwards.

    With a folder, a run that was killed resumes from its last checkpoint when the same trainer is made again, and ends
    as it would have ended. The folder holds `config.json`, `metrics.jsonl`, `tensorboard/` and the checkpoints.

    Attributes:
        policy: what is trained.
        done: steps done, including those of the run that is resumed.
        tokens: tokens sampled so far.
        rows: one dict of figures a step, as in `metrics.jsonl`.
    """

    def __init__(
        self,
        policy: TorchPolicy,
        env: str | EnvFactory,
        *,
        steps: int,
        collect: CollectConfig,
        credit: Mapping[str, Any] | None = None,
        loss: LossConfig | None = None,
        optim: OptimConfig | None = None,
        run: RunConfig | None = None,
        seed: int = 0,
        optimizer: torch.optim.Optimizer | None = None,
        reference: TorchPolicy | None = None,
        tokenizer: Decoder | None = None,
    ) -> None:
        """Prepare a run, and resume the one that the folder holds, if any.

        Args:
            policy: see `TorchPolicy`.
            env: an id for `gymnasium.make`, or a function that makes an environment.
            steps: steps of the whole run. A finished run continues if there are more now.
            collect: which rollouts a step collects.
            credit: options of `credit.assign`, including rules of your own for reward and baseline.
            loss: the loss; None = CISPO, as in the paper.
            optim: how a batch becomes optimiser steps.
            run: what is kept, measured and shown.
            seed: everything random is hashed from this.
            optimizer: over the policy's parameters; None = AdamW without weight decay, at `OptimConfig.lr`.
            reference: a frozen policy that `LossConfig.kl` measures the divergence from.
            tokenizer: see `build_batch`.

        Raises:
            OptionError: an impossible option, or a folder that holds a run with another configuration.
            CorruptCheckpoint: the checkpoint cannot be read or does not fit the policy.
            ImportError: TensorBoard is wanted and not installed.
        """
        loss, optim, run = loss or LossConfig(), optim or OptimConfig(), run or RunConfig()
        _check(steps, collect, loss, optim, run, dict(credit or {}), reference)
        self.policy, self.env, self.steps, self.seed = policy, env, steps, seed
        self.collect_config, self.loss_config, self.optim_config, self.run_config = collect, loss, optim, run
        self.task_of = collect.task_of or self._new_task
        self.credit = dict(credit or {})
        self.reference, self.tokenizer = reference, tokenizer
        self.parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
        self.optimizer = optimizer or torch.optim.AdamW(
            self.parameters, lr=optim.lr, betas=(0.9, 0.95), weight_decay=0.0
        )
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.done = self.tokens = 0
        folder = None if run.folder is None else Path(run.folder)
        self._checkpoints = None if folder is None else Checkpoints(folder, run.keep, self._config())
        self._resume()
        self._journal = Journal(folder, done=self.done, tensorboard=run.tensorboard)

    @property
    def rows(self) -> list[Row]:
        """One dict of figures a step."""
        return self._journal.rows

    def run(self) -> list[Row]:
        """Do the remaining steps, and return the figures of all steps."""
        try:
            with Progress(self.steps, self.done, self.run_config.progress) as bar:
                while self.done < self.steps:
                    bar.show(self.step())
        finally:
            self.close()
        return self.rows

    def step(self) -> Row:
        """Do one step and return its figures.

        Raises:
            InfrastructureError: no rollout was valid.
            FloatingPointError: the gradient is not finite; the last checkpoint is intact.
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
        run, last = self.run_config, self.done == self.steps
        if run.evaluate is not None and (last or self.done % run.evaluate_every == 0):
            with clock("evaluate"), self._seeded("evaluate"):
                row |= {f"eval/{name}": value for name, value in run.evaluate(self.policy, self.done).items()}
        written = self._journal.write({**row, **clock.figures()})
        if last or self.done % run.checkpoint_every == 0:
            self.save()
        return written

    def save(self) -> None:
        """Write a checkpoint now; does nothing without a folder."""
        if self._checkpoints is not None:
            state = {"step": self.done, "tokens": self.tokens, "policy": self.policy.state_dict()}
            self._checkpoints.save(self.done, {**state, "optimizer": self.optimizer.state_dict()})

    def close(self) -> None:
        """Close the files of a run that is driven by `step`; `run` does this itself."""
        self._journal.close()

    # The parts of a step --------------------------------------------------------------------------------

    def _collect(self) -> tuple[list[ExecutionTree], float]:
        """Return the rollouts of this step, and the seconds spent in the policy's model."""
        config = self.collect_config
        self.policy.train(False)
        policy = Timed(self.policy)
        trees = collect(
            self.env,
            policy,
            tasks=[self.task_of(self.done, i) for i in range(config.tasks_per_step)],
            group_size=config.group_size,
            seed=derive(self.seed, "step", self.done),
            env_options=config.env_options or None,
            concurrency=config.concurrency,
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
            max_length=self.optim_config.max_length,
            too_long="drop",
            drop_zero=not (self.loss_config.kl or self.loss_config.entropy),
            tokenizer=self.tokenizer,
        )
        limit = self.optim_config.max_sequences
        if limit is None:
            return batch
        return batch.subsample(limit, derive(self.seed, "subsample", self.done))

    def _optimise(self, batch: Batch) -> dict[str, float]:
        """Take the optimiser steps; return the loss and entropy of the first pass, and the ratios of the last."""
        factor = self.optim_config.schedule(self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.policy.train(True)
        norms: list[float] = []
        passes: list[dict[str, float]] = []
        gap = math.nan
        for epoch in range(self.optim_config.epochs):
            outputs: list[LossOutput] = []
            for portion in self._portions(batch, epoch):
                outputs += self._accumulate(portion)
                if not norms:  # the weights are still those that were sampled with
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
        """Divide the sequences among the optimiser steps of one pass."""
        count = self.optim_config.minibatches
        if count == 1:
            return [batch] if len(batch) else []
        generator = np.random.default_rng(derive(self.seed, "order", self.done, epoch))
        parts = np.array_split(generator.permutation(len(batch)), count)
        return [batch.select(part) for part in parts if len(part)]

    def _accumulate(self, batch: Batch) -> list[LossOutput]:
        """Accumulate the gradient of a batch, one forward pass at a time."""
        config = self.optim_config
        self.optimizer.zero_grad(set_to_none=True)
        outputs = []
        for part in batch.micro_batches(config.max_tokens):
            here = part.to(self.policy.device)
            output = rao_loss(
                self.policy.logits(here.input_ids, here.attention_mask),
                here,
                reference_logprobs=self._reference(here),
                **asdict(self.loss_config),
            )
            (output.loss * config.minibatches).backward()  # type: ignore[no-untyped-call]
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
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.optim_config.max_grad_norm))
        if not math.isfinite(norm):
            raise FloatingPointError(f"step {self.done + 1}: the gradient's norm is {norm}; try a lower learning rate")
        self.optimizer.step()
        return norm

    # Checkpoints and resuming -----------------------------------------------------------------------------

    def _new_task(self, step: int, i: int) -> int:
        return step * self.collect_config.tasks_per_step + i

    @contextmanager
    def _seeded(self, what: str) -> Iterator[None]:
        """Seed torch's global generator for what draws from it, such as dropout, and restore it afterwards."""
        device = self.policy.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive(self.seed, what, self.done))
            yield

    def _config(self) -> dict[str, Any]:
        """Return everything that the figures depend on: a run is resumed only with the same."""
        config = {name: plain(getattr(self, name)) for name in ("env", "task_of", "seed", "credit")}
        for name, policy in (("policy", self.policy), ("reference", self.reference)):
            config[name] = None if policy is None else name_of(policy)
        for part, names in _FIGURES_DEPEND_ON.items():
            config |= {name: plain(getattr(getattr(self, part), name)) for name in names}
        config["env_options"] = config["env_options"] or {}
        weights = [list(parameter.shape) for parameter in self.parameters]
        optimizer = {name: plain(value) for name, value in self.optimizer.defaults.items()}
        lrs = [group["initial_lr"] for group in self.optimizer.param_groups]
        return {
            **config,
            "loss": asdict(self.loss_config),
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


def _check(
    steps: int,
    collect: CollectConfig,
    loss: LossConfig,
    optim: OptimConfig,
    run: RunConfig,
    credit: dict[str, Any],
    reference: TorchPolicy | None,
) -> None:
    """Refuse what the configurations cannot see by themselves."""
    if not isinstance(steps, int) or steps < 1:
        raise OptionError("steps", steps, "must be an int of at least 1")
    for name, value in (("collect", collect), ("loss", loss), ("optim", optim), ("run", run)):
        if not isinstance(value, _KINDS[name]):
            raise OptionError(name, value, f"must be a {_KINDS[name].__name__}, from rao_envs.training")
    known = set(signature(assign).parameters) - {"trees"}
    if unknown := set(credit) - known:
        fix = f"{', '.join(sorted(unknown))}: must be among {', '.join(sorted(known))}"
        raise OptionError("credit", credit, fix)
    assign((), **credit)  # of no rollout: checks the options, and runs no rule
    if loss.kl and reference is None:
        raise OptionError("kl", loss.kl, "needs a policy to stay close to: RAOTrainer(reference=...)")


_KINDS = {"collect": CollectConfig, "loss": LossConfig, "optim": OptimConfig, "run": RunConfig}
