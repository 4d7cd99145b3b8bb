"""A corpus of habits: Python as language models write it, with what the default sandbox makes of each.

An idiom either runs and shows what CPython would, or fails with an error that names a replacement: an agent that
reads the error knows what to write instead.
"""

from __future__ import annotations

from typing import NamedTuple

from rao_envs.sandbox.base import Sandbox
from rao_envs.steps import Done
from rao_envs.testing.sandbox.workbench import LIMITS, Workbench

__all__ = ["IDIOMS", "Idiom", "behaves", "share_that_runs", "try_idiom"]


class Idiom(NamedTuple):
    """One habit.

    Attributes:
        name: what it is.
        code: the snippet.
        runs: whether the default sandbox runs it.
        text: all that it shows if it runs; else what its error must say, the mend.
    """

    name: str
    code: str
    runs: bool
    text: str


def try_idiom(idiom: Idiom, sandbox: Sandbox) -> Done:
    """Run one idiom in a fresh session, where `launch_subagent` returns "child N" and `echo` its arguments."""
    bench = Workbench(lambda limits: sandbox, sandbox)
    try:
        return bench.run(idiom.code)
    finally:
        bench.close()


def behaves(idiom: Idiom, done: Done) -> bool:
    """Say whether an idiom did as declared."""
    if idiom.runs:
        return done.fault is None and done.text == idiom.text
    return done.fault == "agent" and idiom.text in done.text


def share_that_runs(sandbox: Sandbox | None = None) -> float:
    """Return the share of the corpus that runs; by default in a fresh default sandbox."""
    if sandbox is None:
        from rao_envs.sandbox.monty import MontySandbox

        with MontySandbox(limits=LIMITS) as default:
            return share_that_runs(default)
    return sum(try_idiom(idiom, sandbox).fault is None for idiom in IDIOMS) / len(IDIOMS)


def _runs(name: str, code: str, text: str) -> Idiom:
    return Idiom(name, code.strip("\n"), True, text)


def _fails(name: str, code: str, mend: str) -> Idiom:
    return Idiom(name, code.strip("\n"), False, mend)


