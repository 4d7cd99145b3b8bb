"""What a rollout reads from: one transcript, and passages of it that cost nothing until somebody reads them.

A node's context is described by its *place*, small JSON data that travels in the node's payload:

| place | context |
|---|---|
| None | everything: the preamble and the transcript |
| ``["lines", first, last, margin]`` | the preamble, a heading, and these lines of the transcript (both included) with \
`margin` lines around them |
| ``["chars", source, start, end]`` | characters of the whole context (source -1) or of a text that an agent wrote |
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from rao_oolong.session.transcript import END, START, Session, line_starts

__all__ = ["HEADING", "Book", "Heading", "Place", "read_heading"]

Place: TypeAlias = "list[Any] | None"

HEADING = re.compile(
    r"^\[Lines (\d+) to (\d+) of the transcript \((\d+) lines, from 0\)\. "
    r"Line (\d+) comes next, in episode (\d+)\..*\]$",
    re.MULTILINE,
)


class Heading(NamedTuple):
    """What the heading of a passage says.

    Attributes:
        first: the first line that is asked about.
        last: the last one.
        total: lines of the transcript.
        shown: the line that comes right after the heading.
        episode: the episode that this line is in (or starts).
    """

    first: int
    last: int
    total: int
    shown: int
    episode: int


def read_heading(text: str) -> tuple[Heading, str] | None:
    """Return the heading of a passage and what stands below it; None where there is none."""
    found = HEADING.search(text)
    return None if found is None else (Heading(*map(int, found.groups())), text[found.end() :].lstrip("\n"))


class Book:
    """A transcript, and the texts that agents wrote for their subagents.

    Attributes:
        session: the transcript.
        texts: what agents wrote, each text once.
    """

    def __init__(self, session: Session, texts: list[str] | None = None) -> None:
        """Open a session."""
        self.session = session
        self.texts: list[str] = list(texts or [])

    @cached_property
    def context(self) -> str:
        """Preamble and transcript in one."""
        return self.session.context if self.session.preamble else self.session.text

    @cached_property
    def episode_starts(self) -> list[int]:
        """The line that each episode starts at."""
        return self._lines_that_are(START)

    @cached_property
    def episode_ends(self) -> frozenset[int]:
        """The line that each episode ends with."""
        return frozenset(self._lines_that_are(END))

    def _lines_that_are(self, mark: str) -> list[int]:
        text, found, at = self.session.text, [], 0
        while (at := text.find(mark, at)) >= 0:
            line = bisect_right(self.session.line_starts, at) - 1
            if self.session.lines(line, line) == mark:
                found.append(line)
            at += len(mark)
        return found

    def episode(self, line: int) -> int:
        """Return the number, from 1, of the episode that a line is in."""
        return max(1, bisect_right(self.episode_starts, line))

    def text(self, place: Place) -> str:
        """Return the context at a place."""
        if place is None:
            return self.context
        if place[0] == "chars":
            return self._source(place[1])[place[2] : place[3]]
        low, high = self.shown(place)
        return f"{self._above(place)}{self.session.lines(low, high)}"

    def shown(self, place: Place) -> tuple[int, int]:
        """Return the first and last line of the transcript that a place of lines shows, margins included."""
        if place is None:
            return 0, len(self.session) - 1
        _, first, last, margin = place
        return max(0, first - margin), min(len(self.session) - 1, last + margin)

    def _above(self, place: Place) -> str:
        """Return what stands above the lines."""
        preamble = f"{self.session.preamble}\n\n" if self.session.preamble else ""
        if place is None:
            return preamble
        _, first, last, margin = place
        low, _ = self.shown(place)
        around = " Lines before and after these only help to understand them." if margin else ""
        return (
            f"{preamble}[Lines {first} to {last} of the transcript ({len(self.session)} lines, from 0). "
            f"Line {low} comes next, in episode {self.episode(low)}.{around}]\n\n"
        )

    def _source(self, number: int) -> str:
        return self.context if number < 0 else self.texts[number]

    def size(self, place: Place) -> tuple[int, int]:
        """Return how many lines and characters the context at a place has."""
        if place is not None and place[0] == "chars":
            text = self.text(place)
            return text.count("\n") + 1, len(text)
        low, high = self.shown(place)
        above, starts = self._above(place), self.session.line_starts
        return above.count("\n") + high - low + 1, len(above) + starts[high + 1] - 1 - starts[low]

    def own(self, place: Place) -> tuple[int, int] | None:
        """Return which lines of its own context a passage is about; None where it has no margins or heading."""
        if place is None or place[0] == "chars":
            return None
        offset = self._above(place).count("\n") - self.shown(place)[0]
        return place[1] + offset, place[2] + offset

    def lines(self, place: Place, first: int, count: int) -> str:
        """Return `count` lines of the context at a place, from line `first` of that context on."""
        return "\n".join(self.text(place).split("\n")[first : first + count])

    def part(self, place: Place, first: int, last: int, margin: int) -> Place:
        """Return the place of some lines of the context at a place; None where they hold nothing to read."""
        if place is not None and place[0] == "chars":
            starts = line_starts(self.text(place))
            low, high = starts[max(0, first - margin)], starts[min(last + margin, len(starts) - 2) + 1] - 1
            return ["chars", place[1], place[2] + low, place[2] + high]
        low, high = self.shown(place)
        offset = self._above(place).count("\n") - low
        first, last = max(first - offset, low), min(last - offset, high)
        return ["lines", first, last, margin] if first <= last else None

    def find(self, text: str, place: Place) -> Place:
        """Return the place of a text that the owner of `place` wrote: a span if it was cut out, else kept once."""
        if place is not None and place[0] == "chars":
            at = self.text(place).find(text)
            if at >= 0:
                return ["chars", place[1], place[2] + at, place[2] + at + len(text)]
        at = self.context.find(text)
        if at >= 0:
            return ["chars", -1, at, at + len(text)]
        if text not in self.texts:
            self.texts.append(text)
        return ["chars", self.texts.index(text), 0, len(text)]

    def asked(self, place: Place) -> tuple[int, int] | None:
        """Return the lines of the transcript that a place is about; None where it is not of the transcript."""
        if place is None:
            return 0, len(self.session) - 1
        if place[0] == "lines":
            return place[1], place[2]
        text = self.text(place)
        heading = read_heading(text)
        return self.session.locate(heading[1] if heading else text)

    def whole_episodes(self, first: int, last: int) -> bool:
        """Return whether the lines are whole episodes."""
        return first in self.episode_starts and last in self.episode_ends
