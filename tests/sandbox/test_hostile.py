"""What hostile agents send, through the environment: nothing escapes, raises, hangs or spoils another node."""

import json
import os
import signal
import time

import gymnasium as gym
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rao_envs  # noqa: F401
from rao_envs import ExecutionTree
from rao_envs.sandbox import SandboxLimits
from rao_envs.sandbox.monty import MontySandbox

SECONDS = 0.3
SLACK = 20.0
LIMITS = SandboxLimits(seconds=SECONDS, memory=32 * 2**20, output=20_000)


@pytest.fixture(scope="module")
def sandbox():
    with MontySandbox(max_workers=3, limits=LIMITS) as made:
        yield made


@pytest.fixture
def make(sandbox):
    made = []

    def make(action_format="code"):
        # With room for any message, so that it is read and not refused for its length.
        options = {"limits": {"context_tokens": 10**8}, "sandbox": sandbox, "action_format": action_format}
        env = gym.make("TextCraftSynth-v0", difficulty="easy", **options).unwrapped
        made.append(env)
        env.reset(seed=3, options={"task": 3})
        return env

    yield make
    for env in made:
        env.close()


def _target(env):
    return next(iter(env.tree.root.payload["targets"]))


def _family(env):
    """Let the root launch two children, so that a parent and a sibling can be watched."""
    item = _target(env)
    if env.action_format == "code":
        launch = f"launch_subagent({{{item!r}: 1}}, 9)"
        env.advance(
            {0: f"import asyncio\nkept = 'kept'\nx, y = await asyncio.gather({launch}, {launch})\nprint(x, y, kept)"}
        )
    else:
        launch = {"name": "launch_subagent", "arguments": {"targets": {item: 1}, "num_steps": 9}}
        env.advance({0: json.dumps([launch, launch])})
    assert env.ready == (1, 2)


_LOOK = {"code": "view_inventory() != {}", "calls": '[{"name": "view_inventory"}]'}
_FINISH = {"code": "finish('{}')", "calls": '[{{"name": "finish", "arguments": {{"message": "{}"}}}}]'}


def _attack(env, message):
    """Send a message as node 1 and demand that its sibling and its parent still work and the tree stays whole."""
    _family(env)
    begin = time.monotonic()
    env.advance({1: message})
    assert time.monotonic() - begin < SECONDS + SLACK
    attacker = env.tree.nodes[1]
    if attacker.status is None:
        while len(env.tree) > 3 and env.ready[0] > 2:  # children that it launched and waits for
            env.advance({env.ready[0]: _FINISH[env.action_format].format("child")})
    if attacker.status is None:
        env.advance({1: _LOOK[env.action_format]})  # it can go on itself
        if attacker.status is None:
            assert "True" in attacker.turns[-1].observation or "result" in attacker.turns[-1].observation
            env.advance({1: _FINISH[env.action_format].format("one")})
    env.advance({2: _LOOK[env.action_format]})
    sibling = env.tree.nodes[2]
    assert sibling.turns[0].fault is None
    assert "True" in sibling.turns[0].observation or "result" in sibling.turns[0].observation
    env.advance({2: _FINISH[env.action_format].format("two")})
    parent = env.tree.root
    assert "two" in parent.turns[0].observation
    assert env.action_format == "calls" or "kept" in parent.turns[0].observation
    env.advance({0: _FINISH[env.action_format].format("root")})
    _check_tree(env.tree)
    return attacker


def _check_tree(tree):
    text = tree.to_json()
    text.encode()
    again = ExecutionTree.from_json(text)
    assert again.to_json() == text
    assert again.events == tree.events
    assert tree.root.status == "finished"
    assert [event.seq for event in tree.events] == list(range(len(tree.events)))
    for node in tree.nodes:
        assert node.status is not None
        assert all(turn.observation is not None for turn in node.turns if node.status != "context")


SHARE = "x = 'y'\nfor i in range(40): x = [x, x]\n"

