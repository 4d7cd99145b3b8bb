"""The environments' ids."""

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
"""Entry point by id. Entry points are names, so that registering imports no environment."""


def register_all() -> None:
    """Register every id with Gymnasium; ids already there are left alone.

    Gymnasium ignores entry points of installed packages, so ids exist after ``import rao_envs``, or with
    ``gym.make("rao_envs:TextCraftSynth-v0")``.
    """
    for name, entry_point in ENVIRONMENTS.items():
        if name not in gym.registry:
            gym.register(id=name, entry_point=entry_point, order_enforce=True, disable_env_checker=False)
