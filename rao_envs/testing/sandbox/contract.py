"""The checks of `rao_envs.testing.self_check` on what a sandbox must do for well-meant code."""

from __future__ import annotations

import os
import signal
import threading
import time

from rao_envs.errors import CorruptCheckpoint
from rao_envs.steps import LATER, Call, Done, Failure, Session, Value
from rao_envs.testing.sandbox.workbench import LIMITS, Check, Workbench, a_call, a_wait, expect

__all__ = ["CHECKS"]


def state_persists(bench: Workbench) -> None:
    """Variables, functions and imports stay from snippet to snippet."""
    repl = bench.open()
    bench.run("import json\nx = [1]\ndef twice(y):\n    return 2 * y", repl)
    bench.run("x.append(twice(x[0]))", repl)
    bench.prints("print(json.dumps(x))", "[1, 2]\n", repl)


def output_is_shown(bench: Workbench) -> None:
    """What is printed is shown, then the value of the last expression, unless it is None."""
    bench.prints("print('a', 1, sep='-')\n[1, 'é', None]", "a-1\n[1, 'é', None]\n")
    bench.prints("x = 5\nNone", "")


def variables_are_bound(bench: Workbench) -> None:
    """A session finds the variables it was opened with, at its first snippet and later."""
    repl = bench.open(context="a b", numbers=[1, {"k": None}])
    bench.prints("print(len(context), numbers)", "3 [1, {'k': None}]\n", repl)
    bench.prints("print(context)", "a b\n", repl)


def tracebacks_are_the_agents(bench: Workbench) -> None:
    """A traceback names the error and the agent's line, and no file of the host."""
    done = bench.fails("x = 1\ny = x / 0", "ZeroDivisionError", "y = x / 0", "line 2")
    expect("/" not in done.text.replace("x / 0", ""), f"the traceback shows a path: {done.text!r}")


def output_before_a_failure_is_kept(bench: Workbench) -> None:
    """What was printed before the snippet failed is shown, and what it had set stays."""
    repl = bench.open()
    done = bench.fails("print('seen')\nx = 7\nnope", "NameError", repl=repl)
    expect(done.text.startswith("seen\n"), f"the output is missing: {done.text!r}")
    bench.prints("x", "7\n", repl)


def syntax_errors_are_the_agents(bench: Workbench) -> None:
    """Code that cannot be parsed fails by the agent's own fault and changes nothing."""
    repl = bench.open()
    bench.run("x = 1", repl)
    bench.fails("x = 2\nprint(", "SyntaxError", repl=repl)
    bench.prints("x", "1\n", repl)


def tools_take_positions_and_keywords(bench: Workbench) -> None:
    """A tool call hands over arguments by position and by keyword, and its answer is a value."""
    bench.prints("print(echo(1, 'two', [3], key={'a': None}))", "[[1, 'two', [3]], {'key': {'a': None}}]\n")
    expect(bench.calls[0].args == (1, "two", [3]), f"positions: {bench.calls[0].args!r}")
    expect(bench.calls[0].kwargs == {"key": {"a": None}}, f"keywords: {bench.calls[0].kwargs!r}")


def calls_are_numbered(bench: Workbench) -> None:
    """Every call of a snippet has a number of its own."""
    bench.run("for i in range(5): echo(i)")
    numbers = [call.id for call in bench.calls]
    expect(len(set(numbers)) == 5, f"numbers of five calls: {numbers}")


def tool_failures_can_be_caught(bench: Workbench) -> None:
    """A failing tool raises ValueError with the tool's message, which the code may catch."""
    bench.prints(
        "try:\n    refuse()\nexcept ValueError as error:\n    print('caught', error)", "caught no such thing\n"
    )
    bench.fails("refuse()", "ValueError: no such thing")


def launches_are_awaited(bench: Workbench) -> None:
    """A launch that is answered later returns something to await."""
    bench.prints("x = await launch_subagent(1)\nprint(x)", "child 0\n")


def launches_can_be_gathered(bench: Workbench) -> None:
    """`asyncio.gather` starts all launches before it waits, and keeps their order."""
    repl = bench.open()
    step = repl.start("import asyncio\nprint(await asyncio.gather(*[launch_subagent(i) for i in range(3)]))")
    for place in range(3):
        call = a_call(step)
        expect(call.args == (place,), f"call {place} of three: {step!r}")
        step = repl.answer(call.id, LATER)
    wait = a_wait(step, 3)
    expect(list(wait.ids) == sorted(wait.ids), f"the numbers are not in order: {step!r}")
    done = bench.go_on(repl, wait, latest_first=True)
    expect(done.text == "['child 0', 'child 1', 'child 2']\n", f"order of results: {done.text!r}")


