"""Values stay inside the interpreter: what is text, what needs no guard, and what agents see of all this."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rao_envs.sandbox import Call, Done, Value
from rao_envs.sandbox.monty import MontySandbox, guard
from rao_envs.testing.sandbox.workbench import LIMITS, TOOLS, Workbench


@pytest.fixture(scope="module")
def sandbox():
    with MontySandbox(max_workers=2, limits=LIMITS) as made:
        yield made


@pytest.fixture
def bench(sandbox):
    made = Workbench(lambda limits: sandbox, sandbox)
    yield made
    made.close()


# Code that needs no guard -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "print(echo({'a': 1, \"b\": -2.5}, ('c', 4)))",
        "import asyncio\nawait asyncio.gather(launch_subagent({'a': 1}, 25), launch_subagent({}))",
        "print('é \"x\" # = *', [None, True], {1: {}})",
        "echo('a')\nfinish(\"done\")",
        "",
    ],
)
def test_literals_and_calls_need_no_guard(code):
    assert guard.is_literal(code, TOOLS)


@pytest.mark.parametrize(
    "code",
    [
        "x = 1", "print(x)", "(print := 1)", "print = (print, print)", "[1] * 9", "(0,) * 9", "2 ** 9", "{'a', 'b'}",
        "{echo(1)}", "{*echo(1)}", "echo(key=1)", "for print in echo(1): pass", "lambda: 1", "'''a'''", '"""a"""',
        "''' ' ''' x ''' ' '''", "'a\\'", "f'{x}'", "b'a'", "'%s' % x", "tuple(echo(1))", "echo(1).x", "echo2(1)",
        "exec('x')", "1e999", "echo(" + "9" * 31 + ")", "# comment", "prin\u1d57('x')", "import json", "'a\nb'",
        "class echo: pass", "del echo", "with echo(1): pass", "echo @ echo", "print(1) if 1 else 2", "'a", "\\\n",
    ],
)  # fmt: skip
def test_whatever_might_bind_or_multiply_is_guarded(code):
    assert not guard.is_literal(code, TOOLS)


def test_one_snippet_that_needs_the_guard_guards_the_session_for_good(bench):
    repl = bench.open()
    bench.prints("print(echo(1))", "[[1], {}]\n", repl)
    assert not repl._runner.at.guarded
    bench.run("x = 5", repl)
    bench.prints("print(echo(1))", "[[1], {}]\n", repl)
    assert repl._runner.at.guarded


_SCALAR = st.sampled_from(["1", "-2.5", "'a'", '"é\u2028"', "None", "True", "''", "'[]'", "0.1", "99999999999"])
_VALUE = st.recursive(
    _SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(inner, min_size=2, max_size=3).map(lambda items: f"({', '.join(items)})")
        | st.dictionaries(st.sampled_from(["'a'", "1", '"é"', "'c d'"]), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
        | inner.map(lambda value: f"echo({value})")
    ),
    max_leaves=6,
)
_CODE = st.lists(
    _VALUE | _VALUE.map(lambda value: f"print({value})") | st.sampled_from(["refuse(1)", "await launch_subagent([1])"]),
    min_size=1,
    max_size=3,
).map("\n".join)


@settings(max_examples=60)
@given(_CODE)
def test_guarded_or_not_the_agent_sees_the_same(sandbox, code):
    assert guard.is_literal(code, TOOLS)
    bench = Workbench(lambda limits: sandbox, sandbox)
    bare, guarded = bench.open(), bench.open()
    bench.run("x = 1", guarded)
    one = bench.run(code, bare)
    assert not bare._runner.at.guarded
    # The traceback of a second snippet says so.
    assert bench.run(code, guarded) == Done(one.text.replace("<python-input-0>", "<python-input-2>"), one.fault)
    bench.close()


# What the host is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("{1, 2}", [1, 2]),
        ("{'b', 'a'}", ["a", "b"]),
        ("b'x'", "x"),
        ("[(1, {2: None, True: 'x'})]", [[1, {"2": None, "true": "x"}]]),
        ("Counter('aab')", {"a": 2, "b": 1}),
        ("'\\ud800'", "\ufffd"),
    ],
)
def test_arguments_arrive_as_plain_data(bench, value, plain):
    bench.run(f"from collections import Counter\nfinish({value}, key={value})")
    assert bench.calls[0].args == (plain,)
    assert bench.calls[0].kwargs == {"key": plain}


@pytest.mark.parametrize(
    "value", ["lambda: 1", "print", "echo", "Thing()", "{(1, 2): 3}", "range(3)", "10**5000", "..."]
)
def test_other_arguments_are_refused_by_the_tools_name(bench, value):
    done = bench.fails(f"class Thing: pass\necho({value})", "ValueError: echo: ", "Pass plain data")
    assert "__rao_" not in done.text
    assert done.text.count("File") == 1
    assert not bench.calls


@pytest.mark.parametrize(
    "forged",
    [
        "exec('__' + 'rao_call_echo([1])')",
        "exec('__' + 'rao_call_echo((0,) * 9)')",
        "exec('def f(x): return __' + 'rao_call_echo(x)')\nf({(1,): 2})",
        "eval('__' + 'rao_call_finish(1)')",
    ],
)
def test_calls_that_do_not_come_from_the_guard_are_refused(bench, forged):
    bench.fails(forged)
    assert not bench.calls


@pytest.mark.parametrize(
    "harm", ["pack = 5", "pack = lambda *a: (1, 2)", "weigh = None", "show = 1", "call_echo = print"]
)
def test_code_that_breaks_the_guard_breaks_only_its_own_tools(bench, harm):
    repl = bench.open()
    bench.run(f"exec('__' + 'rao_{harm}')", repl)
    for code in ("echo([1])", "x = {(1, 2): 3}\nx", "print('up')"):
        bench.run(code, repl)
    assert all(isinstance(call, Call) for call in bench.calls)


@pytest.mark.parametrize("harm", ["print", "5", "[]"])
def test_code_that_hides_the_guards_own_call_is_restarted(bench, harm):
    repl = bench.open()
    bench.run(f"exec('__' + 'rao_call_ = {harm}')", repl)
    bench.fails("x = 1", "reserved", "restarted", repl=repl)
    bench.prints("print(echo(1))", "[[1], {}]\n", repl)


def test_builtins_that_are_overwritten_do_not_hurt_the_tools(bench):
    repl = bench.open()
    bench.run("isinstance = len = str = list = dict = tuple = ValueError = TypeError = type = None", repl)
    done = bench.run("x = echo([1, {2}])\nx", repl)
    assert done == Done("[[[1, [2]]], {}]\n")


# The last expression ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("x = 1\nx", "1\n"),
        ("x = 1; x", "1\n"),
        ("x = 1\n(\n  x, # one\n  2\n)", "(1, 2)\n"),
        ("x = 1\nx,", "(1,)\n"),
        ("x = None\nx", ""),
        ("x = 'None'\nx", "'None'\n"),
        ("x = 'a\\n\"b\\''\nx", "'a\\n\"b\\''\n"),
        ("x = {(1, 2): 'y'}\nx", "{(1, 2): 'y'}\n"),
        ("x = {'b', 'a'}\nx", "{'b', 'a'}\n"),
        ("x = 1\nf'{x!r:>3}'", "'  1'\n"),
        ("x = 1\nawait launch_subagent(x)", "'child 0'\n"),
        ("x = 1\r\nx\r\n", "1\n"),
        ("x = 1\n'é' + 'ü'  # é", "'éü'\n"),
        ("x = 1\n[y for y in (x, 2)]; None", ""),
        ("x = 1\nprint(x)", "1\n"),
        ("class A:\n    def __repr__(self): return 'an A'\nA()", "an A\n"),
        ("class A:\n    def __repr__(self): raise ValueError\nA()", "[the last value cannot be shown: ValueError]\n"),
        ("x = 10 ** 5000\nx", "[the last value cannot be shown: ValueError]\n"),
        ("x = 'y' * 10**6\nx", "[the last value is too large to show]\n"),
        ("x = 1\nif x: x", ""),
        ("def f(): pass", ""),
    ],
)
def test_the_last_expression_is_shown(bench, code, shown):
    assert bench.run(code) == Done(shown)


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("x = 0\n1 / x", "    1 / x\n    ~~~~~\n"),
        ("x = 0; 1 / x", "    x = 0; 1 / x\n           ~~~~~\n"),
        ("x = 0; (1 / x) # c", "    x = 0; (1 / x) # c\n            ~~~~~\n"),
        ("x = 0\nnope(x, 'é')", "    nope(x, 'é')\n"),
        ("def f(x):\n    return x.y\nf(\n  1)", "    return x.y\n"),
        ("x = 1\nrefuse(x)", "    refuse(x)\n    ~~~~~~~~~\n"),
        ("x = 1\nsorted([x], key=refuse)", "'refuse' cannot suspend"),
    ],
)
def test_tracebacks_show_the_code_as_it_was_written(bench, code, lines):
    done = bench.fails(code, lines)
    assert "__rao_" not in done.text
    assert "return call_" not in done.text
    assert "))}'" not in done.text


def test_output_that_is_not_text_is_never_read(bench):
    repl = bench.open()
    bench.run("exec('def __' + 'rao_show(x): return {(1, 2): x}')", repl)
    assert bench.run("x = 1\nx", repl) == Done("{(1, 2): 1}")


def test_the_guard_survives_a_dump(bench):
    repl = bench.open()
    step = repl.start("x = 0\nprint(echo(x))\n1 / x")
    copy = bench.restore(repl.dump())
    for each in (repl, copy):
        done = each.answer(step.id, Value("seen"))
        assert done.fault == "agent"
        assert done.text.startswith("seen\n")
        assert "    1 / x\n    ~~~~~\n" in done.text
        bench.prints("x\nprint(echo(x))\nx", "[[0], {}]\n0\n", each)
