"""From a message to tool calls: Python code (`code`) or JSON tool calls (`calls`).

A format opens one session for each node. The engine speaks to it in the steps of `rao_envs.steps`, whichever
format it is.
"""

from rao_envs.actions.calls import CallsFormat
from rao_envs.actions.code import CodeFormat
from rao_envs.actions.format import ActionFormat
from rao_envs.actions.tools import Tool, Toolset

__all__ = ["ActionFormat", "CallsFormat", "CodeFormat", "Tool", "Toolset"]
