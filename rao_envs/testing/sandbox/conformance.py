"""The conformance suite that every sandbox passes: `self_check`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from rao_envs.testing.sandbox import contract, hostile
from rao_envs.testing.sandbox.workbench import LIMITS, Check, MakeSandbox, Workbench

__all__ = ["CHECKS", "NOT_CHECKED", "CheckFailed", "CheckResult", "self_check"]

CHECKS: tuple[Check, ...] = contract.CHECKS + hostile.CHECKS
"""Every check is a function of a `Workbench`, named after what it demands."""

NOT_CHECKED: Mapping[str, str] = {
    "how far a slow loop came": "a loop that prints now and then until its time is up shows as much as the machine "
    "managed to run; what is shown of faster floods, and the notice, are the same everywhere",
    "a snippet near its time limit": "whether it passes depends on the machine",
    "a crash that the code itself provoked": "no code is known that crashes an interpreter for certain; one whose "
    "worker dies twice at the same snippet must be told so, by its own fault",
    "the host's stderr": "a worker that runs out of memory may say so there",
}
"""What the suite does not demand, and why."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What came of one check.

    Attributes:
        name: the check's name.
        demand: what it demands, in words.
        failure: why it failed; '' if it passed.
        known: why it was expected to fail; '' if it was not.
    """

    name: str
    demand: str
    failure: str = ""
    known: str = ""

    @property
    def ok(self) -> bool:
        """Whether it went as expected: it passed, or is a known limit and failed."""
        return bool(self.failure) == bool(self.known)


class CheckFailed(AssertionError):
    """A sandbox does not keep the contract."""


def self_check(
    make_sandbox: MakeSandbox, *, strict: bool = False, known: Mapping[str, str] | None = None
) -> list[CheckResult]:
    """Run every check against sandboxes made by `make_sandbox`.

    Args:
        make_sandbox: `SandboxLimits` -> a fresh sandbox under these limits; it is closed afterwards if it can be.
        strict: raise at the first check that does not go as expected.
        known: checks that this backend is known to fail, by name, with the reason. One that passes all the same
            is reported too: the list must not grow stale.

    Returns:
        One result for each check, in the order of `CHECKS`.

    Raises:
        CheckFailed: `strict`, and a check did not go as expected.
    """
    known = known or {}
    results = []
    for check in CHECKS:
        result = _run(check, make_sandbox, known.get(check.__name__, ""))
        results.append(result)
        if strict and not result.ok:
            raise CheckFailed(f"{result.name}: {result.failure or 'passed, but is listed as a known failure'}")
    return results


def _run(check: Check, make_sandbox: MakeSandbox, known: str) -> CheckResult:
    name, demand = check.__name__, (check.__doc__ or "").strip()
    sandbox = make_sandbox(LIMITS)
    bench = Workbench(make_sandbox, sandbox)
    failure = ""
    try:
        check(bench)
    except Exception as error:  # whatever a broken backend raises is a finding
        failure = f"{type(error).__name__}: {error}" if not isinstance(error, AssertionError) else str(error)
    finally:
        with contextlib.suppress(Exception):
            bench.close()
        with contextlib.suppress(Exception):
            sandbox.close()
    return CheckResult(name, demand, failure, known)
