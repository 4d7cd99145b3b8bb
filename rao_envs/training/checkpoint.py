"""Checkpoints that survive being killed at any moment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rao_envs.extras import extra

with extra("train", __name__):
    import torch

from rao_envs.credit.rules import name_of
from rao_envs.errors import CorruptCheckpoint, OptionError

__all__ = ["Checkpoints", "plain"]

_NAME = re.compile(r"step-(\d+)\.pt")


class Checkpoints:
    """The checkpoints of one run: a folder with `config.json` and `step-00000010.pt` and so on.

    A file is written under a temporary name and renamed when it is complete, so a file with the right name is complete.

    Attributes:
        folder: where they are.
        keep: how many of the latest are kept.
    """

    def __init__(self, folder: Path, keep: int, config: Mapping[str, Any]) -> None:
        """Open a folder, or create it.

        Raises:
            OptionError: it holds a run with another configuration, or `keep` is not positive.
            CorruptCheckpoint: its configuration cannot be read.
        """
        if keep < 1:
            raise OptionError("keep", keep, "must be at least 1")
        self.folder = folder
        self.keep = keep
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "config.json"
        if file.exists():
            _compare(folder, _read(file), config)
        else:
            _write(file, json.dumps(config, indent=2).encode())

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write the state after `step` steps, and delete the oldest."""
        path = self.folder / f"step-{step:08d}.pt"
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        for old in self._paths()[: -self.keep]:
            old.unlink()
        return path

    def latest(self) -> dict[str, Any] | None:
        """Return the state that was saved last, its tensors on the CPU; None if there is none.

        Raises:
            CorruptCheckpoint: the file cannot be read. Delete it to resume from the one before.
        """
        paths = self._paths()
        if not paths:
            return None
        try:
            # weights_only: a checkpoint is data, and loading one must not run code.
            state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
        except Exception as error:  # torch documents no common base class for what it raises
            fix = "cannot be read; delete it to resume from the one before"
            raise CorruptCheckpoint(f"{paths[-1]} {fix}: {error!r:.200}") from error
        if not isinstance(state, dict):
            raise CorruptCheckpoint(f"{paths[-1]} is not a checkpoint; delete it to resume from the one before")
        return state

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def plain(value: Any) -> Any:
    """Return an option as JSON-able data that differs where the option does, and is the same in every process.

    A function is its qualified name, a `functools.partial` that of its function and what is bound to it, a dataclass
    its fields, and any other object its class. So two lambdas of one scope are the same.
    """

    def data(part: Any) -> Any:
        if isinstance(part, partial):
            return {"function": part.func, "args": part.args, "keywords": part.keywords}
        if hasattr(part, "to_dict"):
            return part.to_dict()
        if hasattr(part, "tolist"):
            return part.tolist()
        if is_dataclass(part) and not isinstance(part, type):
            return {"class": type(part), **{field.name: getattr(part, field.name) for field in fields(part)}}
        return name_of(part)

    return json.loads(json.dumps(value, default=data))


def _compare(folder: Path, theirs: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    ours = json.loads(json.dumps(config))
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            found = f"holds a run with {name}={theirs.get(name)!r:.200}, this one has {ours.get(name)!r:.200}"
            raise OptionError("folder", str(folder), f"{found}; use another folder, or the same configuration")


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(f"{path} is not JSON ({error!s:.200}); restore it, or use another folder") from error
    if not isinstance(config, dict):
        raise CorruptCheckpoint(f"{path} is not a run's configuration; restore it, or use another folder")
    return config


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
