"""When two short answers are the same: SQuAD's normalisation, with its errors fixed.

SQuAD's rule (lower case, no punctuation, no articles, single spaces) equates "A. A. Milne" with "Milne", "3.5" with
"35", and "1914-18" with "191418". Here:

- An article counts as one only before a word: "Vitamin A" and "A. A. Milne" keep their letter.
- Punctuation between digits still separates them; decimal points and minus signs stay; "1,000" is "1000".
- Accents are dropped where they are optional (Latin, Greek, Cyrillic), and kept elsewhere.
- `matches` also ignores spaces between words: "U.S." and "US", "Spider-Man" and "Spider Man" are the same.
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
    """Return an answer without case, articles, punctuation, accents and extra white space.

    Letters and digits of every script are kept, so only an answer without content becomes "".
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
    """Return whether an answer equals the gold answer or one of its aliases after normalisation.

    An answer without content never matches, and neither does anything other than a string or a number.
    """
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return False
    said = _key(str(answer))
    return bool(said) and any(said == _key(name) for name in (gold, *aliases))


def _key(text: str) -> str:
    return _LOOSE_SPACE.sub("", normalise(text))
