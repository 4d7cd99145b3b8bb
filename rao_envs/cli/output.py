"""What commands print: tables, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from rao_envs import metrics
from rao_envs.tree import ExecutionTree

__all__ = ["figures", "show"]


def show(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    """Print rows as a table with a title, or as JSON."""
    if as_json:
        print(json.dumps(rows))
        return
    from rao_envs.viewer.terminal import draw_table

    Console(highlight=False).print(draw_table(title, rows))


def figures(trees: Sequence[ExecutionTree]) -> dict[str, Any]:
    """Return the shape of some trees: means, but for the fullest transcript of all."""
    summary = metrics.summary(trees)
    share = summary["concurrent_share"]
    return {
        "nodes": summary["nodes"],
        "depth": summary["depth"],
        "turns": summary["turns"],
        "fullest": summary["transcript_max"],
        "concurrent": None if share is None else f"{share:.0%}",
        "speed-up": summary["speedup"],
    }
