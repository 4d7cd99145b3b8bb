"""When two short answers are the same: SQuAD's normalisation, with its blunders mended.

SQuAD's rule (lower case, no punctuation, no articles, single spaces) takes "A. A. Milne" for "Milne", "3.5" for "35",
"1914-18" for "191418" and every answer in a script without case for itself with its accents. Here

- an article is one only where a word follows it: "Vitamin A" and "A. A. Milne" keep their letter;
- punctuation between digits still separates them, a decimal point and a minus sign stay, "1,000" is "1000";
- accents are dropped from letters that have them as ornaments (Latin, Greek, Cyrillic), and kept elsewhere;
- `matches` also overlooks spaces between words, since "U.S." and "US", "Spider-Man" and "Spider Man" are one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["matches", "normalise"]

_ACCENTS = re.compile("[\u0300-\u036f]")
_GROUPING = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MINUS = re.compile(r"(?<!\w)[-\u2212](?=\d)")
_ARTICLE = re.compile(r"(?<![\w.])(?:a|an|the)\s+(?=\w)")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[^\w\s.](?=\d)")
_POINT = re.compile(r"(?<!\d)\.|\.(?!\d)")
_LOOSE_SPACE = re.compile(r"(?<!\d) | (?!\d)")


def normalise(text: str) -> str:
    """Return an answer without what does not matter: case, articles, punctuation, accents, extra white space.

    Letters and digits of every script are kept, so that only an answer that says nothing becomes "".
    """
    plain = unicodedata.normalize("NFKD", text.replace("\0", " ")).casefold()
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", plain)))
    plain = _GROUPING.sub("", plain)
    plain = _MINUS.sub("\0", plain)
    plain = _ARTICLE.sub("", " ".join(plain.split()))
    plain = _POINT.sub("", _BETWEEN_DIGITS.sub(" ", plain))
    kept = "".join(
        character for character in plain if character in " .\0" or unicodedata.category(character)[0] in "LMN"
    )
    return " ".join(kept.replace("\0", "-").split())


def matches(answer: object, gold: str, aliases: Iterable[str] = ()) -> bool:
    """Return whether an answer is the gold answer or one of its aliases, normalised.

    An answer that says nothing never matches, and neither does anything but a text or a number.
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return False
    said = _key(str(answer))
    return bool(said) and any(said == _key(name) for name in (gold, *aliases))


def _key(text: str) -> str:
    return _LOOSE_SPACE.sub("", normalise(text))
