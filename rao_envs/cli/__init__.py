"""The command line: ``rao-envs list | rollout | eval | train | bench``.

| module | holds |
|---|---|
| `listing`, `rollout`, `evaluate`, `train`, `bench` | a command each |
| `options` | options that several commands share |
| `environments` | environments by id, and what they can be asked for |
| `agents` | scripted agents by name |
| `output` | tables and JSON |
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import typer
from rich.console import Console
from rich.markup import escape

from rao_envs.cli import bench, evaluate, listing, rollout, train
from rao_envs.errors import CallerError, InfrastructureError

__all__ = ["app", "main"]

app = typer.Typer(
    name="rao-envs",
    help="Environments in which agents spawn copies of themselves, and the credit for every one of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(listing.list_environments)
app.command("rollout")(rollout.rollout)
app.command("eval")(evaluate.evaluate)
app.command("train")(train.train)
app.command("bench")(bench.bench)


def main() -> None:
    """Run the command line; a mistake of the caller's is one line, and exit code 2."""
    # As `python -m` does, but last: a file of the current folder must not replace an installed package.
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    shown, warnings.showwarning = warnings.showwarning, _warn
    try:
        code = app(prog_name="rao-envs", standalone_mode=False)
    except (CallerError, InfrastructureError, gym.error.Error, ValueError, ImportError, OSError) as error:
        _fail(str(error))
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise SystemExit(2) from None  # the help has been printed
        if not hasattr(error, "format_message"):
            raise
        _fail(_usage(error))
    finally:
        warnings.showwarning = shown
    raise SystemExit(code if isinstance(code, int) else 0)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    line = escape(" ".join(str(message).split()))
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold yellow]warning:[/] {line}")


def _usage(error: Any) -> str:
    """Put Typer's complaint in one line: its own box takes five, and leaves out the value."""
    parameter, message = getattr(error, "param", None), str(error.format_message())
    names = getattr(parameter, "opts", [])
    for word, after in zip(sys.argv[1:], [*sys.argv[2:], ""], strict=False):
        name, equals, value = word.partition("=")
        if name in names:
            return f"{name}={(value if equals else after)!r}: {str(error.message).removeprefix('Value error, ')}"
    described = getattr(parameter, "help", None)
    return f"{message} {described}" if described else message


def _fail(message: str) -> None:
    line = escape(" ".join(message.split()))
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {line}")
    raise SystemExit(2) from None
