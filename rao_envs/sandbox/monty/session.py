"""One agent's session in the default sandbox; `rao_envs.sandbox.monty.pool` has the workers."""

from __future__ import annotations

import contextlib
import struct
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pydantic_monty as monty
from pydantic_monty import FunctionSnapshot, FutureSnapshot, MontyComplete

from rao_envs.errors import CorruptCheckpoint, InfrastructureError, OptionError
from rao_envs.sandbox.base import SandboxLimits
from rao_envs.sandbox.monty import forks, prelude, rewriting
from rao_envs.sandbox.monty.lease import WorkerPool
from rao_envs.sandbox.monty.wire import can_be_sent, failure, for_tools, shown, wire
from rao_envs.steps import Answer, Call, Done, Failure, Step, Value, Wait
from rao_envs.values import clean_text

__all__ = ["PooledSession"]

_LOST = "The Python session was restarted: variables and functions defined so far are gone."
_DIED = f"The Python worker died; this code did not run to its end. {_LOST}"
_STALLED = (
    "RuntimeError: this awaits a launch_subagent(...) of an earlier turn, which was cancelled when that turn ended. "
    "Launch and await in the same turn."
)
_RESERVED = "SyntaxError: names that begin with __rao_ are reserved"
_STOPPED_OUTPUT = 1_000
_MAX_QUESTIONS = 5_000
_HEADER = struct.Struct(">4sBBHHI")
_MAGIC = b"RAO2"

_Snapshot = monty.FunctionSnapshot | monty.NameLookupSnapshot | monty.FutureSnapshot
_State = Literal["new", "idle", "paused"]
_STATES: tuple[_State, ...] = ("new", "idle", "paused")


