"""``rao-envs train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

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
    environment_options,
)
from rao_envs.cli.output import show
from rao_envs.policies import ScriptedPolicy

__all__ = ["train"]


def train(
    env_id: EnvId,
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that is in it is resumed.")],
    model: Annotated[str, typer.Option(help='"gpt", or a Hugging Face model: a folder or a name.')] = "gpt",
    difficulty: Difficulty = None,
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
    extra: Extra = None,
    tensorboard: Annotated[bool, typer.Option(help="Also write TensorBoard's files.")] = True,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model by the RAO objective: a small GPT that has watched scripted play, or any chat model.

    The play is the recursive agent's; where an environment has no scripted agent, valid calls made at random.
    """
    options = environment_options(extra, action_format=action_format, context=context, difficulty=difficulty)
    environments.make(env_id, options)  # a wrong option is refused before anything is loaded
    from rao_envs.policies.local import find_device
    from rao_envs.training import CollectConfig, OptimConfig, RAOTrainer, RunConfig
    from rao_envs.training.imitation import start_gpt

    console = Console(stderr=True, highlight=False)
    where = find_device(device)
    if model == "gpt":
        limits = {name: value for name, value in options.get("limits", {}).items() if name != "context_tokens"}
        wide = {**options, "limits": limits}  # the play is not cut short; what is too long is not imitated
        env = environments.make(env_id, wide)
        scripted = ScriptedPolicy(agents.agent(env, agents.best(env)))
        shape = {"width": width, "layers": layers, "context": context or 512}
        policy: Any = start_gpt(
            out / "start.pt",
            lambda: rao_envs.collect(env_id, scripted, tasks=play, seed=seed, env_options=wide),
            seed=seed,
            max_new_tokens=new_tokens,
            device=where,
            note=lambda epoch, loss: console.print(f"[dim]imitation, epoch {epoch + 1}: {loss:.3f} nats a token[/]"),
            **shape,
        )
        options["token_counter"] = policy.count_tokens
    else:
        from rao_envs.policies.hf import HFPolicy

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
    show([{name: row[name] for name in names} for row in shown], False, f"{env_id}: {trainer.tokens:,} tokens sampled")
