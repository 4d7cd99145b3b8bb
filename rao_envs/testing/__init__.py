"""Tools for testing your own environments, worlds and sandboxes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rao_envs.testing.env_checker import Report, RuleBroken, check_env
    from rao_envs.testing.exploring import ExploringPolicy
    from rao_envs.testing.sandbox.conformance import CheckFailed, CheckResult, self_check
    from rao_envs.testing.sandbox.corpus import IDIOMS, share_that_runs

# A module must not share the name of something in it: importing the module would shadow that name here.
_HOMES = {
    "IDIOMS": "sandbox.corpus",
    "CheckFailed": "sandbox.conformance",
    "CheckResult": "sandbox.conformance",
    "ExploringPolicy": "exploring",
    "Report": "env_checker",
    "RuleBroken": "env_checker",
    "check_env": "env_checker",
    "self_check": "sandbox.conformance",
    "share_that_runs": "sandbox.corpus",
}

__all__ = [
    "IDIOMS",
    "CheckFailed",
    "CheckResult",
    "ExploringPolicy",
    "Report",
    "RuleBroken",
    "check_env",
    "self_check",
    "share_that_runs",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"rao_envs.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rao_envs.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
