"""The event log of a rollout: a sequence of events that stays cheap with a million of them."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeAlias, overload

from rao_envs.events import EVENT_TYPES, Acted, Event, Returned, Sample, Spawned, Verdict

__all__ = ["EventLog"]

_KINDS = tuple(EVENT_TYPES.values())
_NUMBER = {kind: number for number, kind in enumerate(_KINDS)}
_ROW = {kind: attrgetter(*(field.name for field in fields(kind))) for kind in _KINDS}
_BLOCK = 256
_LOOSE = 4_096  # few enough that the collector hardly notices, and more than most rollouts have

_Block: TypeAlias = tuple[tuple[Any, ...], ...]


class EventLog(Sequence[Event]):
    """Events in order, read like a list; `append` is the only way to change it.

    `pack` turns all but the latest into blocks of plain tuples, which become events again when read. Python's garbage
    collector visits every object that could be part of a cycle, again and again while a tree grows, but skips tuples
    of numbers and strings. A rollout of 100,000 nodes has half a million events.

    Attributes:
        size: number of events.
    """

    __slots__ = ("_blocks", "_tail", "size")

    def __init__(self) -> None:
        """Start empty."""
        self._blocks: list[_Block] = []
        self._tail: list[Event] = []
        self.size = 0

    def append(self, event: Event) -> None:
        """Add the next event."""
        self.size += 1
        self._tail.append(event)

    def pack(self) -> None:
        """Compact all but the latest events if there are many; nothing else changes."""
        tail = self._tail
        if len(tail) >= _LOOSE:
            whole = len(tail) // _BLOCK - 1
            for first in range(0, whole * _BLOCK, _BLOCK):
                self._blocks.append(tuple([_pack(event) for event in tail[first : first + _BLOCK]]))
            del tail[: whole * _BLOCK]

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        """Return one event, or a list of them."""
        packed = len(self._blocks) * _BLOCK
        if isinstance(index, slice):
            start, stop, step = index.indices(self.size)
            if step == 1 and start >= packed:
                return self._tail[start - packed : max(stop, start) - packed]
            return [self[i] for i in range(start, stop, step)]
        i = index + self.size if index < 0 else index
        if not 0 <= i < self.size:
            raise IndexError(f"event {index} of a log of {self.size}")
        if i >= packed:
            return self._tail[i - packed]
        return _unpack(self._blocks[i // _BLOCK][i % _BLOCK])

    def __iter__(self) -> Iterator[Event]:
        """Yield the events in order."""
        for block in self._blocks:
            yield from map(_unpack, block)
        yield from self._tail

    def __len__(self) -> int:
        """Count the events."""
        return self.size

    def __eq__(self, other: object) -> bool:
        """Compare event by event with another log, list or tuple."""
        if isinstance(other, EventLog | list | tuple):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        """Show the length, not the events."""
        return f"<EventLog of {self.size} events>"


_BOXED = frozenset({Acted, Returned, Spawned})
"""Events that may hold more than numbers and strings."""

_ATOMS = frozenset({bool, float, int, str, type(None)})


def _pack(event: Event) -> tuple[Any, ...]:
    """Return an event as a tuple of numbers and strings, as far as possible."""
    kind = type(event)
    row = _ROW[kind](event)
    if kind in _BOXED:
        row = tuple([value if type(value) in _ATOMS else _box(value) for value in row])
    return (_NUMBER[kind], *row)


def _unpack(row: tuple[Any, ...]) -> Event:
    number, *values = row
    kind = _KINDS[number]
    if kind in _BOXED:
        values = [value if type(value) in _ATOMS else _unbox(*value) for value in values]
    make: Callable[..., Event] = kind
    return make(*values)


def _box(value: Any) -> tuple[str, Any]:
    """Return plain data in a form that the garbage collector does not visit, and anything else as it is."""
    if isinstance(value, Verdict):
        return "verdict", (value.success, value.source, value.why)
    try:
        if isinstance(value, Sample):
            return "sample", marshal.dumps((value.prompt_ids, value.output_ids, value.logprobs))
        return "data", marshal.dumps(value)
    except ValueError:
        return "other", value


def _unbox(form: str, value: Any) -> Any:
    if form == "verdict":
        return Verdict(*value)
    if form == "sample":
        return Sample(*marshal.loads(value))
    return marshal.loads(value) if form == "data" else value
