"""Sample messages from a causal language model, many at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from rao_envs.extras import extra

with extra("hf", __name__):
    import torch
    from torch import Tensor

from rao_envs.policies.sampling import draw

__all__ = ["Draft", "complete", "positions", "understood"]

_COMPACT = 0.75
"""The batch shrinks when at most this share of its rows is unfinished: copying the cache costs about as much as reading
it, which every step does."""


@dataclass(slots=True, eq=False)
class Draft:
    """A message in the making.

    Attributes:
        prompt: token ids that it follows, length P > 0.
        limit: maximum number of tokens, at least 1.
        random: source of its draws, one for each token.
        ended: whether the message is complete, called after each token.
        ids: tokens so far.
        logprobs: their log-probabilities under the distribution that they were drawn from.
        done: whether no more tokens follow.
    """

    prompt: Sequence[int]
    limit: int
    random: Random
    ended: Callable[[list[int]], bool]
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    done: bool = False

    def add(self, token: int, logprob: float) -> None:
        """Append one token."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        self.done = len(self.ids) >= self.limit or self.ended(self.ids)


def understood(model: Any) -> frozenset[str]:
    """Return the names of the arguments that a model's forward takes; those inside an adapter count."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(inner.forward).parameters)


def positions(mask: Tensor) -> Tensor:
    """Number the tokens of each row from 0, on whichever side it is padded.

    Args:
        mask: Long or Bool [B, L], 0 where padded.

    Returns:
        Long [B, L]; 0 in front of the first token.
    """
    return (mask.long().cumsum(1) - 1).clamp(min=0)


def complete(model: Any, drafts: Sequence[Draft], *, temperature: float, pad_id: int) -> None:
    """Sample every draft to its end, all in one batch, padded at the left, with one cache of keys and values.

    A row's draws are its own, so what it samples does not depend on the other rows, except for rounding in sums. The
    caller is responsible for `torch.no_grad` and the model's mode.

    Args:
        model: a causal language model of transformers, or an adapter around one.
        drafts: at least one; completed in place.
        temperature: logits are divided by it; 0 takes the likeliest token, whose log-probability is then 0.
        pad_id: fills the left; attention never reads it.
    """
    takes = understood(model)
    ids, mask = _padded(drafts, pad_id, next(model.parameters()).device)
    options: dict[str, Any] = {"use_cache": True}
    if "logits_to_keep" in takes:
        options["logits_to_keep"] = 1
    # Recent transformers call `past_key_values` `cache`, in arguments and in outputs; custom models may use either.
    cache_argument = "cache" if "cache" in takes and "past_key_values" not in takes else "past_key_values"
    position = positions(mask)
    live = list(drafts)
    cache = None
    while True:
        if "position_ids" in takes:
            options["position_ids"] = position
        options[cache_argument] = cache
        output = model(input_ids=ids, attention_mask=mask, **options)
        cache = output.cache if hasattr(output, "cache") else output.past_key_values
        token, logprob = _draw(output.logits[:, -1], temperature, [draft.random.random() for draft in live])
        for draft, taken, value in zip(live, token.tolist(), logprob.tolist(), strict=True):
            if not draft.done:
                draft.add(taken, value)
        going = [row for row, draft in enumerate(live) if not draft.done]
        if not going:
            return
        # A finished row does not advance: its next position may exceed the model's maximum.
        position = position[:, -1:] + torch.tensor([[not draft.done] for draft in live], device=ids.device)
        if len(going) <= _COMPACT * len(live) and hasattr(cache, "batch_select_indices"):
            rows = torch.tensor(going, device=ids.device)
            cache.batch_select_indices(rows)
            token, mask, position = token[rows], mask[rows], position[rows]
            live = [live[row] for row in going]
        ids = token[:, None]
        mask = torch.cat((mask, mask.new_ones(len(live), 1)), dim=1)


def _padded(drafts: Sequence[Draft], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    longest = max(len(draft.prompt) for draft in drafts)
    ids = torch.full((len(drafts), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, draft in enumerate(drafts):
        ids[row, longest - len(draft.prompt) :] = torch.tensor(draft.prompt, dtype=torch.long)
        mask[row, longest - len(draft.prompt) :] = 1
    return ids.to(device), mask.to(device)


def _draw(logits: Tensor, temperature: float, uniform: list[float]) -> tuple[Tensor, Tensor]:
    # Apple's GPUs have no float64.
    where = "cpu" if logits.device.type == "mps" else logits.device
    return draw(logits, temperature, torch.tensor(uniform, dtype=torch.float64, device=where))
