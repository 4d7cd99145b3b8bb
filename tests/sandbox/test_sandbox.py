from collections.abc import Callable
from random import Random
from threading import Thread

import pytest

from rao_envs.errors import CorruptCheckpoint, InfrastructureError, OptionError
from rao_envs.sandbox import LATER, Answer, Call, Done, Failure, SandboxLimits, Session, Step, Value, Wait
from rao_envs.sandbox.monty import MontySandbox
from rao_envs.steps import Later
from rao_envs.testing import CheckFailed, self_check
from rao_envs.testing.sandbox.conformance import CHECKS, NOT_CHECKED
from rao_envs.testing.sandbox.workbench import LIMITS, TOOLS, Workbench


@pytest.fixture(scope="module")
def sandbox():
    with MontySandbox(max_workers=2, limits=LIMITS) as made:
        yield made


@pytest.fixture
def bench(sandbox):
    made = Workbench(lambda limits: MontySandbox(max_workers=2, limits=limits), sandbox)
    yield made
    made.close()


# The suite ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_default_sandbox_passes(check, bench):
    check(bench)


def test_every_check_says_in_words_what_it_demands():
    assert 35 <= len(CHECKS) == len({check.__name__ for check in CHECKS})
    assert all(check.__doc__ for check in CHECKS)
    assert all(NOT_CHECKED.values())


class Broken:
    """The default sandbox with one thing broken: `bend` may replace any step, `calls` any code."""

    def __init__(self, inner, repl):
        self._inner, self._repl = inner, repl

    def open(self, tools, variables, seed):
        return self._repl(self._inner.open(tools, variables, seed), self._inner, tools, variables, seed)

    def restore(self, tools, variables, state):
        inner = self._inner.restore(tools, variables, state)
        return self._repl(inner, self._inner, tools, variables, 0)

    def close(self):
        self._inner.close()


class BrokenRepl:
    def __init__(self, inner: Session, sandbox, tools, variables, seed):
        self.inner, self.sandbox, self.tools, self.variables, self.seed = inner, sandbox, tools, variables, seed

    def bend(self, step: Step) -> Step:
        return step

    def start(self, code: str) -> Step:
        return self.bend(self.inner.start(code))

    def answer(self, call: int, answer: Answer) -> Step:
        return self.bend(self.inner.answer(call, answer))

    def settle(self, call: int, answer: Value | Failure) -> Step:
        return self.bend(self.inner.settle(call, answer))

    def abandon(self) -> str:
        return self.inner.abandon()

    def dump(self) -> bytes:
        return self.inner.dump()

    def close(self) -> None:
        self.inner.close()

    @property
    def worker_pid(self):
        return self.inner.worker_pid


class Forgetful(BrokenRepl):
    def start(self, code):
        self.inner = self.sandbox.open(self.tools, self.variables, self.seed)
        return self.inner.start(code)


class Silent(BrokenRepl):
    def bend(self, step):
        return Done("", step.fault) if isinstance(step, Done) else step


class Blameless(BrokenRepl):
    def bend(self, step):
        return Done(step.text, None) if isinstance(step, Done) else step


class LosesDeadWorkers(BrokenRepl):
    def start(self, code):
        self.pid = self.worker_pid
        return self.bend(self.inner.start(code))

    def bend(self, step):
        if getattr(self, "pid", None) in (None, self.worker_pid):
            self.pid = self.worker_pid
            return step
        self.inner.abandon()
        return Done("the worker died", "infrastructure")


class Fussy(BrokenRepl):
    def answer(self, call, answer):
        if "\\ud" in ascii(answer):
            raise OptionError("answer", answer, "must be plain")
        return self.inner.answer(call, answer)


class Slow(BrokenRepl):
    def start(self, code):
        step = self.inner.start(code)
        return Done("y" * 10**6, step.fault) if isinstance(step, Done) and "for i in range(40)" in code else step


class Unseeded(BrokenRepl):
    def start(self, code):
        self.inner.seed = id(self)
        return self.inner.start(code)


class Stubborn(BrokenRepl):
    def dump(self):
        return b"RAO2 but nothing more"


class Talkative(BrokenRepl):
    def bend(self, step):
        return Done(step.text + "/home/me/sandbox.py", step.fault) if isinstance(step, Done) else step


class Impatient(BrokenRepl):
    def answer(self, call, answer):
        return self.bend(self.inner.answer(call, Value("early") if isinstance(answer, Later) else answer))


class Deaf(BrokenRepl):
    def bend(self, step):
        return step._replace(args=(), kwargs={}) if isinstance(step, Call) else step


class Unsorted(BrokenRepl):
    def bend(self, step):
        return Wait(step.ids[::-1]) if isinstance(step, Wait) else step


