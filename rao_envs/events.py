"""What happened in a rollout: frozen events, in order, from which everything else is derived.

A rollout writes one log. Every event carries its position in that log (`seq`, from 0 without gaps), the node it
concerns, and the virtual time at which it happened *to that node*. Nodes run in parallel in virtual time but
one after the other in the log, so `time` may go back from one event to the next; `seq` never does.

| event | meaning |
|---|---|
| `Spawned` | a node exists: who launched it, what it was asked, what it was shown |
| `Acted` | a node sent a message (the start of a turn) |
| `Blocked` | the turn waits for children |
| `Resumed` | a child's result was delivered to the waiting turn |
| `Observed` | the turn is over: what the node saw of it |
| `Returned` | the node is over: its result, why it ended, its verdict |
| `Aborted` | the infrastructure failed: the rollout is invalid |

A turn that delegates ends long after it began, with other nodes' events in between; hence the two events `Acted` and
`Observed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from rao_envs.errors import CorruptTree

__all__ = [
    "EVENT_TYPES",
    "STATUSES",
    "Aborted",
    "Acted",
    "Blocked",
    "Event",
    "Fault",
    "Observed",
    "Resumed",
    "Returned",
    "Sample",
    "Spawned",
    "Status",
    "Verdict",
    "event_from_dict",
    "event_to_dict",
]

Status = Literal["finished", "turns", "context", "cancelled"]
"""Why a node ended: it called `finish`, ran out of turns, outgrew its context window, or was abandoned by
its parent."""

STATUSES: tuple[Status, ...] = get_args(Status)

Fault = Literal["agent", "infrastructure"]
"""Who is at fault for a failed turn."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How well one node did what *it* was asked.

    Attributes:
        success: in [0, 1]; None means unjudged, which is not the same as 0.
        source: where it comes from: "exact" (a program that checks), "judge" (a model), "engine" (the node never
            finished, so there is nothing to check) or "none" (unjudged).
        why: the reason, in one human-readable line.
    """

    success: float | None
    source: str = "exact"
    why: str = ""

    def __post_init__(self) -> None:
        """Reject a success outside [0, 1]: a wrongly scaled reward is a silent bug."""
        if self.success is not None and not 0.0 <= self.success <= 1.0:
            raise ValueError(f"Verdict(success={self.success!r}): must lie in [0, 1], or be None if unjudged")


@dataclass(frozen=True, slots=True)
class Sample:
    """The tokens of one message, as sampled by the policy: what a trainer optimises, never retokenised.

    Attributes:
        prompt_ids: token ids given to the policy, length P.
        output_ids: token ids that it sampled, length T.
        logprobs: natural-log probabilities of `output_ids` when sampled, length T.
    """

    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    def __post_init__(self) -> None:
        """Reject log-probabilities that do not match the tokens."""
        if len(self.output_ids) != len(self.logprobs):
            raise ValueError(
                f"Sample: {len(self.output_ids)} output_ids but {len(self.logprobs)} logprobs; "
                "record one log-probability for each sampled token"
            )


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one node.

    Attributes:
        seq: position in the rollout's log, from 0.
        node: id of the node, from 0 (the root) in order of spawning.
        time: virtual seconds since the rollout began, on that node's own clock.
    """

    seq: int
    node: int
    time: float


@dataclass(frozen=True, slots=True)
class Spawned(Event):
    """A node exists.

    Attributes:
        parent: id of the node that launched it; None for the root.
        goal: what it is asked, in words.
        opening: the first user message it sees.
        system: its system message; None means the same as its parent's.
        budget: turns it may take (and, with a shared budget, its descendants too).
        payload: the goal in the benchmark's own terms (JSON).
        task: for the root, which task this is: at least its "id" (JSON).
        may_delegate: whether it may launch subagents; None means the same as its parent.
    """

    parent: int | None
    goal: str
    opening: str
    system: str | None
    budget: int
    payload: Any = None
    task: Mapping[str, Any] | None = None
    may_delegate: bool | None = None


