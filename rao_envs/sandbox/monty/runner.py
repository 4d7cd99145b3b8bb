"""One session's conversation with the interpreter, as long as a worker holds it."""

from __future__ import annotations

import contextlib
import reprlib
import unicodedata
from collections.abc import Sequence
from typing import Any

import pydantic_monty as monty
from pydantic_monty import FunctionSnapshot, FutureSnapshot, MontyComplete

from rao_envs.errors import CorruptCheckpoint, InfrastructureError, OptionError, ToolError
from rao_envs.sandbox.base import SandboxLimits
from rao_envs.sandbox.monty import forks, guard, prelude, rewriting
from rao_envs.sandbox.monty.journal import Kind
from rao_envs.sandbox.monty.standing import FRESH, Standing
from rao_envs.sandbox.monty.wire import failure, plainer, rebinding, stand_ins
from rao_envs.steps import Call, Done, Step, Wait
from rao_envs.values import clean_text

__all__ = ["RESERVED", "RESTARTED", "Runner", "Stopped", "WorkerLost"]

RESTARTED = "The Python session was restarted: variables and functions defined so far are gone."
_STALLED = (
    "RuntimeError: this awaits a launch_subagent(...) of an earlier turn, which came to nothing when that turn ended. "
    "Launch and await in the same turn."
)
RESERVED = "names that begin with __rao_ are reserved"
_TOO_LARGE = "MemoryError: the last value is too large to show"
_STOPPED_OUTPUT = 1_000
_MAX_QUESTIONS = 5_000


class WorkerLost(Exception):
    """The worker that held this session is gone."""


class Stopped(Exception):
    """The snippet was stopped in mid-operation, and the session's heap is not to be trusted any more.

    Attributes:
        done: what the agent reads.
    """

    def __init__(self, done: Done) -> None:
        """Carry what the agent reads."""
        super().__init__(done.text)
        self.done = done


