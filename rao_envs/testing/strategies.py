"""Hypothesis strategies for rollouts: random logs that an engine could have written, and random forests.

They need the extra ``test``; nothing else in rao-envs needs Hypothesis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rao_envs.events import (
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
)
from rao_envs.extras import extra
from rao_envs.tree import ExecutionTree

with extra("test", __name__):
    from hypothesis import strategies as st

__all__ = ["ForestArrays", "LogWriter", "execution_trees", "forests", "grow_tree", "successes"]

_TEXTS = ("", "x = 1", "wörter", "två\nrader", "\u2028", '"\\', "🙂" * 3)


class ForestArrays(NamedTuple):
    """Arrays for `credit.assign_forest(*forest)`: parents first, trees end to end.

    Attributes:
        success: float [N]; nan = unjudged.
        parent: int [N], -1 for a root.
        tree: int [N].
        group: int [T].
    """

    success: NDArray[np.float64]
    parent: NDArray[np.int64]
    tree: NDArray[np.int64]
    group: NDArray[np.int64]


def successes(unjudged: bool = True) -> st.SearchStrategy[float | None]:
    """Draw a node's own success in [0, 1], often 0 or 1; also None (unjudged), unless `unjudged` is False."""
    judged = st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0)
    return st.none() | judged if unjudged else judged


@st.composite
def forests(
    draw: st.DrawFn,
    *,
    max_trees: int = 6,
    max_tree_nodes: int = 8,
    max_groups: int = 3,
    unjudged: bool = True,
) -> ForestArrays:
    """Draw the nodes of a batch.

    Args:
        draw: given by Hypothesis.
        max_trees: maximum number of trees; there is at least one.
        max_tree_nodes: maximum number of nodes per tree.
        max_groups: maximum number of groups.
        unjudged: whether some nodes may be unjudged.
    """
    sizes = draw(st.lists(st.integers(1, max_tree_nodes), min_size=1, max_size=max_trees))
    parent: list[int] = []
    for size in sizes:
        first = len(parent)
        parent += [-1, *(first + draw(st.integers(0, i - 1)) for i in range(1, size))]
    success = draw(st.lists(successes(unjudged), min_size=len(parent), max_size=len(parent)))
    group = draw(st.lists(st.integers(0, max_groups - 1), min_size=len(sizes), max_size=len(sizes)))
    return ForestArrays(
        np.array(success, dtype=np.float64),
        np.array(parent),
        np.repeat(np.arange(len(sizes)), sizes),
        np.array(group),
    )


class LogWriter:
    """Writes a log by hand as an engine would: keeps track of the numbering, the clocks and who waits for whom.

    Attributes:
        tree: the rollout so far.
        clock: virtual time of each node.
    """

    def __init__(self, group: str = "task", meta: dict[str, Any] | None = None) -> None:
        """Start a rollout of task `group`."""
        self.tree = ExecutionTree(meta)
        self.clock: list[float] = []
        self._task = {"id": group, "difficulty": "default"}
        self._resumed: set[int] = set()
        self._blocked: set[int] = set()

    def spawn(self, parent: int | None = None, goal: str = "goal") -> int:
        """Launch a node and return its id; the parent's turn must be open."""
        node, now = len(self.tree), 0.0 if parent is None else self.clock[parent]
        task, system = (self._task, "rules") if parent is None else (None, None)
        self.clock.append(now)
        payload, opening = {"goal": goal}, f"Goal: {goal}"
        self._emit(Spawned(self._seq, node, now, parent, goal, opening, system, 9, payload, task))
        return node

    def act(
        self,
        node: int,
        action: str = "act",
        latency: float = 1.0,
        prompt_tokens: int = 0,
        sample: Sample | None = None,
    ) -> None:
        """Open a turn; each character of the action counts as one token."""
        start = self.clock[node]
        self.clock[node] += latency
        self._emit(Acted(self._seq, node, start, action, latency, prompt_tokens, len(action), sample))

    def block(self, node: int) -> None:
        """Wait for all living children."""
        self._blocked.add(node)
        on = sorted({*self._living(node), *self._results(node)})
        self._emit(Blocked(self._seq, node, self.clock[node], tuple(on)))

    def resume(self, node: int) -> None:
        """Deliver the first available result of the children launched in this turn."""
        child = self._results(node)[0]
        self._resumed.add(child)
        self._blocked.discard(node)  # one result is enough to continue; it may block again for the rest
        self.clock[node] = max(self.clock[node], self.clock[child])
        self._emit(Resumed(self._seq, node, self.clock[node], child))

    def observe(self, node: int, text: str = "seen", fault: Fault | None = None) -> None:
        """Close the turn, and cancel what still runs below the node."""
        self._cancel_below(node)
        calls = len(self.tree.nodes[node].turns[-1].children)
        self._emit(Observed(self._seq, node, self.clock[node], text, calls, fault))

    def finish(self, node: int, success: float | None = 1.0, status: Status = "finished") -> None:
        """End a node, its open turn and everything below it."""
        if self.is_open(node):
            self.observe(node, "")
        self._cancel_below(node)
        source = "none" if success is None else "exact"
        result = {"node": node} if status == "finished" else None
        self._emit(Returned(self._seq, node, self.clock[node], status, result, Verdict(success, source)))

    def abort(self, reason: str = "the server died") -> None:
        """Let the infrastructure fail."""
        self._emit(Aborted(self._seq, 0, self.clock[0], reason))

    def is_open(self, node: int) -> bool:
        """Return whether the node has an open turn."""
        turns = self.tree.nodes[node].turns
        return bool(turns) and turns[-1].observation is None

    def moves(self, max_nodes: int) -> list[tuple[str, int]]:
        """List what may happen next, as (method name, node)."""
        moves = []
        for node in self.tree.nodes:
            if node.status is not None:
                continue
            if not self.is_open(node.id):
                moves += [("finish", node.id)] if node.turns else []
                moves += [("act", node.id)]
            elif node.id in self._blocked:
                moves += [("resume", node.id)] if self._results(node.id) else []
            else:
                moves += [("observe", node.id)]
                moves += [("spawn", node.id)] if len(self.tree) < max_nodes else []
                moves += [("block", node.id)] if self._living(node.id) else []
        return moves

    @property
    def _seq(self) -> int:
        return len(self.tree.events)

    def _emit(self, event: Event) -> None:
        self.tree.apply(event)

    def _living(self, node: int) -> list[int]:
        nodes = self.tree.nodes
        return [child for child in nodes[node].children if nodes[child].status is None]

    def _results(self, node: int) -> list[int]:
        """List the children of the open turn whose results are still to be delivered."""
        nodes = self.tree.nodes
        return [
            child
            for child in nodes[node].turns[-1].children
            if nodes[child].status not in (None, "cancelled") and child not in self._resumed
        ]

    def _cancel_below(self, node: int) -> None:
        """Cancel what still runs below a node, deepest first."""
        for child in self._living(node):
            self._cancel_below(child)
            self.clock[child] = max(self.clock[child], self.clock[node])
            verdict = Verdict(0.0, "engine", "abandoned")
            self._emit(Returned(self._seq, child, self.clock[child], "cancelled", None, verdict))


