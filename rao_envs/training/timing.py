"""How much of a step's time is spent inside the model, and how much outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from rao_envs.action import Action
from rao_envs.policies.base import View
from rao_envs.policies.local import TorchPolicy

__all__ = ["Clock", "Timed"]


class Timed:
    """A policy with a stopwatch.

    It uses the policy's own `seconds` if there are any, which count the model alone, and else measures whole calls.
    """

    def __init__(self, policy: TorchPolicy) -> None:
        """Wrap `policy`."""
        self._policy = policy
        self._start: float | None = getattr(policy, "seconds", None)
        self._measured = 0.0

    def __call__(self, views: Sequence[View]) -> list[Action]:
        """Answer each view, as the policy does."""
        start = perf_counter()
        answers = self._policy(views)
        self._measured += perf_counter() - start
        return answers

    @property
    def seconds(self) -> float:
        """Seconds inside the model since this was made."""
        return self._measured if self._start is None else float(self._policy.seconds) - self._start  # type: ignore[attr-defined]


class Clock:
    """Adds up the seconds of the named parts of a step.

    Attributes:
        seconds: by part.
    """

    def __init__(self) -> None:
        """Start."""
        self._start = perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Time a part."""
        start = perf_counter()
        yield
        self.seconds[part] = perf_counter() - start

    def figures(self) -> dict[str, float]:
        """Return the seconds since the start by part, and the share spent outside the model.

        Inside are "time/sample", the model's part of "time/collect", and "time/optimise". Evaluations do not count.
        """
        total = perf_counter() - self._start - self.seconds.get("evaluate", 0.0)
        inside = self.seconds["sample"] + self.seconds["optimise"]
        figures = {f"time/{part}": seconds for part, seconds in self.seconds.items()}
        return {**figures, "time/step": total, "time/outside": total - inside, "time/outside_share": 1 - inside / total}
