"""A small GPT that is trained from scratch, for studies: network, tokenizer, and the policy that plays with them.

The tokenizer needs no torch; the rest is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rao_envs.policies.gpt.model import GPT, GPTConfig
    from rao_envs.policies.gpt.policy import GPTPolicy
    from rao_envs.policies.gpt.storage import load_gpt, new_gpt, save_gpt
    from rao_envs.policies.gpt.tokenizer import SlotTokenizer

__all__ = ["GPT", "GPTConfig", "GPTPolicy", "SlotTokenizer", "load_gpt", "new_gpt", "save_gpt"]

_HOMES = {
    "GPT": "model",
    "GPTConfig": "model",
    "GPTPolicy": "policy",
    "SlotTokenizer": "tokenizer",
    "load_gpt": "storage",
    "new_gpt": "storage",
    "save_gpt": "storage",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
