"""Many rollouts at once: groups of them, retried, stored, resumed."""

from rao_envs.rollout.collect import collect, stream

__all__ = ["collect", "stream"]
