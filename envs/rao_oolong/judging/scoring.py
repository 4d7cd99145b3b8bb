r"""How the answer to a question is scored: pure functions.

| gold | answer | score |
|---|---|---|
| integer | integer | ``0.75 ** abs(gold - answer)`` |
| string | string | 1 when equal after trimming and lower-casing, else 0 |
| list | list | items of the gold also in the answer, over items of the gold |
| one kind | another kind | 0 |

Both are read by `rao_oolong.questions.answers`: the answer is the content of the last ``\boxed{...}``.

These are the rules of the published set (Oolong, arXiv:2511.02817, section 3.2 and the authors' scorer) with three
changes: the last box counts instead of the first; list items are compared as strings are; and where a gold list
repeats an item (the same spell twice among the first five), each repetition in the answer counts, so that the gold
answer itself scores 1.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from rao_envs.errors import OptionError
from rao_oolong.questions.answers import Answer, Kind, extract, kind_of, parse, render

__all__ = ["Score", "score"]


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


def _plain(text: str) -> str:
    return text.strip().lower()


def _short(value: int | str) -> str:
    # The digits of a huge integer take quadratic time to write, and Python refuses beyond 4,300.
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else "a huge number"
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _named(answer: Answer) -> str:
    return {"int": "an integer", "str": "a string", "list": "a list"}[kind_of(answer)]
