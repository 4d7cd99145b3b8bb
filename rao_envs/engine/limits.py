"""What a rollout may use, how tokens are counted, and how long a message takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from rao_envs.errors import OptionError

__all__ = ["Latency", "Limits", "TokenCounter", "count_tokens", "grant"]

TokenCounter: TypeAlias = Callable[[str], int]
"""Counts the tokens of one message. If it has a method ``system(text)``, that method counts system messages."""

_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


def count_tokens(text: str) -> int:
    """Estimate the tokens of one chat message: a quarter of its UTF-8 bytes, rounded up, plus 4 for its framing.

    Accurate to about 20% for English and code with today's vocabularies, and the same on every machine without a
    download. Where exactness matters, pass your tokenizer's own count as `token_counter`.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -(-size // _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rollout may use. There is no "unlimited": 0 (except for `max_depth`) and negative numbers are refused.

    Two budget modes, as in the paper's code. By default every node has its own `max_turns`, and `max_depth` bounds
    the tree. With `tree_turns`, the whole tree shares one budget: a launch reserves turns for the child out of its
    parent's, at least one must remain for the parent, and turns that the child's subtree does not use come back.

    Attributes:
        max_depth: depth of the deepest node; 0 forbids delegation.
        max_turns: turns per node.
        max_nodes: nodes per tree.
        max_children: launches per node.
        max_calls: tool calls in one turn.
        tree_turns: shared budget of the whole tree; None gives every node its own `max_turns`.
        context_tokens: size that a node's transcript must not exceed.
        max_observation_chars: longer observations are cut in the middle, with a notice that says how much was cut.
        max_value_bytes: size, as compact JSON, of what a node may hand on at once: the result that it gives to
            `finish`, the arguments of one call, and the payload of a subagent. It does not apply to what a tool
            *returns*: a world may hand out a document of any size, and in the code format the sandbox's own limit on
            memory holds.
    """

    max_depth: int = 6
    max_turns: int = 25
    max_nodes: int = 100_000
    max_children: int = 64
    max_calls: int = 1_000
    tree_turns: int | None = None
    context_tokens: int = 8_192
    max_observation_chars: int = 16_000
    max_value_bytes: int = 2**20

    def __post_init__(self) -> None:
        """Reject values that are not limits."""
        for name, value in asdict(self).items():
            least = 0 if name == "max_depth" else 1
            if name == "tree_turns" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise OptionError(name, value, f"must be an int of at least {least}; there is no 'unlimited'")

    def to_dict(self) -> dict[str, Any]:
        """Return the limits as JSON-able data; ``Limits(**data)`` is its inverse."""
        return asdict(self)


def grant(limits: Limits, left: int, asked: int | None) -> int | str:
    """Return how many turns a child gets from a parent with `left` turns, or why it gets none."""
    if asked is not None and asked < 1:
        return f"{asked} turns were asked for; ask for at least 1"
    if limits.tree_turns is None:
        return min(asked or limits.max_turns, limits.max_turns)
    spare = left - 1
    if spare < 1:
        return "no turns are left to hand on: keep the last one to finish"
    if asked is not None and asked > spare:
        return f"{asked} turns were asked for; you can hand on at most {spare} and keep 1 to finish"
    return asked or max(1, left // 2)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a policy takes to write one message, in virtual seconds, if it was not measured.

    ``base + prompt_tokens / prompt_rate + output_tokens / output_rate``. The defaults are round figures for a
    small model on one accelerator.

    Attributes:
        base: seconds per message, whatever its size.
        prompt_rate: prompt tokens read per second.
        output_rate: tokens written per second.
    """

    base: float = 0.2
    prompt_rate: float = 10_000.0
    output_rate: float = 60.0

    def __post_init__(self) -> None:
        """Reject a negative or infinite base, and rates that are not positive."""
        if not (self.base >= 0 and math.isfinite(self.base)):
            raise OptionError("base", self.base, "must be a finite number of seconds, at least 0")
        for name in ("prompt_rate", "output_rate"):
            if not getattr(self, name) > 0:
                raise OptionError(name, getattr(self, name), "must be above 0 tokens per second")

    def __call__(self, prompt_tokens: int, output_tokens: int) -> float:
        """Return the seconds for one message."""
        return self.base + prompt_tokens / self.prompt_rate + output_tokens / self.output_rate
