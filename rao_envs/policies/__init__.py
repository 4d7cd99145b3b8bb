"""Policies: they decide what a node does next."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rao_envs.policies.base import Policy, View, views
from rao_envs.policies.local import TorchPolicy
from rao_envs.policies.scripted import QuittingPolicy, RandomPolicy, ScriptedPolicy

if TYPE_CHECKING:
    from rao_envs.policies.gpt import GPT, GPTConfig, GPTPolicy, SlotTokenizer
    from rao_envs.policies.hf import HFPolicy

__all__ = [
    "GPT",
    "GPTConfig",
    "GPTPolicy",
    "HFPolicy",
    "Policy",
    "QuittingPolicy",
    "RandomPolicy",
    "ScriptedPolicy",
    "SlotTokenizer",
    "TorchPolicy",
    "View",
    "views",
]

_LAZY = {"GPT": "gpt", "GPTConfig": "gpt", "GPTPolicy": "gpt", "HFPolicy": "hf", "SlotTokenizer": "gpt"}
"""Modules of the names that are loaded when they are used: most of them need torch."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
