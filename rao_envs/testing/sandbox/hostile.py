"""The checks of `rao_envs.testing.self_check` on what a sandbox must withstand from hostile code."""

from __future__ import annotations

import time
from typing import Any

from rao_envs.steps import Call, Done, Failure, Value
from rao_envs.testing.sandbox.workbench import LIMITS, SLACK, TOOLS, Check, Workbench, expect

__all__ = ["CHECKS"]


def endless_loops_are_stopped(bench: Workbench) -> None:
    """A loop without end is stopped at the time limit, in the same words every time."""
    for code in ("while True: pass", "while True:\n    try:\n        while True: pass\n    except BaseException: pass"):
        one, two = bench.fails(code, "Timeout"), bench.fails(code)
        expect(one == two, f"two runs, two observations: {one.text!r} and {two.text!r}")


def endless_questions_are_stopped(bench: Workbench) -> None:
    """A loop that lives on what the sandbox refuses (names, modules, files) is stopped too."""
    for trouble in ("nope", "nope()", "import nope", "open('nope')"):
        code = f"while True:\n    try:\n        {trouble}\n    except Exception:\n        pass"
        bench.fails(code)


def endless_sleep_is_stopped(bench: Workbench) -> None:
    """Sleeping in a loop is stopped."""
    bench.fails("import time\nwhile True: time.sleep(9)")
    bench.fails("import asyncio\nwhile True: await asyncio.sleep(9)")


def memory_is_bounded(bench: Workbench) -> None:
    """Code that takes too much memory is stopped, and the session starts afresh."""
    for code in ("x = [0] * 10**10", "x = 'y' * 10**10", "x = []\nwhile True: x.append('y' * 10**6)", "2 ** 2 ** 40"):
        repl = bench.open(given=4)
        bench.run("x = 1", repl)
        bench.fails(code, "MemoryError", repl=repl)
        done = bench.run("print(given)", repl)
        expect(done.text.endswith("4\n"), f"after too much memory: {done.text!r}")


def output_is_bounded(bench: Workbench) -> None:
    """A flood of output is cut, in the same way every time; so is a last value of any size."""
    for code in ("while True: print('flood ' * 100)", "print('x' * 10**6)", "'x' * 10**8"):
        one, two = bench.fails(code), bench.fails(code)
        expect(len(one.text) <= LIMITS.output + 1_000, f"{code!r} shows {len(one.text)} characters")
        expect(one == two, f"{code!r}: two runs, two observations")
    most = "y" * (LIMITS.output - 1)
    bench.prints(f"print('y' * {LIMITS.output - 1})", most + "\n")


def code_length_is_bounded(bench: Workbench) -> None:
    """Longer code than allowed is refused unread."""
    bench.fails("x = 1\n" * LIMITS.code, "longer than")


def recursion_is_bounded(bench: Workbench) -> None:
    """Endless recursion is an ordinary error; deeply nested code and data are no danger."""
    repl = bench.open()
    bench.fails("def f():\n    return f()\nf()", "RecursionError", repl=repl)
    for code in ("(" * 900 + "1" + ")" * 900, "-" * 1_900 + "1", "[" * 1_900, "x" + ".x" * 900, "not " * 450 + "1"):
        bench.run(code, repl)
    bench.run("x = []\nfor i in range(100_000):\n    x = [x]\nx", repl)
    bench.prints("print('up')", "up\n", repl)


def files_are_out_of_reach(bench: Workbench) -> None:
    """No file can be read, written, listed or even asked for."""
    bench.refuses(
        "print(open('/etc/passwd').read())",
        "with open('x.txt', 'w') as f: f.write('x')",
        "import os\nprint(os.listdir('/'))",
        "import os\nos.remove('x')",
        "import os\nprint(os.stat('/etc/passwd'))",
        "from pathlib import Path\nprint(Path('/etc/passwd').read_text())",
        "from pathlib import Path\nprint(Path('/etc/passwd').exists())",
        "import os\nprint(os.environ['PATH'])",
        "import os\nprint(os.getenv('PATH').strip())",
        "import shutil\nshutil.rmtree('/tmp')",
        "import sqlite3\nsqlite3.connect('x.db')",
    )