class ClosesOnce(BrokenRepl):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True
        self.inner.close()


class RealOs(BrokenRepl):
    def start(self, code):
        return Done("root:x:0:0", "agent") if "passwd" in code else self.inner.start(code)


class Drifting(BrokenRepl):
    count = 0

    def bend(self, step):
        Drifting.count += 1
        return Done(f"{step.text}{Drifting.count}", step.fault) if isinstance(step, Done) and step.fault else step


@pytest.mark.parametrize(
    ("broken", "found_by"),
    [
        (Forgetful, "state_persists"),
        (Silent, "output_is_shown"),
        (Blameless, "syntax_errors_are_the_agents"),
        (Blameless, "promises_do_not_excuse_endless_loops"),
        (LosesDeadWorkers, "dead_workers_cost_an_idle_session_nothing"),
        (LosesDeadWorkers, "dead_workers_cost_a_waiting_session_nothing"),
        (LosesDeadWorkers, "dead_workers_cost_a_running_snippet_nothing"),
        (Fussy, "answers_may_be_anything_plain"),
        (Slow, "shared_values_are_bounded"),
        (Unseeded, "randomness_is_seeded"),
        (Stubborn, "idle_sessions_can_be_dumped"),
        (Talkative, "tracebacks_are_the_agents"),
        (Impatient, "launches_are_awaited"),
        (Deaf, "tools_take_positions_and_keywords"),
        (Unsorted, "launches_can_be_gathered"),
        (ClosesOnce, "closing_twice_is_allowed"),
        (RealOs, "files_are_out_of_reach"),
        (Drifting, "endless_loops_are_stopped"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_sandbox_is_found_out(broken: type, found_by: str, sandbox, monkeypatch):
    wanted = [check for check in CHECKS if check.__name__ == found_by]
    monkeypatch.setattr("rao_envs.testing.sandbox.conformance.CHECKS", tuple(wanted))
    results = self_check(lambda limits: Broken(sandbox, broken))
    assert [result.ok for result in results] == [False]
    assert results[0].failure
    with pytest.raises(CheckFailed, match=found_by):
        self_check(lambda limits: Broken(sandbox, broken), strict=True)


def test_self_check_runs_everything_once_and_excuses_what_is_known_to_fail(sandbox, monkeypatch):
    few = tuple(check for check in CHECKS if check.__name__ in {"state_persists", "output_is_shown"})
    monkeypatch.setattr("rao_envs.testing.sandbox.conformance.CHECKS", few)
    make: Callable[[SandboxLimits], MontySandbox] = lambda limits: MontySandbox(1, limits)  # noqa: E731
    assert [result.ok for result in self_check(make, strict=True)] == [True, True]
    excused = self_check(lambda limits: Broken(sandbox, Silent), known={"output_is_shown": "a reason"})
    assert [(result.ok, bool(result.failure)) for result in excused] == [(False, True), (True, True)]
    stale = self_check(make, known={"state_persists": "no longer true"})
    assert [result.ok for result in stale] == [False, True]
    with pytest.raises(CheckFailed, match="known failure"):
        self_check(make, known={"state_persists": "no longer true"}, strict=True)


# The pool -----------------------------------------------------------------------------------------------


def test_sessions_outlive_the_pool_they_were_opened_in():
    with MontySandbox(max_workers=1, limits=LIMITS) as sandbox:
        idle, waiting = sandbox.open(TOOLS, {}, 0), sandbox.open(TOOLS, {}, 0)
        idle.start("x = 1")
        step = waiting.start("print('a')\nprint(echo(1))")
        sandbox.close()
        assert idle.start("print(x)") == Done("1\n")
        assert waiting.answer(step.id, Value(2)) == Done("a\n2\n")


def test_threads_share_a_pool_that_is_too_small_for_their_sessions():
    wrong = []

    def work(thread, sandbox):
        random = Random(thread)
        repls = [sandbox.open(TOOLS, {"mine": [thread, place]}, 0) for place in range(4)]
        for turn in range(60):
            place = random.randrange(4)
            step = repls[place].start("x = echo(mine)\nprint(mine, x)")
            if random.random() < 0.3:
                repls[place].dump()
            done = repls[place].answer(step.id, Value(turn))
            if done != Done(f"[{thread}, {place}] {turn}\n"):
                wrong.append(done)
        for repl in repls:
            repl.close()

    with MontySandbox(max_workers=2, limits=LIMITS) as sandbox:
        threads = [Thread(target=work, args=(number, sandbox)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert not wrong
        assert not sandbox._live


def test_a_session_that_was_stopped_holds_no_worker():
    with MontySandbox(max_workers=1, limits=LIMITS) as sandbox:
        for code in ("while True: pass", "x = [0] * 10**10", "import heapq\nx = [0] * 10**10"):
            repl = sandbox.open(TOOLS, {}, 0)
            assert repl.start(code).fault == "agent"
            assert repl.worker_pid is None
            assert not sandbox._live
            repl.close()


def test_a_worker_that_cannot_start_is_the_infrastructures_fault(monkeypatch):
    monkeypatch.setenv("MONTY_BIN", "/nonexistent/monty")
    with MontySandbox(limits=LIMITS) as sandbox, pytest.raises(InfrastructureError, match="no sandbox worker"):
        sandbox.open(TOOLS, {}, 0).start("1")


@pytest.mark.parametrize("odd", [object(), [object()], {"x": object()}], ids=["object", "list", "dict"])
def test_answers_and_variables_must_be_plain(odd, sandbox):
    repl = sandbox.open(TOOLS, {}, 0)
    step = repl.start("echo(1)")
    with pytest.raises(OptionError, match=r"the result of echo=.*plain data"):
        repl.answer(step.id, Value(odd))
    assert repl.start("1") == Done("1\n")
    wait = repl.answer(repl.start("print(await launch_subagent(1))").id, LATER)
    with pytest.raises(OptionError, match=r"the result of a subagent=.*plain data"):
        repl.settle(wait.ids[0], Value(odd))
    repl.close()
    with pytest.raises(OptionError, match=r"variables=.*plain data"):
        sandbox.open(TOOLS, {"x": odd}, 0).start("1")


def test_broken_text_from_the_host_is_mended(sandbox):
    repl = sandbox.open(TOOLS, {"v": "a\ud800"}, 0)
    step = repl.start("print(v, echo(1))")
    assert repl.answer(step.id, Value(["\udfff"])) == Done("a? ['?']\n")


def test_a_failure_of_a_kind_that_the_interpreter_lacks_is_a_value_error(sandbox):
    step = (repl := sandbox.open(TOOLS, {}, 0)).start("try: echo(1)\nexcept ValueError as error: print(error)")
    assert repl.answer(step.id, Failure("slow down", "RateLimitError")) == Done("RateLimitError: slow down\n")


def test_variables_are_bound_even_if_the_first_snippet_cannot_be_parsed(sandbox):
    repl = sandbox.open(TOOLS, {"v": 1}, 0)
    assert repl.start("print(").fault == "agent"
    assert repl.start("print(v)") == Done("1\n")


@pytest.mark.parametrize("options", [{"seconds": 0}, {"memory": -1}, {"output": 0}, {"code": 0}, {"arguments": 0}])
def test_limits_that_are_none_are_refused(options):
    with pytest.raises(OptionError, match=f"{next(iter(options))}="):
        SandboxLimits(**options)


def test_the_default_pool_fits_the_memory():
    small, usual = MontySandbox(limits=SandboxLimits(memory=2**45)), MontySandbox()
    assert small.max_workers == 1 < usual.max_workers <= 64


def test_sessions_that_wait_are_moved_out_first_and_the_others_go_round():
    with MontySandbox(max_workers=3, limits=LIMITS) as sandbox:
        top, low, one, two = (sandbox.open(TOOLS, {}, 0) for _ in range(4))
        one.start("x = 1")
        for repl in (top, low):
            repl.answer(repl.start("await launch_subagent(1)").id, LATER)
        two.start("x = 2")
        assert [bool(repl.worker_pid) for repl in (top, low, one, two)] == [False, True, True, True]
        top.settle(0, Value(1))
        assert [bool(repl.worker_pid) for repl in (top, low, one, two)] == [True, False, True, True]
        low.settle(0, Value(1))
        assert not top.worker_pid


def test_a_pool_of_no_workers_is_refused():
    with pytest.raises(OptionError, match="max_workers=0"):
        MontySandbox(max_workers=0)


def test_a_dump_of_another_format_is_refused(sandbox):
    with pytest.raises(CorruptCheckpoint):
        sandbox.restore(TOOLS, {}, b"RAO2" + bytes(40))


def test_parts_of_the_prelude_survive_a_dump(sandbox):
    repl = sandbox.open(TOOLS, {}, 0)
    repl.start("import heapq\nx = [1]")
    copy = sandbox.restore(TOOLS, {}, repl.dump())
    assert copy.start("heapq.heappush(x, 0)\nprint(x)") == Done("[0, 1]\n")
    assert copy.start("import heapq, string\nprint(heapq.heappop(x), string.digits[:2])") == Done("0 01\n")


def test_a_launch_is_later_whatever_object_says_so(sandbox):
    repl = sandbox.open(TOOLS, {}, 0)
    step = repl.start("print(await launch_subagent(1))")
    assert isinstance(repl.answer(step.id, Later()), Wait)
    assert Later() == LATER
