"""The command line: ``rao-envs list | rollout | eval | train | bench``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import typer
from rich.console import Console

import rao_envs
from rao_envs.env import RecursiveEnv
from rao_envs.errors import CallerError
from rao_envs.policies import QuittingPolicy, ScriptedPolicy
from rao_envs.registration import ENVIRONMENTS
from rao_envs.tree import ExecutionTree

__all__ = ["app", "main"]

app = typer.Typer(
    name="rao-envs",
    help="Environments in which agents spawn copies of themselves, and the credit for every one of them.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How actions are written."""

    code = "code"
    calls = "calls"


EnvId = Annotated[str, typer.Argument(help="Environment id; `rao-envs list` shows them.", metavar="ENV_ID")]
Seed = Annotated[int, typer.Option(help="Everything random is hashed from this.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of pictures.")]
Context = Annotated[int | None, typer.Option(help="Tokens of each node's context window.", min=1)]
ActionFormat = Annotated[Format, typer.Option("--format", help="How agents act.")]


def main() -> None:
    """Run the command line; a caller's mistake is one line, not a traceback."""
    try:
        app()
    except (CallerError, gym.error.Error, ValueError, ImportError, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escape(str(error))}")
        raise SystemExit(2) from None


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the environments, with what each offers."""
    rows = []
    for env_id in ENVIRONMENTS:
        env = _make(env_id)
        doc = (type(env).__doc__ or "").strip().splitlines()[0]
        rows.append(
            {
                "id": env_id,
                "what": doc,
                "difficulties": ", ".join(env.difficulties),
                "policies": ", ".join(env.oracles),
            }
        )
    _show(rows, as_json, "Environments")


@app.command()
def rollout(
    env_id: EnvId,
    depth: Annotated[int | None, typer.Option(help="Depth of the task, where the environment has one.")] = None,
    difficulty: Annotated[str | None, typer.Option(help="Difficulty of the task.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "train",
    task: Annotated[int, typer.Option(help="Number of the task.", min=0)] = 0,
    group: Annotated[int, typer.Option(help="Rollouts of the task; advantages compare them.", min=1)] = 4,
    policy: Annotated[str, typer.Option(help="A scripted policy of the environment.")] = "recursive",
    quit_rate: Annotated[float, typer.Option(help="Share of subagents that give up at once.", min=0, max=1)] = 0.1,
    action_format: ActionFormat = Format.code,
    context: Context = None,
    most: Annotated[int, typer.Option("--nodes", help="Nodes drawn of each tree.", min=1)] = 40,
    trees: Annotated[int, typer.Option(help="Trees of the group drawn.", min=0)] = 2,
    transcript: Annotated[int | None, typer.Option(help="Also print the chat of this node of the first tree.")] = None,
    out: Annotated[Path | None, typer.Option(help="Append the trees to this JSONL file.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Roll out a task a few times and draw the trees, with every node's reward and advantage."""
    options = {
        **{key: value for key, value in (("depth", depth), ("difficulty", difficulty)) if value is not None},
        **({"limits": {"context_tokens": context}} if context else {}),
        "split": split,
        "recursive": policy == "recursive",
        "action_format": action_format.value,
    }
    oracle = _oracle(_make(env_id, options), policy)
    collected = rao_envs.collect(
        env_id,
        QuittingPolicy(oracle, quit_rate),
        tasks=[task],
        group_size=group,
        seed=seed,
        env_options=options,
        sink=out,
    )
    table = rao_envs.credit.assign(collected)
    if as_json:
        print(json.dumps({"summary": rao_envs.metrics.summary(collected), "nodes": table.rows()}))
        return
    from rao_envs.viewer.terminal import draw_table, draw_tree

    console = Console(highlight=False)
    for place, tree in enumerate(collected[:trees]):
        console.print(f"\n[bold]{_escape(tree.group)}[/], rollout {place + 1} of {group}: {_escape(tree.root.goal)}")
        console.print(draw_tree(tree, table, place, most=most))
    if transcript is not None:
        _print_transcript(console, collected[0], transcript)
    console.print()
    console.print(draw_table("The group", [_tree_row(place, tree) for place, tree in enumerate(collected)]))


