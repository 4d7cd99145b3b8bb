"""Errors, classed by who is at fault.

| at fault | what happens |
|---|---|
| the agent | nothing is raised: a `ToolError` becomes the observation of that agent's turn |
| the caller | a `CallerError` that names the argument, its value and the fix |
| the infrastructure | an `InfrastructureError`; the rollout is marked invalid, never scored as the policy's failure |
"""

from __future__ import annotations

__all__ = [
    "CallerError",
    "CorruptCheckpoint",
    "CorruptTree",
    "EpisodeOver",
    "InfrastructureError",
    "NotReady",
    "OptionError",
    "RaoError",
    "SinkInUse",
    "ToolError",
]


class RaoError(Exception):
    """Base of every exception that rao-envs raises on purpose."""


class ToolError(RaoError):
    """An agent used a tool wrongly; its message is what the agent reads.

    Raised by the tools and the `delegate` method of a `World`. In the code format the agent's own code can
    catch it (as ``ValueError``); otherwise it ends the snippet with a traceback.
    """


class CallerError(RaoError):
    """The program that drives the environment made a mistake."""


class OptionError(CallerError, ValueError):
    """An option has an impossible value."""

    def __init__(self, name: str, value: object, fix: str) -> None:
        """Name the option, the value it was given, and the fix."""
        super().__init__(f"{name}={value!r}: {fix}")


class SinkInUse(OptionError):
    """A file of trees already has a writer; a second one would mix their rollouts.

    Attributes:
        holder: id of the process that writes it; None if the system does not say.
    """

    def __init__(self, name: str, path: str, holder: int | None, here: int) -> None:
        """Name the argument, the file, the process that writes it, and (as `here`) this process."""
        self.holder = holder
        who = "another writer" if holder is None else f"process {holder}"
        fix = f"is being written by {who}; wait until it is done, or use another file"
        if holder == here:
            fix = "is already being written in this process; close that writer first, or use another file"
        super().__init__(name, path, fix)


class EpisodeOver(CallerError, RuntimeError):
    """The environment was stepped before `reset`, or after its episode had ended."""


class NotReady(CallerError, RuntimeError):
    """An action was given to a node that is not waiting for one."""


class CorruptCheckpoint(CallerError, ValueError):
    """`load` was given bytes that did not come from `save` of a matching environment."""


class CorruptTree(CallerError, ValueError):
    """An event log or a stored tree contradicts itself or cannot be read."""


class InfrastructureError(RaoError, RuntimeError):
    """A machine, a worker or a server failed; the policy is not to blame."""
