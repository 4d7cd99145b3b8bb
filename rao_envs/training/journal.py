"""What a run logs: one row of figures a step, for programs, for TensorBoard, and for whoever watches."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rao_envs import metrics
from rao_envs.credit import NodeTable
from rao_envs.errors import CorruptCheckpoint
from rao_envs.extras import extra
from rao_envs.tree import ExecutionTree

__all__ = ["Journal", "Progress", "describe"]

Row = dict[str, Any]

_SUMMARY = (
    *("success", "invalid", "unjudged_nodes", "nodes", "nodes_max", "depth", "depth_max", "turns"),
    *("concurrent_share", "speedup", "context_overflows", "agent_faults"),
)
"""The entries of `metrics.summary` that go into a row."""


def describe(trees: Sequence[ExecutionTree], table: NodeTable) -> Row:
    """Return the figures of a step's rollouts."""
    summary = metrics.summary(trees)
    judged = ~np.isnan(table.reward)
    roots = judged & (table.parent < 0)
    valid = [tree for tree in trees if tree.invalid is None]
    return {
        **{name: summary[name] for name in _SUMMARY},  # type: ignore[literal-required]
        "uncompared": len(np.unique(table.tree[judged & np.isnan(table.baseline)])),
        "reward": float(table.reward[roots].mean()) if roots.any() else None,
        "node_success": float(table.success[judged].mean()) if judged.any() else None,
        "tokens": sum(turn.output_tokens for tree in valid for node in tree.nodes for turn in node.turns),
    }


class Journal:
    """`metrics.jsonl`, one row a step, and TensorBoard's files beside it; without a folder, only the rows in memory.

    Every row has been handed to the operating system when `write` returns.

    Attributes:
        rows: all rows so far, including those of the run that is resumed.
    """

    def __init__(self, folder: Path | None, *, done: int, tensorboard: bool) -> None:
        """Open the journal of a run that has done `done` steps, and drop the rows of later steps.

        Those were written after the checkpoint that the run resumes from, and will be written again.

        Raises:
            CorruptCheckpoint: a row of the steps done cannot be read.
            ImportError: `tensorboard` is wanted and not installed.
        """
        self.rows: list[Row] = []
        self._folder: Any = folder
        self._board: Any = None
        self._tensorboard = tensorboard and folder is not None
        if self._tensorboard:
            with extra("train", "writing TensorBoard's files", otherwise="say tensorboard=False"):
                import_module("tensorboard")  # now, not at the first row
        if folder is not None:
            path = folder / "metrics.jsonl"
            self.rows = _rows_until(path, done)
            temporary = path.with_suffix(".tmp")
            temporary.write_text("".join(map(_line, self.rows)), encoding="utf-8")
            os.replace(temporary, path)

    def write(self, row: Mapping[str, Any]) -> Row:
        """Add a row, which must have a "step"; nan and infinities become None. Return the row as written."""
        clean = {name: _plain(value) for name, value in row.items()}
        self.rows.append(clean)
        if self._folder is not None:
            with open(self._folder / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(_line(clean))
        if self._tensorboard:
            self._show(clean)
        return clean

    def close(self) -> None:
        """Close TensorBoard's files; the next row opens them again."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _show(self, row: Row) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            # Hides rows written after the checkpoint, as they are dropped from metrics.jsonl.
            self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=row["step"])
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                self._board.add_scalar(name, value, row["step"])
        self._board.flush()


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _rows_until(path: Path, done: int) -> list[Row]:
    """Read the rows of the first `done` steps. An incomplete last line belongs to a later step."""
    if not path.exists() or not done:
        return []
    rows: list[Row] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if len(rows) == done:
            break
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise CorruptCheckpoint(f"{path}, line {number}: not a row; restore it, or move the file out of the way")
        rows.append(row)
    return rows


class Progress:
    """A bar on stderr that shows the latest figures, or nothing."""

    def __init__(self, steps: int, done: int, show: bool | None) -> None:
        """Prepare the bar; None shows it if stderr is a terminal."""
        self._steps, self._done = steps, done
        self._show = sys.stderr.isatty() if show is None else show
        self._bar: Any = None

    def __enter__(self) -> Progress:
        """Show the bar."""
        if self._show:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task("training", total=self._steps, completed=self._done)
        return self

    def show(self, row: Row) -> None:
        """Advance the bar by one step."""
        if self._bar is not None:
            success = row["success"]
            outcome = "unjudged" if success is None else f"success {success:.0%}"
            self._bar.update(self._task, advance=1, description=f"{outcome}, depth {row['depth']:.1f}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar, and leave it on the screen."""
        if self._bar is not None:
            self._bar.stop()
