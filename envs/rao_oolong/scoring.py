r"""How the answer to a question is scored: pure functions.

| gold | answer | score |
|---|---|---|
| integer | integer | ``0.75 ** abs(gold - answer)`` |
| string | string | 1 when equal after trimming and lower-casing, else 0 |
| list | list | items of the gold also in the answer, over items of the gold |
| one kind | another kind | 0 |

The answer is what stands in the last ``\boxed{...}``, else the whole text. What Python's ``int`` reads is an
integer; what has a comma is a list; anything else is a string. Gold answers are read in the same way, so a list
of one item is a string.

These are the rules of the published set (Oolong, arXiv:2511.02817, section 3.2 and the authors' scorer), with
three mends: the last box counts and not the first, since models correct themselves; items of lists are compared
as strings are; and where a gold list repeats an item (the same spell twice among the first five), each
repetition in the answer counts, so that the gold answer itself scores 1.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal, NamedTuple, TypeAlias

from rao_envs.errors import OptionError

__all__ = ["Answer", "Kind", "Score", "extract", "kind_of", "parse", "render", "score"]

Answer: TypeAlias = "int | str | list[str]"
Kind: TypeAlias = Literal["int", "str", "list"]

_BOX = re.compile(r"\\boxed\s*\{")
_DRESS = re.compile(r"(?:\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit)\s*)?\{")
_MOST_DRESS = 8  # nobody means more, and a text of nothing but braces must not take quadratic time


class Score(NamedTuple):
    """A score and its reason.

    Attributes:
        value: in [0, 1].
        why: one line.
    """

    value: float
    why: str


def score(gold: object, text: object, kind: Kind | None = None) -> Score:
    """Score an answer.

    Args:
        gold: the right answer: an int, a string, or a list of strings. A string is read as `parse` does.
        text: what was answered: the message with its box, or a bare value (int, string, list of values).
        kind: read the gold as this kind instead of by its looks.

    Raises:
        OptionError: the question has no gold, or the gold is not of the given kind.
    """
    wanted = _gold(gold, kind)
    # A bare integer is not written out first: Python refuses to write more than 4,300 digits.
    given = text if type(text) is int else parse(extract(text if isinstance(text, str) else render(text)))
    if given in ("", []):
        return Score(0.0, "no answer")
    if isinstance(wanted, int) and isinstance(given, int):
        off = abs(wanted - given)
        # Far enough away the power is 0 anyway, and a huge exponent overflows.
        return Score(0.75 ** min(off, 10_000), "exact" if not off else f"answered {_short(given)}, not {wanted}")
    if isinstance(wanted, str) and isinstance(given, str):
        same = _plain(wanted) == _plain(given)
        return Score(float(same), "exact" if same else f"answered {_short(given)}, not {_short(wanted)}")
    if isinstance(wanted, list) and isinstance(given, list):
        found = (Counter(map(_plain, wanted)) & Counter(map(_plain, given))).total()
        return Score(found / len(wanted), f"{found} of {len(wanted)} items")
    return Score(0.0, f"answered {_named(given)}, not {_named(wanted)}")


def extract(text: str) -> str:
    r"""Return what stands in the last ``\boxed{...}`` of `text`, or the whole text where there is none.

    Braces may nest; ``\text{...}`` and its like are taken off; a box that is never closed reaches to the end.
    The result is trimmed.
    """
    openings = list(_BOX.finditer(text))
    if not openings:
        return text.strip()
    start = openings[-1].end()
    inside = text[start : _closing(text, start)].strip()
    for _ in range(_MOST_DRESS):
        dress = _DRESS.match(inside)
        if not dress or _closing(inside, dress.end()) != len(inside) - 1:
            break
        inside = inside[dress.end() : -1].strip()
    return inside


def parse(text: str) -> Answer:
    """Read an answer: an integer, else a list where it has a comma, else a string."""
    try:
        return int(text)
    except ValueError:  # also what Python says to more than 4,300 digits
        pass
    if "," in text:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text.strip()


def render(answer: object) -> str:
    """Write an answer as it is put into the box: lists with commas. None is empty."""
    if isinstance(answer, (list, tuple)):
        return ", ".join(map(str, answer))
    return "" if answer is None else str(answer)


def kind_of(answer: Answer) -> Kind:
    """Return which of the three kinds an answer is."""
    return "int" if isinstance(answer, int) else "str" if isinstance(answer, str) else "list"


def _gold(gold: object, kind: Kind | None) -> Answer:
    written = render(gold)
    if not written.strip(" ,"):
        raise OptionError("gold", gold, "the question has no gold answer; leave it out of the set")
    if kind == "str":
        return written
    if kind == "list":
        return [item.strip() for item in written.split(",") if item.strip()]
    answer = parse(written)
    if kind == "int" and not isinstance(answer, int):
        raise OptionError("gold", gold, "is not an integer, which its kind says it is")
    return answer


def _closing(text: str, start: int) -> int:
    """Return the index of the brace that closes the one before `start`, or the length of the text."""
    depth = 1
    for index in range(start, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if not depth:
                return index
    return len(text)


def _plain(text: str) -> str:
    return text.strip().lower()


def _short(value: int | str) -> str:
    # The digits of a huge integer take quadratic time to write, and Python refuses beyond 4,300.
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else "a huge number"
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _named(answer: Answer) -> str:
    return {"int": "an integer", "str": "a string", "list": "a list"}[kind_of(answer)]
