"""Rules of your own for rewards and baselines: their signature, and the checks on what they return."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rao_envs.credit.arrays import Floats
from rao_envs.credit.forest import Forest
from rao_envs.errors import OptionError

__all__ = ["BaselineRule", "RewardRule", "name_of"]

RewardRule: TypeAlias = Callable[[Forest], ArrayLike]
"""Forest -> float [N], the reward of every node: finite for a judged node, nan for an unjudged one.

`Forest.reward` is all nan while the rule runs.
"""

BaselineRule: TypeAlias = Callable[[Forest], ArrayLike]
"""Forest -> float [N], what each node's reward is compared with: finite, or nan where there is nothing to compare with.

To leave the gradient unbiased, a node's baseline must not depend on anything sampled by the node itself. Using other
rollouts only guarantees that.
"""


def name_of(rule: Callable[..., Any]) -> str:
    """Return the qualified name of a function, of the function in a `functools.partial`, or of an object's class."""
    if isinstance(rule, partial):
        return name_of(rule.func)
    return str(getattr(rule, "__qualname__", type(rule).__qualname__))


def computed_reward(rule: RewardRule, forest: Forest) -> Floats:
    """Apply a rule for rewards, and check what it returns.

    Raises:
        OptionError: the result is not as `RewardRule` requires. Exceptions of the rule itself pass through.
    """
    reward = _computed("reward", rule, forest)
    unjudged = np.isnan(forest.success)
    wrong = np.flatnonzero(np.isnan(reward) != unjudged)
    if len(wrong):
        node = int(wrong[0])
        fix = (
            f"node {node} is unjudged (its success is nan), so its reward must be nan too"
            if unjudged[node]
            else f"node {node} is judged (success {forest.success[node]:g}), so its reward must be a number; keep "
            "unjudged nodes out of sums and means, as numpy.nansum does"
        )
        raise OptionError(f"{name_of(rule)}(forest)[{node}]", float(reward[node]), fix)
    return reward


def computed_baseline(rule: BaselineRule, forest: Forest) -> Floats:
    """Apply a rule for baselines, and check what it returns.

    Raises:
        OptionError: the result is not as `BaselineRule` requires. Exceptions of the rule itself pass through.
    """
    return _computed("baseline", rule, forest)


def _computed(option: str, rule: Callable[[Forest], ArrayLike], forest: Forest) -> Floats:
    if not len(forest):
        return np.empty(0)
    call = f"{name_of(rule)}(forest)"
    due = f"a {option} rule must return float [{len(forest)}], one number for each node of the forest"
    result = rule(forest)
    try:
        given = np.asarray(result)
    except ValueError as error:  # numpy refuses nested lists of unequal length
        raise OptionError(call, result, f"{due} ({error})") from error
    if given.dtype.kind not in "fiu":
        if isinstance(result, np.ndarray):
            raise OptionError(f"{call}.dtype", str(given.dtype), due)
        raise OptionError(call, result, due)
    if given.shape != (len(forest),):
        raise OptionError(f"{call}.shape", given.shape, due)
    values = np.array(given, dtype=np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise OptionError(f"{call}[{infinite[0]}]", float(values[infinite[0]]), "must be finite, or nan")
    return values
