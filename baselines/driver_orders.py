"""Does the tree depend on who is asked first? Rollouts of the toy world, each driven in many orders.

    python baselines/driver_orders.py            # 10,400 rollouts, some minutes on one core
    python baselines/driver_orders.py --quick    # 400 of them

Writes ``results/driver_orders.json`` and, from it, the table in ``results/driver_orders.md``. An interrupted run
resumes where it stopped. Exits with an error at the first difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Any

import typer
from _study import RESULTS, Row, measured, write_tables

from rao_envs.testing.orders import AnyOrderPolicy, outline, play
from rao_envs.testing.toy import toy_env

LIMITS: tuple[dict[str, Any], ...] = (
    {},
    {"tree_turns": 12},
    {"max_children": 2},
    {"max_turns": 2},
    {"max_calls": 3},
    {"tree_turns": 30, "max_children": 3},
)
"""Each set of limits is used by one seed in six."""
ORDERS = 4
BLOCK = 50


def plan(seeds: int) -> Iterator[Row]:
    """Yield what is to be measured: blocks of seeds."""
    for action_format in ("calls", "code"):
        for first in range(0, seeds, BLOCK):
            yield {"format": action_format, "first_seed": first, "seeds": BLOCK}


def measure(row: Row) -> Row:
    """Play the seeds of a block in every order; count what differs."""
    counts = dict.fromkeys(("rollouts", "nodes", "cancelled", "lost", "different"), 0)
    for seed in range(row["first_seed"], row["first_seed"] + row["seeds"]):
        outlines = []
        limits = {"max_depth": 3, **LIMITS[seed % len(LIMITS)]}
        for order in (0, 1, *(2 + seed * ORDERS + i for i in range(ORDERS - 2))):
            with closing(toy_env(row["format"], limits=limits)) as env:
                tree = play(env, AnyOrderPolicy(seed), order)
            outlines.append(outline(tree))
            counts["rollouts"] += 1
            counts["nodes"] += len(tree)
            counts["cancelled"] += sum(node.status == "cancelled" for node in tree.nodes)
            counts["lost"] += sum(
                "so what it returned is lost" in (turn.observation or "") for node in tree.nodes for turn in node.turns
            )
        counts["different"] += sum(other != outlines[0] for other in outlines[1:])
    return {**row, **counts}


def main(
    quick: Annotated[bool, typer.Option(help="Fewer seeds; nothing is written.")] = False,
) -> None:
    """Drive rollouts in many orders and compare the trees."""
    if quick:
        rows = [measure(row) for row in plan(BLOCK)]
    else:
        path = RESULTS / "driver_orders.json"
        rows = measured(path, plan(26 * BLOCK), measure)
        write_tables(path, table(rows))
    print("\n".join(table(rows)))
    if any(row["different"] for row in rows):
        raise SystemExit(1)


def table(rows: list[Row]) -> Iterator[str]:
    """Yield a Markdown table: one line a format."""
    yield "| format | seeds | rollouts | nodes | cancelled | turns with a lost result | trees that differ |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for action_format in ("calls", "code"):
        mine = [row for row in rows if row["format"] == action_format]
        names = ("seeds", "rollouts", "nodes", "cancelled", "lost", "different")
        yield f"| {action_format} | " + " | ".join(f"{sum(row[name] for row in mine):,}" for name in names) + " |"


if __name__ == "__main__":
    typer.run(main)
