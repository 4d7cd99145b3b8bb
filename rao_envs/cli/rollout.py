"""``rao-envs rollout``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

import rao_envs
from rao_envs.cli import agents, environments
from rao_envs.cli.options import (
    ActionFormat,
    AsJson,
    Context,
    Difficulty,
    EnvId,
    Extra,
    Format,
    Seed,
    Split,
    environment_options,
)
from rao_envs.cli.output import figures
from rao_envs.errors import OptionError
from rao_envs.policies import QuittingPolicy
from rao_envs.tree import ExecutionTree

__all__ = ["rollout"]


def rollout(
    env_id: EnvId,
    depth: Annotated[int | None, typer.Option(help="Depth of the task, where the environment has one.")] = None,
    difficulty: Difficulty = None,
    split: Split = None,
    task: Annotated[int, typer.Option(help="Number of the task.", min=0)] = 0,
    group: Annotated[int, typer.Option(help="Rollouts of the task; advantages compare them.", min=1)] = 4,
    policy: Annotated[
        str | None,
        typer.Option(help="A scripted agent: one that `list` shows, explore or random.", show_default="recursive"),
    ] = None,
    quit_rate: Annotated[float, typer.Option(help="Share of subagents that give up at once.", min=0, max=1)] = 0.1,
    action_format: ActionFormat = Format.code,
    context: Context = None,
    extra: Extra = None,
    nodes: Annotated[int, typer.Option(help="Nodes drawn of each tree.", min=1)] = 40,
    trees: Annotated[int, typer.Option(help="Trees of the group drawn.", min=0)] = 2,
    transcript: Annotated[int | None, typer.Option(help="Also print the chat of this node of the first tree.")] = None,
    out: Annotated[Path | None, typer.Option(help="Append the trees to this JSONL file.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Roll out a task a few times and draw the trees, with every node's reward and advantage.

    An environment without scripted agents of its own is explored: with valid calls, made at random.
    """
    if split is None and environments.takes(env_id, "split"):
        split = "train"
    options = environment_options(
        extra, action_format=action_format, context=context, depth=depth, difficulty=difficulty, split=split
    )
    env = environments.make(env_id, options)
    name = policy or agents.best(env)
    options["recursive"] = options.get("recursive", name != "single")
    act = agents.agent(environments.make(env_id, options), name)
    collected = rao_envs.collect(
        env_id,
        QuittingPolicy(act, quit_rate),
        tasks=[task],
        group_size=group,
        seed=seed,
        env_options=options,
        sink=out,
    )
    if as_json:
        table = rao_envs.credit.assign(collected)
        print(json.dumps({"summary": rao_envs.metrics.summary(collected), "nodes": table.rows()}))
    else:
        _draw(collected, nodes, trees, transcript)


def _draw(collected: Sequence[ExecutionTree], nodes: int, trees: int, transcript: int | None) -> None:
    from rao_envs.viewer.terminal import draw_table, draw_tree

    table = rao_envs.credit.assign(collected)
    console = Console(highlight=False)
    for i, tree in enumerate(collected[:trees]):
        goal = escape(tree.root.goal)
        console.print(f"\n[bold]{escape(tree.group)}[/], rollout {i + 1} of {len(collected)}: {goal}")
        console.print(draw_tree(tree, table, i, most=nodes))
    if transcript is not None:
        _print_transcript(console, collected[0], transcript)
    console.print()
    rows: list[dict[str, Any]] = [
        {"rollout": i + 1, "success": tree.root.success, **figures([tree])} for i, tree in enumerate(collected)
    ]
    console.print(draw_table("The group", rows))


def _print_transcript(console: Console, tree: ExecutionTree, node: int) -> None:
    if not 0 <= node < len(tree):
        raise OptionError("--transcript", node, f"the tree has nodes 0 to {len(tree) - 1}")
    for message in tree.nodes[node].messages:
        console.rule(f"[bold]{message['role']}[/]", align="left")
        console.print(message["content"], markup=False)
