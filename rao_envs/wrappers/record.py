"""Keep or stream the execution trees of finished episodes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym

from rao_envs.errors import OptionError
from rao_envs.storage import TreeWriter
from rao_envs.tree import ExecutionTree

__all__ = ["RecordTrees"]


class RecordTrees(gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    """Record every episode's tree when the episode ends.

    A wrapper inside may end an episode that the environment itself would continue, as Gymnasium's `TimeLimit` does
    (``gym.make(..., max_episode_steps=100)`` puts it there). The rollout is then ended by
    `RecursiveEnv.truncate`, so that the tree can be trained on: whoever was still at work has failed, and
    ``tree.meta["truncated"]`` is True. ``info["tree"]`` and ``info["events"]`` hold it as usual. Left out, such
    episodes would bias the recorded trees towards short ones.

    A wrapper outside ends episodes unseen: put this one outermost. An episode that is reset before its end is not
    recorded, because it need not be the policy's fault; the first one causes a warning.

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
        self._steps = 0
        self._warned = False
        if sink is None:
            self._keep: Callable[[ExecutionTree], object] = self.trees.append
        elif callable(sink):
            self._keep = sink
        elif isinstance(sink, str | os.PathLike):
            self._writer = TreeWriter(sink, name="sink")
            self._keep = self._writer.write
        else:
            raise OptionError("sink", sink, "must be None, a path or a function of a tree")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Reset, and warn if that abandons an episode."""
        begun = super().reset(seed=seed, options=options)
        self._note_abandoned()
        return begun

    def step(self, action: str) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Step, and record the tree if that ended the episode."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        if terminated or truncated:
            if "tree" not in info:
                events = self.get_wrapper_attr("truncate")()
                info = {**info, "events": (*info["events"], *events), "tree": self.get_wrapper_attr("tree")}
            self._steps = 0
            self._keep(info["tree"])
        return observation, reward, terminated, truncated, info

    def record(self) -> None:
        """Record the tree as it stands."""
        self._steps = 0
        self._keep(self.get_wrapper_attr("tree"))

    def close(self) -> None:
        """Close the environment and the file."""
        super().close()
        if self._writer is not None:
            self._writer.close()

    def _note_abandoned(self) -> None:
        if self._steps and not self._warned:
            self._warned = True
            warnings.warn(
                f"RecordTrees: an episode was reset after {self._steps} steps, before its end, and is not recorded. If "
                "a wrapper around RecordTrees ends episodes, as TimeLimit does, put RecordTrees outermost",
                stacklevel=3,
            )
        self._steps = 0