class Runner:
    """One session's conversation with the interpreter.

    Attributes:
        at: where it stands.
        worker: what runs it; None while it has none.
    """

    def __init__(self, limits: SandboxLimits, tools: Sequence[str], variables: dict[str, Any]) -> None:
        """Remember what the session starts from; it has no worker yet."""
        self.at = FRESH
        self.worker: monty.MontySession | None = None
        self._limits = limits
        self._tools = tuple(tools)
        self._stand_ins = stand_ins(self._tools)
        self._variables = variables
        self._snapshot: Any = None
        self._collector = _NOTHING

    def attach(self, worker: monty.MontySession, at: Standing, body: bytes | None) -> None:
        """Go on in a fresh worker, from a dump; None is a session before its first snippet.

        Raises:
            WorkerLost: the worker died.
            CorruptCheckpoint: it is not a dump.
        """
        self.worker, self.at, self._snapshot, self._collector = worker, at.copy(), None, _NOTHING
        if body is None:
            return
        try:
            if at.state == "idle":
                worker.load_session(body)
            else:
                self._snapshot = worker.load_snapshot(body, print_callback=self._new_collector())
        except monty.MontyRuntimeError as error:
            raise CorruptCheckpoint(f"a dumped Python session cannot be read: {error}") from error
        except (monty.MontyError, RuntimeError, OSError) as error:
            raise WorkerLost from error

    def detach(self) -> None:
        """Let the worker go."""
        worker = self.worker
        if worker is None or forks.is_orphan():
            return
        self.at.printed, self._collector = self.output(), _NOTHING
        self.worker = self._snapshot = None
        with contextlib.suppress(monty.MontyError, RuntimeError, OSError):
            worker.__exit__(None, None, None)

    def dump(self) -> tuple[Standing, bytes] | None:
        """Return where the session stands and the interpreter's dump; None if there is none to be had."""
        with contextlib.suppress(monty.MontyError, RuntimeError, OSError):
            if self.worker is not None and self.at.state != "new":
                body = (self._snapshot or self.worker).dump()
                at = self.at.copy()
                at.printed = self.output()
                return at, body
        return None

    def output(self) -> str:
        """Return what the running snippet has printed so far."""
        text = self._collector.output
        if self.at.printed:
            text = self.at.printed + text
        limit = self._limits.output
        return text if len(text) <= limit else text[:limit]

    # Moves ----------------------------------------------------------------------------------------------

    def move(self, kind: Kind, argument: Any) -> Step:
        """Start a snippet, or answer what it stands at; return the next step.

        Raises:
            WorkerLost: the worker died; whether the code is to blame is not known.
            Stopped: the snippet ran into a limit, and the session is over.
            OptionError: the host sent something that is not plain data.
        """
        try:
            return self._run(self._feed(argument) if kind == "start" else self._resume(argument))
        except (monty.MontyRuntimeError, monty.MontySyntaxError) as error:
            return self._failed(error)
        except monty.MontyCrashedError as error:
            if error.timed_out:
                raise self._stopped(_too_long(self._limits), output=False) from error
            raise WorkerLost from error
        except InfrastructureError:
            raise
        except (monty.MontyError, RuntimeError, OSError) as error:
            # A handle whose worker is gone says so in several ways.
            raise WorkerLost from error

    def _run(self, snapshot: monty.SyncSnapshot) -> Step:
        """Go on until the engine is needed; the interpreter's own questions are answered here."""
        at = self.at
        while True:
            if isinstance(snapshot, MontyComplete):
                self._snapshot, at.state = None, "idle"
                return Done(self.output() + self._shown(snapshot))
            self._snapshot, at.state = snapshot, "paused"
            if isinstance(snapshot, FunctionSnapshot):
                call = self._call(snapshot)
                if call is not None:
                    return call
            elif isinstance(snapshot, FutureSnapshot):
                pending = snapshot.pending_call_ids
                return Wait(tuple(sorted(pending))) if pending else self._stalled(snapshot)
            if at.questions == _MAX_QUESTIONS:
                raise self._stopped(
                    f"RuntimeError: more than {_MAX_QUESTIONS:,} undefined names, missing modules or files"
                )
            at.questions += 1
            snapshot = self._reply(snapshot)

    def _call(self, snapshot: monty.FunctionSnapshot) -> Call | None:
        """Return the tool call that a snippet stands at; None if it is something else, or not to be trusted."""
        name = snapshot.function_name
        if snapshot.is_os_function:
            return None
        try:
            if not self.at.guarded:
                return Call(snapshot.call_id, name, snapshot.args, snapshot.kwargs) if name in self._stand_ins else None
            if name.startswith(guard.CALL) and snapshot.position.filename == self.at.feed:
                args, kwargs = guard.unpack(snapshot.args[0])
                return Call(snapshot.call_id, name.removeprefix(guard.CALL), args, kwargs)
        except (TypeError, ValueError, RecursionError):
            pass  # the arguments cannot be brought over: `_reply` says so
        return None

    def _reply(self, snapshot: Any) -> Any:
        if type(snapshot) is monty.NameLookupSnapshot:
            known = None if self.at.guarded else self._stand_ins.get(snapshot.variable_name)
            return snapshot.resume() if known is None else snapshot.resume(value=known)
        name = snapshot.function_name
        if name == "import":
            return snapshot.resume(failure("ModuleNotFoundError", rewriting.missing_module(str(snapshot.args[0]))))
        if snapshot.is_os_function:
            return snapshot.resume(failure("PermissionError", f"{name}: this sandbox has no files and no system"))
        if name.removeprefix(guard.CALL) not in self._stand_ins:
            return snapshot.resume(failure("NameError", rewriting.missing_name(name)))
        return snapshot.resume(failure("TypeError", f"{name}: pass plain data: numbers, text, lists and dicts"))

    def _feed(self, code: str) -> monty.SyncSnapshot:
        at, worker = self.at, self.worker
        assert worker is not None
        at.printed, at.questions, self._collector = "", 0, _NOTHING
        if at.restarted:
            at.restarted = False
            at.printed = RESTARTED + "\n"
        # Code of literals binds nothing and makes no value that is larger than it looks.
        literal = guard.is_literal(code, self._tools)
        at.guarded = at.guarded or not literal
        if at.guarded:
            code = self._prepare(worker, code, literal=literal)
        inputs = None if at.bound else self._variables or None
        try:
            snapshot = worker.feed_start(code, inputs=inputs, print_callback=self._new_collector())
        except monty.MontySyntaxError:
            at.state = "idle"
            raise
        except (monty.MontyConversionError, monty.MontyRuntimeError) as error:
            if inputs is None or not _is_refused(error, worker, inputs):
                at.bound = True
                raise
            snapshot = worker.feed_start(
                code, inputs=self._plainer({"return_value": inputs}, "variables", inputs)["return_value"],
                print_callback=self._collector,
            )  # fmt: skip
        at.bound = True
        return snapshot

    def _prepare(self, worker: monty.MontySession, code: str, *, literal: bool) -> str:
        """Load what a snippet needs, and return it as it is to run."""
        at = self.at
        if not at.feed or at.rebound:
            # What an agent's code does to the names of its tools heals with its next message.
            self._guard(worker)
        written, code = code, rewriting.rewrite(code)
        if code is not written:
            self._load_parts(worker, code)
        at.rebound = at.rebound or (not literal and self._may_rebind(written))
        shown = guard.show_last(code)
        at.shows = shown is not None
        return shown or code

    def _guard(self, worker: monty.MontySession) -> None:
        at, source = self.at, guard.bindings(self._tools)
        try:
            snapshot: Any = worker.feed_start(source if at.feed else guard.core(self._limits) + source)
            at.feed = snapshot.position.filename
            snapshot.resume({"return_value": None})
        except (monty.MontyRuntimeError, AttributeError) as error:
            # Only code that hides the reserved names from us can make the call at its end anything but a call.
            raise self._stopped(f"RuntimeError: {RESERVED}", output=False) from error

    def _may_rebind(self, code: str) -> bool:
        # Python reads compatible letters in names, such as mathematical ones, as the plain letter.
        plain = code if code.isascii() else unicodedata.normalize("NFKC", code)
        return rebinding(self._tools).search(plain) is not None

    def _load_parts(self, worker: monty.MontySession, code: str) -> None:
        at = self.at
        for part in rewriting.parts_of(code):
            bit = 1 << _PARTS.index(part)
            if not at.parts & bit or at.rebound:
                worker.feed_run(prelude.source(part))
                at.parts |= bit

    def _resume(self, sent: dict[Any, Any]) -> monty.SyncSnapshot:
        snapshot: Any = self._snapshot
        try:
            return snapshot.resume(sent)  # type: ignore[no-any-return]  # it has no types
        except (monty.MontyConversionError, monty.MontyRuntimeError, TypeError) as error:
            if not _is_unsent(error, snapshot):
                raise
        name = f"the result of {self._answered(snapshot)}"
        return snapshot.resume(self._plainer(sent, name, sent))  # type: ignore[no-any-return]  # it has no types

    def _answered(self, snapshot: Any) -> str:
        return snapshot.function_name.removeprefix(guard.CALL) if type(snapshot) is FunctionSnapshot else "a subagent"

    def _plainer(self, sent: dict[Any, Any], name: str, value: object) -> dict[Any, Any]:
        """Return what the host sent, made plain.

        Raises:
            OptionError: it cannot be made plain.
        """
        try:
            return plainer(sent)
        except ToolError as error:
            fix = f"tools must return, and sessions begin with, plain data, what JSON can hold: {error}"
            raise OptionError(name, reprlib.repr(value), fix) from error

    # Results --------------------------------------------------------------------------------------------

    def _new_collector(self) -> monty.CollectString:
        # The sandbox's own cap is what stops a flood; it counts bytes, of which a character has up to four.
        self._collector = monty.CollectString(self._limits.output * 4)
        return self._collector

    def _shown(self, done: Any) -> str:
        """Show the value of a snippet's last expression, as a notebook does."""
        if self.at.guarded:
            return clean_text(done.output) if self.at.shows else ""
        value = done.output
        return "" if value is None else clean_text(repr(value)) + "\n"

    def _failed(self, error: monty.MontyRuntimeError | monty.MontySyntaxError) -> Done:
        self._snapshot, self.at.state = None, "idle"
        trace = guard.restore_lines(clean_text(error.display()))
        last = trace.rstrip().rsplit("\n", 1)[-1]
        limits = self._limits
        if last.startswith("TimeoutError") and "time limit exceeded" in last:
            raise self._stopped(_too_long(limits))
        if last.startswith("MemoryError: memory limit exceeded"):
            raise self._stopped(_too_much(limits))
        if last.startswith("MemoryError: the worker exceeded"):
            raise self._stopped(_too_much(limits), output=False)
        if last.startswith("RuntimeError: result frame"):
            raise self._stopped(_TOO_LARGE, output=False)
        if "asyncio scheduler stalled" in last:
            return Done(self.output() + _STALLED, "agent")
        hint = rewriting.hint(trace)
        return Done(f"{self.output()}{rewriting.readable(trace)}" + (f"\n{hint}" if hint else ""), "agent")

    def _stopped(self, reason: str, *, output: bool = True) -> Stopped:
        """Say that the snippet was stopped.

        How far the code came, and the sizes in the interpreter's message, differ from run to run; what the agent
        reads must not. A worker that died may have kept the last of its output: then none is shown.
        """
        printed = self.output()[:_STOPPED_OUTPUT] if output else ""
        return Stopped(Done(f"{printed}\n{reason}\n{RESTARTED}".lstrip("\n"), "agent"))

    def _stalled(self, snapshot: Any) -> Done:
        # It awaits a launch of an earlier turn, which will never come. An answer to a call that does not exist
        # ends the snippet and leaves the session as it was.
        with contextlib.suppress(monty.MontyRuntimeError):
            snapshot.resume({0: {"return_value": None}})
        self._snapshot, self.at.state = None, "idle"
        return Done(self.output() + _STALLED, "agent")


