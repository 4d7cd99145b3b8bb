"""Whatever answers "what does this node do now?"."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rao_envs.policies.base import Policy, View, views
from rao_envs.policies.local import TorchPolicy
from rao_envs.policies.scripted import QuittingPolicy, RandomPolicy, ScriptedPolicy

if TYPE_CHECKING:
    from rao_envs.policies.gpt import GPT, GPTConfig, GPTPolicy
    from rao_envs.policies.hf import HFPolicy
    from rao_envs.policies.tokenizer import SlotTokenizer

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

_LAZY = {"GPT": "gpt", "GPTConfig": "gpt", "GPTPolicy": "gpt", "HFPolicy": "hf", "SlotTokenizer": "tokenizer"}
"""Where the names live that nobody should pay for who does not use them: most of these need torch."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
