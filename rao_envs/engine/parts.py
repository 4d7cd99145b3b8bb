"""What the engine is made of: its rules, what it knows of a living node, and the words it speaks to agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappush
from typing import Any

from rao_envs.actions.format import ActionFormat, Session
from rao_envs.actions.tools import Toolset
from rao_envs.engine.limits import Latency, Limits, TokenCounter
from rao_envs.events import Status
from rao_envs.sandbox.repl import Failure, Value
from rao_envs.sandbox.values import clean_text
from rao_envs.tree import Node
from rao_envs.world import Subtask, World

__all__ = ["WHY", "Agent", "Prompt", "Rules", "cut", "few", "grant", "opening_of", "prompt_of"]

WHY: Mapping[Status, str] = {
    "turns": "ran out of turns",
    "context": "outgrew its context window",
    "cancelled": "was cancelled: its parent stopped waiting for it",
}
"""Why a node ended without finishing, in words."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays the same over all rollouts of one environment.

    Attributes:
        format: how actions are written and run.
        limits: what a rollout may use.
        recursive: whether agents may launch subagents.
        latency: what a message costs in virtual time.
        count: counts the tokens of one message.
    """

    format: ActionFormat
    limits: Limits
    recursive: bool
    latency: Latency
    count: TokenCounter


@dataclass(slots=True, eq=False)
class Agent:
    """What the engine knows of a living node beyond its place in the tree.

    Attributes:
        node: its place in the tree.
        session: its side of the conversation; None before its first turn.
        now: virtual time that it has reached.
        left: turns left.
        tokens: size of its transcript.
        call: number of the call, in its parent's turn, that launched it.
        calls: tool calls made in this turn.
        blocked: whether its turn stands still until an answer is delivered.
        announced: whether the log says that it waits for all it has launched.
        launches: child id by call number, for this turn, until the child's answer is delivered.
        answers: answer by call number, come but not yet delivered.
        order: heap of (virtual time, call number) of these answers.
        clocks: heap of (virtual time, call number) of the children that still live; the times may be out of date,
            and are then too early.
    """

    node: Node
    now: float
    left: int
    tokens: int
    call: int = 0
    session: Session | None = None
    calls: int = 0
    blocked: bool = False
    announced: bool = False
    launches: dict[int, int] = field(default_factory=dict)
    answers: dict[int, Value | Failure] = field(default_factory=dict)
    order: list[tuple[float, int]] = field(default_factory=list)
    clocks: list[tuple[float, int]] = field(default_factory=list)

    def take(self, call: int, time: float, answer: Value | Failure) -> None:
        """Keep an answer until it is due."""
        self.answers[call] = answer
        heappush(self.order, (time, call))

    def forget_launches(self) -> None:
        """End the turn's business with children."""
        self.launches, self.answers, self.order, self.clocks = {}, {}, [], []
        self.blocked = self.announced = False


def grant(limits: Limits, left: int, asked: int | None) -> int | str:
    """Return the turns that a child gets of a parent with `left` turns, or why it gets none."""
    if asked is not None and asked < 1:
        return f"{asked} turns were asked for; ask for at least 1"
    if limits.tree_turns is None:
        return min(asked or limits.max_turns, limits.max_turns)
    spare = left - 1
    if spare < 1:
        return "no turns are left to hand on: keep the last one to finish"
    if asked is not None and asked > spare:
        return f"{asked} turns were asked for; you can hand on at most {spare} and keep 1 to finish"
    return asked or max(1, left // 2)


class Prompt:
    """The system message of nodes that may, or may not, delegate."""

    def __init__(self, toolset: Toolset, text: str, tokens: int) -> None:
        """Keep the text with its size and its tools."""
        self.toolset = toolset
        self.text = text
        self.tokens = tokens


def prompt_of(world: World, rules: Rules, delegate: bool) -> Prompt:
    """Compose a system message, once for each kind of world and format."""
    key = (type(world), world.instructions, world.finish_doc, type(rules.format), rules.count, delegate)
    found = _PROMPTS.get(key)
    if found is None:
        toolset = Toolset(type(world), delegate=delegate)
        text = f"{world.instructions.strip()}\n\n{rules.format.explain(toolset)}".strip()
        found = _PROMPTS[key] = Prompt(toolset, text, rules.count(text))
    return found


_PROMPTS: dict[tuple[Any, ...], Prompt] = {}


def opening_of(subtask: Subtask, budget: int) -> str:
    """Write a node's first user message: what it is asked, and how many messages it has for that."""
    text = clean_text(subtask.opening or subtask.goal)
    return f"{text}\n\nYou have {budget} message{'s' if budget != 1 else ''} for this."


def cut(text: str, most: int) -> str:
    """Cut a long observation in the middle, and say by how much."""
    if len(text) <= most:
        return text
    head = most * 2 // 3
    tail = most - head
    return f"{text[:head]}\n[... {len(text) - most:,} of {len(text):,} characters cut ...]\n{text[-tail:]}"


def few(nodes: tuple[int, ...]) -> str:
    """List the first of many ids."""
    shown = ", ".join(map(str, nodes[:10]))
    return (f"{shown}, ... ({len(nodes)} in all)" if len(nodes) > 10 else shown) or "none"