class PooledSession:
    """One agent's session; see `rao_envs.steps.Session`.

    Attributes:
        seed: start of its `random` module.
        running: whether its code runs just now, so that its worker cannot be taken. For `MontySandbox`.
        used: grows with each use; the pool takes the worker of the lowest. For `MontySandbox`.
    """

    def __init__(self, pool: WorkerPool, tools: Sequence[str], variables: dict[str, Any], seed: int) -> None:
        """Remember what the session starts from; `MontySandbox.open` is the way to make one."""
        self.seed = seed
        self.running = False
        self.used = 0
        self._pool = pool
        self._tools, self._calls, self._rebinds = for_tools(tuple(tools))
        self._variables = variables
        self._session: monty.MontySession | None = None
        self._snapshot: _Snapshot | None = None
        self._state: _State = "new"
        self._moved: bytes | None = None
        self._lost = False  # the next snippet says that the session was restarted
        self._died = False  # the worker died while nobody looked
        self._rebound = False
        self._parts = 0
        self._questions = 0
        self._printed = ""
        self._collector = _NOTHING

    @property
    def worker_pid(self) -> int | None:
        """Process that holds the session now; None while it holds none. For tests and diagnosis."""
        return None if self._session is None else self._session.worker_pid

    # Steps ----------------------------------------------------------------------------------------------

    def start(self, code: str) -> Step:
        """Run a snippet up to its first step."""
        limits = self._pool.limits
        if len(code) > limits.code:
            return Done(f"SyntaxError: the code is longer than {limits.code:,} characters", "agent")
        if "__rao_" in code:
            return Done(_RESERVED, "agent")
        return self._step(self._feed, clean_text(code))

    def answer(self, call: int, answer: Answer) -> Step:
        """Answer the `Call` the snippet stands at."""
        return self._step(self._resume, wire(answer))

    def settle(self, call: int, answer: Value | Failure) -> Step:
        """Deliver one promised answer."""
        return self._step(self._resume, {call: wire(answer)})

    def abandon(self) -> str:
        """Give up the running snippet, and the session with it; return what it had printed."""
        printed = self._output()
        self._discard()
        return printed

    def _step(self, move: Callable[[Any], monty.SyncSnapshot], argument: Any) -> Step:
        """Make moves until the engine is needed; the interpreter's own questions are answered here."""
        pool = self._pool
        pool.use(self)
        try:
            snapshot = move(argument)
            while True:
                if isinstance(snapshot, MontyComplete):
                    self._snapshot, self._state = None, "idle"
                    return Done(self._output() + shown(snapshot))
                self._snapshot, self._state = snapshot, "paused"
                if isinstance(snapshot, FunctionSnapshot):
                    name = snapshot.function_name
                    if name in self._tools and not snapshot.is_os_function:
                        try:
                            return Call(snapshot.call_id, name, snapshot.args, snapshot.kwargs)
                        except (TypeError, ValueError, RecursionError):
                            pass  # the arguments cannot be brought over: `_reply` says so
                elif isinstance(snapshot, FutureSnapshot):
                    pending = snapshot.pending_call_ids
                    if not pending:
                        return self._stalled(snapshot)
                    return Wait(tuple(sorted(pending)))
                if self._questions == _MAX_QUESTIONS:
                    return self._stopped(
                        f"RuntimeError: more than {_MAX_QUESTIONS:,} undefined names, missing modules or files"
                    )
                self._questions += 1
                snapshot = self._reply(snapshot)
        except (monty.MontyRuntimeError, monty.MontySyntaxError) as error:
            sent = self._variables if self._state == "new" else argument
            if type(sent) is dict and not error.display().startswith("Traceback") and not can_be_sent(sent):
                raise self._not_plain(sent) from error
            return self._failed(error)
        except monty.MontyCrashedError as error:
            if not error.timed_out:
                return self._lose()
            return self._stopped(_too_long(self._pool.limits), output=False)
        except monty.MontyConversionError as error:
            raise self._not_plain(self._variables if self._state == "new" else argument) from error
        except InfrastructureError:
            raise
        except (_SessionLost, monty.MontyError, RuntimeError, OSError):
            # A handle whose worker is gone says so in several ways.
            return self._lose()
        finally:
            pool.unuse(self)

    def _reply(self, snapshot: monty.FunctionSnapshot | monty.NameLookupSnapshot) -> monty.SyncSnapshot:
        if isinstance(snapshot, monty.NameLookupSnapshot):
            known = self._tools.get(snapshot.variable_name)
            return snapshot.resume() if known is None else snapshot.resume(value=known)
        name = snapshot.function_name
        if name == "import":
            return snapshot.resume(failure("ModuleNotFoundError", rewriting.missing_module(str(snapshot.args[0]))))
        if snapshot.is_os_function:
            return snapshot.resume(failure("PermissionError", f"{name}: this sandbox has no files and no system"))
        if name not in self._tools:
            return snapshot.resume(failure("NameError", rewriting.missing_name(name)))
        return snapshot.resume(failure("TypeError", f"{name}: pass plain data: numbers, text, lists and dicts"))

    # The session ----------------------------------------------------------------------------------------

    def _feed(self, code: str) -> monty.SyncSnapshot:
        # Only here is it certain that no other thread moves the session out and saves what it printed last.
        self._printed, self._collector, self._questions = "", _NOTHING, 0
        inputs = self._variables if self._state == "new" else None
        session = self._ensure_session()
        if self._lost:
            self._lost = False
            self._printed = _LOST + "\n"
        written, code = code, rewriting.rewrite(code)
        if code is not written:
            self._load_parts(session, code)
        if self._rebound or self._may_rebind(written):
            # What an agent's code does to the names of its tools heals with its next message. Binding them anew
            # costs a fifth of a snippet, and most code only calls them.
            inputs = {**(inputs or {}), **self._tools} if self._rebound else inputs
            self._rebound = True
        return session.feed_start(code, inputs=inputs or None, print_callback=self._new_collector())

    def _may_rebind(self, code: str) -> bool:
        for name, call in self._calls:
            if code.count(name) != code.count(call):
                break
        else:
            # Only calls, unless something is defined or run from text: the common case, at half the cost.
            if (
                code.isascii()
                and "def" not in code
                and "class" not in code
                and "exec" not in code
                and "eval" not in code
            ):
                return False
        # Python reads compatible letters in names, such as mathematical ones, as the plain letter.
        plain = code if code.isascii() else unicodedata.normalize("NFKC", code)
        return self._rebinds.search(plain) is not None

    def _load_parts(self, session: monty.MontySession, code: str) -> None:
        for part in rewriting.parts_of(code):
            bit = 1 << _PARTS.index(part)
            if not self._parts & bit or self._rebound:
                session.feed_run(prelude.source(part))
                self._parts |= bit

    def _resume(self, answer: Any) -> monty.SyncSnapshot:
        if self._session is None:
            self._ensure_session()
        snapshot: Any = self._snapshot
        return snapshot.resume(answer)  # type: ignore[no-any-return]  # it has no types

    def _ensure_session(self) -> monty.MontySession:
        if self._died:
            raise _SessionLost
        if self._session is None:
            self._session = self._pool.checkout(self)
            moved, self._moved = self._moved, None
            if moved is not None:
                self._move_in(self._session, moved)
        return self._session

    def _move_in(self, session: monty.MontySession, moved: bytes) -> None:
        try:
            if self._state == "idle":
                session.load_session(moved)
                return
            loaded = session.load_snapshot(moved, print_callback=self._new_collector())
        except (monty.MontyError, RuntimeError, ValueError) as error:
            raise _SessionLost from error
        assert not isinstance(loaded, monty.MontyComplete)
        self._snapshot = loaded

    def move_out(self) -> None:
        """Exchange the worker for bytes. For `MontySandbox` only."""
        try:
            self._moved = self._serialise()
        except (monty.MontyError, RuntimeError, OSError):
            self._died = True
        self._printed = self._output()
        self._collector = _NOTHING
        self._end_session()

    def _serialise(self) -> bytes | None:
        if self._session is None:
            return self._moved
        return self._session.dump() if self._snapshot is None else self._snapshot.dump()

    def _end_session(self) -> None:
        if forks.is_orphan():
            return
        session, self._session, self._snapshot = self._session, None, None
        if session is not None:
            with contextlib.suppress(monty.MontyError, RuntimeError, OSError):
                session.__exit__(None, None, None)

    def _discard(self) -> None:
        """End the session; the next snippet starts a fresh one and says so."""
        self._lost = self._state != "new"
        self._pool.release(self)  # first, so that nobody else moves it out in the meantime
        self._end_session()
        self._moved, self._state, self._parts = None, "new", 0
        self._rebound = self._died = False

    def close(self) -> None:
        """End the session for good."""
        if self._session is not None or self._state != "new":
            self._discard()

    # Results --------------------------------------------------------------------------------------------

    def _new_collector(self) -> monty.CollectString:
        # The sandbox's own cap is what stops a flood; it counts bytes, of which a character has up to four.
        self._collector = monty.CollectString(self._pool.limits.output * 4)
        return self._collector

    def _output(self) -> str:
        text = self._collector.output
        if self._printed:
            text = self._printed + text
        most = self._pool.limits.output
        return text if len(text) <= most else text[:most]

    def _failed(self, error: monty.MontyRuntimeError | monty.MontySyntaxError) -> Done:
        self._snapshot, self._state = None, "idle"
        trace = clean_text(error.display())
        last = trace.rstrip().rsplit("\n", 1)[-1]
        limits = self._pool.limits
        if last.startswith("TimeoutError") and "time limit exceeded" in last:
            return self._stopped(_too_long(limits))
        if last.startswith("MemoryError: memory limit exceeded"):
            return self._stopped(_too_much(limits))
        if last.startswith("MemoryError: the worker exceeded"):
            return self._stopped(_too_much(limits), output=False)
        if last.startswith("RuntimeError: result frame"):
            return self._stopped("MemoryError: the last value is too large to show", output=False)
        if "asyncio scheduler stalled" in last:
            return Done(self._output() + _STALLED, "agent")
        mend = rewriting.hint(trace)
        return Done(f"{self._output()}{rewriting.readable(trace)}" + (f"\n{mend}" if mend else ""), "agent")

    def _stopped(self, reason: str, *, output: bool = True) -> Done:
        """Give up a session that was stopped in mid-operation: its heap is not to be trusted.

        How far the code came, and the sizes in the interpreter's message, differ from run to run; what the agent
        reads must not. A worker that died may have kept the last of its output: then none is shown.
        """
        printed = self._output()[:_STOPPED_OUTPUT] if output else ""
        self._discard()
        self._lost = False
        return Done(f"{printed}\n{reason}\n{_LOST}".lstrip("\n"), "agent")

    def _stalled(self, snapshot: monty.FutureSnapshot) -> Done:
        # It awaits a launch of an earlier turn, which will never come. An answer to a call that does not exist
        # ends the snippet and leaves the session as it was.
        with contextlib.suppress(monty.MontyError, RuntimeError):
            snapshot.resume({0: {"return_value": None}})
        self._snapshot, self._state = None, "idle"
        return Done(self._output() + _STALLED, "agent")

    def _lose(self) -> Done:
        """Give up a session whose worker is gone."""
        self._discard()
        self._lost = False
        return Done(_DIED, "infrastructure")

    def _not_plain(self, sent: object) -> OptionError:
        """Blame whoever gave the session something that cannot be sent; the session is lost with it."""
        name = "variables" if sent is self._variables else "answer"
        self._discard()
        return OptionError(name, sent, "tools must return, and sessions begin with, plain data: what JSON can hold")

    # Checkpoints ----------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """Serialise the session and what it has printed in the running snippet."""
        body = b""
        self._pool.use(self)
        if self._state != "new" and not self._died:
            try:
                body = self._serialise() or b""
            except (monty.MontyError, RuntimeError, OSError):
                self._died = True
        self._pool.unuse(self)
        printed = self._output().encode("utf-8", "replace")
        flags = self._lost * 1 + self._rebound * 2 + self._died * 4
        place = _STATES.index(self._state)
        header = _HEADER.pack(_MAGIC, place, flags, self._parts, self._questions, len(printed))
        return header + printed + self.seed.to_bytes(8, "big") + body

    @classmethod
    def from_dump(
        cls, pool: WorkerPool, tools: Sequence[str], variables: dict[str, Any], state: bytes
    ) -> PooledSession:
        """Rebuild a session from `dump`; `MontySandbox.restore` is the way to call it.

        Raises:
            CorruptCheckpoint: the bytes are not a dumped session.
        """
        try:
            magic, place, flags, parts, questions, size = _HEADER.unpack_from(state)
            kind = _STATES[place]
        except (struct.error, IndexError) as error:
            raise CorruptCheckpoint("a dumped Python session is cut short or damaged") from error
        rest = state[_HEADER.size :]
        if magic != _MAGIC or len(rest) < size + 8:
            raise CorruptCheckpoint("a dumped Python session is cut short or damaged")
        repl = cls(pool, tools, variables, int.from_bytes(rest[size : size + 8], "big"))
        repl._printed = rest[:size].decode("utf-8", "replace")
        repl._state, repl._parts, repl._questions = kind, parts, questions
        repl._lost, repl._rebound, repl._died = bool(flags & 1), bool(flags & 2), bool(flags & 4)
        repl._moved = rest[size + 8 :] or None
        return repl


class _SessionLost(Exception):
    """The session that this snippet ran in no longer exists."""


_NOTHING = monty.CollectString(1)
_PARTS = tuple(prelude.PARTS)


def _too_long(limits: SandboxLimits) -> str:
    return f"TimeoutError: the code ran longer than {limits.seconds:g} s"


def _too_much(limits: SandboxLimits) -> str:
    return f"MemoryError: the code used more than {limits.memory >> 20} MB, or printed too much"
