r"""An answer to a question: what kinds there are, and how a text is read as one.

The answer is the content of the last ``\boxed{...}``, or the whole text where there is no box. What Python's ``int``
accepts is an integer; what has a comma is a list; anything else is a string. Gold answers are read in the same way, so
a list of one item is a string.

The published scorer (Oolong, arXiv:2511.02817) takes the first box. We take the last, since models correct themselves.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

__all__ = ["Answer", "Kind", "extract", "kind_of", "parse", "render"]

Answer: TypeAlias = "int | str | list[str]"
Kind: TypeAlias = Literal["int", "str", "list"]

_BOX = re.compile(r"\\boxed\s*\{")
_DRESS = re.compile(r"(?:\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit)\s*)?\{")
_MOST_DRESS = 8  # nobody means more, and a text of nothing but braces must not take quadratic time


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