def answers_come_one_by_one(bench: Workbench) -> None:
    """A coroutine goes on as soon as its own answer is there, whatever else still waits."""
    repl = bench.open()
    code = """\
import asyncio
async def work(name):
    print(name, await launch_subagent(name))
    echo(name)
await asyncio.gather(work('a'), work('b'))"""
    step = repl.start(code)
    while isinstance(step, Call):
        step = repl.answer(step.id, LATER)
    call = a_call(repl.settle(a_wait(step, 2).ids[1], Value("first")))
    expect(call.args == ("b",), f"the second goes on first: {call!r}")
    done = bench.go_on(repl, repl.answer(call.id, Value(None)))
    expect(done.text.startswith("b first\na child"), f"order of output: {done.text!r}")


def promises_can_fail(bench: Workbench) -> None:
    """A promised answer may be a failure: the await raises it, and the others are not lost."""
    repl = bench.open()
    code = "try:\n    await launch_subagent(1)\nexcept ValueError as error:\n    print('caught', error)"
    wait = a_wait(repl.answer(a_call(repl.start(code)).id, LATER))
    done = repl.settle(wait.ids[0], Failure("refused"))
    expect(done == Done("caught refused\n"), f"a failed promise: {done!r}")


def coroutines_nest(bench: Workbench) -> None:
    """Coroutines may await coroutines and gathers within gathers."""
    code = """\
import asyncio
async def leaf(n):
    return (await launch_subagent(n))[:5]
async def pair(n):
    return await asyncio.gather(leaf(n), leaf(n + 1))
print(await asyncio.gather(pair(0), pair(2)))"""
    bench.prints(code, "[['child', 'child'], ['child', 'child']]\n")


def unawaited_launches_do_no_harm(bench: Workbench) -> None:
    """A launch that nobody awaits neither holds the snippet up nor spoils the next one."""
    repl = bench.open()
    bench.prints("x = launch_subagent(1)\nprint('over')", "over\n", repl)
    bench.prints("print(await launch_subagent(2))", "child 0\n", repl)


def launches_of_earlier_turns_are_refused(bench: Workbench) -> None:
    """To await a launch of an earlier snippet is an error that says so; the session stays as it was."""
    repl = bench.open()
    bench.run("x = launch_subagent(1)\nkept = 5", repl)
    bench.fails("await x", "earlier turn", repl=repl)
    bench.run("y = launch_subagent(2)", repl)
    bench.fails("z = launch_subagent(3)\nprint(await y)", "earlier turn", repl=repl)
    bench.prints("kept", "5\n", repl)


def idle_sessions_can_be_dumped(bench: Workbench) -> None:
    """A dump between snippets restores variables, functions and randomness, and the original goes on."""
    repl = bench.open(given="v")
    bench.run("import random\nx = [1]\ndef f():\n    return x\nrandom.random()", repl)
    copy = bench.restore(repl.dump(), given="v")
    code = "f().append(random.random())\nprint(given, x)"
    expect(bench.run(code, repl) == bench.run(code, copy), "the copy goes another way")
    bench.prints("len(x)", "2\n", repl)


def fresh_sessions_can_be_dumped(bench: Workbench) -> None:
    """A dump before the first snippet restores a fresh session, with its variables and its seed."""
    code = "import random\nprint(given, random.random())"
    repl = bench.open(3, given="v")
    copy = bench.restore(repl.dump(), given="v")
    expect(bench.run(code, repl) == bench.run(code, copy), "the copy of a fresh session goes another way")


