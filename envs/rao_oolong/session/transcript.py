"""A transcript with its log: what a chunk of the text covers, and what happened there."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rao_oolong.session.log import CastTable, SessionLog

__all__ = ["END", "START", "Session", "cast_lines", "line_starts"]

START = "[START OF EPISODE]"
END = "[END OF EPISODE]"

_ALIGNED = 0.9  # share of a chunk that must be the transcript's own, the rest being what the asker wrote round it


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Session:
    r"""A transcript, its log, and where its lines are.

    Attributes:
        text: the transcript: ``Name: utterance`` a line, every episode between `START` and `END`, no line break at
            the end.
        log: what happened.
        line_starts: of unsigned 64-bit ints, one more than lines: offset of each line's first character, then
            ``len(text) + 1``.
        preamble: what stands before the transcript in a prompt: the task, who plays whom, what counts.
        placed: whether the log knows the line of every event. Where it does not (fans' logs), an event's line is
            the first of its episode, so that only ranges of whole episodes can be judged.
    """

    text: str
    log: SessionLog
    line_starts: array[int]
    preamble: str
    placed: bool = True

    @property
    def context(self) -> str:
        """The preamble and the transcript, as the published set has them in one; a new string at each call."""
        return f"{self.preamble}\n\n{self.text}"

    def __repr__(self) -> str:
        """Say what it is, without its text."""
        return f"Session({self.log.episodes} episodes, {len(self)} lines, {len(self.text)} characters)"

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.line_starts) - 1

    def lines(self, first: int, last: int) -> str:
        r"""Return the lines from `first` to `last`, both included, joined by ``"\n"``; "" if there are none."""
        first, last = max(first, 0), min(last, len(self) - 1)
        return self.text[self.line_starts[first] : self.line_starts[last + 1] - 1] if first <= last else ""

    def locate(self, chunk: str) -> tuple[int, int] | None:
        """Find which lines a chunk of the text covers.

        A chunk may cut its first and last line; such a line is covered when more than half of it is there, so that
        of consecutive chunks, cut anywhere, each line belongs to one at most. The preamble, white space around
        the chunk, and a heading or a closing remark of up to a tenth of it are ignored.

        Args:
            chunk: a piece of `text` or of `context`.

        Returns:
            (first line, last line), both included; None when the chunk is not of this text, occurs in it more than
            once, or covers no line.

        Linear in the text at worst; the usual chunk, an exact piece, takes one search by `str.find`.
        """
        chunk = chunk.strip().removeprefix(self.preamble).strip()
        if not chunk:
            return None
        start = self.text.find(chunk)
        if start >= 0:
            if self.text.find(chunk, start + 1) >= 0:
                return None
            return self._covered(start, start + len(chunk))
        aligned = self._align(chunk)
        return None if aligned is None else self._covered(*aligned)

    def _align(self, chunk: str) -> tuple[int, int] | None:
        """Find the middle third of `chunk` and stretch it to both sides as far as the text agrees."""
        low, high = len(chunk) // 3, len(chunk) - len(chunk) // 3
        at = self.text.find(chunk[low:high])
        if at < 0 or self.text.find(chunk[low:high], at + 1) >= 0:
            return None
        before, after = self.text[max(0, at - low) : at], self.text[at + high - low : at + len(chunk) - low]
        start = at - _agreeing(before[::-1], chunk[:low][::-1])
        end = at + high - low + _agreeing(after, chunk[high:])
        return (start, end) if end - start >= _ALIGNED * len(chunk) else None

    def _covered(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the lines more than half of whose characters lie in ``text[start:end]``."""
        first = bisect_right(self.line_starts, start) - 1
        last = bisect_left(self.line_starts, end) - 1
        if not self._mostly(first, start, end):
            first += 1
        if last >= first and not self._mostly(last, start, end):
            last -= 1
        return (first, last) if first <= last else None

    def _mostly(self, line: int, start: int, end: int) -> bool:
        low, high = self.line_starts[line], self.line_starts[line + 1] - 1
        return 2 * (min(end, high) - max(start, low)) > high - low


def line_starts(text: str) -> array[int]:
    """Index the lines of a text as `Session.line_starts` has them."""
    starts = array("Q", [0])
    at = text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    starts.append(len(text) + 1)
    return starts


def cast_lines(cast_table: CastTable) -> str:
    """Say who plays whom, one line for each player, without the characters that nobody plays."""
    return "\n".join(f"{player} plays the character {character}." for player, character in cast_table if player)


def _agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common prefix."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
