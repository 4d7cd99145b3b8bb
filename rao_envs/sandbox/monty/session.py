"""One agent's session in the default sandbox; `rao_envs.sandbox.monty.pool` has the workers."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from rao_envs.errors import CorruptCheckpoint, OptionError
from rao_envs.sandbox.monty.journal import Journal, Kind, same
from rao_envs.sandbox.monty.lease import WorkerPool
from rao_envs.sandbox.monty.runner import RESERVED, RESTARTED, Runner, Stopped, WorkerLost
from rao_envs.sandbox.monty.standing import FRESH, REPLACED, pack, unpack
from rao_envs.sandbox.monty.wire import wire
from rao_envs.steps import Answer, Done, Failure, Step, Value, Wait
from rao_envs.values import clean_text

__all__ = ["PooledSession"]

_CRASHED = f"The Python interpreter crashed on this code, and again when it was tried once more.\n{RESTARTED}"
_MAX_CRASHES = 2
_MAX_REVIVALS = 4


class PooledSession:
    """One agent's session; see `rao_envs.steps.Session`.

    Attributes:
        seed: start of its `random` module.
        lock: held while its code runs, so that its worker cannot be taken. For `MontySandbox`.
        waiting: whether it waits for promised answers. For `MontySandbox`.
        used: grows with each use. For `MontySandbox`.
    """

    def __init__(self, pool: WorkerPool, tools: Sequence[str], variables: dict[str, Any], seed: int) -> None:
        """Remember what the session starts from; `MontySandbox.open` is the way to make one."""
        self.seed = seed
        self.lock = Lock()
        self.waiting = False
        self.used = 0
        self._pool = pool
        self._runner = Runner(pool.limits, tools, variables)
        self._journal = Journal(FRESH, None)

    @property
    def worker_pid(self) -> int | None:
        """Process that holds the session now; None while it holds none. For tests and diagnosis."""
        worker = self._runner.worker
        return None if worker is None else worker.worker_pid

    # Steps ----------------------------------------------------------------------------------------------

    def start(self, code: str) -> Step:
        """Run a snippet up to its first step."""
        limits = self._pool.limits
        if len(code) > limits.code:
            return Done(f"SyntaxError: the code is longer than {limits.code:,} characters", "agent")
        if "__rao_" in code:
            return Done(f"SyntaxError: {RESERVED}", "agent")
        return self._step("start", clean_text(code))

    def answer(self, call: int, answer: Answer) -> Step:
        """Answer the `Call` the snippet stands at."""
        return self._step("resume", wire(answer))

    def settle(self, call: int, answer: Value | Failure) -> Step:
        """Deliver one promised answer."""
        return self._step("resume", {call: wire(answer)})

    def abandon(self) -> str:
        """Give up the running snippet, and the session with it; return what it had printed."""
        printed = self._runner.output()
        self._discard(restarted=self._runner.at.state != "new")
        return printed

    def _step(self, kind: Kind, argument: Any) -> Step:
        """Make a move, and note it."""
        self._pool.use(self)
        try:
            if self._runner.worker is None:
                step = self._move_anew(kind, argument, _MAX_CRASHES)
            else:
                try:
                    step = self._runner.move(kind, argument)
                except WorkerLost:
                    self._drop_worker()
                    step = self._move_anew(kind, argument, _MAX_CRASHES - 1)
            self.waiting = type(step) is Wait
            self._journal.note(kind, argument, step)
            if self._journal.cost >= 1.0:
                self._save()
            return step
        except Stopped as stopped:
            self._discard()
            return stopped.done
        except OptionError:
            self._discard()
            raise
        finally:
            self._pool.unuse(self)

    def _move_anew(self, kind: Kind, argument: Any, crashes_left: int) -> Step:
        """Make a move in a fresh worker; if that one dies, too, in another, as often as is left.

        The first death says nothing about the code: machines kill processes. The second, at the same move, is put
        down to the code, for otherwise an agent could void what it does not like by crashing the interpreter.
        """
        for _ in range(_MAX_REVIVALS):
            if not self._revive():
                break
            if self._runner.worker is None:
                continue  # it died before it came to this move
            if kind == "resume" and self._runner.at.state != "paused":
                break  # the snippet was lost when the session was saved
            try:
                return self._runner.move(kind, argument)
            except WorkerLost:
                self._drop_worker()
                crashes_left -= 1
                if not crashes_left:
                    break
        raise Stopped(Done(_CRASHED, "agent"))

    # The worker -----------------------------------------------------------------------------------------

    def _revive(self) -> bool:
        """Take a worker and bring the session to where it stood; say whether trying is of any use.

        The session has no worker afterwards if that one died, too.

        Raises:
            CorruptCheckpoint: the session was restored from bytes that are not one.
        """
        journal, runner = self._journal, self._runner
        worker = self._pool.checkout(self)
        try:
            runner.attach(worker, journal.base, journal.body)
            return all(same(runner.move(kind, argument), noted) for kind, argument, noted in journal.moves())
        except WorkerLost:
            self._drop_worker()
            return True
        except Stopped:  # a limit on time that it kept the first time
            return False
        except CorruptCheckpoint:
            self._discard()
            raise

    def move_out(self) -> None:
        """Exchange the worker for bytes. For `MontySandbox` only."""
        self._save()
        self._runner.detach()

    def _save(self) -> None:
        """Begin the journal anew at a dump; if the worker is dead, the journal stays, to be replayed."""
        dumped = self._runner.dump()
        if dumped is not None:
            self._journal.move(*dumped)

    def _drop_worker(self) -> None:
        self._pool.release(self)  # first, so that no other session moves it out in the meantime
        self._runner.detach()

    def _discard(self, *, restarted: bool = False) -> None:
        """End the session; the next snippet starts a fresh one, and says so if that is not yet known."""
        self._drop_worker()
        self._runner.at = REPLACED if restarted else FRESH
        self._journal.move(self._runner.at, None)
        self.waiting = False

    def close(self) -> None:
        """End the session for good."""
        if self._runner.worker is not None or self._runner.at.state != "new":
            self._discard(restarted=True)

    # Checkpoints ----------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Serialise the session and what it has printed in the running snippet."""
        self._pool.use(self)
        try:
            for _ in range(_MAX_REVIVALS):
                self._save()
                if not self._journal:
                    break
                # The worker died, and with it what has happened since the last dump.
                self._drop_worker()
                if not self._revive():
                    self._discard(restarted=True)
            return pack(self._journal.base, self.seed, self._journal.body or b"")
        finally:
            self._pool.unuse(self)

    @classmethod
    def from_dump(
        cls, pool: WorkerPool, tools: Sequence[str], variables: dict[str, Any], state: bytes
    ) -> PooledSession:
        """Rebuild a session from `dump`; `MontySandbox.restore` is the way to call it.

        Raises:
            CorruptCheckpoint: the bytes are not a dumped session.
        """
        standing, seed, body = unpack(state)
        session = cls(pool, tools, variables, seed)
        session._runner.at = standing
        session._journal.move(standing, body or None)
        return session