HOSTILE = {
    "files": "print(open('/etc/passwd').read())",
    "directories": "import os\nprint(os.listdir('/'))",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', 80))",
    "processes": "import subprocess\nsubprocess.run(['id'])",
    "os": "import os\nos.system('id')",
    "import": "__import__('os').system('id')",
    "introspection": "print(().__class__.__bases__[0].__subclasses__())",
    "frames": "import sys\nprint(sys._getframe().f_back.f_globals)",
    "globals of a tool": "print(get_info.__globals__)",
    "endless loop": "while True: pass",
    "loop that catches": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "loop of undefined names": "while True:\n    try: nope\n    except Exception: pass",
    "loop of missing modules": "while True:\n    try: import nope\n    except Exception: pass",
    "loop of refused files": "while True:\n    try: open('x')\n    except Exception: pass",
    "loop of tool calls": "while True: view_inventory()",
    "loop of failing tool calls": "while True:\n    try: craft(1)\n    except Exception: pass",
    "launch, then an endless loop": "launch_subagent({ITEM: 1}, 5)\nwhile True: pass",
    "answer with an escape, then an endless loop": "x = get_info('\\\\ud800')\nwhile True: pass",
    "shared lists": SHARE + "x",
    "shared lists as an argument": SHARE + "view_inventory(x)",
    "shared lists as a keyword": SHARE + "get_info(items=x)",
    "shared lists in a launch": SHARE + "await launch_subagent({ITEM: 1}, 5, x)",
    "shared lists printed": SHARE + "print(x)",
    "shared tuples as a key": SHARE.replace("[x, x]", "(x, x)") + "{x: 1}",
    "shared tuples as a key in an argument": SHARE.replace("[x, x]", "(x, x)") + "get_info({x: 1})",
    "finish with shared lists": SHARE + "finish(x)",
    "finish with gigabytes": "finish(['y' * 10**6] * 3_000)",
    "finish with megabytes": "finish(['y' * 10**6] * 3)",
    "launch with megabytes": "await launch_subagent({ITEM: 1}, 5, 'y' * 10**6 * 2)",
    "loop of spawns": "while True: launch_subagent({'x': 1}, 5)",
    "sleep": "import time\nwhile True: time.sleep(1000)",
    "recursion": "def f(): return f()\nf()",
    "recursion that catches": "def f():\n    try: f()\n    except BaseException: f()\nf()",
    "memory": "x = []\nwhile True: x.append('y' * 10**6)",
    "memory at once": "x = 'y' * 10**11",
    "huge power": "2 ** 2 ** 50",
    "huge format": "print('{:>10000000000}'.format(1))",
    "output": "while True: print('flood ' * 1000)",
    "huge last value": "'x' * 10**7",
    "deep value": "x = []\nfor i in range(10**5): x = [x]\nx",
    "deep argument": "x = []\nfor i in range(10**5): x = [x]\nget_info(x)",
    "cyclic argument": "x = []\nx.append(x)\nget_info(x)",
    "wide argument": "get_info(list(range(250_000)))",
    "huge integer argument": "craft({'a': 10**5000}, ('b', 10**5000))",
    "long integer argument": "craft({'a': 10**4200}, ('b', 10**4200))",
    "functions as arguments": "get_info(print)\nget_info([get_info, lambda: 1, int])",
    "coroutine as argument": "get_info(launch_subagent({'x': 1}, 2))",
    "unknown keywords": "get_info(items=['a'], node=0, self=1, world=2)",
    "odd keywords": "get_info(**{'a b': 1, '': 2, '__rao': 3})",
    "many arguments": "get_info(*range(5000))",
    "tool overwritten": "get_info = finish = view_inventory = launch_subagent = craft = print",
    "tool defined anew": "def view_inventory():\n    return {}\nclass finish: pass",
    "tool in mathematical letters": "\U0001d45fiew_inventory = \U0001d453inish = 5",
    "scaffold": "__rao_gather = None",
    "builtins overwritten": "print = len = str = ValueError = None",
    "surrogates": "print('\ud800')\nget_info('\ud800\udfff')",
    "surrogate escapes": "get_info('\\ud800')",
    "NUL": "print('a\0b')\0",
    "NUL in text": "get_info('a\\0b')",
    "parentheses": "(" * 20_000,
    "operators": "-" * 50_000 + "1",
    "attributes": "x" + ".x" * 30_000,
    "huge message": "x = '" + "y" * 200_000 + "'",
    "fence without end": "```" + "a" * 60_000,
    "fence and blanks": "```" + " " * 60_000,
    "tags without end": "<python>" * 10_000,
    "thoughts without end": "<think>" * 10_000,
    "nothing": "",
    "blank": " \n\t ",
    "SystemExit": "raise SystemExit",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "BaseException": "raise BaseException('x')",
    "exit": "exit()",
    "not awaited": "a = launch_subagent({ITEM: 1}, 5)\nprint('on')",
    "gather not awaited": "import asyncio\nasyncio.gather(*[launch_subagent({ITEM: 1}, 5) for i in range(3)])",
    "awaited twice": "a = launch_subagent({ITEM: 1}, 5)\nprint(await a)\nprint(await a)",
    "launch without arguments": "await launch_subagent()",
    "launch with text": "await launch_subagent('everything', 5)",
    "launch with nothing": "await launch_subagent({}, 5)",
    "launch with an unknown item": "await launch_subagent({'nope': 1}, 5)",
    "launch with zero units": "await launch_subagent({ITEM: 0}, 5)",
    "launch with negative units": "await launch_subagent({ITEM: -1}, 5)",
    "launch with huge units": "await launch_subagent({ITEM: 10**5000}, 5)",
    "launch with zero steps": "await launch_subagent({ITEM: 1}, 0)",
    "launch with negative steps": "await launch_subagent({ITEM: 1}, -(10**400))",
    "launch with huge steps": "await launch_subagent({ITEM: 1}, 10**5000)",
    "launch with long steps": "await launch_subagent({ITEM: 1}, 10**900)",
    "launch with fractions": "await launch_subagent({ITEM: 0.5}, float('nan'))",
    "launch with a huge context": "await launch_subagent({ITEM: 1}, 5, 'x' * 10**6)",
    "launch with a broken context": "await launch_subagent({ITEM: 1}, 5, '\\ud800')",
    "launch with a huge allotment": "await launch_subagent({ITEM: 1}, 5, '', {ITEM: 10**900})",
    "launch of a function": "await launch_subagent({ITEM: print}, 5)",
    "finish with a function": "finish(print)",
    "finish with a deep value": "x = []\nfor i in range(10**5): x = [x]\nfinish(x)",
    "finish with a huge integer": "finish(10**5000)",
    "finish with a coroutine": "finish(launch_subagent({ITEM: 1}, 5))",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_harms_nobody_else(name, make):
    env = make()
    attacker = _attack(env, HOSTILE[name].replace("ITEM", repr(_target(env))))
    first = attacker.turns[0]
    assert first.fault in (None, "agent")
    assert "root:" not in first.observation
    assert "/home" not in first.observation
    assert len(first.observation) <= env.limits.max_observation_chars + 200


FINISHES = {
    "plain": ("finish('x')", "x"),
    "in a function": ("def f():\n    finish('x')\nf()\nprint('after')", "x"),
    "in a coroutine": (
        "import asyncio\nasync def f():\n    finish('x')\nawait asyncio.gather(f(), f())\nprint('after')",
        "x",
    ),
    "beside a launch": (
        "import asyncio\nasync def f():\n    finish('x')\nawait asyncio.gather(launch_subagent({ITEM: 1}, 5), f())",
        "x",
    ),
    "in try": ("try:\n    finish('x')\nexcept BaseException:\n    pass\nfinally:\n    finish('y')", "x"),
    "twice": ("finish('x')\nfinish('y')", "x"),
    "without a message": ("finish()", None),
    "with an empty message": ("finish('')", ""),
    "with None": ("finish(None)", None),
    "with data": ("finish({'a': (1, {2}), 3: b'x'})", {"a": [1, [2]], "3": "x"}),
    "with several": ("finish(1, 2, why='x')", {"message": [1, 2], "why": "x"}),
    "with a surrogate": ("finish('\\ud800')", "\ufffd"),
    "with nan": ("finish(float('nan'))", "nan"),
    "after a failure": ("try:\n    1 / 0\nexcept Exception:\n    finish('x')", "x"),
    "in a loop without end": ("while True: finish('x')", "x"),
}


@pytest.mark.parametrize("name", FINISHES)
def test_finish_ends_the_node_wherever_it_stands(name, make):
    code, result = FINISHES[name]
    env = make()
    attacker = _attack(env, code.replace("ITEM", repr(_target(env))))
    assert (attacker.status, attacker.result, len(attacker.turns)) == ("finished", result, 1)
    assert "after" not in attacker.turns[0].observation


_LAUNCH = '{"name": "launch_subagent", "arguments": {"targets": {"ITEM": 1}, "num_steps": STEPS}}'

CALLS = {
    "no JSON": "please craft",
    "empty": "",
    "empty list": "[]",
    "a number": "5",
    "null": "null",
    "a list of numbers": "[1, 2]",
    "no name": '[{"arguments": {}}]',
    "a name that is none": '[{"name": 5}]',
    "unknown tool": '[{"name": "system", "arguments": {"command": "id"}}]',
    "dunder tool": '[{"name": "__init__"}, {"name": "verify"}, {"name": "shop"}]',
    "arguments that are none": '[{"name": "get_info", "arguments": 5}]',
    "arguments in text": '[{"name": "get_info", "arguments": "{}"}]',
    "arguments in bad text": '[{"name": "get_info", "arguments": "{"}]',
    "node as an argument": '[{"name": "get_info", "arguments": {"items": "a", "node": 0, "self": 1}}]',
    "deep": "[" * 50_000,
    "deep and closed": '[{"name": "get_info", "arguments": {"items": ' + "[" * 400 + "]" * 400 + "}}]",
    "deep objects": '[{"name": "finish", "arguments": {"message": ' + '{"a":' * 300 + "1" + "}" * 300 + "}}]",
    "huge integer": '[{"name": "launch_subagent", "arguments": {"targets": {"x": '
    + "9" * 4_200
    + '}, "num_steps": 5}}]',
    "huger integer": '[{"name": "finish", "arguments": {"message": ' + "9" * 90_000 + "}}]",
    "long integers": '[{"name": "craft", "arguments": {"ingredients": {"ITEM": '
    + "9" * 4_200
    + '}, "target": ["ITEM", '
    + "9" * 4_200
    + "]}}]",
    "huge exponent": '[{"name": "get_info", "arguments": {"items": 1e999999}}]',
    "nan": '[{"name": "craft", "arguments": {"ingredients": {"a": NaN}, "target": ["b", Infinity]}}]',
    "duplicated keys": '[{"name": "get_info", "name": "view_inventory", "arguments": {"a": 1}, "arguments": {}}]',
    "surrogates": '[{"name": "get_info", "arguments": {"items": "\\ud800"}}, {"name": "\\udfff"}]',
    "NUL": '[{"name": "get_info", "arguments": {"items": "\\u0000"}}]\0',
    "raw NUL": '[{"name": "get_info\0"}]',
    "huge message": '[{"name": "get_info", "arguments": {"items": "' + "x" * 10**6 + '"}}]',
    "fence and blanks": "```" + " " * 90_000,
    "fences": "```\n" * 20_000,
    "tags": "<tool_call>" * 5_000,
    "thoughts": "<think>" * 10_000,
    "a million calls": "[" + ",".join(['{"name":"view_inventory"}'] * 3_500) + "]",
    "a million spawns": "["
    + ",".join(['{"name":"launch_subagent","arguments":{"targets":{"x":1},"num_steps":5}}'] * 1_200)
    + "]",
    "launch without arguments": '[{"name": "launch_subagent"}]',
    "launch with nothing": '[{"name": "launch_subagent", "arguments": {"targets": {}, "num_steps": 5}}]',
    "launch with zero steps": _LAUNCH.replace("STEPS", "0"),
    "launch with negative steps": _LAUNCH.replace("STEPS", "-5"),
    "launch with huge steps": _LAUNCH.replace("STEPS", "9" * 4_000),
    "launch with long steps": _LAUNCH.replace("STEPS", "9" * 900),
    "launch with a broken context": _LAUNCH.replace("STEPS", '5, "context": "\\ud800"'),
    "finish with NaN": '[{"name": "finish", "arguments": {"message": NaN}}]',
    "finish with a surrogate": '[{"name": "finish", "arguments": {"message": "\\ud800"}}]',
    "finish without a message": '[{"name": "finish"}]',
    "finish in the middle": '[{"name": "view_inventory"}, {"name": "finish"}, {"name": "x"}]',
    "finish twice": '[{"name": "finish"}, {"name": "finish"}]',
    "finish beside a launch": "[" + _LAUNCH.replace("STEPS", "5") + ', {"name": "finish"}]',
}


@pytest.mark.parametrize("name", CALLS)
def test_hostile_calls_harm_nobody_else(name, make):
    env = make("calls")
    attacker = _attack(env, CALLS[name].replace("ITEM", _target(env)))
    first = attacker.turns[0]
    assert first.fault in (None, "agent")
    assert (first.fault is None and len(attacker.turns) == 1) if name.startswith("finish") else first.observation
    assert len(first.observation) <= env.limits.max_observation_chars + 200


# A rollout is saved at any time -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "calls",
    [
        '{"name": "get_info", "arguments": {"items": "\\ud800"}}',
        '{"name": "get_info", "arguments": {"items": ' + "[" * 60 + "]" * 60 + "}}",
        '{"name": "get_info", "arguments": {"items": NaN}}',
    ],
    ids=["surrogate", "deep", "nan"],
)
def test_odd_calls_that_wait_can_be_saved(calls, make):
    env = make("calls")
    launch = json.dumps({"name": "launch_subagent", "arguments": {"targets": {_target(env): 1}, "num_steps": 5}})
    env.advance({0: f"[{calls}, {launch}]"})
    assert env.ready == (1,)
    again = make("calls")
    again.load(env.save())
    for each in (env, again):
        each.advance({1: _FINISH["calls"].format("x")})
    assert again.tree.to_json() == env.tree.to_json()


