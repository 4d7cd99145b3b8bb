"""From trees to gradients: records, padded batches, the loss, and a trainer small enough to read.

Records, their files and the configuration classes need numpy only; everything else needs torch
(``pip install "rao-envs[train]"``) and is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rao_envs.training.config import CollectConfig, LossConfig, OptimConfig, RunConfig

# Not lazily: the function would be hidden by the module of its name.
from rao_envs.training.records import (
    NodeRecord,
    TrainingSequence,
    TurnRecord,
    read_records,
    records,
    write_records,
)

if TYPE_CHECKING:
    from rao_envs.training.batch import Batch, Totals, batch_from_records, build_batch
    from rao_envs.training.loss import LossOutput, rao_loss
    from rao_envs.training.trainer import RAOTrainer

_HOMES = {
    "Batch": "batch",
    "LossOutput": "loss",
    "RAOTrainer": "trainer",
    "Totals": "batch",
    "batch_from_records": "batch",
    "build_batch": "batch",
    "rao_loss": "loss",
}

__all__ = [
    "Batch",
    "CollectConfig",
    "LossConfig",
    "LossOutput",
    "NodeRecord",
    "OptimConfig",
    "RAOTrainer",
    "RunConfig",
    "Totals",
    "TrainingSequence",
    "TurnRecord",
    "batch_from_records",
    "build_batch",
    "rao_loss",
    "read_records",
    "records",
    "write_records",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rao_envs.training' has no attribute {name!r}")
    return getattr(import_module(f"rao_envs.training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
