"""What questions measure, as results that can be computed over chunks and merged.

A measure is three functions: `partial` maps a log to plain JSON data, `merge` joins the partials of consecutive
chunks, in the order of the chunks, and `finish` turns one partial into the answer. They obey, however a log is
split at line boundaries,

    finish(merge([partial(part) for part in parts])) == finish(partial(whole))

so a measure says exactly how a question is delegated. Names given as parameters are compared without regard
to case. Sequences keep the order of the transcript; sets and ties are sorted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rao_oolong.questions.answers import Answer
from rao_oolong.session.log import Cast, Kill, Roll, SessionLog

__all__ = [
    "Measure",
    "casts",
    "commonest",
    "count",
    "distinct",
    "edge_each_episode",
    "first",
    "kills",
    "last",
    "last_each",
    "nth",
    "rarest",
    "rolls",
    "share",
    "shared",
]

Event: TypeAlias = "Roll | Cast | Kill"
Source: TypeAlias = Callable[[SessionLog], Sequence[Any]]
Test: TypeAlias = Callable[[Any, dict[str, Any]], bool]
Value: TypeAlias = Callable[[Any], "str | int | None"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure over logs; see the module's docstring for what its parts obey.

    Attributes:
        partial: (log, parameters) -> JSON-able data.
        merge: partials in the order of their chunks -> partial. Of no partials it is the one of an empty log.
        finish: (partial, parameters) -> answer.
    """

    partial: Callable[[SessionLog, dict[str, Any]], Any]
    merge: Callable[[Iterable[Any]], Any]
    finish: Callable[[Any, dict[str, Any]], Answer]


def rolls(log: SessionLog) -> Sequence[Roll]:
    """Return the rolls of a log."""
    return log.rolls


def casts(log: SessionLog) -> Sequence[Cast]:
    """Return the casts of a log."""
    return log.casts


def kills(log: SessionLog) -> Sequence[Kill]:
    """Return the kills of a log."""
    return log.kills


def count(source: Source, test: Test | None = None) -> Measure:
    """How many events pass the test. Partial: an int."""
    return Measure(
        lambda log, params: sum(1 for _ in _passing(source, test, log, params)),
        sum,
        lambda partial, params: int(partial),
    )