def test_a_rollout_whose_worker_died_can_be_saved(make):
    env = make()
    _family(env)
    _kill(env, 0)
    again = make()
    again.load(env.save())
    for each in (env, again):
        each.advance({1: "finish('one')", 2: "finish('two')"})
        assert "one two kept" in each.tree.root.turns[0].observation
    assert again.tree.to_json() == env.tree.to_json()


# Workers that die ---------------------------------------------------------------------------------------


def _kill(env, node):
    os.kill(env._engine.agents[node].session.worker_pid, signal.SIGKILL)
    time.sleep(0.05)


@pytest.mark.parametrize("moment", ["idle", "waiting"])
def test_a_killed_worker_costs_nobody_anything(moment, make):
    trees = []
    for harm in (_kill, lambda env, node: None):
        env = make()
        _family(env)
        if moment == "idle":
            env.advance({1: "mine = 1"})
        else:
            env.advance({1: f"mine = 1\nawait launch_subagent({{{_target(env)!r}: 1}}, 5)"})
        harm(env, 1)
        harm(env, 0)
        env.advance({3: "finish('child')"} if moment == "waiting" else {1: "view_inventory()"})
        harm(env, 1)
        env.advance({1: "print(mine)"})
        assert env.tree.nodes[1].turns[-1].observation == "1"
        env.advance({1: "finish('one')", 2: "finish('two')"})
        assert "one two kept" in env.tree.root.turns[0].observation
        env.advance({0: "finish('root')"})
        _check_tree(env.tree)
        trees.append(env.tree.to_json())
    assert trees[0] == trees[1]


