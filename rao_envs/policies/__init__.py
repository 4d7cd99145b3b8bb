"""Whatever answers "what does this node do now?"."""

from rao_envs.policies.base import Policy, View, views
from rao_envs.policies.scripted import QuittingPolicy, RandomPolicy, ScriptedPolicy

__all__ = ["Policy", "QuittingPolicy", "RandomPolicy", "ScriptedPolicy", "View", "views"]