_CONCURRENCY = (
    _runs("await", "print(await launch_subagent(1))", "child 0\n"),
    _runs("gather", "import asyncio\nprint(await asyncio.gather(launch_subagent(1), launch_subagent(2)))",
          "['child 0', 'child 1']\n"),
    _runs("gather of a generator",
          "import asyncio\nprint(await asyncio.gather(*(launch_subagent(i) for i in 'ab')))",
          "['child 0', 'child 1']\n"),
    _runs("gather by name",
          "from asyncio import gather\na, b = await gather(launch_subagent(1), launch_subagent(2))\na",
          "'child 0'\n"),
    _runs("gather with exceptions", """
import asyncio
async def bad():
    raise ValueError("no")
rs = await asyncio.gather(launch_subagent(1), bad(), return_exceptions=True)
print([type(r).__name__ for r in rs])""", "['str', 'ValueError']\n"),
    _runs("create_task", """
import asyncio
tasks = [asyncio.create_task(launch_subagent(i)) for i in range(2)]
for task in tasks:
    print(await task)""", "child 0\nchild 1\n"),
    _runs("create_task by name",
          "from asyncio import create_task, gather\nt = create_task(launch_subagent(1))\nawait t",
          "'child 0'\n"),
    _runs("asyncio under another name", "import asyncio as aio\nt = aio.create_task(launch_subagent(1))\nawait t",
          "'child 0'\n"),
    _runs("wait_for", "import asyncio\nprint(await asyncio.wait_for(launch_subagent(1), timeout=30))", "child 0\n"),
    _runs("as_completed", """
import asyncio
for done in asyncio.as_completed([launch_subagent(1), launch_subagent(2)]):
    print(await done)""", "child 0\nchild 1\n"),
    _runs("asyncio.run(main())", """
import asyncio
async def main():
    first, second = await asyncio.gather(launch_subagent(1), launch_subagent(2))
    print(first, second)
asyncio.run(main())""", "child 0 child 1\n"),
    _runs("await main()", "async def main():\n    return await launch_subagent(1)\nprint(await main())", "child 0\n"),
    _runs("one after the other", "out = []\nfor i in range(2):\n    out.append(await launch_subagent(i))\nout",
          "['child 0', 'child 1']\n"),
    _runs("await in a comprehension",
          "print([await launch_subagent(i) for i in range(2)])", "['child 0', 'child 1']\n"),
    _runs("results by name", """
import asyncio
names = ["a", "b"]
results = dict(zip(names, await asyncio.gather(*[launch_subagent(n) for n in names])))
print(results)""", "{'a': 'child 0', 'b': 'child 1'}\n"),
    _runs("try around an await", """
try:
    print(await launch_subagent(1))
except Exception as e:
    print(f"failed: {e}")
finally:
    print("done")""", "child 0\ndone\n"),
    _runs("asyncio.sleep", "import asyncio\nawait asyncio.sleep(1)\nprint('up')", "up\n"),
    _fails("TaskGroup", """
import asyncio
async with asyncio.TaskGroup() as group:
    a = group.create_task(launch_subagent(1))
print(a.result())""", "await asyncio.gather("),
    _fails("Semaphore", """
import asyncio
limit = asyncio.Semaphore(2)
async def work(i):
    async with limit:
        return await launch_subagent(i)
await asyncio.gather(work(1))""", "await asyncio.gather("),
    _fails("asyncio.wait", "import asyncio\ndone, todo = await asyncio.wait([launch_subagent(1)])",
           "Use `await asyncio.gather(...)`."),
    _fails("event loop", "import asyncio\nasyncio.get_event_loop().run_until_complete(launch_subagent(1))",
           "`await` works at the top level"),
    _fails("task.result()", "import asyncio\nt = asyncio.create_task(launch_subagent(1))\nawait t\nt.result()",
           "A launch must be awaited"),
    _fails("a launch not awaited", "print(launch_subagent(1).upper())", "A launch must be awaited"),
    _fails("await on a plain tool", "await echo(1)", "other tools are not"),
    _fails("async for", "import asyncio\nasync for x in launch_subagent(1): print(x)", "Await the items one by one"),
    _fails("threads", "from concurrent.futures import ThreadPoolExecutor", "use `await asyncio.gather(...)`"),
    _fails("nest_asyncio", "import nest_asyncio\nnest_asyncio.apply()", "`await` works at the top level"),
)  # fmt: skip

