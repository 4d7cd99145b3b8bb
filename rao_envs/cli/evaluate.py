"""``rao-envs eval``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import rao_envs
from rao_envs.cli import agents, environments
from rao_envs.cli.options import (
    ActionFormat,
    AsJson,
    Context,
    EnvId,
    Extra,
    Format,
    Seed,
    Split,
    environment_options,
)
from rao_envs.cli.output import figures, show
from rao_envs.policies import ScriptedPolicy
from rao_envs.tree import ExecutionTree

__all__ = ["evaluate"]


def evaluate(
    env_id: EnvId,
    context: Context = None,
    episodes: Annotated[int, typer.Option(help="Tasks of each difficulty.", min=1)] = 20,
    difficulty: Annotated[
        str | None, typer.Option(help="Difficulties, separated by commas.", show_default="all of them")
    ] = None,
    split: Split = None,
    policies: Annotated[
        str | None,
        typer.Option(help="Scripted agents to compare, separated by commas.", show_default="single,recursive"),
    ] = None,
    action_format: ActionFormat = Format.calls,
    extra: Extra = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the trees, one JSONL file a row; resumes.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Score the lone agent and the recursive one by difficulty, in the same context window."""
    if split is None and environments.takes(env_id, "split"):
        split = "test"
    options = environment_options(extra, action_format=action_format, context=context, split=split)
    levels: Sequence[str | None] = difficulty.split(",") if difficulty else []
    env = environments.make(env_id, options | ({"difficulty": levels[0]} if levels else {}))
    rows = []
    for level in levels or env.difficulties or [None]:
        for name in policies.split(",") if policies else agents.compared(env):
            chosen = options | ({} if level is None else {"difficulty": level})
            chosen["recursive"] = options.get("recursive", name != "single")
            parts = [env_id.replace(":", "."), *([] if level is None else [level]), name]
            trees = rao_envs.collect(
                env_id,
                ScriptedPolicy(agents.agent(environments.make(env_id, chosen), name, "--policies")),
                tasks=episodes,
                seed=seed,
                env_options=chosen,
                sink=None if out is None else out / f"{'-'.join(parts)}.jsonl",
            )
            rows.append({"difficulty": level, "policy": name, **_score(trees)})
    if not as_json:
        rows = [{name: row[name] for name in row if name not in ("turns", "fullest")} for row in rows]
    window = f"{context:,} tokens" if context else "the default"
    kind = f"{split} tasks" if split else "tasks"
    show(rows, as_json, f"{env_id}: {episodes} {kind} a row, {action_format.value} format, window: {window}")


def _score(trees: Sequence[ExecutionTree]) -> dict[str, Any]:
    summary = rao_envs.metrics.summary(trees)
    overflows = sum(tree.root.status == "context" for tree in trees)
    success = summary["success"]
    return {"success": None if success is None else f"{success:.0%}", "outgrew": overflows, **figures(trees)}
