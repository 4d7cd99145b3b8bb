"""What a session asks of the pool whose workers it shares."""

from __future__ import annotations

from threading import Lock
from typing import Protocol

import pydantic_monty as monty

from rao_envs.sandbox.base import SandboxLimits

__all__ = ["Tenant", "WorkerPool"]


class Tenant(Protocol):
    """A session as its pool sees it.

    Attributes:
        seed: start of its `random` module.
        lock: held while its code runs, so that its worker cannot be taken, and while it is moved out.
        waiting: whether it waits for promised answers, so that it will do without a worker for a while.
        used: grows with each use.
    """

    seed: int
    lock: Lock
    waiting: bool
    used: int

    def move_out(self) -> None:
        """Exchange the worker for bytes."""
        ...


class WorkerPool(Protocol):
    """Workers to be had for a while.

    Attributes:
        limits: what one snippet may use.
    """

    limits: SandboxLimits

    def checkout(self, tenant: Tenant) -> monty.MontySession:
        """Give `tenant` a worker, moving another session out if none is free.

        Raises:
            InfrastructureError: no worker can be started.
        """
        ...

    def use(self, tenant: Tenant) -> None:
        """Keep the worker of `tenant` from being taken while it runs.

        Raises:
            InfrastructureError: this process cannot reach any worker.
        """
        ...

    def unuse(self, tenant: Tenant) -> None:
        """Note that `tenant` has stopped running."""
        ...

    def release(self, tenant: Tenant) -> None:
        """Take the worker of `tenant` back."""
        ...