@app.command("eval")
def eval_(
    env_id: EnvId,
    context: Context = None,
    episodes: Annotated[int, typer.Option(help="Tasks of each difficulty.", min=1)] = 20,
    difficulty: Annotated[
        str | None, typer.Option(help="Difficulties, separated by commas; all of them by default.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    policies: Annotated[str, typer.Option(help="Scripted policies to compare.")] = "single,recursive",
    action_format: ActionFormat = Format.calls,
    out: Annotated[Path | None, typer.Option(help="Folder for the trees, one JSONL file a row; resumes.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Score the lone agent and the recursive one by difficulty, in the same context window."""
    levels = difficulty.split(",") if difficulty else list(_make(env_id).difficulties)
    rows = []
    for level in levels:
        for policy in policies.split(","):
            options: dict[str, Any] = {
                "difficulty": level,
                "split": split,
                "recursive": policy == "recursive",
                "action_format": action_format.value,
                "limits": {"context_tokens": context} if context else {},
            }
            oracle = _oracle(_make(env_id, options), policy)
            trees = rao_envs.collect(
                env_id,
                ScriptedPolicy(oracle),
                tasks=episodes,
                seed=seed,
                env_options=options,
                sink=None if out is None else out / f"{env_id}-{level}-{policy}.jsonl",
            )
            rows.append({"difficulty": level, "policy": policy, **_score(trees)})
    window = f"{context:,} tokens" if context else "the default"
    title = f"{env_id}: {episodes} {split} tasks a row, {action_format.value} format, window: {window}"
    if not as_json:
        rows = [{name: row[name] for name in row if name not in ("turns", "fullest")} for row in rows]
    _show(rows, as_json, title)


@app.command()
def train(
    env_id: EnvId,
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that is in it goes on.")],
    model: Annotated[str, typer.Option(help='"gpt", or a Hugging Face model: a folder or a name.')] = "gpt",
    difficulty: Annotated[str | None, typer.Option(help="Difficulty of the tasks.")] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps of the whole run.", min=1)] = 50,
    tasks: Annotated[int, typer.Option(help="Tasks of a step.", min=1)] = 8,
    group: Annotated[int, typer.Option(help="Rollouts of each task; advantages compare them.", min=2)] = 8,
    lr: Annotated[float | None, typer.Option(help="Learning rate; 1e-3 for the GPT, 1e-6 else.")] = None,
    play: Annotated[int, typer.Option(help="Tasks of scripted play that the GPT imitates first.", min=1)] = 300,
    width: Annotated[int, typer.Option(help="Width of the GPT.", min=8)] = 64,
    layers: Annotated[int, typer.Option(help="Layers of the GPT.", min=1)] = 3,
    new_tokens: Annotated[int, typer.Option(help="Longest message of the model.", min=1)] = 96,
    context: Context = 512,
    device: Annotated[str | None, typer.Option(help='Such as "cpu" or "cuda:1"; a GPU if there is one.')] = None,
    action_format: ActionFormat = Format.calls,
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard's files.")] = True,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model by the RAO objective: a small GPT that has watched scripted play, or any chat model."""
    from rao_envs.policies.local import find_device
    from rao_envs.training import CollectConfig, OptimConfig, RAOTrainer, RunConfig
    from rao_envs.training.imitation import start_gpt

    options: dict[str, Any] = {
        **({"difficulty": difficulty} if difficulty else {}),
        "action_format": action_format.value,
        "limits": {"context_tokens": context} if context else {},
    }
    console = Console(stderr=True, highlight=False)
    where = find_device(device)
    if model == "gpt":
        oracle = ScriptedPolicy(_oracle(_make(env_id, options), "recursive"))
        shape = {"width": width, "layers": layers, "context": context or 512}
        policy: Any = start_gpt(
            out / "start.pt",
            lambda: rao_envs.collect(env_id, oracle, tasks=play, seed=seed, env_options={**options, "limits": {}}),
            seed=seed,
            max_new_tokens=new_tokens,
            device=where,
            note=lambda epoch, loss: console.print(f"[dim]imitation, epoch {epoch + 1}: {loss:.3f} nats a token[/]"),
            **shape,
        )
        options["token_counter"] = policy.count_tokens
    else:
        from rao_envs.policies.hf import HFPolicy

        _make(env_id, options)
        policy = HFPolicy.from_pretrained(model, device=where, max_new_tokens=new_tokens, context_tokens=context)
        options["token_counter"] = policy.token_counter
    trainer = RAOTrainer(
        policy,
        env_id,
        steps=steps,
        collect=CollectConfig(tasks_per_step=tasks, group_size=group, env_options=options),
        optim=OptimConfig(lr=lr or (1e-3 if model == "gpt" else 1e-6), minibatches=4 if model == "gpt" else 1),
        run=RunConfig(folder=out, tensorboard=tensorboard),
        seed=seed,
        tokenizer=None if model == "gpt" else policy,
    )
    rows = trainer.run()
    if as_json:
        print(json.dumps(rows))
        return
    shown = rows[:: max(1, len(rows) // 10)]
    shown += [rows[-1]] if shown[-1] is not rows[-1] else []
    names = ("step", "success", "node_success", "nodes", "depth", "tokens", "entropy", "grad_norm")
    _show([{name: row[name] for name in names} for row in shown], False, f"{env_id}: {trainer.tokens:,} tokens sampled")


@app.command()
def bench(
    quick: Annotated[bool, typer.Option(help="Fewer repeats and smaller sizes.")] = False,
    markdown: Annotated[bool, typer.Option(help="Print Markdown tables.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of everything, in one run, best of several."""
    from rao_envs.speed import AIMS, run

    console = Console(stderr=True, highlight=False)
    figures = run(quick=quick, note=lambda name: console.print(f"[dim]measuring {name} ...[/]"))
    if as_json:
        print(json.dumps(figures))
        return
    from rao_envs.viewer.markdown import markdown_table
    from rao_envs.viewer.terminal import draw_table

    if markdown:
        machine = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        print(f"Generated by `rao-envs bench{' --quick' if quick else ''} --markdown`: {machine}.\n")
    for title, rows in figures.items():
        if markdown:
            print(markdown_table(title, rows, AIMS[title]))
        else:
            Console(highlight=False).print(draw_table(title, rows, AIMS[title]))


def _make(env_id: str, options: dict[str, Any] | None = None) -> RecursiveEnv:
    try:
        env = gym.make(env_id, **(options or {})).unwrapped
    except TypeError as error:
        raise ValueError(f"{env_id} does not take these options: {error}") from None
    if not isinstance(env, RecursiveEnv):
        raise ValueError(f"{env_id} is not an environment of rao-envs; `rao-envs list` shows these")
    return env


def _oracle(env: RecursiveEnv, name: str) -> Any:
    if name not in env.oracles:
        raise ValueError(f"policy={name!r}: {type(env).__name__} has {', '.join(env.oracles) or 'none'}")
    return env.oracles[name]


def _tree_row(place: int, tree: ExecutionTree) -> dict[str, Any]:
    summary = rao_envs.metrics.summary([tree])
    return {"rollout": place + 1, "success": tree.root.success, **_shape(summary)}


def _score(trees: Sequence[ExecutionTree]) -> dict[str, Any]:
    summary = rao_envs.metrics.summary(trees)
    overflows = sum(tree.root.status == "context" for tree in trees)
    return {"success": f"{summary['success']:.0%}", "outgrew": overflows, **_shape(summary)}


def _shape(summary: Any) -> dict[str, Any]:
    share = summary["concurrent_share"]
    return {
        "nodes": summary["nodes"],
        "depth": summary["depth"],
        "turns": summary["turns"],
        "fullest": summary["transcript_max"],
        "concurrent": None if share is None else f"{share:.0%}",
        "speed-up": summary["speedup"],
    }


def _print_transcript(console: Console, tree: ExecutionTree, node: int) -> None:
    if not 0 <= node < len(tree):
        raise ValueError(f"transcript={node}: the tree has nodes 0 to {len(tree) - 1}")
    for message in tree.nodes[node].messages:
        console.rule(f"[bold]{message['role']}[/]", align="left")
        console.print(message["content"], markup=False)


def _show(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    from rao_envs.viewer.terminal import draw_table

    Console(highlight=False).print(draw_table(title, rows))


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
