"""A start for a policy that knows nothing: learn to write what a scripted policy wrote.

Imitation is the same gradient with every advantage 1: the loss is `rao_loss` on sequences of a script's play.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rao_envs.extras import extra

with extra("train", __name__):
    import torch

from rao_envs.errors import OptionError
from rao_envs.policies.local import TorchPolicy
from rao_envs.seeding import derive
from rao_envs.training.batch import batch_of
from rao_envs.training.loss import rao_loss
from rao_envs.training.records import TrainingSequence
from rao_envs.tree import ExecutionTree, Node

if TYPE_CHECKING:
    from rao_envs.policies.gpt import GPTPolicy

__all__ = ["imitate", "load_gpt", "new_gpt", "save_gpt", "start_gpt", "transcript"]


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
    """Raise the likelihood of the masked-in tokens.

    Args:
        policy: the learner.
        sequences: number of the epoch -> what to write in it, always as many; log-probabilities are of no account.
        epochs: passes over them.
        lr: learning rate of AdamW, reached after 50 steps; it falls to a twentieth in a straight line.
        tokens_per_step: padded tokens in one optimiser step.
        seed: of the order.
        note: told the number of each epoch and its loss, as it ends.

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
            raise OptionError("sequences", sequences, f"gave nothing to imitate in epoch {epoch}")
        total = tokens = 0.0
        parts = _deal(chosen, tokens_per_step, derive(seed, "imitate", epoch))
        for place, part in enumerate(parts):
            batch = batch_of([chosen[one] for one in part], policy.pad_id).to(policy.device)
            over = (epoch + place / len(parts)) / epochs
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (done + 1) / 50) * max(0.05, 1 - over)
            optimizer.zero_grad(set_to_none=True)
            output = rao_loss(policy.logits(batch.input_ids, batch.attention_mask), batch)
            output.loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            done += 1
            total += float(output.policy) * output.tokens
            tokens += output.tokens
        losses.append(total / tokens)
        note(epoch, losses[-1])
    policy.train(False)
    return losses


def new_gpt(
    trees: Sequence[ExecutionTree],
    *,
    width: int = 64,
    layers: int = 3,
    heads: int = 4,
    context: int = 512,
    slots: int = 64,
    ignore: str | None = None,
    seed: int = 0,
) -> GPTPolicy:
    """Make a GPT with random weights, whose tokenizer has learned the words of some play.

    Args:
        trees: the play.
        width: of the residual stream.
        layers: blocks.
        heads: attention heads of a block.
        context: most tokens of a transcript.
        slots: see `SlotTokenizer`.
        ignore: see `SlotTokenizer`.
        seed: of the weights.
    """
    from rao_envs.policies.gpt import GPT, GPTConfig, GPTPolicy
    from rao_envs.policies.tokenizer import SlotTokenizer

    texts = (text for tree in trees for node in tree.nodes for text in _texts(node))
    tokenizer = SlotTokenizer.train(texts, slots=slots, ignore=ignore)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "gpt"))
        model = GPT(GPTConfig(tokenizer.vocab_size, context, width, layers, heads))
    return GPTPolicy(model, tokenizer)


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
    """Make a GPT that has imitated some play and keep it in a file; or take it from there, if it is there already.

    Args:
        path: the file.
        play: collects the play; not called if the file exists.
        seed: of the weights, and of the order of imitation.
        max_new_tokens: longest message.
        device: where the weights are put.
        epochs: see `imitate`.
        lr: see `imitate`.
        tokens_per_step: see `imitate`.
        note: see `imitate`.
        shape: the rest of `new_gpt`.
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


def save_gpt(policy: GPTPolicy, path: str | os.PathLike[str]) -> None:
    """Write a GPT with its tokenizer to one file; what is at `path` stays whole if this is cut short."""
    state = {
        "config": asdict(policy.model.config),
        "tokenizer": policy.tokenizer.to_dict(),
        "policy": policy.state_dict(),
    }
    temporary = Path(path).with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_gpt(path: str | os.PathLike[str], **options: Any) -> GPTPolicy:
    """Read what `save_gpt` wrote.

    Args:
        path: the file.
        options: of `GPTPolicy`.

    Raises:
        OSError: the file cannot be read.
    """
    from rao_envs.policies.gpt import GPT, GPTConfig, GPTPolicy
    from rao_envs.policies.tokenizer import SlotTokenizer

    state = torch.load(path, map_location="cpu", weights_only=True)
    model = GPT(GPTConfig(**state["config"]))
    policy = GPTPolicy(model, SlotTokenizer.from_dict(state["tokenizer"]), **options)
    policy.load_state_dict(state["policy"])
    return policy


def transcript(policy: GPTPolicy, node: Node, salt: int = 0) -> TrainingSequence:
    """Write down what a node was shown and what it wrote, as the policy would have read and written it.

    Args:
        policy: the learner.
        node: of a finished rollout of text alone.
        salt: deals other slots to the names in it, for variety.
    """
    ids, wrote = policy.transcript(node, salt)
    return TrainingSequence(tuple(ids), bytes(wrote), (0.0,) * sum(wrote))


def _texts(node: Node) -> Iterable[str]:
    yield node.opening
    for turn in node.turns:
        yield turn.action
        yield turn.observation or ""


def _deal(sequences: Sequence[TrainingSequence], most: int, seed: int) -> list[list[int]]:
    """Deal sequences of similar length into steps of at most `most` padded tokens, in random order."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(sequences)).tolist()
    order.sort(key=lambda place: len(sequences[place].ids) // 16)
    parts: list[list[int]] = []
    longest = 0
    for place in order:
        longest = max(longest, len(sequences[place].ids))
        if not parts or longest * (len(parts[-1]) + 1) > most:
            parts.append([])
            longest = len(sequences[place].ids)
        parts[-1].append(place)
    return [parts[place] for place in generator.permutation(len(parts)).tolist()]
