"""The execution tree of a rollout: a pure function of its event log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

from rao_envs._fields import as_object
from rao_envs.errors import CorruptTree
from rao_envs.events import (
    STATUSES,
    Aborted,
    Acted,
    Blocked,
    Event,
    Fault,
    Observed,
    Resumed,
    Returned,
    Sample,
    Spawned,
    Status,
    Verdict,
    event_from_dict,
    event_to_dict,
)
from rao_envs.log import EventLog

if TYPE_CHECKING:
    import networkx

__all__ = ["ExecutionTree", "Messages", "Node", "Turn"]

Message = dict[str, str]
"""One chat message: {"role": "system" | "user" | "assistant", "content": text}."""


@dataclass(slots=True)
class Turn:
    """One action of one node and the observation it got back.

    Attributes:
        action: the node's message.
        observation: what came back; None while the turn waits for children (or was cut off).
        start: virtual time at which the policy was asked.
        latency: virtual seconds it took to answer.
        end: virtual time of the observation; None while the turn is open.
        prompt_tokens: size of the transcript before the action.
        output_tokens: size of the action.
        calls: tool calls made.
        fault: who is at fault if the turn failed; None if it did not.
        children: ids of the nodes launched in this turn.
        sample: tokens and log-probabilities as sampled, where known.
    """

    action: str
    start: float
    latency: float
    prompt_tokens: int
    output_tokens: int
    sample: Sample | None
    children: Sequence[int] = ()
    observation: str | None = None
    end: float | None = None
    calls: int = 0
    fault: Fault | None = None


_Row: TypeAlias = tuple[Any, ...]
_MANY = 1_000
"""From this node on, a tree is large enough for the garbage collector to notice what it keeps."""

_row = attrgetter(*(field.name for field in fields(Turn)))


class Messages(Sequence[Message]):
    """A node's chat so far, as an immutable view: making one copies nothing, however long the history.

    Items are fresh ``{"role", "content"}`` dicts: system, user (the opening), then assistant and user in turn.
    The length is fixed when the view is made; later turns do not appear in it.
    """

    __slots__ = ("_length", "_node", "_turns")

    def __init__(self, node: Node) -> None:
        """View the chat of `node` as it stands now."""
        self._node = node
        self._turns = turns = node.turns
        open_turn = bool(turns) and turns[-1].observation is None
        self._length = 2 + 2 * len(turns) - open_turn

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> list[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | list[Message]:
        """Return one message, or a list of them."""
        if isinstance(index, slice):
            return [self._message(i) for i in range(*index.indices(self._length))]
        i = index + self._length if index < 0 else index
        if not 0 <= i < self._length:
            raise IndexError(f"message {index} of a chat of {self._length}")
        return self._message(i)

    def _message(self, i: int) -> Message:
        if i < 2:
            node = self._node
            return {"role": "user", "content": node.opening} if i else {"role": "system", "content": node.system}
        turn = self._turns[(i - 2) // 2]
        if i % 2 == 0:
            return {"role": "assistant", "content": turn.action}
        return {"role": "user", "content": turn.observation or ""}

    def __len__(self) -> int:
        """Count the messages."""
        return self._length

    def __eq__(self, other: object) -> bool:
        """Compare message by message with another view, list or tuple."""
        if isinstance(other, Messages | list | tuple):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a plain list: a view must not drag its whole tree to another process."""
        return (list, (list(self),))

    def __repr__(self) -> str:
        """Show the length, not the text."""
        return f"<{self._length} messages of node {self._node.id}>"


