"""Keep or stream the execution trees of finished episodes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from rao_envs.errors import OptionError
from rao_envs.storage import TreeWriter
from rao_envs.tree import ExecutionTree

__all__ = ["RecordTrees"]


class RecordTrees(gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    """Record every episode's tree when the episode ends.

    Works with `step`; a driver that uses ``env.unwrapped.advance`` calls `record` itself when ``ready`` is empty.

    Attributes:
        trees: the trees kept, oldest first (with ``sink=None``).
    """

    def __init__(
        self,
        env: gym.Env[str, str],
        sink: str | os.PathLike[str] | Callable[[ExecutionTree], object] | None = None,
    ) -> None:
        """Wrap a recursive environment.

        Args:
            env: an environment made by this library.
            sink: None keeps the trees in `trees`; a path appends them to a JSONL file, one tree a line, readable
                while it grows; a function is called with each tree.

        Raises:
            OptionError: `sink` is none of these.
            SinkInUse: the file has a writer already.
            OSError: the file cannot be written.
        """
        gym.utils.RecordConstructorArgs.__init__(self, sink=sink)
        super().__init__(env)
        self.trees: list[ExecutionTree] = []
        self._writer: TreeWriter | None = None
        if sink is None:
            self._keep: Callable[[ExecutionTree], object] = self.trees.append
        elif callable(sink):
            self._keep = sink
        elif isinstance(sink, str | os.PathLike):
            self._writer = TreeWriter(sink, name="sink")
            self._keep = self._writer.write
        else:
            raise OptionError("sink", sink, "must be None, a path or a function of a tree")

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step, and record the tree if that ended the episode."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            self._keep(info["tree"])
        return observation, reward, terminated, truncated, info

    def record(self) -> None:
        """Record the tree as it stands."""
        self._keep(self.get_wrapper_attr("tree"))

    def close(self) -> None:
        """Close the environment and the file."""
        super().close()
        if self._writer is not None:
            self._writer.close()
