"""What a policy gives the engine: a message, with what is known about how it was produced."""

from __future__ import annotations

from dataclasses import dataclass

from rao_envs._fields import MAX_SECONDS
from rao_envs.errors import OptionError
from rao_envs.events import Sample

__all__ = ["Action"]


@dataclass(frozen=True, slots=True)
class Action:
    """A node's message, with what is known about how it was produced; plain text works as well.

    Attributes:
        text: the message.
        latency: measured seconds; None computes them with the environment's `Latency`.
        sample: tokens as sampled, for trainers.
    """

    text: str
    latency: float | None = None
    sample: Sample | None = None

    def __post_init__(self) -> None:
        """Reject text that is not a str, and an impossible latency."""
        if not isinstance(self.text, str):
            raise OptionError("action", self.text, "must be text (a str), or an Action with text")
        if self.latency is not None and not 0 <= self.latency <= MAX_SECONDS:
            raise OptionError("latency", self.latency, f"must be a number of seconds from 0 to {MAX_SECONDS:g}")
