"""What the conformance checks of a sandbox stand on: a session, tools that answer, and an eye on every step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rao_envs.errors import ToolError
from rao_envs.sandbox.base import Sandbox, SandboxLimits
from rao_envs.steps import LATER, Answer, Call, Done, Failure, Session, Step, Value, Wait
from rao_envs.values import to_json

__all__ = ["LIMITS", "SLACK", "TOOLS", "Check", "MakeSandbox", "Workbench", "a_call", "a_wait", "expect"]

TOOLS = ("echo", "refuse", "launch_subagent", "finish")
"""What the checks' sessions can call: `echo` returns its arguments as plain data, `refuse` fails, `launch_subagent` is
answered later with the text "child N", and `finish` is never answered."""

LIMITS = SandboxLimits(seconds=0.4, memory=32 * 2**20, output=5_000, code=2_000)
"""Small, so that reaching them is quick."""

SLACK = 10.0
"""Seconds that a machine under load may add to any limit."""

MakeSandbox: TypeAlias = Callable[[SandboxLimits], Sandbox]


@dataclass
class Workbench:
    """A sandbox under test.

    Attributes:
        make: makes another sandbox of the same kind.
        sandbox: the one that the checks share.
        calls: what the snippets of this check have called.
    """

    make: MakeSandbox
    sandbox: Sandbox
    calls: list[Call] = field(default_factory=list)
    _open: list[Session] = field(default_factory=list)

    def open(self, seed: int = 0, **variables: Any) -> Session:
        """Open a session, to be closed when the check is over."""
        repl = self.sandbox.open(TOOLS, variables, seed)
        self._open.append(repl)
        return repl

    def restore(self, state: bytes, sandbox: Sandbox | None = None, **variables: Any) -> Session:
        """Bring a dumped session back, to be closed when the check is over."""
        repl = (sandbox or self.sandbox).restore(TOOLS, variables, state)
        self._open.append(repl)
        return repl

    def close(self) -> None:
        """End the sessions of a check."""
        while self._open:
            self._open.pop().close()
        self.calls.clear()

    def run(self, code: str, repl: Session | None = None, *, latest_first: bool = False) -> Done:
        """Run a snippet to its end."""
        repl = repl or self.open()
        return self.go_on(repl, repl.start(code), latest_first=latest_first)

    def go_on(self, repl: Session, step: Step, *, latest_first: bool = False) -> Done:
        """Answer tools and settle launches until the snippet is done."""
        for _ in range(10_000):
            if isinstance(step, Done):
                return step
            if isinstance(step, Wait):
                call = step.ids[-1 if latest_first else 0]
                step = repl.settle(call, Value(f"child {call}"))
                continue
            self.calls.append(step)
            if step.name == "finish":
                return Done(repl.abandon() + f"[finished {step.args!r}]")
            step = repl.answer(step.id, _answer(step))
        raise AssertionError("the snippet makes no end of its calls")

    def prints(self, code: str, expected: str, repl: Session | None = None) -> None:
        """Demand that a snippet succeeds with exactly this output."""
        done = self.run(code, repl)
        expect(done.fault is None, f"{code!r} failed: {done.text}")
        expect(done.text == expected, f"{code!r} gave {done.text!r}, not {expected!r}")

    def fails(self, code: str, *words: str, repl: Session | None = None) -> Done:
        """Demand that a snippet fails by its own fault, in time, with these words in its observation."""
        begin = time.monotonic()
        done = self.run(code, repl)
        seconds = time.monotonic() - begin
        expect(done.fault == "agent", f"{code!r} gave fault {done.fault!r}: {done.text[:500]!r}")
        for word in words:
            expect(word in done.text, f"{code!r} failed without saying {word!r}: {done.text[:500]!r}")
        expect(seconds < LIMITS.seconds + SLACK, f"{code!r} took {seconds:.1f} s")
        return done

    def refuses(self, *snippets: str) -> None:
        """Demand that each of these fails, gives nothing away, and leaves a session that still works."""
        for code in snippets:
            repl = self.open()
            self.run("kept = 'kept'", repl)
            done = self.fails(code, repl=repl)
            expect("root:" not in done.text, f"{code!r} read a file: {done.text!r}")
            after = self.run("print(1 + 1)", repl)
            expect(after.text.endswith("2\n"), f"after {code!r} the session gave {after.text!r}")


def _answer(call: Call) -> Answer:
    if call.name == "launch_subagent":
        return LATER
    if call.name == "refuse":
        return Failure("no such thing")
    try:
        return Value(to_json([list(call.args), call.kwargs]))
    except ToolError as error:
        return Failure(str(error))


Check: TypeAlias = Callable[[Workbench], None]


def expect(condition: object, why: str) -> None:
    """Fail the check unless the condition holds; unlike `assert` it survives ``python -O``."""
    if not condition:
        raise AssertionError(why)


def a_call(step: Step) -> Call:
    """Fail the check unless the snippet calls a tool."""
    expect(isinstance(step, Call), f"a call was due: {step!r}")
    assert isinstance(step, Call)
    return step


def a_wait(step: Step, calls: int = 1) -> Wait:
    """Fail the check unless the snippet waits for so many calls."""
    expect(isinstance(step, Wait) and len(step.ids) == calls, f"a wait for {calls} calls was due: {step!r}")
    assert isinstance(step, Wait)
    return step
