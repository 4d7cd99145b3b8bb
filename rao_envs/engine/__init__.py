"""Who acts next, who waits for whom, and what the limits allow."""

from rao_envs.engine.engine import Engine
from rao_envs.engine.limits import Latency, Limits, TokenCounter, count_tokens

__all__ = ["Engine", "Latency", "Limits", "TokenCounter", "count_tokens"]
