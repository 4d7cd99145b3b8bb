"""A tokenizer for small models that are trained from scratch: short, exact, and indifferent to names.

Text is split at *names* (words that contain a digit, such as ``m9_i4``) and *numbers*; the rest is literal text. Each
of the three becomes tokens in its own way:

| part | token |
|---|---|
| number up to 99 | one token |
| name | a *slot*: the next free one, counting cyclically from a slot that the transcript's first name determines |
| literal | one token if it was frequent in training, else the longest known pieces from the left, else bytes |

A slot means "that name in this transcript" and nothing else, so a model that has learned to copy and compare slots
handles names that it has never seen: this is what lets it go deeper than it was trained. Every text can be encoded, and
decoding restores it exactly, except for what a tokenizer is told to ignore and for names that appear when all slots are
taken: each of those is read as ``?``. So a text has the same length wherever it occurs.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rao_envs.errors import OptionError

__all__ = ["Names", "SlotTokenizer"]

_PART = re.compile(r"(\b(?=\w*[A-Za-z])(?=\w*\d)\w+\b|(?<![\w.])\d+\b)")
_CUT = re.compile(r"(?<=\"\},)")  # between the entries of a list of results, whose number varies
_NUMBERS = 100  # 0 to 99
_SPECIAL = ("<pad>", "<alone>", "<delegate>", "<act>", "<end>")


class Names:
    """The names of one transcript and their slots, in order of first appearance."""

    def __init__(self, slots: int, salt: int = 0) -> None:
        """Start with no names; another `salt` assigns other slots."""
        self.slots = slots
        self.salt = salt
        self._start = 0
        self.slot_of: dict[str, int] = {}
        self.name_of: dict[int, str] = {}

    def bind(self, name: str) -> int | None:
        """Return the slot of a name, assigned now if it is new; None if all slots are taken."""
        slot = self.slot_of.get(name)
        if slot is not None or len(self.slot_of) == self.slots:
            return slot
        if not self.slot_of:
            self._start = zlib.crc32(f"{self.salt} {name}".encode("utf-8", "surrogatepass"))
        slot = (self._start + len(self.slot_of)) % self.slots
        self.slot_of[name], self.name_of[slot] = slot, name
        return slot

    def read(self, text: str) -> None:
        """Bind the names in a text."""
        for part in _PART.findall(text):
            if not part.isdigit():
                self.bind(part)


class SlotTokenizer:
    """Tokens for one family of texts; see the module's docstring.

    Attributes:
        pieces: literal texts that are one token.
        slots: how many names one transcript may hold; any further name is read as ``?``.
        vocab_size: number of token ids.
        pad, alone, delegate, act, end: ids of the special tokens. A transcript begins with `alone` or `delegate`,
            which stand for the system message of an agent that may not or may delegate; `act` precedes a message of
            the agent, `end` follows it.
    """

    def __init__(self, pieces: Sequence[str], slots: int = 64, ignore: str | None = None) -> None:
        """Use these literal pieces.

        Args:
            pieces: literal texts that are one token.
            slots: how many names one transcript may hold.
            ignore: regular expression; what it matches in a text is not read. Decoding cannot bring it back.

        Raises:
            OptionError: a piece is empty or given twice, there is no slot, or `ignore` is not a regular expression.
        """
        if len(set(pieces)) != len(pieces) or "" in pieces:
            raise OptionError("pieces", list(pieces), "must be distinct and not empty")
        if slots < 1:
            raise OptionError("slots", slots, "must be at least 1")
        try:
            self._ignore = re.compile(ignore) if ignore else None
        except re.error as error:
            raise OptionError("ignore", ignore, f"must be a regular expression: {error}") from None
        self.pieces = tuple(pieces)
        self.slots = slots
        self.ignore = ignore
        self.pad, self.alone, self.delegate, self.act, self.end = range(len(_SPECIAL))
        self._bytes = len(_SPECIAL)
        self._numbers = self._bytes + 256
        self._names = self._numbers + _NUMBERS
        self._literals = self._names + slots
        self.vocab_size = self._literals + len(self.pieces)
        self._ids = {piece: self._literals + i for i, piece in enumerate(self.pieces)}
        longest_first = sorted(self.pieces, key=len, reverse=True)
        self._greedy = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._memo: dict[str, tuple[int, ...]] = {}

    @classmethod
    def train(
        cls, texts: Iterable[str], *, slots: int = 64, ignore: str | None = None, at_least: int = 10
    ) -> SlotTokenizer:
        """Learn the literal pieces that occur at least `at_least` times in the texts."""
        seen: Counter[str] = Counter()
        reader = cls((), slots, ignore)
        for text in texts:
            parts = _PART.split(reader.read(text))[::2]
            seen.update(piece for part in parts for piece in _CUT.split(part) if piece)
        return cls(sorted(piece for piece, times in seen.items() if times >= at_least), slots, ignore)

    def read(self, text: str) -> str:
        """Return a text without what `ignore` matches."""
        return self._ignore.sub("", text) if self._ignore else text

    def names(self, salt: int = 0) -> Names:
        """Return an empty table of names for one transcript."""
        return Names(self.slots, salt)

    def encode(self, text: str, names: Names) -> list[int]:
        """Return the token ids of a text, binding its new names."""
        ids: list[int] = []
        for i, part in enumerate(_PART.split(self.read(text))):
            if i % 2 == 0:
                if part:
                    ids += self._literal(part)
            elif part.isdigit():
                short = len(part) <= 2 and part == str(int(part))
                ids += [self._numbers + int(part)] if short else self._spell(part)
            else:
                slot = names.bind(part)
                ids.append(self._names + slot if slot is not None else self._bytes + ord("?"))
        return ids

    def _literal(self, text: str) -> tuple[int, ...]:
        known = self._memo.get(text)
        if known is None:
            ids: list[int] = []
            start = 0
            for match in self._greedy.finditer(text) if self._greedy else ():
                ids += self._spell(text[start : match.start()])
                ids.append(self._ids[match.group()])
                start = match.end()
            known = (*ids, *self._spell(text[start:]))
            if len(self._memo) < 10_000:  # hostile text must not exhaust memory
                self._memo[text] = known
        return known

    def _spell(self, text: str) -> list[int]:
        return [self._bytes + byte for byte in text.encode("utf-8", "surrogatepass")]

    def decode(self, ids: Iterable[int], names: Names) -> str:
        """Return the text of token ids. Special tokens have none; an unbound slot is written as ``unknown7``."""
        data = bytearray()
        for token in ids:
            if token >= self._literals:
                text = self.pieces[token - self._literals]
            elif token >= self._names:
                slot = token - self._names
                text = names.name_of.get(slot, f"unknown{slot}")
            elif token >= self._numbers:
                text = str(token - self._numbers)
            else:
                if token >= self._bytes:
                    data.append(token - self._bytes)
                continue
            data += text.encode("utf-8", "surrogatepass")
        return data.decode("utf-8", "replace")

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, JSON-able."""
        return {"pieces": list(self.pieces), "slots": self.slots, "ignore": self.ignore}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SlotTokenizer:
        """Rebuild a tokenizer."""
        return cls(data["pieces"], data["slots"], data["ignore"])

    def __repr__(self) -> str:
        """Show the size and a few pieces."""
        return f"<SlotTokenizer of {self.vocab_size} tokens, {len(self.pieces)} of them pieces of text>"