def grow_tree(
    parent: Sequence[int],
    success: Sequence[float | None],
    group: str = "task",
    *,
    goals: Sequence[str] | None = None,
    meta: dict[str, Any] | None = None,
) -> ExecutionTree:
    """Make the simplest rollout of a given shape: every node acts once, launches its children, and finishes.

    Args:
        parent: parent of each node, -1 for the root; parents first.
        success: own success of each node; None = unjudged.
        group: id of the task.
        goals: goal of each node; by default the root's is the group's name, the others' their number.
        meta: the tree's metadata.
    """
    log = LogWriter(group, meta)
    for node, above in enumerate(parent):
        goal = goals[node] if goals else str(node) if node else group
        log.spawn(None if above < 0 else above, goal)
        log.act(node)
    for node in reversed(range(len(parent))):
        log.observe(node)
        log.finish(node, success[node])
    return log.tree


@st.composite
def execution_trees(
    draw: st.DrawFn,
    *,
    max_nodes: int = 8,
    max_steps: int = 40,
    finished: bool = True,
    valid: bool = True,
    groups: Sequence[str] = ("a", "b"),
) -> ExecutionTree:
    """Draw a rollout whose nodes take turns in any order, wait for children, cancel some, and end with any status.

    Args:
        draw: given by Hypothesis.
        max_nodes: maximum number of nodes.
        max_steps: maximum number of random steps before the rollout is ended.
        finished: whether to end the rollout, so that its root has returned; otherwise it may still be running.
        valid: False lets the infrastructure fail in some rollouts.
        groups: ids of the tasks to draw from.
    """
    log = LogWriter(draw(st.sampled_from(list(groups))), {"rollout": draw(st.integers(0, 99))})
    log.spawn(None, "root")
    for _ in range(draw(st.integers(0, max_steps))):
        if moves := log.moves(max_nodes):
            _make_move(draw, log, *draw(st.sampled_from(moves)))
    if not valid and draw(st.booleans()):
        log.abort()
    if finished and log.tree.root.status is None:
        _make_move(draw, log, "finish", 0)
    return log.tree


def _make_move(draw: st.DrawFn, log: LogWriter, move: str, node: int) -> None:
    text = st.sampled_from(_TEXTS)
    if move == "act":
        sample = draw(st.none() | st.just(Sample((1, 2), (3,), (-0.5,))))
        latency = draw(st.sampled_from([0.0, 0.5, 2.0]))
        log.act(node, draw(text), latency, draw(st.integers(0, 99)), sample)
    elif move == "spawn":
        log.spawn(node, draw(text))
    elif move == "block":
        log.block(node)
    elif move == "resume":
        log.resume(node)
    elif move == "observe":
        log.observe(node, draw(text), draw(st.sampled_from([None, "agent"])))
    else:
        log.finish(node, draw(successes()), draw(st.sampled_from(["finished", "turns", "context"])))
