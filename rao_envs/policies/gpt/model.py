"""The network of the small GPT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

from rao_envs.extras import extra

with extra("train", __name__):
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F  # noqa: N812 - its customary name

from rao_envs.errors import OptionError

__all__ = ["BEFORE", "GPT", "GPTConfig"]

BEFORE = 5
"""Tokens that are embedded together with each token."""


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The shape of a `GPT`.

    Attributes:
        vocab_size: token ids.
        context: maximum tokens of one transcript.
        width: size of the residual stream; a multiple of twice the number of heads.
        layers: blocks.
        heads: attention heads of a block; they share keys and values.
    """

    vocab_size: int
    context: int = 512
    width: int = 64
    layers: int = 3
    heads: int = 4

    def __post_init__(self) -> None:
        """Refuse impossible shapes."""
        for name, value in asdict(self).items():
            if not isinstance(value, int) or value < 1:
                raise OptionError(name, value, "must be an int of at least 1")
        if self.width % (2 * self.heads):
            raise OptionError("width", self.width, f"must be a multiple of twice the {self.heads} heads")


class _Block(nn.Module):
    """Attention with rotary positions, then a feed-forward layer; each preceded by a norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.RMSNorm(config.width)
        self.size = config.width // config.heads
        self.qkv = nn.Linear(config.width, config.width + 2 * self.size, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)
        self.norm2 = nn.RMSNorm(config.width)
        self.up = nn.Linear(config.width, 4 * config.width, bias=False)
        self.down = nn.Linear(4 * config.width, config.width, bias=False)

    def project(self, x: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, float [B, H, L, C/H], and keys and values, [B, 1, L, C/H], rotated by position."""
        qkv = self.qkv(self.norm(x)).unflatten(-1, (-1, self.size)).transpose(1, 2)
        pairs = torch.view_as_complex(qkv[:, : self.heads + 1].unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * rotation).flatten(-2)
        return turned[:, : self.heads], turned[:, self.heads :], qkv[:, self.heads + 1 :]

    def finish(self, x: Tensor, seen: Tensor) -> Tensor:
        """Add what attention saw, float [B, H, L, C/H], and the feed-forward layer's answer to it."""
        x = x + cast(Tensor, self.out(seen.transpose(1, 2).flatten(-2)))
        return x + cast(Tensor, self.down(F.relu(self.up(self.norm2(x))).square()))


class GPT(nn.Module):
    """A decoder-only transformer: rotary positions, RMS norms, squared ReLUs, embeddings tied with the output.

    Every token is embedded together with the five before it, so that finding "what followed this the last time" takes
    one layer of attention instead of two: copying is learned many times faster.
    """

    def __init__(self, config: GPTConfig) -> None:
        """Initialise from torch's global generator; seed it first."""
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.before = nn.Linear(BEFORE * config.width, config.width, bias=False)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.1 / (2 * config.layers) ** 0.5 if last else 0.1)
        half = config.width // config.heads // 2
        angle = torch.arange(config.context)[:, None] / 1_000.0 ** (torch.arange(half) / half)
        self.register_buffer("rotation", torch.polar(torch.ones_like(angle), angle), persistent=False)
        self.rotation: Tensor

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits of the next token at every position.

        Args:
            input_ids: Long [Q, L], padded on the right: no token sees what comes after it.

        Returns:
            Float [Q, L, V].
        """
        return self.unembed(self.hidden(input_ids))

    def hidden(self, input_ids: Tensor) -> Tensor:
        """Return what `unembed` turns into logits, float [Q, L, C]: cheaper where few positions matter."""
        rotation = self.rotation[: input_ids.shape[1]]
        x = self._embed(F.pad(input_ids, (BEFORE, 0)))
        for block in self._layers():
            q, k, v = block.project(x, rotation)
            k, v = k.expand_as(q), v.expand_as(q)
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return x

    def unembed(self, x: Tensor) -> Tensor:
        """Return logits, float [..., V], of float [..., C]."""
        return F.linear(self.norm(x), self.embedding.weight)

    def _layers(self) -> Iterator[_Block]:
        return (cast(_Block, block) for block in self.blocks)

    def cache_shape(self, rows: int, room: int) -> tuple[int, ...]:
        """Return the shape of a cache of keys and values: [layers · 2, B, room, C/H]."""
        config = self.config
        return (2 * config.layers, rows, room, config.width // config.heads)

    def extend(self, tokens: Tensor, new: Tensor, length: Tensor, cache: Tensor) -> Tensor:
        """Read more tokens of every row, and return the logits of the one that follows the last of them.

        Args:
            tokens: Long [B, 5 + M], the five tokens before the new ones, then those, padded on the right.
            new: Long [B], how many of a row's M are not padding; at least 1.
            length: Long [B], tokens read before.
            cache: float of `cache_shape`, all finite; rows are written to from `length` on.

        Returns:
            Float [B, V].
        """
        rows = torch.arange(len(tokens), device=tokens.device)
        x = self._embed(tokens)
        # Padding writes after the new tokens, into room that the next ones will overwrite before reading it.
        positions = length[:, None] + torch.arange(x.shape[1], device=tokens.device)
        rotation = self.rotation[positions.clamp(max=self.config.context - 1)][:, None]
        longest = int(positions.max()) + 1
        visible = torch.arange(longest, device=tokens.device) <= positions[:, :, None]
        visible = visible.repeat(1, self.config.heads, 1)[:, None]
        for number, block in enumerate(self._layers()):
            q, k, v = block.project(x, rotation)
            keys, values = cache[2 * number], cache[2 * number + 1]
            keys[rows[:, None], positions], values[rows[:, None], positions] = k[:, 0], v[:, 0]
            # All heads share keys and values, so heads can be laid out as more positions: the cache is read once.
            every = q.flatten(1, 2)[:, None]
            k, v = keys[:, None, :longest], values[:, None, :longest]
            seen = F.scaled_dot_product_attention(every, k, v, attn_mask=visible)
            heads, width = q.shape[1], q.shape[2]
            x = block.finish(x, seen.view(len(rows), heads, width, -1))
        return self.unembed(x[rows, new - 1])

    def _embed(self, input_ids: Tensor) -> Tensor:
        """Embed Long [Q, 5 + L] as float [Q, L, C]."""
        x: Tensor = self.embedding(input_ids)
        length = x.shape[1] - BEFORE
        earlier: Tensor = self.before(torch.cat([x[:, k : k + length] for k in range(BEFORE)], dim=-1))
        return x[:, BEFORE:] + earlier
