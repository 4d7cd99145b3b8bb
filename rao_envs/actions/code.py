"""Actions are Python: the paper's REPL agent.

A message is bare code, one or more fenced blocks, or code between ``<python>`` tags; thoughts before it, and a
``<thought>`` or ``<think>`` block, are not run.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from rao_envs.actions.thoughts import after_thought, without_thoughts
from rao_envs.actions.tools import Toolset
from rao_envs.sandbox.base import Sandbox
from rao_envs.steps import Done, Session, Step

__all__ = ["CodeFormat", "extract_code"]

# Read from left to right, so that a tag inside a thought is thought, and a thought inside code is code. The
# possessive repeats keep a long line without its end from being tried again at every length.
_TAG = re.compile(r"<(thought|think|thinking)>.*?(?:</\1>|\Z)|<python>(.*?)(?:</python>|\Z)", re.DOTALL)
_FENCE = re.compile(r"^[ \t]*+```[ \t]*+(\w*+)[^\n]*+\n(.*?)(?:^[ \t]*+```[ \t]*+$|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = frozenset({"", "python", "py", "python3", "repl", "tool_code"})

_HOW = """\
You act by writing Python. Send one snippet in each message, between <python> and </python>. It runs in your own \
session: variables and functions stay for your next messages. You see what it prints and the value of its last \
line. `await` works at the top level. There are no files and no network.
"""
_HOW_DELEGATE = """\
launch_subagent(...) starts another agent like you and must be awaited in the same message. Several can work at \
once: `a, b = await asyncio.gather(launch_subagent(...), launch_subagent(...))` (import asyncio first).
"""


def extract_code(message: str) -> str:
    """Return the Python in a model's message; '' if it holds none."""
    if "<python>" in message:
        if "<th" not in message and "</th" not in message and message.count("<python>") == 1:
            return _join([message.partition("<python>")[2].partition("</python>")[0]])
        found = [match.group(2) for match in _TAG.finditer(after_thought(message))]
        blocks = [block for block in found if block is not None]
        # A thought that is never closed would hide all the code: then it is the thought that is ignored.
        return _join(blocks or message[message.index("<python>") + len("<python>") :].split("</python>")[:1])
    message = without_thoughts(message)
    if "```" in message:
        blocks = [code for language, code in _FENCE.findall(message) if language.lower() in _PYTHON]
        if blocks:
            return _join(blocks)
    return message.strip()


def _join(blocks: list[str]) -> str:
    """Put blocks together; one that is indented as a whole loses its margin."""
    code = [block.strip("\n").rstrip() for block in blocks]
    return "\n".join([textwrap.dedent(block) if block.startswith((" ", "\t")) else block for block in code])


class CodeFormat:
    """Python in a sandbox.

    Args:
        sandbox: where the code runs; None uses the worker pool that this process shares.
    """

    name: ClassVar[str] = "code"
    growth: ClassVar[int | None] = None

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        """Choose the sandbox."""
        self._given = sandbox

    @cached_property
    def sandbox(self) -> Sandbox:
        """Where the code runs; the default one is loaded when the first code is to be run."""
        if self._given is not None:
            return self._given
        from rao_envs.sandbox.monty import default_sandbox

        return default_sandbox()

    def explain(self, tools: Toolset) -> str:
        """Say how to act in Python."""
        how = _HOW + (_HOW_DELEGATE if tools.launch else "")
        return f"{how}\nThese functions are defined:\n\n{tools.describe()}"

    def start(self, session: Session, message: str) -> Step:
        """Run the code in a message."""
        code = extract_code(message)
        if not code:
            return Done("Your message holds no code. Write Python between <python> and </python>.", "agent")
        return session.start(code)

    def open(self, tools: Toolset, variables: Mapping[str, Any], seed: int) -> Session:
        """Make a node's session."""
        return self.sandbox.open(tools.names, variables, seed)

    def restore(self, tools: Toolset, variables: Mapping[str, Any], state: bytes) -> Session:
        """Bring a dumped session back to life.

        Raises:
            CorruptCheckpoint: `state` does not come from the same sandbox.
        """
        return self.sandbox.restore(tools.names, variables, state)
