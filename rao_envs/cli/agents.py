"""Scripted agents by name: an environment's own, and two that every environment has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rao_envs.env import RecursiveEnv
from rao_envs.errors import OptionError
from rao_envs.policies import RandomPolicy, View
from rao_envs.testing.exploring import ExploringPolicy

__all__ = ["Act", "agent", "best", "compared"]

Act: TypeAlias = Callable[[View], str]
"""What an agent does at a node."""


def agent(env: RecursiveEnv, name: str, option: str = "--policy") -> Act:
    """Return a scripted agent of an environment.

    Args:
        env: the environment.
        name: the agent.
        option: what the name was given as, for the error.

    Raises:
        OptionError: it has no agent of this name.
    """
    if name in env.oracles:
        return env.oracles[name]
    if name == "explore":
        return ExploringPolicy(env).act
    if name == "random":
        babble = RandomPolicy()
        return lambda view: babble([view])[0]
    raise OptionError(option, name, f"choose from {', '.join([*env.oracles, 'explore', 'random'])}")


def best(env: RecursiveEnv) -> str:
    """Return the name of the agent that shows an environment best: the recursive one, if it has one."""
    return "recursive" if "recursive" in env.oracles else next(iter(env.oracles), "explore")


def compared(env: RecursiveEnv) -> list[str]:
    """Return the names of the agents to compare: the lone one and the recursive one, if it has these."""
    return [name for name in ("single", "recursive") if name in env.oracles] or [best(env)]