_LANGUAGE = (
    _runs("comprehensions", "print([x * x for x in range(3) if x], {k: 1 for k in 'a'}, {x % 2 for x in (1, 3)})",
          "[1, 4] {'a': 1} {1}\n"),
    _runs("nested comprehension",
          "print([(i, j) for i in range(2) for j in range(2) if i != j])", "[(0, 1), (1, 0)]\n"),
    _runs("generator expressions", "print(sum(x for x in range(4)), any(x > 1 for x in [1, 2]))", "6 True\n"),
    _runs("f-strings", "x = {'a': 1.5}\nprint(f\"{x['a']:>6.2f}|{12345:,}|{'b'!r:^5}|{0.25:.0%}|{x=}\")",
          "  1.50|12,345| 'b' |25%|x={'a': 1.5}\n"),
    _runs("f-strings with the same quotes inside", 'd = {"k": 1}\nprint(f"{d["k"]} {"a" + "b"}")', "1 ab\n"),
    _runs("format and percent", "print('{:>4}|{name}'.format(1, name='n'), '%s-%03d' % ('a', 7))", "   1|n a-007\n"),
    _runs("walrus", "if (n := len([1, 2])) > 1:\n    print(n)", "2\n"),
    _runs("match", """
match {"kind": "a", "n": 3}:
    case {"kind": "a", "n": n} if n > 2:
        print("big", n)
    case [first, *rest] | (first, rest):
        print("list")
    case _:
        print("else")""", "big 3\n"),
    _runs("unpacking", "first, *rest = [1, 2, 3]\nprint(first, rest, [*rest, *rest], {**{'a': 1}, 'b': 2})",
          "1 [2, 3] [2, 3, 2, 3] {'a': 1, 'b': 2}\n"),
    _runs("try, else, finally", """
try:
    1 / 0
except (ZeroDivisionError, KeyError) as error:
    print(type(error).__name__, error)
else:
    print("never")
finally:
    print("end")""", "ZeroDivisionError division by zero\nend\n"),
    _runs("raise from",
          "try:\n    raise ValueError('x') from KeyError('k')\nexcept ValueError as e:\n    print(e)", "x\n"),
    _runs("lambda and sorted", "print(sorted({'b': 1, 'a': 2}.items(), key=lambda kv: (-kv[1], kv[0])))",
          "[('a', 2), ('b', 1)]\n"),
    _runs("global and nonlocal", """
total = 0
def outer():
    global total
    n = 1
    def inner():
        nonlocal n
        n += 1
    inner()
    total += n
outer()
print(total)""", "2\n"),
    _runs("arguments of all kinds",
          "def f(a, /, b, *args, c=3, **kw):\n    return a, b, args, c, kw\nprint(f(1, 2, 4, d=5))",
          "(1, 2, (4,), 3, {'d': 5})\n"),
    _runs("type hints", """
from typing import Any, Dict, List, Optional
def f(x: List[int], y: Optional[str] = None) -> Dict[str, Any]:
    out: dict[str, list[int]] = {"x": x}
    return out
print(f([1]))""", "{'x': [1]}\n"),
    _runs("from __future__", "from __future__ import annotations\nprint(1)", "1\n"),
    _runs("decorator", """
from functools import wraps
def loud(f):
    @wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs) + "!"
    return wrapper
@loud
def hello(name):
    return "hello " + name
print(hello("you"))""", "hello you!\n"),
    _runs("class", """
class Stack:
    kind = "stack"
    def __init__(self, items=None):
        self.items = list(items or [])
    def push(self, x):
        self.items.append(x)
        return self
    def __repr__(self):
        return f"Stack({self.items})"
print(Stack([1]).push(2), Stack.kind)""", "Stack([1, 2]) stack\n"),
    _runs("dataclass", """
from dataclasses import dataclass, field
@dataclass
class Plan:
    name: str
    steps: list = field(default_factory=list)
print(Plan("a"))""", "Plan(name='a', steps=[])\n"),
    _runs("namedtuple", "from collections import namedtuple\nP = namedtuple('P', ['x', 'y'])\nprint(P(1, 2).y)", "2\n"),
    _runs("with a class of one's own", """
class Note:
    def __enter__(self):
        print("in")
        return self
    def __exit__(self, *args):
        print("out")
with Note() as note:
    pass""", "in\nout\n"),
    _runs("for and while with else",
          "for i in range(2):\n    continue\nelse:\n    print('all')\nwhile True:\n    break",
          "all\n"),
    _runs("main guard", "def main():\n    print('main')\n\nif __name__ == \"__main__\":\n    main()", "main\n"),
    _runs("del", "d = {'a': 1, 'b': 2}\nx = [1, 2, 3, 4]\ny = 5\ndel d['a'], x[0]\ndel x[:1]\ndel y\nprint(d, x)",
          "{'b': 2} [3, 4]\n"),
    _runs("del with an odd key", "d = {(1, 2): 3, 4: 5}\ndel d[1, 2]\ndel (d or {})[4]\nprint(d)", "{}\n"),
    _runs("chained comparison and conditional", "x = 3\nprint(1 < x <= 3, 'odd' if x % 2 else 'even')", "True odd\n"),
    _runs("augmented assignment", "x = 7\nx //= 2\nx **= 2\nx |= 16\nprint(x)", "25\n"),
    _runs("assert", "assert 1 + 1 == 2, 'sums'\nprint('ok')", "ok\n"),
    _runs("iter and next", "it = iter([1])\nprint(next(it), next(it, None))", "1 None\n"),
    _runs("exec and eval", "exec('y = 2')\nprint(eval('y + 1'))", "3\n"),
    _runs("last expression", "x = [1]\nx", "[1]\n"),
    _runs("stderr", "import sys\nprint('note', file=sys.stderr)", "note\n"),
    _fails("generator function", "def g():\n    for i in range(3):\n        yield i\nprint(list(g()))",
           "Build a list and return it."),
    _fails("inheritance", "class A: pass\nclass B(A): pass", "Write a class without a base"),
    _fails("exception of one's own", "class Mine(Exception):\n    pass\nraise Mine('x')", "raise ValueError"),
    _fails("property", "class A:\n    @property\n    def x(self):\n        return 1\nA().x", "Write a plain method"),
    _fails("staticmethod",
           "class A:\n    @staticmethod\n    def x():\n        return 1\nA.x()", "Write a plain method"),
    _fails("enum", "import enum\nclass C(enum.Enum):\n    A = 1", "Write a class without a base"),
    _fails("del of an attribute", "class A: pass\na = A()\na.x = 1\ndel a.x", "Assign None instead"),
    _fails("map over a tool", "print(list(map(echo, [1, 2])))", "in a loop or a comprehension"),
)  # fmt: skip

