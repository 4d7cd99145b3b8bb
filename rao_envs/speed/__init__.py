"""The figures of ``rao-envs bench``: speed and memory, measured in one run, each the best of several repeats."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

__all__ = ["AIMS", "run"]

AIMS = {
    "start-up": "Aim: import under 0.3 s; the first make and reset of a process under 0.1 s, later ones under 10 ms.",
    "tool calls": "Aim: at least 24,000 turns a second.",
    "code": "Aim: at most 0.25 on one core, on top of what the same snippets and tool calls cost without the engine.",
    "whole rollouts": "The recursive oracle on TextCraft-Synth, the oracle's own time included, on one core.",
    "growing trees": "CPU time. Aim: at most 1.3 times the cost of a node at 1,000 nodes (ratio).",
    "growing history": "Aim: the same cost a turn at every length (ratio 1).",
    "memory": "Aim: under 500 MB for 10,000 nodes.",
    "suspended agents": "Aim: all resume, with 4 workers.",
    "credit": "Aim: at most 3 times the bare numpy passes.",
    "training batches": "`build_batch`, credit and checks included; padding_seconds is torch's `pad_sequence` alone. "
    "Aim: at least 10,000 nodes a second, of 3 turns of 100 tokens.",
    "generation": "Tokens that a small GPT samples in a second: for all ready nodes of 64 rollouts at once, and for "
    "one node at a time.",
    "training steps": "`RAOTrainer` with that GPT. Aim: under 0.15 of a step outside the model.",
}
"""What each figure should be."""


def run(*, quick: bool = False, note: Callable[[str], object] = lambda _: None) -> dict[str, list[dict[str, Any]]]:
    """Measure everything.

    Args:
        quick: fewer repeats, smaller sizes.
        note: called with the title of each measurement as it begins.

    Returns:
        Rows by title.
    """
    from rao_envs.speed import credit, engine, growth

    repeats = 2 if quick else 5
    sizes = (1_000, 5_000) if quick else (1_000, 10_000, 100_000)
    plan: dict[str, Callable[[], Any]] = {
        "start-up": engine.startup,
        "tool calls": lambda: engine.turns(repeats),
        "code": lambda: engine.code_overheads(repeats),
        "whole rollouts": lambda: engine.rollouts(1 if quick else 3, extreme=not quick),
        "growing trees": lambda: growth.growth(sizes, repeats),
        "growing history": lambda: growth.history(repeats=3 * repeats),
        "memory": lambda: growth.memory(1_000 if quick else 10_000),
        "suspended agents": lambda: engine.suspended(100 if quick else 1_000),
        "credit": lambda: credit.measure(10_000 if quick else 1_000_000, repeats),
    }
    if importlib.util.find_spec("torch") is not None:
        from rao_envs.speed import generation, training

        plan["training batches"] = lambda: training.measure(1_000 if quick else 10_000, repeats)
        plan["generation"] = lambda: generation.generation(8 if quick else 64, 1 if quick else 4)
        plan["training steps"] = lambda: generation.outside(1, 2 if quick else 8)
    figures = {}
    for title, measure in plan.items():
        note(title)
        rows = measure()
        figures[title] = rows if isinstance(rows, list) else [rows]
    return figures
