import ast
import asyncio
import contextlib
import inspect
import io
import sys
import types

import pytest

from rao_envs.sandbox.monty import MontySandbox
from rao_envs.sandbox.monty.prelude import NAMES, PARTS, WHOLE
from rao_envs.sandbox.monty.rewriting import hint, missing_module, missing_name, parts_of, readable, rewrite
from rao_envs.testing import share_that_runs
from rao_envs.testing.sandbox.corpus import IDIOMS, behaves, try_idiom
from rao_envs.testing.sandbox.workbench import LIMITS, TOOLS, Workbench


@pytest.fixture(scope="module")
def sandbox():
    with MontySandbox(max_workers=2, limits=LIMITS) as made:
        yield made


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda idiom: idiom.name)
def test_an_idiom_does_as_declared(idiom, sandbox):
    done = try_idiom(idiom, sandbox)
    assert behaves(idiom, done), f"{done.fault}: {done.text}"


def test_most_habits_run(sandbox):
    assert len(IDIOMS) == len({idiom.name for idiom in IDIOMS}) >= 90
    assert share_that_runs(sandbox) == sum(idiom.runs for idiom in IDIOMS) / len(IDIOMS) >= 0.7


ONLY_HERE = {"asyncio.run(main())": "a loop is running already", "stderr": "the sandbox shows both streams"}


@pytest.mark.parametrize(
    "idiom", [idiom for idiom in IDIOMS if idiom.runs and idiom.name not in ONLY_HERE], ids=lambda idiom: idiom.name
)
def test_what_runs_shows_what_cpython_shows(idiom):
    if idiom.name == "f-strings with the same quotes inside" and sys.version_info < (3, 12):
        pytest.skip("new in Python 3.12")
    shown = asyncio.run(_in_cpython(idiom.code))
    if idiom.name == "as_completed":
        assert sorted(shown) == sorted(idiom.text)  # CPython promises no order
    elif idiom.name == "time and datetime":
        assert shown.split()[-1] == idiom.text.split()[-1]
    else:
        assert shown == idiom.text


async def _in_cpython(code: str) -> str:
    """Run a snippet in this process, as the sandbox does; only for the corpus, which is ours."""
    count = iter(range(100))

    def launch_subagent(*args):
        number = next(count)

        async def child():
            return f"child {number}"

        return child()

    names = {"launch_subagent": launch_subagent, "__name__": "__main__"}
    module = types.ModuleType("__main__")
    module.__dict__.update(names)
    tree = ast.parse(code)
    if isinstance(tree.body[-1], ast.Expr):
        shown = ast.parse("_show(0)").body[0]
        shown.value.args = [tree.body[-1].value]
        tree.body[-1] = ast.fix_missing_locations(ast.copy_location(shown, tree.body[-1]))
    out = io.StringIO()
    module.__dict__["_show"] = lambda value: value is None or print(repr(value))
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", module)
        result = eval(compile(tree, "<corpus>", "exec", flags=flags), module.__dict__)
        if inspect.iscoroutine(result):
            await result
    return out.getvalue()


