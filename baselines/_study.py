"""What the studies share: rows that survive an interruption, and plots that are reproducible to the byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rao_envs.extras import extra

__all__ = ["HERE", "RESULTS", "Row", "draw", "measured", "write_tables"]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
Row = dict[str, Any]


def measured(path: Path, plan: Iterable[Row], measure: Callable[[Row], Row], *, start: int = 0) -> list[Row]:
    """Measure the rows of a plan, and write the file after each: an interrupted study resumes where it stopped.

    Rows that the file holds already, in the order of the plan, are not measured again.

    Args:
        path: JSON file, a list of rows.
        plan: what to measure; a row is identified by these entries.
        measure: row of the plan -> the same row with its measurements.
        start: rows of the file that precede the plan's, which another part of the study wrote.

    Returns:
        The rows of the plan, measured.
    """
    wanted = list(plan)
    rows: list[Row] = json.loads(path.read_text()) if path.exists() else []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(path.stem, total=len(wanted))
        for i, row in enumerate(wanted, start):
            progress.update(bar, description=" ".join(str(value) for value in row.values())[:60])
            if i >= len(rows) or {key: rows[i].get(key) for key in row} != row:
                rows[i:] = [measure(row)]
                path.write_text(json.dumps(rows, indent=1) + "\n")
            progress.advance(bar)
    return rows[start : start + len(wanted)]


def write_tables(path: Path, lines: Iterable[str]) -> None:
    """Write a page of Markdown beside the results."""
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


@contextmanager
def draw(path: Path, *, docs: Path | None = None, panels: int = 1, width: float = 6.4) -> Iterator[Any]:
    """Yield the axes of a new figure (a list if there are several panels), then save it as SVG, byte for byte the same.

    Args:
        path: where the results are; the figure goes beside them.
        docs: a folder of the documentation that shows the figure too; None = none.
        panels: how many, side by side.
        width: in inches.
    """
    with extra("plot", "drawing"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = path.stem
    figure, axes = pyplot.subplots(1, panels, figsize=(width, 3.6), layout="constrained", squeeze=False)
    yield axes[0, 0] if panels == 1 else list(axes[0])
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    pyplot.close(figure)
    if docs is not None:
        shutil.copy(path.with_suffix(".svg"), docs / path.with_suffix(".svg").name)