# The same again, byte for byte --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["endless loop", "output", "memory", "memory at once", "huge last value", "recursion", "loop of undefined names",
     "loop of tool calls", "sleep", "huge format", "functions as arguments", "deep value"],
)  # fmt: skip
def test_the_same_hostile_actions_give_the_same_tree(name, make):
    trees = []
    for _ in range(2):
        env = make()
        env.advance({0: "import random\nprint('before', random.random(), {'b', 'a'})\n" + HOSTILE[name]})
        env.advance({0: "import random\nprint(random.random())"})
        env.advance({0: "finish('x')"})
        trees.append(env.tree.to_json())
    assert trees[0] == trees[1]


# Anything at all ----------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    ["<python>", "</python>", "```", "```python\n", "<think>", "</think>", "<tool_call>", "</tool_call>", "[", "]", "{",
     "}", '{"name": "', "finish", "launch_subagent", "view_inventory", '", "arguments": {', "(", ")", "await ", "\n",
     "    ", "del ", "x", "=", "1", "import heapq", "\ud800", "\0", "\\", '"', "'", ":", ",", "é", "\U0001f600", "#",
     "\r", "def "]
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(_PIECES | st.text(max_size=5), max_size=25).map("".join), st.sampled_from(["code", "calls"]))
def test_no_message_raises_out_of_step(sandbox, message, action_format):
    env = gym.make("TextCraftSynth-v0", difficulty="easy", action_format=action_format, sandbox=sandbox)
    env.reset(seed=0)
    observation, reward = env.step(message)[:2]
    assert env.observation_space.contains(observation)
    assert 0.0 <= reward <= 1.0
    tree = env.unwrapped.tree
    assert ExecutionTree.from_json(tree.to_json()).to_json() == tree.to_json()
    env.close()