def waiting_sessions_can_be_dumped(bench: Workbench) -> None:
    """A dump in the middle of a snippet keeps its place and its output, in another sandbox too, and twice."""
    repl = bench.open()
    code = (
        "import asyncio\nprint('before')\na, b = await asyncio.gather(launch_subagent(1), launch_subagent(2))\n[a, b]"
    )
    step = repl.start(code)
    while isinstance(step, Call):
        step = repl.answer(step.id, LATER)
    state = repl.dump()
    expected = Done("before\n['child 0', 'child 1']\n")
    expect(bench.go_on(repl, step) == expected, "the original was changed by its dump")
    for sandbox in (bench.sandbox, other := bench.make(LIMITS)):
        copy = bench.restore(state, sandbox)
        second = bench.restore(copy.dump(), sandbox)
        expect(bench.go_on(copy, step) == expected, "the copy goes another way")
        expect(bench.go_on(second, step) == expected, "the copy of the copy goes another way")
        bench.prints("print(b)", "child 1\n", second)
    bench.close()
    other.close()


def sessions_at_a_call_can_be_dumped(bench: Workbench) -> None:
    """A dump while a tool call stands unanswered restores that call."""
    repl = bench.open()
    call = a_call(repl.start("print('a')\nprint(echo(1))"))
    copy = bench.restore(repl.dump())
    done = copy.answer(call.id, Value(2))
    expect(done == Done("a\n2\n"), f"the copy goes another way: {done!r}")


def damaged_dumps_are_refused(bench: Workbench) -> None:
    """Bytes that are no dump raise CorruptCheckpoint."""
    repl = bench.open()
    bench.run("x = 1", repl)
    for state in (b"", b"nonsense" * 9, repl.dump()[:5]):
        try:
            bench.restore(state)
        except CorruptCheckpoint:
            continue
        raise AssertionError(f"{state[:20]!r} was taken for a session")


def many_sessions_wait_at_once(bench: Workbench) -> None:
    """Many sessions may stand in the middle of a snippet at once, and each keeps its own state."""
    repls = [bench.open() for _ in range(40)]
    steps = [repl.start(f"mine = {n}\nprint(mine, echo(mine))") for n, repl in enumerate(repls)]
    for n in reversed(range(40)):
        step = steps[n]
        expect(isinstance(step, Call) and step.args == (n,), f"session {n} stands at {step!r}")
        done = bench.go_on(repls[n], step)
        expect(done.text == f"{n} [[{n}], {{}}]\n", f"session {n} shows {done.text!r}")


def sessions_are_apart(bench: Workbench) -> None:
    """What one session sets, another does not see."""
    one, two = bench.open(), bench.open()
    bench.run("secret = 1\nimport json\njson.secret = 1\nprint = None", one)
    bench.fails("secret", "NameError", repl=two)
    bench.run("import json", two)
    bench.fails("json.secret", "AttributeError", repl=two)


def randomness_is_seeded(bench: Workbench) -> None:
    """Two sessions of one seed draw the same, those of another seed something else."""
    code = "import random\nprint(random.random(), random.sample(range(99), 5), random.Random().random())"
    one, same, other = (bench.run(code, bench.open(seed)).text for seed in (5, 5, 6))
    expect(one == same, f"one seed, two streams: {one!r} and {same!r}")
    expect(one != other, f"two seeds, one stream: {one!r}")


def nothing_else_is_random(bench: Workbench) -> None:
    """Sets, hashes and addresses are the same in every session."""
    code = "print({'b', 'a', 'c'}, hash('a'), lambda: 0)"
    texts = {bench.run(code, bench.open(seed)).text for seed in (1, 1, 2)}
    expect(len(texts) == 1, f"three sessions show {texts!r}")


def clock_is_frozen(bench: Workbench) -> None:
    """The clock stands still and is the same in every session."""
    code = "import datetime, time\nprint(datetime.datetime.now(), time.time(), time.monotonic(), time.perf_counter())"
    one = bench.run(code)
    time.sleep(0.01)
    expect(one.fault is None, f"no clock: {one.text!r}")
    expect(one == bench.run(code), "the clock runs")


def nobody_sleeps(bench: Workbench) -> None:
    """Sleeping takes no time."""
    begin = time.monotonic()
    bench.prints("import asyncio, time\ntime.sleep(60)\nawait asyncio.sleep(60)\nprint('up')", "up\n")
    expect(time.monotonic() - begin < 3.0, "it slept")


def closing_twice_is_allowed(bench: Workbench) -> None:
    """A session may be closed before its first snippet, in the middle of one, and twice."""
    for code in ("", "x = 1", "echo(1)", "await launch_subagent(1)"):
        repl = bench.open()
        if code:
            step = repl.start(code)
            if isinstance(step, Call) and step.name == "launch_subagent":
                repl.answer(step.id, LATER)
        repl.close()
        repl.close()
    bench.prints("print('fine')", "fine\n")