def network_is_out_of_reach(bench: Workbench) -> None:
    """No connection can be opened."""
    bench.refuses(
        "import socket\nsocket.create_connection(('127.0.0.1', 80))",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')",
        "import http.client\nhttp.client.HTTPConnection('127.0.0.1').connect()",
        "import asyncio\nawait asyncio.open_connection('127.0.0.1', 80)",
        "import requests",
    )


def processes_are_out_of_reach(bench: Workbench) -> None:
    """No process or thread can be started, signalled or ended."""
    bench.refuses(
        "import os\nos.system('true')",
        "import os\nos.fork()",
        "import os\nos.kill(os.getpid(), 9)",
        "import os\nos._exit(1)",
        "import subprocess\nsubprocess.run(['true'])",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import threading\nthreading.Thread(target=print).start()",
        "import ctypes\nctypes.string_at(0)",
        "import signal\nsignal.alarm(1)",
    )


def introspection_finds_no_way_out(bench: Workbench) -> None:
    """Classes, frames, builtins and code objects lead nowhere."""
    bench.refuses(
        "[c for c in ().__class__.__bases__[0].__subclasses__() if 'warn' in c.__name__][0]()._module",
        "import sys\nsys._getframe().f_back.f_globals",
        "import sys\nsys.modules['os'].system('true')",
        "echo.__globals__['os']",
        "(lambda: 0).__globals__['__builtins__'].open('/etc/passwd')",
        "__builtins__.open('/etc/passwd').read()",
        "__import__('os').system('true')",
        "getattr(__import__('o' + 's'), 'system')('true')",
        "exec('import os; os.system(\"true\")')",
        "eval(\"__import__('os').system('true')\")",
        "import importlib\nimportlib.import_module('os').system('true')",
        "import gc\ngc.get_objects()[0].x",
        "try:\n    1 / 0\nexcept Exception as error:\n    error.__traceback__.tb_frame.f_globals['os']",
        "import inspect\ninspect.currentframe().f_back",
        "(await launch_subagent(1)).__class__.__mro__[1].__subclasses__()",
    )


def tools_heal(bench: Workbench) -> None:
    """Whatever a snippet does to the names of its tools, the next one finds them as they were."""
    for harm in (
        "echo = 5",
        "def echo(x): return 'mine'",
        "def \\\necho(x): return 'mine'",
        "class echo: pass",
        "\U0001d452cho = 5",
        "for echo in [1]: pass",
        "import json as echo",
        "exec('echo = 5')",
        "del echo",
        "echo, refuse = refuse, echo",
        "finish = launch_subagent = echo = print",
        "[echo := 5]",
    ):
        repl = bench.open()
        bench.run(harm, repl)
        done = bench.run("print(echo(1))", repl)
        expect(done.text == "[[1], {}]\n", f"after {harm!r} the tool gives {done.text!r}")


def scaffold_is_out_of_sight(bench: Workbench) -> None:
    """Names of the sandbox's own making can be neither read nor set."""
    bench.refuses("__rao_gather = 5", "print(__rao_create_task)", "def __rao_module_heapq(): pass")
    repl = bench.open()
    bench.run("import asyncio\nt = asyncio.create_task(launch_subagent(1))\nprint(await t)", repl)
    bench.run("exec('__' + 'rao_create_task = None')\nlist = len = asyncio = None", repl)
    code = "import asyncio\nt = asyncio.create_task(launch_subagent(2))\nprint(await t)"
    bench.prints(code, "child 0\n", repl)


def broken_text_is_mended(bench: Workbench) -> None:
    """Lone surrogates, NUL bytes and odd line ends neither raise nor get out."""
    for code in ("print('a\ud800b')", "'\\ud800'", "print('a\\0b')", "x = 1\r\ny = 2\rprint(x, y)", "\ufeffprint(1)"):
        done = bench.run(code)
        done.text.encode()
    bench.fails("print('a')\0", "SyntaxError")
    bench.fails("raise ValueError('\\ud800')").text.encode()