def share(source: Source, test: Test) -> Measure:
    """What percentage of the events pass, to the nearest integer, halves up; 0 of none. Partial: [hits, all]."""

    def finish(partial: Any, params: dict[str, Any]) -> Answer:
        hits, total = partial
        return int((200 * hits + total) // (2 * total)) if total else 0

    return Measure(
        lambda log, params: [sum(test(event, params) for event in source(log)), len(source(log))],
        lambda partials: [sum(column) for column in zip([0, 0], *partials, strict=True)],
        finish,
    )


def commonest(source: Source, value: Value) -> Measure:
    """The values seen most often, all that tie. Partial: {value: times}."""
    return Measure(_tally(source, value), _add_tallies, lambda partial, params: _having(partial, max, 1))


def rarest(source: Source, value: Value, at_least: int) -> Measure:
    """The values seen least often among those seen `at_least` times, all that tie. Partial: {value: times}."""
    return Measure(_tally(source, value), _add_tallies, lambda partial, params: _having(partial, min, at_least))


def first(source: Source, value: Value) -> Measure:
    """The values of the first ``params["count"]`` events. Partial: those values."""
    return Measure(
        lambda log, params: [value(event) for event in source(log)[: params["count"]]],
        _concatenate,
        lambda partial, params: partial[: params["count"]],
    )


def last(source: Source, value: Value) -> Measure:
    """The values of the last ``params["count"]`` events, in order. Partial: those values."""
    return Measure(
        lambda log, params: [value(event) for event in source(log)[-params["count"] :]],
        _concatenate,
        lambda partial, params: partial[-params["count"] :],
    )


def nth(source: Source, value: Value, test: Test) -> Measure:
    """The value of event number ``params["nth"]``, from 1, of those that pass; "" if there are fewer.

    Partial: the first so many values.
    """

    def finish(partial: Any, params: dict[str, Any]) -> Answer:
        return str(partial[params["nth"] - 1]) if len(partial) >= params["nth"] else ""

    return Measure(
        lambda log, params: [value(event) for event in _passing(source, test, log, params)][: params["nth"]],
        _concatenate,
        finish,
    )


def last_each(source: Source, owner: Value, value: Value) -> Measure:
    """The last value of each owner, in the order in which they happened. Partial: [[owner, value], ...]."""

    def merge(partials: Iterable[Any]) -> Any:
        latest: dict[Any, Any] = {}
        for key, item in _concatenate(partials):
            latest.pop(key, None)  # so that it goes to the end
            latest[key] = item
        return [[key, item] for key, item in latest.items()]

    return Measure(
        lambda log, params: merge([[[owner(event), value(event)] for event in source(log)]]),
        merge,
        lambda partial, params: [item for _, item in partial],
    )


def edge_each_episode(source: Source, value: Value, *, last: bool, test: Test | None = None) -> Measure:
    """The first (or last) value of each episode that has one. Partial: [[episode, value], ...]."""

    def merge(partials: Iterable[Any]) -> Any:
        edge: dict[int, Any] = {}
        for episode, item in _concatenate(partials):
            if last or episode not in edge:
                edge[episode] = item
        return [[episode, edge[episode]] for episode in sorted(edge)]

    return Measure(
        lambda log, params: merge([[[e.episode, value(e)] for e in _passing(source, test, log, params)]]),
        merge,
        lambda partial, params: [item for _, item in partial],
    )


def distinct(source: Source, value: Value, test: Test | None = None, *, number: bool = False) -> Measure:
    """The different values of the events that pass, or how many there are. Partial: them, sorted."""
    return Measure(
        lambda log, params: _sorted_set(value(event) for event in _passing(source, test, log, params)),
        lambda partials: _sorted_set(_concatenate(partials)),
        lambda partial, params: len(partial) if number else list(partial),
    )


def shared(source: Source, owner: Value, value: Value) -> Measure:
    """The values that more than one owner has. Partial: {value: [owner, ...]}, all sorted."""

    def merge(partials: Iterable[Any]) -> Any:
        owners: dict[str, set[str]] = {}
        for partial in partials:
            for item, names in partial.items():
                owners.setdefault(item, set()).update(names)
        return {item: sorted(owners[item]) for item in sorted(owners)}

    return Measure(
        lambda log, params: merge({str(value(event)): [str(owner(event))]} for event in source(log)),
        merge,
        lambda partial, params: sorted(item for item, names in partial.items() if len(names) > 1),
    )


def _passing(source: Source, test: Test | None, log: SessionLog, params: dict[str, Any]) -> Iterable[Any]:
    events = source(log)
    return events if test is None else (event for event in events if test(event, params))


def _tally(source: Source, value: Value) -> Callable[[SessionLog, dict[str, Any]], Any]:
    def partial(log: SessionLog, params: dict[str, Any]) -> Any:
        seen = Counter(value(event) for event in source(log))
        # JSON's keys are strings, and two orders of one tally must be one partial.
        return dict(sorted((str(item), times) for item, times in seen.items() if item is not None))

    return partial


def _add_tallies(partials: Iterable[Any]) -> Any:
    total: Counter[str] = Counter()
    for partial in partials:
        total.update(partial)
    return dict(sorted(total.items()))


def _having(tally: dict[str, int], extreme: Callable[[Iterable[int]], int], at_least: int) -> Answer:
    seen = {item: times for item, times in tally.items() if times >= at_least}
    if not seen:
        return []
    wanted = extreme(seen.values())
    # Numbers in the order of numbers: 9 before 13.
    return sorted(
        (item for item, times in seen.items() if times == wanted),
        key=lambda item: (len(item), item) if item.isdigit() else (0, item),
    )


def _concatenate(partials: Iterable[Any]) -> list[Any]:
    return [item for partial in partials for item in partial]


def _sorted_set(values: Iterable[Any]) -> list[Any]:
    return sorted(set(values))
