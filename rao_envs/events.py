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

from rao_envs._fields import (
    Check,
    as_bool,
    as_count,
    as_counts,
    as_data,
    as_logprobs,
    as_object,
    as_seconds,
    as_success,
    as_text,
    as_token_ids,
    as_whole,
    maybe,
    one_of,
    shown,
)
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
        success: Any = self.success
        if isinstance(success, bool) or hasattr(success, "dtype"):
            # From ``answer == gold``, or from numpy: a stored tree holds plain numbers.
            object.__setattr__(self, "success", float(success))
        if success is not None and not 0.0 <= success <= 1.0:
            raise ValueError(f"Verdict(success={success!r}): must lie in [0, 1], or be None if unjudged")


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

    Every field is checked, so that nothing that is made of the event stumbles over it later.

    Raises:
        CorruptTree: the data is not an event; names the field.
    """
    if type(data) is not dict and not isinstance(data, Mapping):
        raise CorruptTree(f"an event must be an object, not {shown(data)}")
    name = data.get("type")
    cls = EVENT_TYPES.get(name) if type(name) is str else None
    if cls is None:
        raise CorruptTree(f"unknown event type {shown(name)}; known: {', '.join(EVENT_TYPES)}")
    values, missing, known, field = [], "", 1, ""
    get = data.get
    try:
        for field, sure, check, default in _CHECKS[cls]:
            value = get(field, MISSING)
            if value is MISSING:
                value = default
                if value is MISSING:
                    missing = missing or field
            else:
                known += 1
                if type(value) is not sure:
                    value = check(value)
            values.append(value)
    except ValueError as error:
        raise CorruptTree(f"not a {name} event: {field} {error}") from error
    if missing:
        raise CorruptTree(f"not a {name} event: {missing} is missing")
    if known != len(data):
        unknown = sorted(map(repr, data.keys() - {"type", *_Codec.names[cls]}))
        raise CorruptTree(f"not a {name} event: unknown field {', '.join(unknown)[:200]}")
    return cls(*values)


def _verdict(value: Any) -> Verdict:
    if type(value) is not dict or "success" not in value or not value.keys() <= {"success", "source", "why"}:
        raise ValueError("must be an object with success, source and why")
    success = as_success(value["success"])
    return Verdict(success, as_text(value.get("source", "exact")), as_text(value.get("why", "")))


def _sample(value: Any) -> Sample | None:
    if value is None:
        return None
    if type(value) is not dict or value.keys() != {"prompt_ids", "output_ids", "logprobs"}:
        raise ValueError("must be an object with prompt_ids, output_ids and logprobs")
    prompt, output = as_token_ids(value["prompt_ids"]), as_token_ids(value["output_ids"])
    return Sample(prompt, output, as_logprobs(value["logprobs"]))


_KINDS: Mapping[str, Check] = {
    **dict.fromkeys(("seq", "node", "prompt_tokens", "output_tokens", "calls", "child"), as_count),
    **dict.fromkeys(("time", "latency"), as_seconds),
    **dict.fromkeys(("goal", "opening", "action", "observation", "reason"), as_text),
    **dict.fromkeys(("payload", "result"), as_data),
    "parent": maybe(as_count),
    "system": maybe(as_text),
    "budget": as_whole,
    "task": maybe(as_object),
    "may_delegate": maybe(as_bool),
    "sample": _sample,
    "on": as_counts,
    "fault": one_of(None, *get_args(Fault)),
    "status": one_of(*STATUSES),
    "verdict": _verdict,
}
_CHECKS = {
    cls: tuple(
        (field.name, str if _KINDS[field.name] is as_text else None, _KINDS[field.name], field.default)
        for field in fields(cls)
    )
    for cls in EVENT_TYPES.values()
}
"""Name, type of which any value will do, check, and default of each field."""
