"""Statistics of a batch of rollouts: success, shape, time, tokens and cost, as pure functions of the trees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from rao_envs.errors import OptionError
from rao_envs.events import Blocked, Resumed
from rao_envs.tree import ExecutionTree, Node

__all__ = ["Summary", "critical_path", "subtree_cost", "summary", "summary_by"]


class Summary(TypedDict):
    """What `summary` returns: JSON-able. Means are per rollout; a mean over nothing is None.

    All entries but the first three cover *measured* rollouts only, which are finished and valid.

    Attributes:
        rollouts: trees given.
        invalid: rollouts that the infrastructure made invalid.
        unfinished: rollouts still running.
        success: mean success of the judged roots.
        unjudged: rollouts whose root is unjudged.
        unjudged_nodes: nodes, roots included, that are unjudged.
        nodes: mean number of nodes.
        nodes_max: maximum number of nodes in one rollout.
        turns: mean number of turns, over all nodes of the rollout.
        turns_max: maximum number of turns in one rollout.
        depth: mean depth of the deepest node.
        depth_max: depth of the deepest node of all rollouts.
        depth_histogram: nodes at depth 0, 1, ...
        launches: nodes launched by other nodes.
        concurrent_share: share of launches that their parent at some point awaited together with a sibling.
        makespan: mean virtual seconds from start to end.
        serial_time: mean virtual seconds that all nodes spent acting: the makespan if they acted one at a time.
        speedup: total serial time / total makespan, so that long rollouts weigh more.
        critical_path: mean number of nodes on the critical path.
        prompt_tokens: mean tokens read, each turn reading its whole transcript.
        output_tokens: mean tokens written.
        transcript_max: maximum tokens of a node's transcript, including its action.
        context_overflows: nodes that exceeded their context window.
        turn_overflows: nodes that ran out of turns.
        cancelled: nodes that their parent abandoned.
        agent_faults: turns in which the agent failed.
        infrastructure_faults: turns in which the infrastructure failed.
        cost: mean price of the tokens; None without prices.
    """

    rollouts: int
    invalid: int
    unfinished: int
    success: float | None
    unjudged: int
    unjudged_nodes: int
    nodes: float | None
    nodes_max: int
    turns: float | None
    turns_max: int
    depth: float | None
    depth_max: int
    depth_histogram: list[int]
    launches: int
    concurrent_share: float | None
    makespan: float | None
    serial_time: float | None
    speedup: float | None
    critical_path: float | None
    prompt_tokens: float | None
    output_tokens: float | None
    transcript_max: int
    context_overflows: int
    turn_overflows: int
    cancelled: int
    agent_faults: int
    infrastructure_faults: int
    cost: float | None


def summary(
    trees: Iterable[ExecutionTree],
    *,
    price_per_prompt_token: float | None = None,
    price_per_output_token: float | None = None,
) -> Summary:
    """Summarise a batch of rollouts.

    Args:
        trees: any number of rollouts, including none.
        price_per_prompt_token: in any currency; None with the other given = 0.
        price_per_output_token: in the same way.

    Returns:
        See `Summary`.

    Raises:
        OptionError: a price is negative or not finite.
    """
    for name, price in (("prompt", price_per_prompt_token), ("output", price_per_output_token)):
        if price is not None and not 0.0 <= price < np.inf:
            raise OptionError(f"price_per_{name}_token", price, "must be a finite number >= 0")
    given = list(trees)
    measured = [tree for tree in given if tree.invalid is None and tree.finished]
    nodes = [node for tree in measured for node in tree.nodes]
    turns = [turn for node in nodes for turn in node.turns]
    judged = [tree.root.success for tree in measured if tree.root.success is not None]
    counts = [len(tree) for tree in measured]
    turn_counts = [sum(len(node.turns) for node in tree.nodes) for tree in measured]
    deepest = [max(node.depth for node in tree.nodes) for tree in measured]
    histogram = np.bincount(np.array([node.depth for node in nodes], dtype=np.int64))
    launches = len(nodes) - len(measured)
    makespans = [tree.makespan for tree in measured]
    acting = sum(turn.latency for turn in turns)
    read, written = sum(turn.prompt_tokens for turn in turns), sum(turn.output_tokens for turn in turns)
    priced = price_per_prompt_token is not None or price_per_output_token is not None
    price = read * (price_per_prompt_token or 0.0) + written * (price_per_output_token or 0.0)
    return {
        "rollouts": len(given),
        "invalid": sum(tree.invalid is not None for tree in given),
        "unfinished": sum(tree.invalid is None and not tree.finished for tree in given),
        "success": _ratio(sum(judged), len(judged)),
        "unjudged": len(measured) - len(judged),
        "unjudged_nodes": sum(node.success is None for node in nodes),
        "nodes": _ratio(len(nodes), len(measured)),
        "nodes_max": max(counts, default=0),
        "turns": _ratio(len(turns), len(measured)),
        "turns_max": max(turn_counts, default=0),
        "depth": _ratio(sum(deepest), len(measured)),
        "depth_max": max(deepest, default=0),
        "depth_histogram": histogram.tolist(),
        "launches": launches,
        "concurrent_share": _ratio(sum(len(_concurrent(tree)) for tree in measured), launches),
        "makespan": _ratio(sum(makespans), len(measured)),
        "serial_time": _ratio(acting, len(measured)),
        "speedup": _ratio(acting, sum(makespans)),
        "critical_path": _ratio(sum(len(critical_path(tree)) for tree in measured), len(measured)),
        "prompt_tokens": _ratio(read, len(measured)),
        "output_tokens": _ratio(written, len(measured)),
        "transcript_max": max((turn.prompt_tokens + turn.output_tokens for turn in turns), default=0),
        "context_overflows": sum(node.status == "context" for node in nodes),
        "turn_overflows": sum(node.status == "turns" for node in nodes),
        "cancelled": sum(node.status == "cancelled" for node in nodes),
        "agent_faults": sum(turn.fault == "agent" for turn in turns),
        "infrastructure_faults": sum(turn.fault == "infrastructure" for turn in turns),
        "cost": _ratio(price, len(measured)) if priced else None,
    }


def summary_by(
    trees: Iterable[ExecutionTree],
    key: str = "difficulty",
    *,
    price_per_prompt_token: float | None = None,
    price_per_output_token: float | None = None,
) -> dict[str, Summary]:
    """Summarise a batch of rollouts, split by an entry of their task or, if that has none, of their metadata.

    Args:
        trees: any number of rollouts.
        key: such as "difficulty", "split", or "policy". Trees without it, such as one that failed before it
            had a task, are under "".
        price_per_prompt_token: as in `summary`.
        price_per_output_token: as in `summary`.

    Returns:
        A `Summary` for each value of the key, in order of appearance.

    Raises:
        OptionError: no tree has the key, or a price is out of range.
    """
    parts: dict[str, list[ExecutionTree]] = {}
    known: set[str] = set()
    for tree in trees:
        entries = {**tree.meta, **tree.task}
        known |= entries.keys()
        parts.setdefault(str(entries.get(key, "")), []).append(tree)
    if parts and key not in known:
        raise OptionError("key", key, f"no tree has it; use one of {', '.join(sorted(known)) or '(none)'}")
    return {
        value: summary(
            part, price_per_prompt_token=price_per_prompt_token, price_per_output_token=price_per_output_token
        )
        for value, part in parts.items()
    }


def critical_path(tree: ExecutionTree) -> list[int]:
    """Return the chain of nodes that determines a rollout's makespan, from the root downwards.

    Going back from the end of a turn that waited, the child whose result came last delayed it since that child was
    launched; before that, the child whose result came last by then; and so on. The chain continues with the child
    that delayed its parent longest over all turns, and ends at a node that waited for no child.

    Args:
        tree: a finished rollout.

    Returns:
        Node ids; the first is 0.

    Raises:
        OptionError: the rollout is unfinished.
    """
    if not tree.finished:
        raise OptionError("tree", tree, "is unfinished; run it to its end first")
    handed_over = {event.child: event.time for event in tree.events if isinstance(event, Resumed)}
    chain = [0]
    while (child := _longest_wait(tree, tree.nodes[chain[-1]], handed_over)) is not None:
        chain.append(child)
    return chain


def subtree_cost(tree: ExecutionTree) -> NDArray[np.int64]:
    """Add up what each node and its descendants used.

    Args:
        tree: a rollout, finished or not.

    Returns:
        int [nodes, 3]: turns, prompt tokens, output tokens. Row 0 is the whole rollout.
    """
    cost = np.array(
        [
            (
                len(node.turns),
                sum(turn.prompt_tokens for turn in node.turns),
                sum(turn.output_tokens for turn in node.turns),
            )
            for node in tree.nodes
        ],
        dtype=np.int64,
    ).reshape(-1, 3)
    for node in reversed(tree.nodes):  # children have greater ids than their parents
        if node.parent is not None:
            cost[node.parent] += cost[node.id]
    return cost


def _ratio(total: float, count: float) -> float | None:
    return total / count if count else None


def _concurrent(tree: ExecutionTree) -> set[int]:
    """Return the launches that were outstanding together with a sibling when their parent blocked."""
    return {child for event in tree.events if isinstance(event, Blocked) and len(event.on) >= 2 for child in event.on}


def _longest_wait(tree: ExecutionTree, node: Node, handed_over: dict[int, float]) -> int | None:
    longest, longest_wait = None, 0.0
    for turn in node.turns:
        awaited = sorted((child for child in turn.children if child in handed_over), key=handed_over.__getitem__)
        held_until = float("inf")
        for child in reversed(awaited):
            if handed_over[child] > held_until:
                continue
            held_until = tree.nodes[child].spawned_at
            if handed_over[child] - held_until > longest_wait:
                longest, longest_wait = child, handed_over[child] - held_until
    return longest
