"""What the measurements share: an environment to measure on, and clocks."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym

from rao_envs.env import RecursiveEnv

__all__ = ["ENV", "best", "python", "text_craft"]

ENV = "TextCraftSynth-v0"


@contextmanager
def text_craft(difficulty: str, action_format: str, **options: Any) -> Iterator[RecursiveEnv]:
    """Make the environment that most figures are measured on."""
    env = gym.make(ENV, difficulty=difficulty, action_format=action_format, **options).unwrapped
    assert isinstance(env, RecursiveEnv)
    try:
        yield env
    finally:
        env.close()


def python(code: str) -> str:
    """Run a snippet in a fresh process; return what it prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout


def best(repeats: int, work: Callable[[], object]) -> float:
    """Return the fewest seconds that `work` took in `repeats` runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
