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


_Ways = Mapping[str, tuple[int, Mapping[str, int]]]


@lru_cache(maxsize=16)
def _ways(cookbook: Cookbook) -> _Ways:
    """Choose a yield and concrete ingredients (item -> units per craft) for every craftable item."""
    ways: dict[str, tuple[int, Mapping[str, int]]] = {}
    cost = {item: 1.0 for item in cookbook if cookbook.is_base(item)}
    for item in sorted(cookbook.items, key=cookbook.depth):
        # Only options of lesser depth: the plan then ends in base material whatever cycles there are.
        depth = cookbook.depth(item)
        best = None
        for recipe in cookbook.recipes(item) if depth else ():
            chosen = _concrete(cookbook, recipe, depth, cost)
            if chosen is not None:
                price = sum(cost[name] * count for name, count in chosen.items()) / recipe.yields
                if best is None or price < cost[item]:
                    best = recipe.yields, chosen
                    cost[item] = price
        if best is not None:
            ways[item] = best
    return ways


def _concrete(cookbook: Cookbook, recipe: Recipe, depth: int, cost: Mapping[str, float]) -> dict[str, int] | None:
    chosen: dict[str, int] = {}
    for slot in recipe.ingredients:
        usable = [option for option in slot.options if cookbook.depth(option) < depth]
        if not usable:
            return None
        name = min(usable, key=cost.__getitem__)
        chosen[name] = chosen.get(name, 0) + slot.count
    return chosen


def _walk(ways: _Ways, item: str, count: int) -> Iterator[Craft]:
    yields, need = ways[item]
    crafts = -(-count // yields)
    ingredients = {name: each * crafts for name, each in need.items()}
    for name, wanted in ingredients.items():
        if name in ways:
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
            if item not in ways:
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