def huge_numbers_are_no_danger(bench: Workbench) -> None:
    """Integers too long to print are an error of the agent's, as a value, in print and as an argument."""
    repl = bench.open()
    for code in ("10 ** 5000", "print(10 ** 5000)", "x = 10 ** 5000", "str(10 ** 5000)", "int('9' * 5000)"):
        step = repl.start(code)
        expect(isinstance(step, Done), f"{code!r} gave {type(step).__name__}")
    step = repl.start("echo(10 ** 5000)")
    expect(isinstance(step, Call | Done), "a huge argument")
    if isinstance(step, Call):
        repl.answer(step.id, Value(None))
    bench.prints("print('up')", "up\n", repl)


def arguments_may_be_anything(bench: Workbench) -> None:
    """Functions, classes, modules, coroutines and cyclic values as arguments reach the host as harmless things."""
    repl = bench.open()
    for value in (
        "lambda: 1",
        "echo",
        "print",
        "int",
        "type('')",
        "object",
        "launch_subagent(1)",
        "range(3)",
        "{1, (2, 3)}",
        "b'x'",
        "...",
        "1j",
        "float('nan')",
        "ValueError('x')",
        "[i for i in range(1000)]",
        "cyclic",
        "deep",
        "Thing()",
    ):
        code = "class Thing: pass\ncyclic = []\ncyclic.append(cyclic)\ndeep = []\nfor i in range(5000): deep = [deep]\n"
        step = repl.start(f"{code}print(echo({value}))")
        while isinstance(step, Call):
            _harmless(step)
            step = repl.answer(step.id, Value(1) if step.name == "echo" else Value("x"))
        expect(isinstance(step, Done), f"{value} led to a {type(step).__name__}")
    bench.prints("print('up')", "up\n", repl)


def _harmless(call: Call) -> None:
    expect(call.name in TOOLS, f"a call of {call.name!r}")
    todo: list[Any] = [*call.args, *call.kwargs.values()]
    for _ in range(100):
        if not todo:
            return
        value = todo.pop()
        expect(not hasattr(value, "cr_frame") and not hasattr(value, "__globals__"), f"a live {type(value).__name__}")
        todo += value if isinstance(value, list | tuple) else []


def answers_may_be_anything_plain(bench: Workbench) -> None:
    """No text, number or key that a tool returns can make what the code does next anybody's fault but the agent's."""
    deep: list[Any] = []
    for _ in range(60):
        deep = [deep]
    answers: tuple[Any, ...] = ("\\ud800", "\ud800", {"\udfff": [float("nan"), 10**900]}, {1: None, "": ()}, deep)
    for answer in answers:
        for ending in ("while True: pass", "nope", "raise ValueError('\\ud83d')"):
            repl = bench.open()
            step = repl.start(f"x = echo(1)\n{ending}")
            expect(isinstance(step, Call), f"a call was due: {step!r}")
            done = repl.answer(0 if isinstance(step, Done) else step.id, Value(answer))  # type: ignore[union-attr]
            expect(isinstance(done, Done) and done.fault == "agent", f"{answer!r}, then {ending!r}: {done!r}")
    for reason in ("\ud800", "\\ud800", ""):
        repl = bench.open()
        step = repl.start("try:\n    echo(1)\nexcept ValueError as error:\n    print('caught')")
        expect(isinstance(step, Call), f"a call was due: {step!r}")
        done = repl.answer(step.id, Failure(reason))  # type: ignore[union-attr]
        expect(done == Done("caught\n"), f"a failure in the words {reason!r}: {done!r}")


def promises_do_not_excuse_endless_loops(bench: Workbench) -> None:
    """A launch that is not awaited, then an endless loop: a failed turn, and the session goes on afresh."""
    repl = bench.open(given=4)
    for before in ("launch_subagent(1)", "x = launch_subagent(1)", "await launch_subagent('\\\\ud800')"):
        bench.fails(f"{before}\nwhile True: pass", "Timeout", repl=repl)
        bench.prints("print(given)", "4\n", repl)


