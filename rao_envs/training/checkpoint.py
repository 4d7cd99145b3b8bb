"""Checkpoints that a kill at any moment cannot spoil."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rao_envs.errors import CorruptCheckpoint, OptionError

__all__ = ["Checkpoints", "plain"]

_NAME = re.compile(r"step-(\d+)\.pt")


class Checkpoints:
    """The checkpoints of one run: a folder with `config.json` and `step-00000010.pt` and so on.

    A file is written under another name and renamed when it is whole, so that what has the right name is whole.

    Attributes:
        folder: where they are.
        keep: how many are kept, the latest.
    """

    def __init__(self, folder: Path, keep: int, config: Mapping[str, Any]) -> None:
        """Open a folder, or make it.

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
            CorruptCheckpoint: the file cannot be read; the one before it may be used if this one is deleted.
        """
        paths = self._paths()
        if not paths:
            return None
        try:
            # weights_only: a checkpoint is data, and loading one must not run code.
            state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises whatever its parts do
            mend = "cannot be read; delete it to go on from the one before"
            raise CorruptCheckpoint(f"{paths[-1]} {mend}: {error!r:.200}") from error
        if not isinstance(state, dict):
            raise CorruptCheckpoint(f"{paths[-1]} is not a checkpoint; delete it to resume from the one before")
        return state

    def _paths(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def plain(value: Any) -> Any:
    """Return an option as JSON-able data that tells it from others, in every process the same."""

    def name(part: Any) -> Any:
        return part.to_dict() if hasattr(part, "to_dict") else getattr(part, "__qualname__", type(part).__qualname__)

    return json.loads(json.dumps(value, default=name))


def _compare(folder: Path, theirs: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    ours = json.loads(json.dumps(config))
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            mend = f"holds a run with {name}={theirs.get(name)!r:.200}, this one has {ours.get(name)!r:.200}"
            raise OptionError("folder", str(folder), f"{mend}; use another folder, or the same configuration")


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