_LIBRARY = (
    _runs("json", "import json\nprint(json.dumps({'b': [1, None], 'a': 1.5}, sort_keys=True), json.loads('[true]'))",
          '{"a": 1.5, "b": [1, null]} [True]\n'),
    _runs("json with an indent",
          "import json\nprint(json.dumps({'a': [1]}, indent=2))", '{\n  "a": [\n    1\n  ]\n}\n'),
    _runs("re", r"import re" "\n" r"m = re.search(r'(?P<k>\w+)=(\d+)', 'a=1')" "\n"
          r"print(m.group('k'), m.groups(), re.sub(r'\s+', ' ', 'a  b'), re.findall(r'\d', '1a2'))",
          "a ('a', '1') a b ['1', '2']\n"),
    _runs("collections", """
from collections import Counter, OrderedDict, defaultdict, deque
groups = defaultdict(list)
groups["a"].append(1)
queue = deque([1, 2])
queue.popleft()
print(Counter("aab").most_common(1), dict(groups), list(queue), OrderedDict(a=1)["a"])""",
          "[('a', 2)] {'a': [1]} [2] 1\n"),
    _runs("itertools", """
import itertools
from itertools import chain, groupby, product
print(list(chain([1], [2])), [(k, len(list(g))) for k, g in groupby("aab")], list(product([1], "ab")))
print(list(itertools.islice(itertools.count(5), 2)), list(itertools.combinations("abc", 2))[0])""",
          "[1, 2] [('a', 2), ('b', 1)] [(1, 'a'), (1, 'b')]\n[5, 6] ('a', 'b')\n"),
    _runs("functools", """
from functools import lru_cache, partial, reduce
@lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fib(30), reduce(lambda a, b: a * b, [1, 2, 3]), partial(max, 2)(1))""", "832040 6 2\n"),
    _runs("math", "import math\nprint(math.ceil(7 / 2), math.gcd(12, 18), math.inf > 1, round(math.sqrt(2), 3))",
          "4 6 True 1.414\n"),
    _runs("wildcard import", "from math import *\nfrom itertools import *\nprint(floor(2.5), list(repeat(1, 2)))",
          "2 [1, 1]\n"),
    _runs("copy", "import copy\na = {'x': [1]}\nb = copy.deepcopy(a)\nb['x'].append(2)\nprint(a, b)",
          "{'x': [1]} {'x': [1, 2]}\n"),
    _runs("heapq", """
import heapq
heap = [5, 1, 4]
heapq.heapify(heap)
heapq.heappush(heap, 2)
print(heapq.heappop(heap), heapq.heappop(heap), heapq.nlargest(2, [3, 1, 2]))
print(heapq.nsmallest(1, [(2, "b"), (1, "a")]))""",
          "1 2 [3, 2]\n[(1, 'a')]\n"),
    _runs("statistics", "import statistics as st\nfrom statistics import mean, stdev\n"
          "print(mean([1, 2, 3]), st.median([4, 1, 2]), st.mode('aab'), round(stdev([1, 2, 4]), 3))", "2 2 a 1.528\n"),
    _runs("string", "import string\nprint(string.ascii_lowercase[:3], string.digits, string.capwords('a b'))",
          "abc 0123456789 A B\n"),
    _runs("textwrap", "import textwrap\nprint(textwrap.dedent('  a\\n    b'), textwrap.fill('aa bb cc', 5), sep='|')",
          "a\n  b|aa bb\ncc\n"),
    _runs("operator", "from operator import itemgetter\nprint(sorted([(1, 'b'), (2, 'a')], key=itemgetter(1)))",
          "[(2, 'a'), (1, 'b')]\n"),
    _runs("pprint", "from pprint import pprint\npprint({'a': [1, 'x']})", "{'a': [1, 'x']}\n"),
    _runs("suppress", "from contextlib import suppress\nwith suppress(KeyError):\n    {}['a']\nprint('on')", "on\n"),
    _runs("bisect",
          "import bisect\nx = [1, 3]\nbisect.insort(x, 2)\nprint(x, bisect.bisect_left(x, 2))", "[1, 2, 3] 1\n"),
    _runs("random",
          "import random\nrandom.seed(0)\nx = [1, 2, 3]\nrandom.shuffle(x)\nprint(len(x), random.choice('a'))",
          "3 a\n"),
    _runs("time and datetime", "import time\nfrom datetime import datetime, timedelta\nstart = time.time()\n"
          "print(time.time() - start, (datetime(2024, 2, 28) + timedelta(days=2)).strftime('%Y-%m-%d'))",
          "0.0 2024-03-01\n"),
    _runs("decimal", "from decimal import Decimal\nprint(Decimal('0.1') + Decimal('0.2'))", "0.3\n"),
    _runs("string methods", "s = ' a,b '\nprint(s.strip().split(','), 'x'.zfill(3), 'aXb'.partition('X'), 'ab'[::-1], "
          "'a'.join('12'), 'Ab'.swapcase(), 'ab'.startswith(('a', 'c')))",
          "['a', 'b'] 00x ('a', 'X', 'b') ba 1a2 aB True\n"),
    _runs("builtins",
          "print(list(zip([1], 'a')), list(enumerate('a', 1)), max([1, 3], key=lambda x: -x), divmod(7, 2), "
          "round(2.567, 1), list(map(str, [1])), isinstance(1, (int, str)), hex(255), getattr('', 'x', 0))",
          "[(1, 'a')] [(1, 'a')] 1 (3, 1) 2.6 ['1'] True 0xff 0\n"),
    _fails("input", "name = input('? ')", "decide yourself"),
    _fails("exit", "exit()", "call finish("),
    _fails("sys.exit", "import sys\nsys.exit(0)", "call finish("),
    _fails("open",
           "with open('notes.txt', 'w') as f:\n    f.write('x')", "PermissionError: open: this sandbox has no files"),
    _fails("os.listdir", "import os\nprint(os.listdir('.'))", "this sandbox has no files"),
    _fails("traceback", "import traceback\ntraceback.print_exc()", "print the exception"),
    _fails("logging", "import logging\nlogging.info('x')", "use print(...)"),
    _fails("numpy", "import numpy as np\nnp.mean([1])", "use lists and math"),
    _fails("requests", "import requests\nrequests.get('http://x')", "there is no network"),
    _fails("globals", "if 'x' not in globals():\n    x = 1", "Keep what you need in variables"),
    _fails("callable", "print(callable(print))", "Use type(x)"),
)  # fmt: skip

IDIOMS: tuple[Idiom, ...] = _CONCURRENCY + _LANGUAGE + _LIBRARY
