"""A warm start for an untrained policy: imitate what a scripted policy wrote.

Imitation is the same gradient with every advantage 1: the loss is `rao_loss` on the sequences of a script's play.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rao_envs.extras import extra

with extra("train", __name__):
    import torch

from rao_envs.errors import OptionError
from rao_envs.policies.gpt.policy import GPTPolicy
from rao_envs.policies.gpt.storage import load_gpt, new_gpt, save_gpt
from rao_envs.policies.local import TorchPolicy
from rao_envs.seeding import derive
from rao_envs.training.batch import batch_of
from rao_envs.training.loss import rao_loss
from rao_envs.training.records import TrainingSequence
from rao_envs.tree import ExecutionTree, Node

__all__ = ["imitate", "start_gpt", "transcript"]


def imitate(
    policy: TorchPolicy,
    sequences: Callable[[int], Sequence[TrainingSequence]],
    *,
    epochs: int = 6,
    lr: float = 3e-3,
    tokens_per_step: int = 6_000,
    seed: int = 0,
    note: Callable[[int, float], object] = lambda epoch, loss: None,
) -> list[float]:
    """Raise the likelihood of the sampled tokens of some sequences.

    Args:
        policy: the learner.
        sequences: epoch -> the sequences to imitate, the same number each time; their log-probabilities are ignored.
        epochs: passes over them.
        lr: peak learning rate of AdamW, reached after 50 steps; it then decays linearly to a twentieth.
        tokens_per_step: padded tokens in one optimiser step.
        seed: seed of the order.
        note: called with the number and the loss of each epoch, when it ends.

    Returns:
        The mean loss of each epoch, in nats a token.

    Raises:
        OptionError: there is nothing to imitate.
    """
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    done, losses = 0, []
    policy.train(True)
    for epoch in range(epochs):
        chosen = sequences(epoch)
        if not chosen:
            raise OptionError("sequences", sequences, f"returned nothing to imitate in epoch {epoch}")
        total = tokens = 0.0
        parts = _deal(chosen, tokens_per_step, derive(seed, "imitate", epoch))
        for i, part in enumerate(parts):
            batch = batch_of([chosen[row] for row in part], policy.pad_id).to(policy.device)
            progress = (epoch + i / len(parts)) / epochs
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (done + 1) / 50) * max(0.05, 1 - progress)
            optimizer.zero_grad(set_to_none=True)
            output = rao_loss(policy.logits(batch.input_ids, batch.attention_mask), batch)
            output.loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            done += 1
            total += float(output.policy) * output.tokens
            tokens += output.tokens
        losses.append(total / tokens)
        note(epoch, losses[-1])
    policy.train(False)
    return losses


def start_gpt(
    path: str | os.PathLike[str],
    play: Callable[[], Sequence[ExecutionTree]],
    *,
    seed: int = 0,
    max_new_tokens: int = 96,
    device: str | torch.device = "cpu",
    epochs: int = 6,
    lr: float = 3e-3,
    tokens_per_step: int = 6_000,
    note: Callable[[int, float], object] = lambda epoch, loss: None,
    **shape: Any,
) -> GPTPolicy:
    """Make a GPT that has imitated some play, and save it to a file; or load that file, if it exists.

    Args:
        path: the file.
        play: collects the play; not called if the file exists.
        seed: seed of the weights, and of the order of imitation.
        max_new_tokens: maximum length of a message.
        device: where the weights are put.
        epochs: see `imitate`.
        lr: see `imitate`.
        tokens_per_step: see `imitate`.
        note: see `imitate`.
        shape: other options of `new_gpt`.
    """
    if not Path(path).exists():
        trees = play()
        policy = new_gpt(trees, seed=seed, **shape).to(device)
        context = policy.model.config.context

        def written(salt: int) -> list[TrainingSequence]:
            nodes = (node for tree in trees for node in tree.nodes)
            return [one for node in nodes if len((one := transcript(policy, node, salt)).ids) <= context]

        imitate(policy, written, epochs=epochs, lr=lr, tokens_per_step=tokens_per_step, seed=seed, note=note)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_gpt(policy, path)
    return load_gpt(path, max_new_tokens=max_new_tokens).to(device)


def transcript(policy: GPTPolicy, node: Node, salt: int = 0) -> TrainingSequence:
    """Return what a node was shown and what it wrote, as the policy would have read and written it.

    Args:
        policy: the learner.
        node: of a finished rollout; only its text is used, not its samples.
        salt: another salt assigns other slots to the names, for variety.
    """
    ids, wrote = policy.transcript(node, salt)
    return TrainingSequence(tuple(ids), bytes(wrote), (0.0,) * sum(wrote))


def _deal(sequences: Sequence[TrainingSequence], limit: int, seed: int) -> list[list[int]]:
    """Divide the sequences into steps of similar length and at most `limit` padded tokens, in random order."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(sequences)).tolist()
    order.sort(key=lambda i: len(sequences[i].ids) // 16)
    parts: list[list[int]] = []
    longest = 0
    for i in order:
        longest = max(longest, len(sequences[i].ids))
        if not parts or longest * (len(parts[-1]) + 1) > limit:
            parts.append([])
            longest = len(sequences[i].ids)
        parts[-1].append(i)
    return [parts[i] for i in generator.permutation(len(parts)).tolist()]
