"""The pool of workers, and who has them.

A session needs a worker only while its code runs. When more sessions live than the pool has workers, one is moved out
to bytes, in the middle of a snippet too, and moved in again when its turn comes: a thousand suspended agents fit four
workers. Moving costs as much as a turn, so the pool grows with demand up to what the machine's memory allows, and moves
out the session that is likely to be needed last.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pydantic_monty as monty

from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.sandbox.base import SandboxLimits
from rao_envs.sandbox.monty import forks
from rao_envs.sandbox.monty.lease import Tenant
from rao_envs.sandbox.monty.session import PooledSession
from rao_envs.sandbox.monty.wire import session_options

__all__ = ["MontySandbox", "default_sandbox"]

_PATIENCE = 0.05  # seconds; a worker may come free just before we begin to wait for it
_STARTS = 5
_MAX_WORKERS = 64
_FEW_WORKERS = 16  # where the machine does not say how much memory it has
_SHARE_OF_MEMORY = 0.25


class MontySandbox:
    """A pool of workers and the sessions that share them. Safe to use from several threads.

    Args:
        max_workers: worker processes at most; they start when first needed and take about 9 MB each. By default as
            many as fit a quarter of the machine's memory if every one used its limit, and at most 64.
        limits: what one snippet may use.

    Raises:
        OptionError: `max_workers` is not at least 1.
    """

    def __init__(self, max_workers: int | None = None, limits: SandboxLimits | None = None) -> None:
        """Make the pool; no process starts before the first snippet."""
        if max_workers is not None and max_workers < 1:
            raise OptionError("max_workers", max_workers, "must be at least 1")
        self.limits = limits or SandboxLimits()
        self.max_workers = max_workers or _fitting(self.limits)
        self._pool: monty.Monty | None = None
        self._live: set[Tenant] = set()
        self._clock = count()
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._waiting = 0

    def open(self, tools: Sequence[str], variables: Mapping[str, Any], seed: int) -> PooledSession:
        """Make a fresh session; it takes a worker when its first snippet runs."""
        return PooledSession(self, tools, dict(variables), seed)

    def restore(self, tools: Sequence[str], variables: Mapping[str, Any], state: bytes) -> PooledSession:
        """Bring a dumped session back; it takes a worker when it is next used.

        Raises:
            CorruptCheckpoint: the bytes are not from `PooledSession.dump`.
        """
        return PooledSession.from_dump(self, tools, dict(variables), state)

    def __enter__(self) -> MontySandbox:
        """Use the pool in a `with` block, which closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all workers. Sessions still open are moved out to bytes first and may go on in a new pool."""
        if forks.is_orphan():
            return
        with self._lock:
            for tenant in list(self._live):
                self._evict(tenant)
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)

    def checkout(self, tenant: Tenant) -> monty.MontySession:
        """Give `tenant` a worker, moving another session out if none is free. For `PooledSession` only."""
        with self._lock:
            self._ensure_pool()
            while len(self._live) >= self.max_workers:
                if not self._make_room():
                    self._waiting += 1
                    self._freed.wait(_PATIENCE)
                    self._waiting -= 1
            session = self._take_worker(tenant)
            self._live.add(tenant)
            return session

    def _take_worker(self, tenant: Tenant) -> monty.MontySession:
        assert self._pool is not None
        for left in reversed(range(_STARTS)):
            session = self._pool.checkout(**session_options(self.limits, tenant.seed))
            try:
                session.__enter__()
            except (OSError, RuntimeError, monty.MontyError) as error:
                # An idle worker may have been killed without anybody noticing so far: then the next is a fresh one.
                if not left or not isinstance(error, monty.MontyCrashedError):
                    raise InfrastructureError(f"no sandbox worker could be started: {error}") from error
            else:
                return session
        raise AssertionError

    def use(self, tenant: Tenant) -> None:
        """Keep the worker of `tenant` from being taken while it runs. For `PooledSession` only.

        Raises:
            InfrastructureError: this process cannot reach any worker.
        """
        forks.check()
        tenant.lock.acquire()
        tenant.used = next(self._clock)

    def unuse(self, tenant: Tenant) -> None:
        """Note that `tenant` has stopped. For `PooledSession` only."""
        tenant.lock.release()
        if self._waiting:
            with self._lock:
                self._freed.notify()

    def release(self, tenant: Tenant) -> None:
        """Take the worker of `tenant` back. For `PooledSession` only."""
        with self._lock:
            self._live.discard(tenant)
            if self._waiting:
                self._freed.notify()

    def _ensure_pool(self) -> None:
        if self._pool is not None:
            return
        forks.mark_used()
        _remember_missing_telemetry()
        pool = monty.Monty(max_processes=self.max_workers)
        try:
            pool.__enter__()
        except (OSError, RuntimeError, monty.MontyError) as error:
            raise InfrastructureError(f"no sandbox worker could be started: {error}") from error
        self._pool = pool

    def _make_room(self) -> bool:
        """Move the session out that is likely to be needed last; say whether there was one."""
        for tenant in sorted(self._live, key=_needed_late, reverse=True):
            if tenant.lock.acquire(blocking=False):
                try:
                    self._evict(tenant)
                finally:
                    tenant.lock.release()
                return True
        return False

    def _evict(self, tenant: Tenant) -> None:
        self._live.discard(tenant)
        tenant.move_out()


def _needed_late(tenant: Tenant) -> tuple[bool, int]:
    """Order sessions by how long they are likely to do without a worker.

    One that waits for subagents is idle until they have returned, and the ones further up wait longest. Of the others
    each is about to act: those that have just acted come last where drivers go round.
    """
    return tenant.waiting, -tenant.used if tenant.waiting else tenant.used


def _fitting(limits: SandboxLimits) -> int:
    """Return how many workers the machine's memory allows."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return _FEW_WORKERS
    return max(1, min(_MAX_WORKERS, int(memory * _SHARE_OF_MEMORY / limits.memory)))


_default: MontySandbox | None = None
_default_lock = threading.Lock()


def default_sandbox() -> MontySandbox:
    """Return the pool that all environments of this process share unless they are given another."""
    global _default
    with _default_lock:
        if _default is None:
            _default = MontySandbox()
            atexit.register(_default.close)
        return _default


def _remember_missing_telemetry() -> None:
    """Let the interpreter's client find out only once that OpenTelemetry is not installed.

    It imports ``opentelemetry.context`` for every snippet, and Python looks through the whole path each time. None in
    `sys.modules` is Python's own way to say that a module cannot be imported; whoever else asks for it gets the same
    ImportError as before. Both names are needed: without the second, each attempt first imports the first.
    """
    if importlib.util.find_spec("opentelemetry") is None:
        for name in ("opentelemetry", "opentelemetry.context"):
            sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None forbids the import
