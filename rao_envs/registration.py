"""The ids of the environments."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym

__all__ = ["ENVIRONMENTS", "register_all"]

ENVIRONMENTS: Mapping[str, str] = {
    "DeepDive-v0": "rao_deepdive:DeepDiveEnv",
    "OolongReal-v0": "rao_oolong:OolongRealEnv",
    "TextCraft-v0": "rao_textcraft:TextCraftEnv",
    "TextCraftSynth-v0": "rao_textcraft:TextCraftSynthEnv",
}
"""Entry points by id. They are names, so registering imports no environment."""


def register_all() -> None:
    """Register every id with Gymnasium, except those already registered.

    Gymnasium ignores the entry points of installed packages, so either ``import rao_envs`` first, or use
    ``gym.make("rao_envs:TextCraftSynth-v0")``.
    """
    for name, entry_point in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(id=name, entry_point=entry_point, order_enforce=True, disable_env_checker=False)
