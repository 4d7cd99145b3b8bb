"""The judge protocol: a case in, a verdict out, or None from a judge that cannot say."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from rao_envs.errors import OptionError
from rao_envs.events import Verdict

__all__ = ["Case", "FirstOf", "Judge", "Unjudged", "judge_many"]

_NOBODY = "no judge could say"


@dataclass(frozen=True, slots=True)
class Case:
    """What there is to judge: one node's goal, and what it made of it.

    Attributes:
        goal: what the node was asked, in words.
        result: what it handed to `finish` (JSON).
        reference: the right answer (JSON); None where nobody knows it.
        transcript: the messages that show how it got there, such as a node's `messages`; may be empty.
        rubric: by what rule to judge this case, in place of the judge's own; None leaves it that.
    """

    goal: str
    result: Any
    reference: Any = None
    transcript: Sequence[Mapping[str, str]] = ()
    rubric: str | None = None


class Judge(Protocol):
    """Anything that judges a case. A benchmark's exact verifier is one: a function is enough."""

    def __call__(self, case: Case, /) -> Verdict | None:
        """Return a verdict, or None if this judge cannot say.

        Raises:
            InfrastructureError: the judge is out of order, which says nothing about the case.
        """
        ...


class Unjudged:
    """The judge that never says: for those who want a benchmark's exact verdicts and no others."""

    def __init__(self, why: str = _NOBODY) -> None:
        """Give `why` as the reason."""
        self.why = why

    def __call__(self, case: Case, /) -> Verdict:
        """Leave the case unjudged."""
        return Verdict(None, "none", self.why)


class FirstOf:
    """The first of several judges that can say: ``FirstOf(exact, LLMJudge(...))`` is the order of every benchmark.

    A judge that is out of order is not passed over: its `InfrastructureError` goes to the caller, so that a
    verdict never depends on who happened to be reachable.
    """

    def __init__(self, *judges: Judge | None) -> None:
        """Ask `judges` in order; a None among them, such as a judge that nobody configured, is left out."""
        self.judges = tuple(judge for judge in judges if judge is not None)

    def __call__(self, case: Case, /) -> Verdict:
        """Return the first verdict with a success; if there is none, unjudged with every reason given.

        Raises:
            InfrastructureError: a judge that had to be asked is out of order.
        """
        reasons = []
        for judge in self.judges:
            verdict = judge(case)
            if verdict is None:
                continue
            if verdict.success is not None:
                return verdict
            reasons.append(verdict.why)
        return Verdict(None, "none", "; ".join(filter(None, reasons)) or _NOBODY)


def judge_many(judge: Judge, cases: Iterable[Case], *, workers: int = 8, progress: bool | None = None) -> list[Verdict]:
    """Judge many cases at once, in threads, and return the verdicts in the order of the cases.

    Args:
        judge: must stand being called by several threads, as those of this package do.
        cases: the cases; one on which `judge` returns None comes back unjudged.
        workers: cases at once.
        progress: show a progress bar on stderr; None shows one if stderr is a terminal.

    Raises:
        OptionError: fewer than one worker.
        InfrastructureError: the judge is out of order. Cases not yet begun are dropped; what is done is lost,
            unless the judge has a cache.
    """
    if workers < 1:
        raise OptionError("workers", workers, "must be at least 1")
    todo = list(cases)
    total = FirstOf(judge)
    with ThreadPoolExecutor(workers, thread_name_prefix="judge") as pool:
        verdicts: Iterable[Verdict] = pool.map(total, todo)
        if sys.stderr.isatty() if progress is None else progress:
            from rich.console import Console
            from rich.progress import track

            verdicts = track(verdicts, "judging", total=len(todo), console=Console(stderr=True))
        return list(verdicts)
