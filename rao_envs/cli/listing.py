"""``rao-envs list``."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from rao_envs.cli.environments import known
from rao_envs.cli.options import AsJson
from rao_envs.cli.output import show
from rao_envs.env import RecursiveEnv

__all__ = ["list_environments"]


def list_environments(
    modules: Annotated[
        list[str] | None,
        typer.Argument(help="Modules that register environments of your own.", metavar="MODULE", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the environments, with their difficulties and scripted agents."""
    rows = [
        {
            "id": name,
            "what": _what(env),
            "difficulties": ", ".join(env.difficulties) or "-",
            "policies": ", ".join(env.oracles) or "-",
        }
        for name, _, env in known(modules or [])
    ]
    show(rows, as_json, "Environments")


def _what(env: type[RecursiveEnv] | RecursiveEnv) -> str:
    """Say in a line what an environment is about: its own words, or those of its world."""
    described: object = env if inspect.isclass(env) else type(env)
    if described is RecursiveEnv and isinstance(env, RecursiveEnv):
        described = env.make_world if inspect.isclass(env.make_world) else None
    return (inspect.getdoc(described) or "-").splitlines()[0] if described is not None else "-"