def abandoned_snippets_give_their_output(bench: Workbench) -> None:
    """`abandon` returns what was printed; the next snippet starts afresh and is told so."""
    repl = bench.open(given=3)
    repl.start("x = 1\nprint('so far')\necho(1)")
    expect(repl.abandon() == "so far\n", "the output is lost")
    done = bench.run("print(given)", repl)
    expect("restarted" in done.text and done.text.endswith("3\n"), f"no notice: {done.text!r}")
    bench.fails("x", "NameError", repl=repl)


def dead_workers_cost_an_idle_session_nothing(bench: Workbench) -> None:
    """A worker killed between snippets is replaced: the next snippet finds everything, and no tool is called again."""
    repl = bench.open(given=[3])
    bench.run("import random\nx = echo(1)\ngiven.append(random.random())\ndef f():\n    return x", repl)
    bench.run("nope", repl)
    copy = bench.restore(repl.dump(), given=[3])
    bench.run("x.append(4)\nprint(x)", repl)
    bench.run("x.append(4)\nprint(x)", copy)
    calls = len(bench.calls)
    _kill(repl)
    one, other = (bench.run("print(f(), given, random.random())", each) for each in (repl, copy))
    expect(one.fault is None and one == other, f"a killed worker gave {one!r}, one left alone {other!r}")
    expect(len(bench.calls) == calls, f"tools were called again: {bench.calls[calls:]!r}")


def dead_workers_cost_a_waiting_session_nothing(bench: Workbench) -> None:
    """A worker killed while its snippet waits is replaced, for a dump of the session too."""
    repl = bench.open(given=3)
    call = a_call(repl.start("x = 1\nprint('so far')\ny = echo(2)\nprint(given, await launch_subagent(x), y)"))
    call = a_call(repl.answer(call.id, Value(2)))
    wait = a_wait(repl.answer(call.id, LATER))
    _kill(repl)
    copy = bench.restore(repl.dump(), given=3)
    _kill(repl)
    for each in (repl, copy):
        done = each.settle(wait.ids[0], Value("back"))
        expect(done == Done("so far\n3 back 2\n"), f"after a kill while it waited: {done!r}")
        bench.prints("x", "1\n", each)


def dead_workers_cost_a_running_snippet_nothing(bench: Workbench) -> None:
    """A snippet whose worker is killed while it runs is run again, and shows what it would have shown."""
    repl = bench.open(given=3)
    bench.run("x = [1]", repl)
    pid = getattr(repl, "worker_pid", None)
    if pid is None:
        return
    timer = threading.Timer(0.03, os.kill, (pid, signal.SIGKILL))
    timer.start()
    code = "print('begin')\nx.append(2)\nfor i in range(200_000): pass\nprint(x, given)"
    bench.prints(code, "begin\n[1, 2] 3\n", repl)
    timer.join()
    bench.prints("print(x)", "[1, 2]\n", repl)


def _kill(repl: Session) -> None:
    """Kill the worker, if there is one: backends that have none are excused."""
    pid = getattr(repl, "worker_pid", None)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


CHECKS: tuple[Check, ...] = (
    state_persists,
    output_is_shown,
    variables_are_bound,
    tracebacks_are_the_agents,
    output_before_a_failure_is_kept,
    syntax_errors_are_the_agents,
    tools_take_positions_and_keywords,
    calls_are_numbered,
    tool_failures_can_be_caught,
    launches_are_awaited,
    launches_can_be_gathered,
    answers_come_one_by_one,
    promises_can_fail,
    coroutines_nest,
    unawaited_launches_do_no_harm,
    launches_of_earlier_turns_are_refused,
    idle_sessions_can_be_dumped,
    fresh_sessions_can_be_dumped,
    waiting_sessions_can_be_dumped,
    sessions_at_a_call_can_be_dumped,
    damaged_dumps_are_refused,
    many_sessions_wait_at_once,
    sessions_are_apart,
    randomness_is_seeded,
    nothing_else_is_random,
    clock_is_frozen,
    nobody_sleeps,
    closing_twice_is_allowed,
    abandoned_snippets_give_their_output,
    dead_workers_cost_an_idle_session_nothing,
    dead_workers_cost_a_waiting_session_nothing,
    dead_workers_cost_a_running_snippet_nothing,
)
