"""Python for inside the sandbox: what the interpreter lacks and models reach for.

Every part is a snippet that defines names starting with ``__rao_``. It runs in an agent's session the first time
that `rao_envs.sandbox.monty.rewriting.rewrite` needs it, with no more rights than the agent's own code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["NAMES", "PARTS", "WHOLE", "WILDCARDS", "source"]

_ASYNCIO = """
import asyncio as __rao_asyncio
def __rao_create_task(aw, *args, **kwargs):
    return aw
__rao_ensure_future = __rao_wait_for = __rao_create_task
def __rao_as_completed(aws, *args, **kwargs):
    return [*aws]
async def __rao_guard(aw):
    try:
        return await aw
    except Exception as error:
        return error
async def __rao_gather(*aws, return_exceptions=False):
    if return_exceptions:
        aws = [__rao_guard(aw) for aw in aws]
    return await __rao_asyncio.gather(*aws)
"""

_COLLECTIONS = """
__rao_OrderedDict = dict
"""

_CONTEXTLIB = """
class __rao_suppress:
    def __init__(self, *kinds):
        self.kinds = kinds
    def __enter__(self):
        return None
    def __exit__(self, kind, error, trace):
        return error is not None and isinstance(error, self.kinds)
"""

_FUNCTOOLS = """
def __rao_wraps(wrapped, *args, **kwargs):
    return lambda wrapper: wrapper
"""

_HEAPQ = """
def __rao_down(heap, start, place):
    item = heap[place]
    while place > start:
        above = (place - 1) // 2
        if not item < heap[above]:
            break
        heap[place] = heap[above]
        place = above
    heap[place] = item
def __rao_up(heap, place):
    end, start, item, child = len(heap), place, heap[place], 2 * place + 1
    while child < end:
        if child + 1 < end and not heap[child] < heap[child + 1]:
            child += 1
        heap[place] = heap[child]
        place, child = child, 2 * child + 1
    heap[place] = item
    __rao_down(heap, start, place)
def __rao_heappush(heap, item):
    heap.append(item)
    __rao_down(heap, 0, len(heap) - 1)
def __rao_heappop(heap):
    last = heap.pop()
    if not heap:
        return last
    top, heap[0] = heap[0], last
    __rao_up(heap, 0)
    return top
