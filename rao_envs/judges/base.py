"""The judge protocol: a case in, a verdict out, or None from a judge that cannot decide."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from rao_envs.errors import OptionError
from rao_envs.events import Verdict

__all__ = ["Case", "FirstOf", "Judge", "Unjudged", "judge_many"]

_NO_VERDICT = "no judge could say"


@dataclass(frozen=True, slots=True)
class Case:
    """What there is to judge: one node's goal, and its result.

    Attributes:
        goal: what the node was asked, in words.
        result: what it passed to `finish` (JSON).
        reference: the right answer (JSON); None if it is unknown.
        transcript: the messages that show how it got there, such as a node's `messages`; may be empty.
        rubric: the rule by which to judge this case; None uses the judge's own.
    """

    goal: str
    result: Any
    reference: Any = None
    transcript: Sequence[Mapping[str, str]] = ()
    rubric: str | None = None


class Judge(Protocol):
    """Anything that judges a case. A benchmark's exact verifier is one: a function is enough."""

    def __call__(self, case: Case, /) -> Verdict | None:
        """Return a verdict, or None if this judge cannot decide.

        Raises:
            InfrastructureError: the judge is unavailable, which says nothing about the case.
        """
        ...


class Unjudged:
    """A judge that never decides: it restricts a benchmark to its exact verdicts."""

    def __init__(self, why: str = _NO_VERDICT) -> None:
        """Give `why` as the reason."""
        self.why = why

    def __call__(self, case: Case, /) -> Verdict:
        """Leave the case unjudged."""
        return Verdict(None, "none", self.why)


class FirstOf:
    """The first of several judges that can decide: every benchmark uses ``FirstOf(exact, LLMJudge(...))``.

    A judge that is unavailable is not skipped: its `InfrastructureError` goes to the caller, so that a verdict never
    depends on which judge happened to be reachable.
    """

    def __init__(self, *judges: Judge | None) -> None:
        """Ask `judges` in order; None, such as a judge that is not configured, is skipped."""
        self.judges = tuple(judge for judge in judges if judge is not None)

    def __call__(self, case: Case, /) -> Verdict:
        """Return the first verdict with a success; if there is none, unjudged, with every reason given.

        Raises:
            InfrastructureError: a judge that had to be asked is unavailable.
        """
        reasons = []
        for judge in self.judges:
            verdict = judge(case)
            if verdict is None:
                continue
            if verdict.success is not None:
                return verdict
            reasons.append(verdict.why)
        return Verdict(None, "none", "; ".join(filter(None, reasons)) or _NO_VERDICT)


def judge_many(judge: Judge, cases: Iterable[Case], *, workers: int = 8, progress: bool | None = None) -> list[Verdict]:
    """Judge many cases at once, in threads, and return the verdicts in the order of the cases.

    Args:
        judge: must be safe to call from several threads, as those of this package are.
        cases: the cases; one on which `judge` returns None comes back unjudged.
        workers: cases judged at once.
        progress: show a progress bar on stderr; None shows one if stderr is a terminal.

    Raises:
        OptionError: fewer than one worker.
        InfrastructureError: the judge is unavailable. Cases not yet begun are dropped; finished verdicts are lost
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