class Node:
    """One agent instance in a tree.

    Attributes:
        id: number in order of spawning; the root is 0.
        parent: id of the node that launched it; None for the root.
        depth: 0 for the root.
        path: index among siblings at each level; () for the root.
        goal: what it was asked, in words.
        payload: the same in the benchmark's terms.
        system: its system message.
        opening: its first user message.
        budget: turns it was granted.
        may_delegate: whether it may launch subagents; None in a log that does not say.
        children: ids of the nodes it launched.
        status: why it ended; None while it lives.
        result: what it passed to `finish`.
        success: own success in [0, 1]; None while it lives, or if unjudged.
        spawned_at: virtual time at which it was launched.
        returned_at: virtual time at which it ended; None while it lives.
    """

    __slots__ = (
        "_turns",
        "_why",
        "budget",
        "children",
        "depth",
        "goal",
        "id",
        "may_delegate",
        "opening",
        "parent",
        "path",
        "payload",
        "result",
        "returned_at",
        "spawned_at",
        "status",
        "success",
        "system",
        "waits",
    )

    def __init__(self, event: Spawned, parent: Node | None) -> None:
        """Make the node that `event` announces."""
        self.id = event.node
        self.parent = event.parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.path: tuple[int, ...] = () if parent is None else (*parent.path, len(parent.children))
        self.goal = event.goal
        self.payload = event.payload
        self.system: str = event.system if event.system is not None else parent.system if parent else ""
        self.opening = event.opening
        self.budget = event.budget
        self.may_delegate: bool | None = event.may_delegate
        if self.may_delegate is None and parent is not None:
            self.may_delegate = parent.may_delegate
        self._turns: list[Turn] | tuple[_Row, ...] = []
        self.children: Sequence[int] = ()
        self.waits: dict[int, None] = {}
        self.status: Status | None = None
        self.result: Any = None
        self.success: float | None = None
        self._why: tuple[str, str] | None = None  # the garbage collector does not track a tuple of strings
        self.spawned_at = event.time
        self.returned_at: float | None = None

    @property
    def turns(self) -> Sequence[Turn]:
        """Its turns; in a large tree rebuilt at each access once it has ended."""
        turns = self._turns
        return turns if isinstance(turns, list) else [Turn(*row) for row in turns]

    def act(self, turn: Turn) -> None:
        """Begin a turn."""
        assert isinstance(self._turns, list)
        self._turns.append(turn)

    def pack(self) -> None:
        """Store the turns of a node that has ended in a form that the garbage collector does not track."""
        turns = self._turns
        if isinstance(turns, list) and not (turns and turns[-1].sample):
            self._turns = tuple(map(_row, turns))

    @property
    def waits_for(self) -> tuple[int, ...]:
        """Ids of the children that its open turn waits for."""
        return tuple(self.waits)

    @property
    def verdict(self) -> Verdict | None:
        """Own success, its source and the reason; None while it lives."""
        return None if self._why is None else Verdict(self.success, *self._why)

    @property
    def address(self) -> str:
        """The path from the root as text: "0" is the root, "0.2.1" the second child of its third."""
        return ".".join(map(str, (0, *self.path)))

    @property
    def messages(self) -> Messages:
        """The chat so far, as an immutable view."""
        return Messages(self)

    def __repr__(self) -> str:
        """Show its address, state and success."""
        state = self.status or ("waiting" if self.waits else "running")
        return f"<Node {self.address} {state} success={self.success} turns={len(self.turns)} {self.goal!r:.60}>"


