"""The loss whose gradient is that of the objective, and clipped variants of it.

For sequence q with advantage ``A_q`` and weight ``w_q``, sampled token t, log-probability ``lp_qt`` now and ``old_qt``
when it was sampled, ratio ``ρ_qt = exp(lp_qt − old_qt)``, and Z the count named by `normalise`, over the whole batch:

| kind | loss, the sum over q and over sampled t of |
|---|---|
| "reinforce" | ``−w_q A_q lp_qt / Z`` |
| "ppo" | ``−w_q min(ρ_qt A_q, clip(ρ_qt, 1 − clip_low, 1 + clip_high) A_q) / Z`` |
| "cispo" | ``−w_q A_q sg(clip(ρ_qt, clip_low, clip_high)) lp_qt / Z``, sg stopping the gradient |

At ratio 1 all three have the same gradient, that of arXiv:2605.06639 divided by Z. "reinforce" ignores the ratio, so it
is correct only for one optimiser step on fresh samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rao_envs.extras import extra

with extra("train", __name__):
    import torch

from rao_envs.errors import OptionError
from rao_envs.training.batch import Batch
from rao_envs.training.config import Kind, LossConfig, Normalise

__all__ = ["LossOutput", "rao_loss", "sampled_logprobs"]

_ROWS = 1024  # tokens whose whole distribution is held at once for a diagnostic


@dataclass(frozen=True, slots=True)
class LossOutput:
    """The loss of a batch or of a part of it, and what to log. Only `loss` carries a gradient.

    Attributes:
        loss: what to call `backward` on; scalar. Those of all parts of a batch add up to that of the batch.
        policy: the policy term of it; adds up in the same way.
        tokens: sampled tokens of this part; the means below run over them: see `combine`.
        kl: divergence from the reference, ``exp(d) − d − 1`` with d = reference − own log-probability, which is
            never negative; 0 without a reference.
        entropy: of the distributions that the tokens were sampled from, in nats; nan if only log-probabilities
            were given.
        clipped: share of tokens whose gradient the clip changed.
        ratio: probability now / probability when sampled.
        gap: |log ratio|. Before the first step it is 0 except for rounding; if not, the distribution that is optimised
            is not the one that was sampled from.
        ratio_max: largest ratio.
    """

    loss: torch.Tensor
    policy: torch.Tensor
    tokens: int
    kl: torch.Tensor
    entropy: torch.Tensor
    clipped: torch.Tensor
    ratio: torch.Tensor
    gap: torch.Tensor
    ratio_max: torch.Tensor

    @staticmethod
    def combine(parts: Sequence[LossOutput]) -> dict[str, float]:
        """Combine the figures of all parts of a batch: sums, means over tokens, the maximum.

        Returns:
            One number for every attribute but `tokens`; nan where there are no parts.
        """
        parts = [part for part in parts if part.tokens]  # means over nothing are nan
        tokens = sum(part.tokens for part in parts)
        figures: dict[str, float] = {name: sum(_number(part, name) for part in parts) for name in _SUMS}
        for name in _MEANS:
            total = sum(_number(part, name) * part.tokens for part in parts)
            figures[name] = total / tokens if tokens else math.nan
        figures["ratio_max"] = max((_number(part, "ratio_max") for part in parts), default=math.nan)
        return figures


_SUMS = ("loss", "policy")
_MEANS = ("kl", "entropy", "clipped", "ratio", "gap")


def _number(part: LossOutput, name: str) -> float:
    value: torch.Tensor = getattr(part, name)
    return float(value.detach())


def rao_loss(
    logits_or_logprobs: torch.Tensor,
    batch: Batch,
    kind: Kind = "reinforce",
    *,
    clip_low: float | None = None,
    clip_high: float | None = None,
    normalise: Normalise = "tokens",
    kl: float = 0.0,
    reference_logprobs: torch.Tensor | None = None,
    entropy: float = 0.0,
) -> LossOutput:
    """Return the loss of a batch, or of a part of one: the parts' losses add up to that of the whole.

    Args:
        logits_or_logprobs: Float [Q, L, V] logits, ``[:, t]`` being the distribution of token t + 1; or Float [Q, L]
            log-probabilities, ``[:, t]`` being that of token t itself.
        batch: what was sampled, and its credit.
        kind: "reinforce", "ppo" or "cispo"; see the module.
        clip_low: for "ppo" how far below 1 a ratio counts (0.2), for "cispo" the smallest coefficient (0).
        clip_high: for "ppo" how far above 1 a ratio counts (0.2), for "cispo" the largest coefficient (5).
        normalise: the count of the whole batch that the sum is divided by. "rollouts" makes it the estimator of the
            objective itself; the others differ by a factor that all tokens share. No sequence is divided by its own
            length, because that would change the objective.
        kl: coefficient of the divergence from a reference: adds ``kl / Z`` times the sum of ``d²/2``, whose
            gradient on fresh samples is that of the divergence of each token's distribution.
        reference_logprobs: Float [Q, L], log-probability of token t under the reference; needed for `kl`.
        entropy: coefficient of the entropy: subtracts ``entropy / Z`` times the sum of the entropies at sampled
            tokens. Needs logits.

    Raises:
        OptionError: shapes do not match, an option is unknown or out of range, log-probabilities are given where logits
            are needed, or a KL or entropy term is used on a batch without its zero-advantage sequences.
    """
    config = LossConfig(kind=kind, clip_low=clip_low, clip_high=clip_high, normalise=normalise, kl=kl, entropy=entropy)
    _check(config, logits_or_logprobs, batch, reference_logprobs)
    low, high = config.clip
    mask, counts = batch.loss_mask, batch.loss_mask.sum(1)
    logprobs, entropies = sampled_logprobs(logits_or_logprobs, batch, entropies=entropy != 0.0)
    advantage, weight, copies = (
        value.repeat_interleave(counts).to(logprobs) for value in (batch.advantage, batch.weight, batch.copies)
    )
    log_ratio = logprobs - batch.old_logprobs[mask].to(logprobs)
    terms, clipped = _TERMS[kind](logprobs, log_ratio.exp(), advantage, low, high)
    divisor = getattr(batch.totals, normalise)
    loss = policy = -(weight * copies * terms).sum() / divisor
    distance = torch.zeros_like(logprobs)
    if reference_logprobs is not None:
        distance = reference_logprobs[mask].to(logprobs).detach() - logprobs
    if kl:
        loss = loss + kl * (copies * distance.square()).sum() / 2 / divisor
    if entropy:
        loss = loss - entropy * (copies * entropies).sum() / divisor
    with torch.no_grad():
        ratio = log_ratio.exp()
        return LossOutput(
            loss=loss,
            policy=policy.detach(),
            tokens=len(logprobs),
            kl=(distance.exp() - distance - 1).mean(),
            entropy=entropies.mean(),
            clipped=clipped.to(logprobs).mean(),
            ratio=ratio.mean(),
            gap=log_ratio.abs().mean(),
            ratio_max=ratio.max() if len(ratio) else ratio.mean(),
        )


Terms: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""What each token adds to the negative loss before weighting, and whether the clip changed its gradient."""