def _is_unsent(error: Exception, snapshot: Any) -> bool:
    """Say whether an answer could not be converted, so that nothing has reached the interpreter.

    An exception of the agent's own code comes after the answer was taken: then the snapshot is spent.
    """
    if type(error) is monty.MontyRuntimeError and error.traceback():
        return False
    try:
        snapshot.dump()
    except (monty.MontyError, RuntimeError, OSError):
        return False
    return True


def _is_refused(error: Exception, worker: monty.MontySession, inputs: dict[str, Any]) -> bool:
    """Say whether it is the variables that could not be converted."""
    if type(error) is monty.MontyConversionError:
        return True
    if type(error) is monty.MontyRuntimeError and error.traceback():
        return False
    try:
        worker.feed_run("None", inputs=inputs)
    except (monty.MontyConversionError, monty.MontyRuntimeError):
        return True
    except (monty.MontyError, RuntimeError, OSError):
        pass  # the worker is gone, which has another reason
    return False


_NOTHING = monty.CollectString(1)
_PARTS = tuple(prelude.PARTS)


def _too_long(limits: SandboxLimits) -> str:
    return f"TimeoutError: the code ran longer than {limits.seconds:g} s"


def _too_much(limits: SandboxLimits) -> str:
    return f"MemoryError: the code used more than {limits.memory >> 20} MB, or printed too much"
