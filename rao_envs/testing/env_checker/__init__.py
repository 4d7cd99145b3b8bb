"""Check an environment against every rule of this library; each rule has a name, and none has an exemption.

from rao_envs.testing import check_env

print(check_env("TextCraftSynth-v0"))

The checker plays the environment: as its recursive oracle does, if there is one, and with valid calls and launches
that it draws from the types of the tools. It tries to use every tool and to delegate; its report names what it could
not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gymnasium as gym

from rao_envs.env import RecursiveEnv
from rao_envs.errors import OptionError
from rao_envs.testing.env_checker.rules import GARBAGE, RULES
from rao_envs.testing.env_checker.subject import RuleBroken, Subject

__all__ = ["GARBAGE", "RULES", "Report", "RuleBroken", "Subject", "check_env"]

_FORMATS = ("code", "calls")


@dataclass(frozen=True, slots=True)
class Report:
    """What a check has covered; there is one only if no rule is broken.

    Attributes:
        env: the environment.
        rules: names of the rules that hold.
        used: accepted calls by tool, launches among them, by action format.
        unexercised: why a tool was never used with success, or no subagent was launched: by format and tool. What
            is named here is unchecked.
    """

    env: str
    rules: tuple[str, ...]
    used: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    unexercised: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every tool was used with success and a subagent launched, in every format."""
        return not any(self.unexercised.values())

    def __str__(self) -> str:
        """Say it in a line, and a line more for each thing that was not exercised."""
        used = [f"{name} {count}x" for name, count in sorted(_summed(self.used).items())]
        formats, tools = " and ".join(self.used), ", ".join(used) or "no tool"
        lines = [f"{self.env}: {len(self.rules)} rules hold in {formats}; used {tools}"]
        lines += [
            f"not exercised in {action_format}: {name}: {why}"
            for action_format, reasons in self.unexercised.items()
            for name, why in reasons.items()
        ]
        return "\n".join(lines)


def check_env(
    env: str | gym.Env[Any, Any] | Callable[..., gym.Env[Any, Any]], formats: Sequence[str] = _FORMATS
) -> Report:
    """Check an environment by all `RULES`, in every action format.

    Args:
        env: an id, an environment made by `gymnasium.make`, or a function that takes `action_format` and makes one.
        formats: the action formats to check.

    Returns:
        What was covered, and what could not be.

    Raises:
        RuleBroken: a rule is broken; the error names it.
        OptionError: not an environment of this library, or one that cannot be made anew.
    """
    used, unexercised, name = {}, {}, ""
    for action_format in formats:
        make = partial(_make, env, action_format)
        made = make()  # what cannot be made at all is no broken rule
        name = env if isinstance(env, str) else made.spec.id if made.spec is not None else type(made).__name__
        made.close()
        subject = Subject(make)
        try:
            for rule, check in RULES.items():
                try:
                    check(subject)
                except RuleBroken:
                    raise
                except Exception as error:
                    raise RuleBroken(rule, f"{type(error).__name__}: {error}") from error
            used[action_format] = dict(subject.used)
            unexercised[action_format] = dict(subject.missing)
        finally:
            subject.close()
    return Report(name, tuple(RULES), used, unexercised)


def _make(env: Any, action_format: str) -> RecursiveEnv:
    if isinstance(env, gym.Env):
        if env.spec is None:
            raise OptionError("env", env, "has no spec: pass its id, or a function that makes it")
        env = env.spec
    made = env(action_format=action_format) if callable(env) else gym.make(env, action_format=action_format)
    inner = made.unwrapped
    if not isinstance(inner, RecursiveEnv):
        raise OptionError("env", env, "must make environments of rao_envs")
    return inner


def _summed(used: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in used.values():
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total
