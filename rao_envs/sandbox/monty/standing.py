"""Where a session stands, apart from what the interpreter holds; and how a checkpoint keeps it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from rao_envs.errors import CorruptCheckpoint

__all__ = ["FRESH", "REPLACED", "Standing", "pack", "unpack"]

State = Literal["new", "idle", "paused"]
_STATES: tuple[State, ...] = ("new", "idle", "paused")
_MAGIC = b"RAO3"
_HEADER = struct.Struct(">4sBBHHIIQ")


@dataclass(slots=True)
class Standing:
    """What the host knows of a session.

    Attributes:
        state: "new" before the first snippet, "idle" between snippets, "paused" in the middle of one.
        parts: parts of the prelude that are loaded, one bit each.
        questions: questions of the interpreter's own that were answered in this snippet.
        feed: name of the code that binds the guarded tools, as the interpreter calls it; '' if they are not guarded.
        printed: output of this snippet that no collector holds any more.
        guarded: whether values are kept inside, see `rao_envs.sandbox.monty.guard`.
        bound: whether the session's variables are bound.
        shows: whether the snippet ends in the text of its last expression.
        rebound: whether the agent's code may have bound a tool's name to something else.
        restarted: whether the next snippet says that the session was restarted.
    """

    state: State = "new"
    parts: int = 0
    questions: int = 0
    feed: str = ""
    printed: str = ""
    guarded: bool = False
    bound: bool = False
    shows: bool = False
    rebound: bool = False
    restarted: bool = False

    def copy(self) -> Standing:
        """Return a copy, at a tenth of what `copy.copy` takes."""
        return Standing(
            self.state, self.parts, self.questions, self.feed, self.printed,
            self.guarded, self.bound, self.shows, self.rebound, self.restarted,
        )  # fmt: skip


FRESH = Standing()
REPLACED = Standing(restarted=True)
"""Beginnings; these two must not be changed."""

_FLAGS = ("guarded", "bound", "shows", "rebound", "restarted")


def pack(standing: Standing, seed: int, body: bytes) -> bytes:
    """Write a session as bytes: where it stands, and the interpreter's own dump."""
    printed, feed = standing.printed.encode("utf-8", "replace"), standing.feed.encode("utf-8", "replace")
    flags = sum(getattr(standing, name) << bit for bit, name in enumerate(_FLAGS))
    place = _STATES.index(standing.state)
    sizes = len(feed), len(printed)
    return _HEADER.pack(_MAGIC, place, flags, standing.parts, standing.questions, *sizes, seed) + feed + printed + body


def unpack(data: bytes) -> tuple[Standing, int, bytes]:
    """Read what `pack` wrote: where the session stands, its seed, and the interpreter's dump.

    Raises:
        CorruptCheckpoint: the bytes are not from `pack`, or are cut short.
    """
    try:
        magic, place, flags, parts, questions, feed_size, printed_size, seed = _HEADER.unpack_from(data)
        feed_end = _HEADER.size + feed_size
        end = feed_end + printed_size
        if magic != _MAGIC or len(data) < end:
            raise ValueError
        feed, printed = data[_HEADER.size : feed_end].decode(), data[feed_end:end].decode()
        standing = Standing(_STATES[place], parts, questions, feed, printed)
    except (struct.error, IndexError, ValueError) as error:
        raise CorruptCheckpoint("a dumped Python session is cut short, damaged, or from another release") from error
    for bit, name in enumerate(_FLAGS):
        setattr(standing, name, bool(flags >> bit & 1))
    return standing, seed, data[end:]