def __rao_heapify(heap):
    for place in reversed(range(len(heap) // 2)):
        __rao_up(heap, place)
def __rao_heappushpop(heap, item):
    return __rao_heapreplace(heap, item) if heap and heap[0] < item else item
def __rao_heapreplace(heap, item):
    top, heap[0] = heap[0], item
    __rao_up(heap, 0)
    return top
def __rao_nlargest(n, items, key=None):
    return sorted(items, key=key, reverse=True)[:n if n > 0 else 0]
def __rao_nsmallest(n, items, key=None):
    return sorted(items, key=key)[:n if n > 0 else 0]
def __rao_merge(*boxes, key=None, reverse=False):
    return sorted([item for box in boxes for item in box], key=key, reverse=reverse)
"""

_OPERATOR = """
def __rao_itemgetter(*keys):
    return (lambda box: box[keys[0]]) if len(keys) == 1 else (lambda box: tuple([box[key] for key in keys]))
def __rao_attrgetter(*names):
    return (lambda x: getattr(x, names[0])) if len(names) == 1 else (lambda x: tuple([getattr(x, n) for n in names]))
def __rao_add(a, b): return a + b
def __rao_sub(a, b): return a - b
def __rao_mul(a, b): return a * b
def __rao_truediv(a, b): return a / b
def __rao_floordiv(a, b): return a // b
def __rao_mod(a, b): return a % b
def __rao_pow(a, b): return a ** b
def __rao_neg(a): return -a
def __rao_and_(a, b): return a & b
def __rao_or_(a, b): return a | b
def __rao_xor(a, b): return a ^ b
def __rao_eq(a, b): return a == b
def __rao_ne(a, b): return a != b
def __rao_lt(a, b): return a < b
def __rao_le(a, b): return a <= b
def __rao_gt(a, b): return a > b
def __rao_ge(a, b): return a >= b
def __rao_contains(a, b): return b in a
def __rao_getitem(a, b): return a[b]
"""

_PPRINT = """
def __rao_pformat(value, *args, **kwargs):
    return repr(value)
def __rao_pprint(value, *args, **kwargs):
    print(value if type(value) is not str else repr(value))
__rao_pp = __rao_pprint
"""

_STATISTICS = """
import math as __rao_math
__rao_StatisticsError = ValueError
def __rao_data(data, least, name):
    data = [*data]
    if len(data) < least:
        raise ValueError(f"{name} requires at least {'one data point' if least == 1 else 'two data points'}")
    return data
def __rao_total(data):
    return __rao_math.fsum(data) if any([isinstance(x, float) for x in data]) else sum(data)
def __rao_ratio(total, n):
    return total // n if isinstance(total, int) and total % n == 0 else total / n
def __rao_mean(data):
    data = __rao_data(data, 1, "mean")
    return __rao_ratio(__rao_total(data), len(data))
def __rao_fmean(data):
    data = __rao_data(data, 1, "fmean")
    return __rao_math.fsum(data) / len(data)
def __rao_median(data):
    data = sorted(__rao_data(data, 1, "median"))
    half = len(data) // 2
    return data[half] if len(data) % 2 else (data[half - 1] + data[half]) / 2
def __rao_median_low(data):
    data = sorted(__rao_data(data, 1, "median"))
    return data[(len(data) - 1) // 2]
def __rao_median_high(data):
    data = sorted(__rao_data(data, 1, "median"))
    return data[len(data) // 2]
def __rao_multimode(data):
    counts = {}
    for x in data:
        counts[x] = counts.get(x, 0) + 1
    most = max([0, *counts.values()])
    return [x for x, count in counts.items() if count == most]
def __rao_mode(data):
    return __rao_multimode(__rao_data(data, 1, "mode"))[0]
def __rao_spread(data, least, name):
    data = __rao_data(data, least, name)
    middle = __rao_total(data) / len(data)
    return __rao_ratio(__rao_total([(x - middle) ** 2 for x in data]), len(data) - (least - 1))
def __rao_variance(data):
    return __rao_spread(data, 2, "variance")
def __rao_pvariance(data):
    return __rao_spread(data, 1, "pvariance")
def __rao_stdev(data):
    return __rao_math.sqrt(__rao_spread(data, 2, "stdev"))
def __rao_pstdev(data):
    return __rao_math.sqrt(__rao_spread(data, 1, "pstdev"))
"""

_STRING = r"""
__rao_ascii_lowercase = "abcdefghijklmnopqrstuvwxyz"
__rao_ascii_uppercase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
__rao_ascii_letters = __rao_ascii_lowercase + __rao_ascii_uppercase
__rao_digits = "0123456789"
__rao_hexdigits = "0123456789abcdefABCDEF"
__rao_octdigits = "01234567"
__rao_punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
__rao_whitespace = " \t\n\r\x0b\x0c"
__rao_printable = __rao_digits + __rao_ascii_letters + __rao_punctuation + __rao_whitespace
def __rao_capwords(text, sep=None):
    return (sep or " ").join([word.capitalize() for word in text.split(sep)])
"""

_TEXTWRAP = r"""
def __rao_dedent(text):
    lines = [line if line.strip() else "" for line in text.split("\n")]
    margins = [line[: len(line) - len(line.lstrip())] for line in lines if line]
    margin = margins[0] if margins else ""
    for other in margins:
        while not other.startswith(margin):
            margin = margin[:-1]
    return "\n".join([line[len(margin):] for line in lines])
def __rao_indent(text, prefix, predicate=None):
    keep = predicate or (lambda line: line.strip())
    return "".join([prefix + line if keep(line) else line for line in text.splitlines(True)])
def __rao_wrap(text, width=70, initial_indent="", subsequent_indent="", **options):
    lines, line, room = [], "", width - len(initial_indent)
    for word in text.split():
        while len(word) > room and not line:
            lines.append(word[:room])
            word, room = word[room:], width - len(subsequent_indent)
        if line and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, room = "", width - len(subsequent_indent)
            while len(word) > room:
                lines.append(word[:room])
                word = word[room:]
        line = line + " " + word if line else word
    if line:
        lines.append(line)
    return [(subsequent_indent if place else initial_indent) + line for place, line in enumerate(lines)]
def __rao_fill(text, width=70, **options):
    return "\n".join(__rao_wrap(text, width, **options))
def __rao_shorten(text, width, placeholder=" [...]", **options):
    words = text.split()
    if len(" ".join(words)) <= width:
        return " ".join(words)
    while words and len(" ".join(words) + placeholder) > width:
        words.pop()
    return " ".join(words) + placeholder if words else placeholder.lstrip()
"""

PARTS: Mapping[str, str] = {
    "asyncio": _ASYNCIO,
    "collections": _COLLECTIONS,
    "contextlib": _CONTEXTLIB,
    "functools": _FUNCTOOLS,
    "heapq": _HEAPQ,
    "operator": _OPERATOR,
    "pprint": _PPRINT,
    "statistics": _STATISTICS,
    "string": _STRING,
    "textwrap": _TEXTWRAP,
}
"""Snippets by the module that they stand in for, or add to. The order is part of the format of dumped sessions."""

_HIDDEN = frozenset({"asyncio", "data", "down", "guard", "math", "ratio", "spread", "total", "up"})
_DEFINED = re.compile(r"^(?:(?:async )?def |class )?__rao_(\w+)(?=[ (:]|$)", re.MULTILINE)
_CHAINED = re.compile(r"= __rao_(\w+) =")


def _names(part: str) -> frozenset[str]:
    return frozenset(_DEFINED.findall(part) + _CHAINED.findall(part)) - _HIDDEN


NAMES: Mapping[str, frozenset[str]] = {module: _names(part) for module, part in PARTS.items()}
"""What each part offers: a name ``x`` is defined as ``__rao_x``."""

WHOLE = frozenset({"contextlib", "heapq", "operator", "pprint", "statistics", "string", "textwrap"})
"""Modules that the interpreter does not know at all: these can be imported as a whole."""

WILDCARDS: Mapping[str, str] = {
    "collections": "Counter, defaultdict, deque, namedtuple",
    "itertools": "accumulate, chain, combinations, combinations_with_replacement, compress, count, cycle, dropwhile, "
    "filterfalse, groupby, islice, pairwise, permutations, product, repeat, starmap, takewhile, tee, zip_longest",
    "math": "acos, acosh, asin, asinh, atan, atan2, atanh, cbrt, ceil, comb, copysign, cos, cosh, degrees, dist, e, "
    "erf, erfc, exp, exp2, expm1, fabs, factorial, floor, fmod, frexp, fsum, gamma, gcd, hypot, inf, isclose, "
    "isfinite, isinf, isnan, isqrt, lcm, ldexp, lgamma, log, log10, log1p, log2, modf, nan, nextafter, perm, pi, pow, "
    "prod, radians, remainder, sin, sinh, sqrt, tan, tanh, tau, trunc, ulp",
}
"""What ``from module import *`` means."""


def source(part: str) -> str:
    """Return the snippet that defines a part; a module of its own is then the value of ``__rao_module_<part>``."""
    if part not in WHOLE:
        return PARTS[part] + "None\n"
    lines = [f"class __rao_module_{part}: pass", f"__rao_module_{part} = __rao_module_{part}()"]
    lines += [f"__rao_module_{part}.{name} = __rao_{name}" for name in sorted(NAMES[part])]
    return PARTS[part] + "\n".join(lines) + "\nNone\n"
