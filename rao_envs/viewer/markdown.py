"""Tables as Markdown, for generated pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rao_envs.viewer.terminal import cell

__all__ = ["markdown_table"]


def markdown_table(title: str, rows: Sequence[Mapping[str, Any]], caption: str = "") -> str:
    """Return rows as a Markdown table under a heading; the first row's keys are the columns."""
    names = list(rows[0])
    numbers = [all(not isinstance(row[name], str) for row in rows) for name in names]
    lines = [
        "| " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|" + "|".join("--:" if number else "---" for number in numbers) + "|",
        *("| " + " | ".join(cell(row[name]) for name in names) + " |" for row in rows),
    ]
    return "\n".join([f"### {title}", "", *([caption, ""] if caption else []), *lines, ""])
