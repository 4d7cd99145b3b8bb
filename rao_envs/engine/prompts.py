"""The texts that the engine shows to agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rao_envs.actions.tools import Toolset
from rao_envs.engine.rules import Rules
from rao_envs.events import Status
from rao_envs.values import clean_text
from rao_envs.world import Subtask, World

__all__ = ["WHY", "Prompt", "Prompts", "cut", "opening_of"]

WHY: Mapping[Status, str] = {
    "turns": "ran out of turns",
    "context": "outgrew its context window",
    "cancelled": "was cancelled: its parent stopped waiting for it",
}
"""Why a node ended without finishing, in words."""


class Prompt:
    """The system message of nodes that may delegate, or of those that may not."""

    def __init__(self, toolset: Toolset, text: str, tokens: int) -> None:
        """Keep the text with its size and its tools."""
        self.toolset = toolset
        self.text = text
        self.tokens = tokens


def _prompt_of(world: World, rules: Rules, delegate: bool) -> Prompt:
    """Compose a system message, once per kind of world and format."""
    key = (type(world), world.instructions, world.finish_doc, type(rules.format), rules.count, delegate)
    prompt = _PROMPTS.get(key)
    if prompt is None:
        toolset = Toolset(type(world), delegate=delegate)
        text = f"{world.instructions.strip()}\n\n{rules.format.explain(toolset)}".strip()
        count = getattr(rules.count, "system", rules.count)
        prompt = _PROMPTS[key] = Prompt(toolset, text, count(text))
    return prompt


_PROMPTS: dict[tuple[Any, ...], Prompt] = {}


class Prompts:
    """The system messages of one rollout, by depth."""

    def __init__(self, world: World, rules: Rules) -> None:
        """Compose them, or reuse those composed for an earlier rollout."""
        self._alone = _prompt_of(world, rules, delegate=False)
        self._delegating = _prompt_of(world, rules, delegate=True)
        self._deepest = rules.limits.max_depth if rules.recursive else 0

    def at(self, depth: int) -> Prompt:
        """Return the system message of nodes at this depth."""
        return self._delegating if depth < self._deepest else self._alone


def opening_of(subtask: Subtask, budget: int) -> str:
    """Write a node's first user message: what it is asked, and how many messages it may write."""
    text = clean_text(subtask.opening or subtask.goal)
    return f"{text}\n\nYou have {budget} message{'s' if budget != 1 else ''} for this."


def cut(text: str, limit: int) -> str:
    """Cut a long observation in the middle, and say how much was cut."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    tail = limit - head
    return f"{text[:head]}\n[... {len(text) - limit:,} of {len(text):,} characters cut ...]\n{text[-tail:]}"