# Rewriting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "runs_as"),
    [
        ("x = asyncio.create_task(f())", "x = __rao_create_task(f())"),
        ("asyncio.gather(a, return_exceptions=True)", "__rao_gather(a, return_exceptions=True)"),
        ("asyncio.gather(a)", "asyncio.gather(a)"),
        ("import asyncio as aio\naio.wait_for(x, 1)", "import asyncio as aio\n__rao_wait_for(x, 1)"),
        ("other.create_task(x)", "other.create_task(x)"),
        ("del x", "x = None"),
        ("del x, y", "x = None; y = None"),
        ("del x[0]", "[(x).pop((0))] and None"),
        ("del d[1, 2]", "[(d).pop((1, 2))] and None"),
        ("del (a or b)[k]", "[(a or b).pop((k))] and None"),
        ("del x[1:2]", "(x)[(1):(2)] = []"),
        ("del x[::2]", "del x[::2]"),
        ("del x.y", "del x.y"),
        ("del x, y.z", "del x, y.z"),
        ("s = 'del x'", "s = 'del x'"),
        ("# del x\nif y: del y", "# del x\nif y: y = None"),
        ("é = 1; del é; del d['é']", "é = 1; é = None; [(d).pop(('é'))] and None"),
        ("x = 1\rdel x\ry = 2", "x = 1\nx = None\ny = 2"),
        ("import heapq", "heapq = __rao_module_heapq"),
        ("import json, heapq as h", "import json; h = __rao_module_heapq"),
        ("from heapq import heappush as p, heappop", "p = __rao_heappush; heappop = __rao_heappop"),
        ("from functools import wraps, partial", "from functools import partial; wraps = __rao_wraps"),
        ("from functools import (\n    wraps,\n)\nx", "wraps = __rao_wraps\n\n\nx"),
        ("from heapq import nothing", "from heapq import nothing"),
        ("from .heapq import heappop", "from .heapq import heappop"),
        ("from collections import *", "from collections import Counter, defaultdict, deque, namedtuple"),
        ("from nowhere import *", "from nowhere import *"),
        ("del x[asyncio.create_task(y)]; z = 1", "[(x).pop((asyncio.create_task(y)))] and None; z = 1"),
        ("del x (", "del x ("),
    ],
)
def test_rewriting_replaces_what_it_must_and_nothing_else(written, runs_as):
    assert rewrite(written) == runs_as


@pytest.mark.parametrize("code", ["del " + "(" * 5000, "del x\n" + "-" * 50_000 + "1", "del x\n" + "x." * 30_000 + "x"])
def test_rewriting_never_raises(code):
    assert isinstance(rewrite(code), str)


def test_rewriting_keeps_line_numbers(sandbox):
    bench = Workbench(lambda limits: sandbox, sandbox)
    code = "from functools import (\n    wraps,\n    partial,\n)\nx = 1\ndel x\nnope"
    bench.fails(code, "line 7")
    bench.close()


def test_a_deletion_as_the_last_line_shows_nothing(sandbox):
    bench = Workbench(lambda limits: sandbox, sandbox)
    bench.prints("d = {'a': 1}\ndel d['a']", "")
    bench.close()


def test_parts_are_loaded_only_when_they_are_needed(sandbox):
    assert parts_of(rewrite("import json\nprint(1)")) == []
    assert parts_of(rewrite("import heapq\nasyncio.create_task(x)")) == ["asyncio", "heapq"]
    repl = sandbox.open(TOOLS, {}, 0)
    repl.start("import json\nx = asyncio = 1")
    assert repl._runner.at.parts == 0
    repl.close()


def test_every_part_runs_and_offers_what_it_says(sandbox):
    for part in PARTS:
        names = sorted(NAMES[part])
        code = f"from {part} import {', '.join(names)}\nprint(len([{', '.join(names)}]))"
        bench = Workbench(lambda limits: sandbox, sandbox)
        bench.prints(code, f"{len(names)}\n")
        if part in WHOLE:
            bench.prints(f"import {part} as m\nprint(m.{names[0]} is not None)", "True\n")
        bench.close()


def test_no_two_parts_share_a_name():
    names = [name for part in NAMES.values() for name in part]
    assert len(names) == len(set(names))


def test_tracebacks_show_neither_the_prelude_nor_its_names(sandbox):
    bench = Workbench(lambda limits: sandbox, sandbox)
    for code in ("import heapq\nheapq.heappop([])", "import asyncio\nasyncio.create_task()", "import string as s\ns.x"):
        done = bench.fails(code)
        assert "rao" not in done.text
        assert code.split("\n")[1].split(".")[-1] in done.text
    bench.close()


def test_hints_look_at_the_error_only():
    assert (
        hint("Traceback\n  yield expressions\nNotImplementedError: no yield expressions")
        == "Build a list and return it."
    )
    assert hint("Traceback\n  x = 'yield expressions'\nValueError: no") == ""
    assert readable("plain") == "plain"


def test_missing_things_are_named_with_a_mend_and_cut_short():
    assert missing_name("exit").endswith("To end, call finish(...).")
    assert missing_name("zzz") == "name 'zzz' is not defined."
    assert "there are" in missing_module("heapq.x")
    assert len(missing_module("m" * 10_000)) < 300
    assert len(missing_name("n" * 10_000)) < 300