class ExecutionTree:
    """A finished or running rollout.

    Attributes:
        events: the log, read like a list; append with `apply` only.
        nodes: the nodes by id; ``nodes[0]`` is the root.
        task: what the root was asked: at least "id" (JSON).
        meta: what the collector knows about the rollout, such as "rollout", "seed", "policy" (JSON).
        invalid: how the infrastructure failed; None if it did not.
    """

    __slots__ = ("events", "invalid", "meta", "nodes", "task")

    def __init__(self, meta: Mapping[str, Any] | None = None) -> None:
        """Start an empty tree."""
        self.events = EventLog()
        self.nodes: list[Node] = []
        self.task: Mapping[str, Any] = {}
        self.meta: dict[str, Any] = dict(meta or {})
        self.invalid: str | None = None

    @classmethod
    def from_events(cls, events: Iterable[Event], meta: Mapping[str, Any] | None = None) -> ExecutionTree:
        """Rebuild a tree from its log; the events may come in any order, since `seq` restores it.

        Raises:
            CorruptTree: an event is missing, duplicated or impossible.
        """
        tree = cls(meta)
        for event in sorted(events, key=attrgetter("seq")):
            tree.apply(event)
        tree.events.pack()
        return tree

    def apply(self, event: Event) -> None:
        """Append an event and update the tree.

        Raises:
            CorruptTree: the event cannot follow the log so far; the tree is unchanged.
        """
        log = self.events
        if event.seq != log.size:
            raise CorruptTree(f"event seq={event.seq}, expected {log.size}: an event is missing or duplicated")
        kind = type(event)
        if kind is Spawned:
            self._spawn(cast(Spawned, event))
        elif kind is Aborted:
            self.invalid = cast(Aborted, event).reason
        else:
            if not 0 <= event.node < len(self.nodes):
                raise CorruptTree(f"event seq={event.seq} concerns node {event.node}, which was never spawned")
            node = self.nodes[event.node]
            if node.status is not None:
                raise CorruptTree(f"event seq={event.seq}: node {node.id} has already returned")
            if kind is Acted:
                self._act(node, cast(Acted, event))
            elif kind is Returned:
                self._end(node, cast(Returned, event))
            else:
                self._happen(node, event)
        log.append(event)

    def _spawn(self, event: Spawned) -> None:
        if event.node != len(self.nodes):
            raise CorruptTree(f"event seq={event.seq} spawns node {event.node}, expected {len(self.nodes)}")
        if (event.node > 0) if event.parent is None else not 0 <= event.parent < event.node:
            raise CorruptTree(f"event seq={event.seq}: node {event.node} cannot have parent {event.parent}")
        parent = None if event.parent is None else self.nodes[event.parent]
        if parent is None:
            self.task = event.task or {}
        elif parent.status is not None or not parent.turns or parent.turns[-1].observation is not None:
            raise CorruptTree(f"event seq={event.seq}: node {parent.id} launches a node outside a turn")
        self.nodes.append(Node(event, parent))
        if parent is not None:
            parent.children = _with(parent.children, event.node)
            turn = parent.turns[-1]
            turn.children = _with(turn.children, event.node)

    def _act(self, node: Node, event: Acted) -> None:
        if node.turns and node.turns[-1].observation is None:
            raise CorruptTree(f"event seq={event.seq}: node {node.id} acts while its turn is open")
        node.act(_turn(event))

    def _happen(self, node: Node, event: Event) -> None:
        """Change the open turn of a node."""
        turn = node.turns[-1] if node.turns else None
        if turn is None or turn.observation is not None:
            raise CorruptTree(f"event seq={event.seq}: node {node.id} has no open turn")
        if isinstance(event, Observed):
            turn.observation, turn.end = event.observation, event.time
            turn.calls, turn.fault = event.calls, event.fault
            node.waits = {}
        elif isinstance(event, Blocked):
            if not event.on or not set(event.on) <= set(turn.children):
                raise CorruptTree(
                    f"event seq={event.seq}: node {node.id} waits for {event.on}, not launched in its turn"
                )
            node.waits = dict.fromkeys(event.on)
        elif isinstance(event, Resumed):
            if event.child not in node.waits:
                raise CorruptTree(f"event seq={event.seq}: node {node.id} does not wait for {event.child}")
            del node.waits[event.child]

    def _end(self, node: Node, event: Returned) -> None:
        if event.status not in STATUSES:
            raise CorruptTree(f"event seq={event.seq}: status {event.status!r:.80}; known: {', '.join(STATUSES)}")
        if any(self.nodes[child].status is None for child in node.children):
            raise CorruptTree(f"event seq={event.seq}: node {node.id} returns before its children")
        verdict = event.verdict
        node.status, node.result, node.returned_at = event.status, event.result, event.time
        node.success, node._why = verdict.success, (verdict.source, verdict.why)
        node.waits = {}
        if node.id >= _MANY:
            node.pack()

    @property
    def root(self) -> Node:
        """The node that was given the task."""
        return self.nodes[0]

    @property
    def group(self) -> str:
        """Id of the task: rollouts of one task form a group."""
        return str(self.task.get("id", ""))

    @property
    def finished(self) -> bool:
        """Whether the root has ended (by finishing, or by reaching a limit)."""
        return bool(self.nodes) and self.nodes[0].status is not None

    @property
    def makespan(self) -> float:
        """Virtual seconds from start to end, with children in parallel; 0 while it runs."""
        return (self.nodes[0].returned_at or 0.0) if self.nodes else 0.0

    def walk(self) -> Iterator[Node]:
        """Yield the nodes depth-first, children in launch order."""
        stack = [0] if self.nodes else []
        while stack:
            node = self.nodes[stack.pop()]
            yield node
            stack.extend(reversed(node.children))

    def to_json(self) -> str:
        """Return the tree as one line of JSON, from which `from_json` rebuilds an equal tree."""
        data = {"meta": self.meta, "events": [event_to_dict(event) for event in self.events]}
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> ExecutionTree:
        """Rebuild a tree from what `to_json` returned.

        Raises:
            CorruptTree: the text is not such a tree.
        """
        try:
            data = json.loads(text)
            if type(data) is not dict or data.keys() != {"meta", "events"} or type(data["events"]) is not list:
                raise ValueError("it must be an object with meta and a list of events")
            meta = as_object(data["meta"])
            return cls.from_events([event_from_dict(event) for event in data["events"]], meta)
        except (ValueError, RecursionError) as error:
            if isinstance(error, CorruptTree):
                raise
            raise CorruptTree(f"not the JSON of an execution tree: {error!r:.200}") from error

    def to_networkx(self) -> networkx.DiGraph[int]:
        """Return the tree as a directed graph from parents to children.

        Node attributes: goal, depth, path, status, success, turns (a count), spawned_at, returned_at.
        """
        import networkx

        graph: networkx.DiGraph[int] = networkx.DiGraph()
        # Not as keyword arguments: a collected tree's meta data has a "task", too, the number that was asked for.
        graph.graph.update({**self.meta, "task": dict(self.task)})
        for node in self.nodes:
            graph.add_node(
                node.id,
                goal=node.goal,
                depth=node.depth,
                path=node.address,
                status=node.status,
                success=node.success,
                turns=len(node.turns),
                spawned_at=node.spawned_at,
                returned_at=node.returned_at,
            )
            if node.parent is not None:
                graph.add_edge(node.parent, node.id)
        return graph

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self.nodes)

    def __eq__(self, other: object) -> bool:
        """Compare the logs and the metadata."""
        if not isinstance(other, ExecutionTree):
            return NotImplemented
        return self.events == other.events and self.meta == other.meta

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Show the task, the size and the outcome."""
        success = self.nodes[0].success if self.nodes else None
        state = "invalid" if self.invalid else "finished" if self.finished else "running"
        return f"<ExecutionTree {self.group!r} {state} nodes={len(self.nodes)} success={success}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the log: everything else is derived from it."""
        return (_rebuild, (list(self.events), self.meta))


def _turn(event: Acted) -> Turn:
    return Turn(
        event.action,
        event.time,
        event.latency,
        event.prompt_tokens,
        event.output_tokens,
        event.sample,
    )


def _with(children: Sequence[int], child: int) -> Sequence[int]:
    """Add a child; most nodes have none, and share one empty tuple."""
    if isinstance(children, list):
        children.append(child)
        return children
    return [*children, child]


def _rebuild(events: Iterable[Event], meta: Mapping[str, Any]) -> ExecutionTree:
    return ExecutionTree.from_events(events, meta)
