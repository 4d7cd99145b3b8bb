"""Drawing tokens from logits, for all policies."""

from __future__ import annotations

from rao_envs.extras import extra

with extra("train", __name__):
    import torch
    from torch import Tensor

__all__ = ["draw"]


def draw(logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Draw one token a row, by inverting the cumulative distribution at a uniform number.

    The distribution is summed in the precision and on the device of `uniform`. Give float64 for large vocabularies,
    where rounding in float32 would lose rare tokens.

    Args:
        logits: Float [B, V].
        temperature: logits are divided by it; 0 takes the likeliest token.
        uniform: Float [B] in [0, 1).

    Returns:
        Tokens, Long [B], and their log-probabilities, Float32 [B], under the distribution that they were drawn from:
        at temperature 0 that is 0. Both are where the logits are. A token of probability 0 is never drawn.
    """
    if temperature == 0:
        return logits.argmax(-1), logits.new_zeros(len(logits))
    logprobs = (logits.float() / temperature).log_softmax(-1)
    below = logprobs.to(uniform).exp().cumsum(-1)
    total = below[:, -1:]
    # With p bits of mantissa, uniform <= 1 - 2**-p. That times the total never rounds to the total, so some entry of
    # `below` is always above the aim.
    aim = uniform[:, None] * total
    token = torch.searchsorted(below, aim, right=True).to(logits.device)
    return token[:, 0], logprobs.gather(1, token)[:, 0]
