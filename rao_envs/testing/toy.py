"""A world small enough to compute every outcome by hand: agents take notes, delegate, and report their own success."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rao_envs.env import RecursiveEnv
from rao_envs.errors import ToolError
from rao_envs.events import Verdict
from rao_envs.policies.base import View
from rao_envs.tree import Node
from rao_envs.world import Subtask, Task, World, tool

__all__ = ["ToyWorld", "finish", "launch", "note", "say", "toy_env", "toy_oracle", "toy_task"]


class ToyWorld(World):
    """Notes on one shared wall.

    Attributes:
        notes: all notes, in the order they were taken.
    """

    instructions = "Take notes, delegate, and finish with how well you did, from 0 to 1."

    def __init__(self, task: Task) -> None:
        """Start with an empty wall."""
        super().__init__(task)
        self.notes: list[str] = []

    @tool
    def note(self, node: Node, text: str) -> int:
        """Put a note on the wall; return how many there are."""
        if not text:
            raise ToolError("the note is empty")
        self.notes.append(text)
        return len(self.notes)

    def delegate(self, node: Node, goal: str, turns: int | None = None) -> Subtask:
        """Have a subagent do `goal` in so many `turns`."""
        return Subtask(goal, {"goal": goal}, turns)

    def verify(self, node: Node, result: Any) -> Verdict:
        """Take a number in [0, 1] as the success, "unjudged" as none, and anything else as 0."""
        if result == "unjudged":
            return Verdict(None, "none", "nobody can tell")
        judged = isinstance(result, int | float) and 0 <= result <= 1
        return Verdict(float(result) if judged else 0.0, "exact", f"said {result!r:.40}")


def toy_task(index: int) -> Task:
    """Return toy task number `index`."""
    return Task(f"toy/{index}", f"Do {index}.", {"goal": str(index)}, index=index)


def toy_oracle(view: View) -> str:
    """Delegate two parts once, if that is allowed, and succeed."""
    parts = not view.node.turns and view.node.depth < 2 and view.node.may_delegate
    if view.format == "calls":
        return say(launch("left"), launch("right")) if parts else say(finish(1))
    if parts:
        return "import asyncio\nawait asyncio.gather(launch_subagent('left'), launch_subagent('right'))"
    return "finish(1)"


def toy_env(action_format: str = "calls", *, world: type[World] = ToyWorld, **options: Any) -> RecursiveEnv:
    """Make an environment of toy tasks; `options` are those of `RecursiveEnv`."""
    return RecursiveEnv(toy_task, world, action_format=action_format, **options)


def say(*calls: Mapping[str, Any]) -> str:
    """Write a message in the tool-call format."""
    return json.dumps(calls)


def note(text: str) -> dict[str, Any]:
    """Call `note`."""
    return {"name": "note", "arguments": {"text": text}}


def launch(goal: str, turns: int | None = None) -> dict[str, Any]:
    """Call `launch_subagent`."""
    return {"name": "launch_subagent", "arguments": {"goal": goal, "turns": turns}}


def finish(result: Any = 1) -> dict[str, Any]:
    """Call `finish`."""
    return {"name": "finish", "arguments": {"message": result}}