SHARED = {
    "lists": "x = 'y'\nfor i in range(40): x = [x, x]",
    "tuples": "x = 'y'\nfor i in range(40): x = (x, x)",
    "dicts": "x = 'y'\nfor i in range(40): x = {'a': x, 'b': x}",
    "keys": "x = 'y'\nfor i in range(40): x = (x, x)\nx = {x: 1}",
    "sets": "x = 'y'\nfor i in range(40): x = (x, x)\nx = {x}",
    "frozen sets": "x = frozenset('y')\nfor i in range(40): x = frozenset([(x, 1), (x, 2)])",
    "one wide key": "x = (0,) * 100_000\nx = [{x: i} for i in range(10_000)]",
    "text": "x = ['y' * 10**6] * 3_000",
    "bytes": "x = [b'y' * 10**6] * 3_000",
    "numbers": "x = [10**4_000] * 100_000",
    "classes": "class A: pass\nx = 'y'\nfor i in range(40):\n    a = A()\n    a.l, a.r, x = x, x, a",
    "a mixture": "x = 'y'\nfor i in range(20): x = [{'k': (x, x)}, {i: x}]",
    "a cycle": "x = [1]\nx.append(x)",
    "an exception": "x = 'y' * 10**6\nfor i in range(40): x = [x, x]\nx = [ValueError('y' * 10**6)] * 3_000",
}
"""Code that makes an `x` which is small in memory and huge when it is written out."""

USES = (
    "x",
    "echo(x)",
    "echo(key=[x])",
    "echo(*[x, x])",
    "finish(x)",
    "await launch_subagent(x)",
    "raise ValueError(x)",
    "raise ValueError(f'{x}')",
    "print(x)",
    "def f(): return x\nf()",
)
"""What may be done with it."""


def shared_values_are_bounded(bench: Workbench) -> None:
    """A value that is small in memory and huge when written out costs the host neither time nor memory."""
    for what, code in SHARED.items():
        for use in USES if what in ("lists", "keys", "text") else USES[:3]:
            begin = time.monotonic()
            done = bench.run(f"{code}\n{use}")
            seconds = time.monotonic() - begin
            expect(seconds < LIMITS.seconds + SLACK, f"{use} with {what} took {seconds:.1f} s")
            room = 100 * LIMITS.output if use.startswith("raise") else LIMITS.output + 1_000
            expect(len(done.text) <= room, f"{use} with {what} shows {len(done.text):,} characters")
            for call in bench.calls:
                _harmless(call)
            bench.calls.clear()


def odd_exceptions_are_the_agents(bench: Workbench) -> None:
    """SystemExit, KeyboardInterrupt and BaseException end the snippet and nothing else."""
    repl = bench.open()
    bench.run("kept = 1", repl)
    for error in (
        "SystemExit",
        "SystemExit('0')",
        "KeyboardInterrupt",
        "BaseException('x')",
        "MemoryError",
        "TimeoutError",
    ):
        bench.fails(f"raise {error}", error.split("(")[0], repl=repl)
    bench.prints("kept", "1\n", repl)


def only_tools_reach_the_host(bench: Workbench) -> None:
    """Unknown functions fail inside the sandbox; the host is asked for nothing but its tools."""
    repl = bench.open()
    for code in ("nope(1)", "print_(2)", "system('x')", "launch(3)", "self.finish(1)"):
        bench.fails(code, "Error", repl=repl)
    expect(not bench.calls, f"the host was asked for {bench.calls!r}")


def catching_everything_changes_nothing(bench: Workbench) -> None:
    """Code that catches every exception cannot keep `finish` from ending it."""
    code = "try:\n    finish('x')\nexcept BaseException:\n    pass\nprint('after')"
    repl = bench.open()
    step = repl.start(code)
    expect(isinstance(step, Call) and step.name == "finish", f"finish is a call: {step!r}")
    expect(repl.abandon() == "", "it went on after finish")


CHECKS: tuple[Check, ...] = (
    endless_loops_are_stopped,
    endless_questions_are_stopped,
    endless_sleep_is_stopped,
    memory_is_bounded,
    output_is_bounded,
    code_length_is_bounded,
    recursion_is_bounded,
    files_are_out_of_reach,
    network_is_out_of_reach,
    processes_are_out_of_reach,
    introspection_finds_no_way_out,
    tools_heal,
    scaffold_is_out_of_sight,
    broken_text_is_mended,
    huge_numbers_are_no_danger,
    arguments_may_be_anything,
    answers_may_be_anything_plain,
    promises_do_not_excuse_endless_loops,
    shared_values_are_bounded,
    odd_exceptions_are_the_agents,
    only_tools_reach_the_host,
    catching_everything_changes_nothing,
)
