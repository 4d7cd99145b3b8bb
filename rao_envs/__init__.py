"""rao-envs: environments in which agents spawn copies of themselves, with credit for every agent.

    import gymnasium as gym
    import rao_envs

    env = gym.make("TextCraftSynth-v0", depth=6)

Importing this package registers the environments and loads nothing heavy; names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rao_envs.registration import register_all

if TYPE_CHECKING:
    from rao_envs import credit, metrics, seeding
    from rao_envs.action import Action
    from rao_envs.engine import Latency, Limits
    from rao_envs.env import RecursiveEnv
    from rao_envs.errors import ToolError
    from rao_envs.events import Event, Sample, Verdict
    from rao_envs.rollout import collect
    from rao_envs.storage import TreeWriter, read_trees
    from rao_envs.tree import ExecutionTree, Node, Turn
    from rao_envs.world import Subtask, Task, World, tool
    from rao_envs.wrappers import RecordTrees

__version__ = "0.1.0"

_HOMES = {
    "Action": "rao_envs.action",
    "Event": "rao_envs.events",
    "ExecutionTree": "rao_envs.tree",
    "Latency": "rao_envs.engine",
    "Limits": "rao_envs.engine",
    "Node": "rao_envs.tree",
    "RecordTrees": "rao_envs.wrappers",
    "RecursiveEnv": "rao_envs.env",
    "Sample": "rao_envs.events",
    "Subtask": "rao_envs.world",
    "Task": "rao_envs.world",
    "ToolError": "rao_envs.errors",
    "TreeWriter": "rao_envs.storage",
    "Turn": "rao_envs.tree",
    "Verdict": "rao_envs.events",
    "World": "rao_envs.world",
    "collect": "rao_envs.rollout",
    "read_trees": "rao_envs.storage",
    "tool": "rao_envs.world",
}
_MODULES = ("credit", "metrics", "seeding")

__all__ = [
    "Action",
    "Event",
    "ExecutionTree",
    "Latency",
    "Limits",
    "Node",
    "RecordTrees",
    "RecursiveEnv",
    "Sample",
    "Subtask",
    "Task",
    "ToolError",
    "TreeWriter",
    "Turn",
    "Verdict",
    "World",
    "__version__",
    "collect",
    "credit",
    "metrics",
    "read_trees",
    "seeding",
    "tool",
]

register_all()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"rao_envs.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rao_envs' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