def _reinforce(logprobs: torch.Tensor, ratio: torch.Tensor, advantage: torch.Tensor, low: float, high: float) -> Terms:
    return advantage * logprobs, torch.zeros_like(ratio, dtype=torch.bool)


def _ppo(logprobs: torch.Tensor, ratio: torch.Tensor, advantage: torch.Tensor, low: float, high: float) -> Terms:
    free = ratio * advantage
    bounded = (ratio.clamp(1 - low, 1 + high) * advantage).detach()
    clipped = bounded < free
    return torch.where(clipped, bounded, free), clipped


def _cispo(logprobs: torch.Tensor, ratio: torch.Tensor, advantage: torch.Tensor, low: float, high: float) -> Terms:
    free = ratio.detach()
    coefficient = free.clamp(low, high)
    return advantage * coefficient * logprobs, coefficient != free


_TERMS = {"reinforce": _reinforce, "ppo": _ppo, "cispo": _cispo}


def sampled_logprobs(
    logits_or_logprobs: torch.Tensor, batch: Batch, *, entropies: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probability and entropy at the sampled tokens of a batch, row by row.

    Only these positions are normalised, so prompts and observations need no second [Q, L, V] of memory.

    Args:
        logits_or_logprobs: see `rao_loss`.
        batch: which tokens were sampled.
        entropies: whether the entropies need a gradient.

    Returns:
        Float [T] each, T = sampled tokens; the entropies are nan for log-probabilities.
    """
    mask = batch.loss_mask
    if logits_or_logprobs.dim() == 2:
        logprobs = logits_or_logprobs[mask]
        return logprobs, torch.full_like(logprobs, torch.nan)
    # Token t comes from the distribution at t - 1, and token 0 was never sampled.
    logits = logits_or_logprobs[:, :-1][mask[:, 1:]]
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    every = logits.log_softmax(-1)
    logprobs = every.gather(-1, batch.input_ids[mask][:, None])[:, 0]
    if entropies:
        return logprobs, _entropy(every)
    with torch.no_grad():
        return logprobs, torch.cat([_entropy(part) for part in torch.split(every, _ROWS)])


def _entropy(logprobs: torch.Tensor) -> torch.Tensor:
    # An impossible token has log-probability -inf, and 0 · inf is nan.
    finite = logprobs.clamp(min=torch.finfo(logprobs.dtype).min)
    return -(logprobs.exp() * finite).sum(-1)


def _check(config: LossConfig, given: torch.Tensor, batch: Batch, reference: torch.Tensor | None) -> None:
    """Refuse tensors that do not fit each other or the options."""
    shape = tuple(batch.loss_mask.shape)
    if given.dim() not in (2, 3) or tuple(given.shape[:2]) != shape:
        fix = f"must be logits [Q, L, V] or log-probabilities [Q, L], with Q, L = {shape}"
        raise OptionError("logits_or_logprobs.shape", tuple(given.shape), fix)
    for name in ("kl", "entropy"):
        if getattr(config, name) and batch.totals.zero:
            fix = f"{batch.totals.zero} sequences were left out of the batch; build it with drop_zero=False"
            raise OptionError(name, getattr(config, name), fix)
    if config.kl and reference is None:
        raise OptionError("kl", config.kl, "needs reference_logprobs")
    if reference is not None and tuple(reference.shape) != shape:
        raise OptionError("reference_logprobs.shape", tuple(reference.shape), f"must be [Q, L] = {shape}")
    if config.entropy and given.dim() == 2:
        raise OptionError(
            "entropy", config.entropy, "needs logits [Q, L, V], not the sampled tokens' log-probabilities"
        )
    if not bool(torch.isfinite(batch.advantage).all()):
        raise OptionError("batch.advantage", "nan or infinite", "must be finite; build_batch leaves out unjudged nodes")
