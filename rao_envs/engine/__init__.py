"""Who acts next, who waits for whom, and what everything costs."""

from rao_envs.engine.limits import Latency, Limits, TokenCounter, count_tokens
from rao_envs.engine.scheduler import Action, Engine

__all__ = ["Action", "Engine", "Latency", "Limits", "TokenCounter", "count_tokens"]
