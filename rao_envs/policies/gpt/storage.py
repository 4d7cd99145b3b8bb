"""Making a small GPT, and keeping it in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rao_envs.extras import extra

with extra("train", __name__):
    import torch

from rao_envs.policies.gpt.model import GPT, GPTConfig
from rao_envs.policies.gpt.policy import GPTPolicy
from rao_envs.policies.gpt.tokenizer import SlotTokenizer
from rao_envs.seeding import derive
from rao_envs.tree import ExecutionTree, Node

__all__ = ["load_gpt", "new_gpt", "save_gpt"]


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
    """Make a GPT with random weights, and train its tokenizer on the texts of some play.

    Args:
        trees: the play.
        width: of the residual stream.
        layers: blocks.
        heads: attention heads of a block.
        context: maximum tokens of a transcript.
        slots: see `SlotTokenizer`.
        ignore: see `SlotTokenizer`.
        seed: of the weights.
    """
    texts = (text for tree in trees for node in tree.nodes for text in _texts(node))
    tokenizer = SlotTokenizer.train(texts, slots=slots, ignore=ignore)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "gpt"))
        model = GPT(GPTConfig(tokenizer.vocab_size, context, width, layers, heads))
    return GPTPolicy(model, tokenizer)


def save_gpt(policy: GPTPolicy, path: str | os.PathLike[str]) -> None:
    """Write a GPT with its tokenizer to one file. If this is interrupted, what was at `path` is still intact."""
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
    state = torch.load(path, map_location="cpu", weights_only=True)
    model = GPT(GPTConfig(**state["config"]))
    policy = GPTPolicy(model, SlotTokenizer.from_dict(state["tokenizer"]), **options)
    policy.load_state_dict(state["policy"])
    return policy


def _texts(node: Node) -> Iterable[str]:
    yield node.opening
    for turn in node.turns:
        yield turn.action
        yield turn.observation or ""
