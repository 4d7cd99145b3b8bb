"""Options that several commands share."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from rao_envs.errors import OptionError

__all__ = [
    "ActionFormat",
    "AsJson",
    "Context",
    "Difficulty",
    "EnvId",
    "Extra",
    "Format",
    "Seed",
    "Split",
    "environment_options",
]


class Format(StrEnum):
    """How actions are written."""

    code = "code"
    calls = "calls"


EnvId = Annotated[
    str,
    typer.Argument(
        help="Environment id, such as TextCraftSynth-v0, or module:Id-v0 for one that a module of yours registers.",
        metavar="ENV_ID",
    ),
]
Seed = Annotated[int, typer.Option(help="Everything random is hashed from this.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables and trees.")]
Context = Annotated[int | None, typer.Option(help="Tokens of each node's context window.", min=1)]
ActionFormat = Annotated[Format, typer.Option("--format", help="How agents act.")]
Difficulty = Annotated[str | None, typer.Option(help="Difficulty of the tasks, where there are several.")]
Split = Annotated[str | None, typer.Option(help="train, val or test, where the environment has splits.")]
Extra = Annotated[
    list[str] | None,
    typer.Option(
        "--option", "-o", help="Another option of the environment, such as world_seed=3.", metavar="NAME=VALUE"
    ),
]


def environment_options(
    extra: list[str] | None = None,
    *,
    action_format: Format,
    context: int | None = None,
    **given: Any,
) -> dict[str, Any]:
    """Return the keyword arguments for `gymnasium.make`.

    Args:
        extra: what `--option` gave: NAME=VALUE, the value JSON or else text.
        action_format: how agents act.
        context: tokens of each node's context window; None leaves the environment's own.
        given: further options; None leaves one out.

    Raises:
        OptionError: something else than NAME=VALUE.
    """
    options = {name: value for name, value in given.items() if value is not None}
    options["action_format"] = action_format.value
    if context is not None:
        options["limits"] = {"context_tokens": context}
    for pair in extra or ():
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise OptionError("--option", pair, "must be NAME=VALUE, such as world_seed=3")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        both = name == "limits" and isinstance(value, dict)
        options[name] = {**options.get("limits", {}), **value} if both else value
    return options
