"""Where model-written code runs: never in this process.

`Sandbox` and `rao_envs.steps.Session` are what a backend must offer, and `rao_envs.testing.self_check` is the
conformance suite that every backend passes. The default backend is `rao_envs.sandbox.monty.MontySandbox`: a Python
interpreter in Rust, run in worker processes that have no files, no network, no clock and no host objects.
"""

from rao_envs.sandbox.base import Sandbox, SandboxLimits
from rao_envs.steps import LATER, Answer, Call, Done, Failure, Later, Session, Step, Value, Wait

__all__ = [
    "LATER",
    "Answer",
    "Call",
    "Done",
    "Failure",
    "Later",
    "Sandbox",
    "SandboxLimits",
    "Session",
    "Step",
    "Value",
    "Wait",
]
