"""Gymnasium wrappers."""

from rao_envs.wrappers.record import RecordTrees

__all__ = ["RecordTrees"]
