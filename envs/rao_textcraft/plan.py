"""Gold plans: how a recursive agent makes a target, and what that takes.

The plan is what an agent tree does when no agent reuses another's surplus. A request for `n` of an item makes
``ceil(n / yield)`` crafts and asks for each of their ingredients in one separate sub-request, until only base
material is left. Where an item has several recipes or a slot several options, the plan takes the one of least
depth, then of least base material per unit, then the first listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from rao_textcraft.rules import Cookbook, Recipe

__all__ = ["Craft", "base_need", "closure", "gold_plan", "plan_size"]

Craft = tuple[dict[str, int], str, int]
"""The arguments of one `Workshop.craft` call: ingredients, item, total."""


def gold_plan(cookbook: Cookbook, targets: Mapping[str, int]) -> Iterator[Craft]:
    """Yield the crafts of the gold plan, depth first, each after everything it needs.

    Deep targets take tens of thousands of crafts. That is why this is an iterator, and why functions here that only
    count do not walk it.

    Args:
        cookbook: the recipes.
        targets: item -> units, every item known and not base, every count at least 1.

    Raises:
        ValueError: a target is unknown or base, or its count is below 1.
    """
    _check(cookbook, targets)
    ways = _ways(cookbook)
    return (craft for item, count in targets.items() for craft in _walk(ways, item, count))


def base_need(cookbook: Cookbook, targets: Mapping[str, int]) -> dict[str, int]:
    """Count the base material that the gold plan uses, item -> units, sorted by name.

    Raises:
        ValueError: as `gold_plan`.
    """
    requests = _requests(cookbook, targets)
    need = {
        item: sum(count * times for count, times in asked.items())
        for item, asked in requests.items()
        if cookbook.is_base(item)
    }
    return dict(sorted(need.items()))


def plan_size(cookbook: Cookbook, targets: Mapping[str, int]) -> int:
    """Count the nodes of an agent tree that carries out the gold plan, one per non-base sub-request.

    The root makes its targets itself, so one target without craftable ingredients has size 1.

    Raises:
        ValueError: as `gold_plan`.
    """
    requests = _requests(cookbook, targets)
    crafted = sum(sum(asked.values()) for item, asked in requests.items() if not cookbook.is_base(item))
    return 1 + crafted - len(targets)


def closure(cookbook: Cookbook, targets: Mapping[str, int]) -> set[str]:
    """Return every item that could be used in making the targets, by any recipe and option.

    Raises:
        ValueError: as `gold_plan`.
    """
    _check(cookbook, targets)
    seen = set(targets)
    stack = list(targets)
    while stack:
        for recipe in cookbook.recipes(stack.pop()):
            for slot in recipe.ingredients:
                for option in slot.options:
                    if option not in seen:
                        seen.add(option)
                        stack.append(option)
    return seen


class _Ways(dict[str, tuple[int, Mapping[str, int]]]):
    """The yield and the concrete ingredients (item -> units of one craft) chosen for an item, when it is asked for.

    A world has a thousand items, of which a task needs fifty.
    """

    def __init__(self, cookbook: Cookbook) -> None:
        self._cookbook = cookbook
        self._cost: dict[str, float] = {}

    def __missing__(self, item: str) -> tuple[int, Mapping[str, int]]:
        # Options of lesser depth only: the plan then ends in base material whatever cycles there are.
        depth = self._cookbook.depth(item)
        best = None
        for recipe in self._cookbook.recipes(item):
            chosen = self._concrete(recipe, depth)
            if chosen is not None:
                price = sum(self._price(name) * count for name, count in chosen.items()) / recipe.yields
                if best is None or price < self._cost[item]:
                    best = recipe.yields, chosen
                    self._cost[item] = price
        assert best is not None, item
        self[item] = best
        return best

    def made(self, item: str) -> bool:
        """Whether an item is crafted rather than taken."""
        return not self._cookbook.is_base(item)

    def _price(self, item: str) -> float:
        if not self.made(item):
            return 1.0
        if item not in self._cost:
            self[item]  # notes its cost
        return self._cost[item]

    def _concrete(self, recipe: Recipe, depth: int) -> dict[str, int] | None:
        chosen: dict[str, int] = {}
        for slot in recipe.ingredients:
            usable = [option for option in slot.options if self._cookbook.depth(option) < depth]
            if not usable:
                return None
            name = usable[0] if len(usable) == 1 else min(usable, key=self._price)
            chosen[name] = chosen.get(name, 0) + slot.count
        return chosen


_ways = lru_cache(maxsize=16)(_Ways)


def _walk(ways: _Ways, item: str, count: int) -> Iterator[Craft]:
    yields, need = ways[item]
    crafts = -(-count // yields)
    ingredients = {name: each * crafts for name, each in need.items()}
    for name, wanted in ingredients.items():
        if ways.made(name):
            yield from _walk(ways, name, wanted)
    yield ingredients, item, crafts * yields


def _requests(cookbook: Cookbook, targets: Mapping[str, int]) -> dict[str, dict[int, int]]:
    """Count the plan's requests without walking it: item -> {units asked for at once: how many times}.

    Requests are not linear in the units (each rounds up to whole crafts), but equal requests take the same, and
    few are distinct. Levels of depth are counted one at a time, from the deepest down.
    """
    _check(cookbook, targets)
    ways = _ways(cookbook)
    levels: list[dict[str, dict[int, int]]] = [{} for _ in range(cookbook.max_depth + 1)]
    for item, count in targets.items():
        levels[cookbook.depth(item)][item] = {count: 1}
    requests: dict[str, dict[int, int]] = {}
    for level in reversed(levels):
        requests.update(level)
        for item, asked in level.items():
            if not ways.made(item):
                continue
            yields, need = ways[item]
            for count, times in asked.items():
                crafts = -(-count // yields)
                for name, each in need.items():
                    below = levels[cookbook.depth(name)].setdefault(name, {})
                    below[each * crafts] = below.get(each * crafts, 0) + times
    return requests


def _check(cookbook: Cookbook, targets: Mapping[str, int]) -> None:
    for item, count in targets.items():
        if item not in cookbook:
            raise ValueError(f"targets: {cookbook.unknown(item)}")
        if cookbook.is_base(item) or count < 1:
            raise ValueError(f"targets: {item!r}: {count} must be a craftable item and a count of at least 1")
