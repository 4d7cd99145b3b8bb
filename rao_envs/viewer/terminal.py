"""Trees and tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from rao_envs.credit import NodeTable
from rao_envs.tree import ExecutionTree, Node

__all__ = ["cell", "draw_table", "draw_tree"]


def draw_tree(tree: ExecutionTree, table: NodeTable, index: int, *, most: int = 60) -> RenderableType:
    """Draw a rollout as a tree, one line per node: success, reward, advantage, turns, goal.

    Args:
        tree: the rollout.
        table: credit of the batch it belongs to.
        index: its index in that batch.
        most: maximum number of nodes drawn; the rest are only counted.
    """
    rows = (table.tree == index).nonzero()[0]
    credit = {int(table.node[row]): (float(table.reward[row]), float(table.advantage[row])) for row in rows}
    drawn: dict[int, Tree] = {}
    hidden: dict[int, int] = {}
    for node in tree.walk():
        line = _line(node, credit.get(node.id))
        if node.parent is None:
            drawn[node.id] = Tree(line, guide_style="dim")
        elif node.parent in drawn and len(drawn) < most:
            drawn[node.id] = drawn[node.parent].add(line)
        else:
            above = node
            while above.parent is not None and above.parent not in drawn:
                above = tree.nodes[above.parent]
            hidden[above.parent or 0] = hidden.get(above.parent or 0, 0) + 1
    for parent, count in hidden.items():
        drawn[parent].add(Text(f"... and {count:,} more nodes", style="dim italic"))
    return drawn[0]


def _line(node: Node, credit: tuple[float, float] | None) -> Text:
    # Figures first, so that a narrow terminal cuts off the goal.
    text = Text.assemble((node.address, "bold cyan"), "  success ", no_wrap=True, overflow="ellipsis")
    text.append(_number(node.success), style=_colour(node.success))
    if credit is not None:
        reward, advantage = credit
        text.append(f"  reward {_number(reward)}  advantage ")
        text.append(_signed(advantage), style=_sign(advantage))
    turns = len(node.turns)
    text.append(f"  {turns} turn{'s' if turns != 1 else ''}", style="dim")
    text.append(f"  {node.goal}")
    if node.status != "finished" and node.verdict is not None:
        text.append(f"  ({node.verdict.why})", style="yellow")
    return text


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.2f}"


def _signed(value: float) -> str:
    # Rounding first and then adding 0 turns a tiny negative number into +0.00, not -0.00.
    return "-" if value != value else f"{round(value, 2) + 0.0:+.2f}"


def _colour(success: float | None) -> str:
    if success is None:
        return "dim"
    return "green" if success >= 0.5 else "red"


def _sign(advantage: float) -> str:
    return "green" if advantage > 0 else "red" if advantage < 0 else "dim"


def draw_table(title: str, rows: Sequence[Mapping[str, Any]], caption: str | None = None) -> Table:
    """Draw rows as a table; the first row's keys are the columns, and numbers are right-aligned."""
    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    for name in rows[0]:
        number = all(not isinstance(row[name], str) for row in rows)
        table.add_column(name.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(cell(value) for value in row.values()))
    return table


def cell(value: Any) -> str:
    """Format a figure in a few characters."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