@dataclass(frozen=True, slots=True)
class Acted(Event):
    """A node sent a message; its turn begins.

    Attributes:
        action: the message.
        latency: virtual seconds that the policy took to write it.
        prompt_tokens: size of the transcript it answered.
        output_tokens: size of the message.
        sample: tokens and log-probabilities as sampled, if the policy gave them.
    """

    action: str
    latency: float
    prompt_tokens: int
    output_tokens: int
    sample: Sample | None = None


@dataclass(frozen=True, slots=True)
class Blocked(Event):
    """The turn waits for the nodes `on`: all that it has launched and not yet heard from.

    It may continue as soon as one of them returns; a new event follows only if it then waits for new ones.
    """

    on: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """The result of node `child` was delivered to the waiting turn."""

    child: int


@dataclass(frozen=True, slots=True)
class Observed(Event):
    """The turn is over.

    Attributes:
        observation: what the node saw of it, as added to its transcript.
        calls: tool calls made, launches included.
        fault: who is at fault if the turn failed; None if it did not.
    """

    observation: str
    calls: int
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Returned(Event):
    """The node is over, and so is everything it launched.

    Attributes:
        status: why it ended.
        result: what it passed to `finish` (JSON); None if it did not finish.
        verdict: its own success.
    """

    status: Status
    result: Any
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Aborted(Event):
    """The infrastructure failed; this rollout must not reach the objective. `node` is the root."""

    reason: str


EVENT_TYPES: Mapping[str, type[Event]] = {
    cls.__name__: cls for cls in (Spawned, Acted, Blocked, Resumed, Observed, Returned, Aborted)
}
"""Event classes by name, which is also the tag in JSON."""


class _Codec:
    """Field names and defaults of each event type, looked up once."""

    names: ClassVar = {cls: tuple(f.name for f in fields(cls)) for cls in EVENT_TYPES.values()}
    defaults: ClassVar = {
        cls: {f.name: f.default for f in fields(cls) if f.default is not MISSING} for cls in EVENT_TYPES.values()
    }


def event_to_dict(event: Event) -> dict[str, Any]:
    """Return the event as JSON-able data, tagged with its type; fields with default values are omitted."""
    cls = type(event)
    defaults = _Codec.defaults[cls]
    data: dict[str, Any] = {"type": cls.__name__}
    for name in _Codec.names[cls]:
        value = getattr(event, name)
        if name in defaults and value == defaults[name]:
            continue
        if isinstance(value, Verdict):
            value = {"success": value.success, "source": value.source, "why": value.why}
        elif isinstance(value, Sample):
            value = {
                "prompt_ids": list(value.prompt_ids),
                "output_ids": list(value.output_ids),
                "logprobs": list(value.logprobs),
            }
        elif isinstance(value, tuple):
            value = list(value)
        data[name] = value
    return data


def event_from_dict(data: Mapping[str, Any]) -> Event:
    """Rebuild an event from what `event_to_dict` returned.

    Raises:
        CorruptTree: the data is not an event.
    """
    if not isinstance(data, Mapping):
        raise CorruptTree(f"an event must be an object, got {type(data).__name__}")
    values = dict(data)
    name = values.pop("type", None)
    cls = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise CorruptTree(f"unknown event type {name!r:.80}; known: {', '.join(EVENT_TYPES)}")
    try:
        if "verdict" in values:
            values["verdict"] = Verdict(**values["verdict"])
        if values.get("sample") is not None:
            values["sample"] = Sample(**{key: tuple(ids) for key, ids in values["sample"].items()})
        if "on" in values:
            values["on"] = tuple(values["on"])
        event = cls(**values)
    except (TypeError, ValueError, AttributeError) as error:
        raise CorruptTree(f"not a {cls.__name__} event: {error}") from error
    if type(event.seq) is not int or type(event.node) is not int:
        raise CorruptTree(f"not a {cls.__name__} event: seq and node must be whole numbers")
    return event
