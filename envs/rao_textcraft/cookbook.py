"""Recipes: what can be made from what, how deep an item is, and whether a craft is valid.

Pure data, shared by every rollout. An agent's mistake raises `CraftError`, whose text is meant for the agent; a
caller's mistake raises `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

__all__ = ["Cookbook", "CraftError", "Ingredient", "Recipe"]

_INFINITE = 10**9  # deeper than any item


class CraftError(Exception):
    """An agent asked for something that the rules do not allow; the message names the fault and the fix."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One slot of a recipe.

    Attributes:
        name: what the slot is called: the item itself, or a tag such as ``"any planks"``.
        count: units needed for one craft, at least 1.
        options: the items that satisfy the slot, any mix of them; ``(name,)`` for a plain item.
    """

    name: str
    count: int
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make an item.

    Attributes:
        item: what is made.
        yields: units made by one craft, at least 1.
        ingredients: the slots, at least one.
    """

    item: str
    yields: int
    ingredients: tuple[Ingredient, ...]


class Cookbook:
    """All recipes of a world, immutable.

    An item is *base* when its depth is 0: it has no recipe, or its recipes only form a cycle (iron ingot from
    iron block from iron ingot). In each such cycle, the item used by the most recipes outside it is taken as
    base, here the ingot; it can still be crafted from the others.

    The depth of any other item is ``1 + max over slots of (min over options of depth)``, minimised over its
    recipes: the least fixed point, so a circular recipe never counts.

    Attributes:
        items: every item of the world, sorted by name.
        max_depth: depth of the deepest item.
    """

    def __init__(self, recipes: Iterable[Recipe]) -> None:
        """Index the recipes.

        Args:
            recipes: in the order in which agents see them listed.

        Raises:
            ValueError: a yield or count is below 1, or a recipe or slot is empty.
        """
        self._recipes: dict[str, tuple[Recipe, ...]] = {}
        for recipe in recipes:
            slots = recipe.ingredients
            if recipe.yields < 1 or not slots or any(s.count < 1 or not s.options for s in slots):
                raise ValueError(f"recipes: {recipe} must yield at least 1 and need at least 1 of something")
            self._recipes[recipe.item] = (*self._recipes.get(recipe.item, ()), recipe)
        self._depth = _depths(self._recipes)
        self.items: tuple[str, ...] = tuple(sorted(self._depth))
        self.max_depth: int = max(self._depth.values(), default=0)

    @cached_property
    def _plain(self) -> dict[str, tuple[int, dict[str, int]]]:
        """Yield and ingredients of items with a single tag-free recipe: one dict comparison decides their crafts."""
        return {
            item: (ways[0].yields, {s.name: s.count for s in ways[0].ingredients})
            for item, ways in self._recipes.items()
            if len(ways) == 1 and _is_plain(ways[0])
        }

    def __contains__(self, item: object) -> bool:
        """Whether an item exists in this world."""
        return item in self._depth

    def __iter__(self) -> Iterator[str]:
        """Iterate over `items`."""
        return iter(self.items)

    def recipes(self, item: str) -> tuple[Recipe, ...]:
        """Return the recipes for an item; empty for most base items.

        Raises:
            KeyError: no such item.
        """
        self._depth[item]
        return self._recipes.get(item, ())

    def depth(self, item: str) -> int:
        """Return the crafting depth of an item, 0 for a base material.

        Raises:
            KeyError: no such item.
        """
        return self._depth[item]

    def is_base(self, item: str) -> bool:
        """Whether an item is a base material (depth 0).

        Raises:
            KeyError: no such item.
        """
        return self._depth[item] == 0

    def unknown(self, name: object) -> str:
        """Return the error text for an unknown item, with up to 3 similar names."""
        import difflib  # not above: most processes never need it

        close = difflib.get_close_matches(str(name)[:100], self.items, n=3)
        return f"unknown item {name!r}" + (f"; did you mean {', '.join(close)}?" if close else "")

    def match(self, ingredients: Mapping[str, int], item: str, total: int) -> dict[str, int]:
        """Check a craft against the recipes and return what it takes, item -> units.

        With tags, any mix of options that fills the slots is valid. What a node holds does not matter here.

        Raises:
            CraftError: the item is unknown or base, the total is not a multiple of a yield, or the ingredients are
                wrong.
        """
        plain = self._plain.get(item) if isinstance(item, str) else None
        if plain is not None and type(total) is int and total > 0:
            yields, need = plain
            if total != yields:
                crafts, rest = divmod(total, yields)
                need = {} if rest else {name: count * crafts for name, count in need.items()}
            if ingredients == need and need:
                return need
        return self._match_any(ingredients, item, total)

    def _match_any(self, ingredients: Mapping[str, int], item: str, total: int) -> dict[str, int]:
        if not isinstance(item, str) or item not in self._depth:
            raise CraftError(self.unknown(item))
        ways = self._recipes.get(item, ())
        if not ways:
            raise CraftError(f"{item} is a base material and cannot be crafted")
        if type(total) is not int or total < 1:
            raise CraftError(f"total must be a positive whole number of {item}, got {total!r}")
        fitting = [way for way in ways if total % way.yields == 0]
        if not fitting:
            sizes = " or ".join(map(str, sorted({way.yields for way in ways})))
            raise CraftError(f"{item} is made {sizes} at a time: total must be a multiple of {sizes}, got {total}")
        if not isinstance(ingredients, Mapping):
            raise CraftError(f"ingredients must be a dict of item to count, got {type(ingredients).__name__}")
        wrong = [f"{name!r}: {n!r}" for name, n in ingredients.items() if type(n) is not int or n < 1]
        if wrong:
            raise CraftError(f"ingredient counts must be positive whole numbers, got {', '.join(wrong)}")
        if any(_fills(way, total // way.yields, ingredients) for way in fitting):
            return dict(ingredients)
        for name in ingredients:
            if name not in self:
                raise CraftError(self.unknown(name))
        needs = " or ".join(_describe(way, total // way.yields) for way in fitting)
        raise CraftError(f"{item} needs exactly {needs} for total {total}, got {dict(ingredients)}")


def _is_plain(recipe: Recipe) -> bool:
    names = {slot.name for slot in recipe.ingredients}
    return len(names) == len(recipe.ingredients) and all(s.options == (s.name,) for s in recipe.ingredients)


def _fills(recipe: Recipe, crafts: int, supply: Mapping[str, int]) -> bool:
    """Whether the supply can be assigned to the slots with nothing missing and nothing left over.

    By Hall's theorem, it can exactly when the totals agree and no set of slots needs more than the supply of
    the items that fit one of them. A crafting grid has at most 9 cells, so there are at most 511 sets, and
    few once slots with equal options are merged.
    """
    needs: dict[frozenset[str], int] = {}
    for slot in recipe.ingredients:
        options = frozenset(slot.options)
        needs[options] = needs.get(options, 0) + slot.count * crafts
    if sum(needs.values()) != sum(supply.values()):
        return False
    for size in range(1, len(needs) + 1):
        for chosen in combinations(needs, size):
            fitting = frozenset().union(*chosen)
            if sum(needs[s] for s in chosen) > sum(n for name, n in supply.items() if name in fitting):
                return False
    return True


def _describe(recipe: Recipe, crafts: int) -> str:
    slots = (
        f"{slot.name!r}: {slot.count * crafts}"
        + ("" if slot.options == (slot.name,) else f" (such as {slot.options[0]})")
        for slot in recipe.ingredients
    )
    return "{" + ", ".join(slots) + "}"


def _depths(recipes: Mapping[str, tuple[Recipe, ...]]) -> dict[str, int]:
    slots = (slot for ways in recipes.values() for way in ways for slot in way.ingredients)
    base = {option for slot in slots for option in slot.options} - recipes.keys()
    while True:
        depth = _settled(recipes, base)
        if waiting := {item: ways for item, ways in recipes.items() if item not in depth}:
            base.add(_cycle_base(waiting, recipes))
        else:
            return depth


def _settled(recipes: Mapping[str, tuple[Recipe, ...]], base: set[str]) -> dict[str, int]:
    """Return the depth of every item that can be made from `base`; passes go on until none lessens a depth.

    Recipes listed after their ingredients take one pass, and one more to see that nothing changes.
    """
    depth = dict.fromkeys(base, 0)
    changed = True
    while changed:
        changed = False
        for item, ways in recipes.items():
            least = depth.get(item, _INFINITE)
            for way in ways if least else ():
                deepest = 0
                for slot in way.ingredients:
                    options = slot.options
                    if len(options) == 1:
                        found = depth.get(options[0], _INFINITE)
                    else:
                        found = min([depth.get(option, _INFINITE) for option in options])
                    if found > deepest:
                        deepest = found
                if deepest + 1 < least:
                    least = depth[item] = deepest + 1
                    changed = True
    return depth


def _cycle_base(waiting: Mapping[str, tuple[Recipe, ...]], recipes: Mapping[str, tuple[Recipe, ...]]) -> str:
    """Choose the base item of one cycle among the items that never reach a base material.

    The item that leads to the fewest others is on a cycle that depends on nothing outside itself; an item that
    merely depends on a cycle leads to more.
    """
    leads: dict[str, set[str]] = {}
    for item in waiting:
        seen: set[str] = set()
        stack = [item]
        while stack:
            for way in waiting[stack.pop()]:
                new = {o for s in way.ingredients for o in s.options if o in waiting} - seen
                seen |= new
                stack.extend(new)
        leads[item] = seen
    cycle = leads[min(waiting, key=lambda item: (len(leads[item]), item))]
    uses = dict.fromkeys(cycle, 0)
    for item, ways in recipes.items():
        for way in ways if item not in cycle else ():
            for used in cycle.intersection(o for s in way.ingredients for o in s.options):
                uses[used] += 1
    return min(cycle, key=lambda item: (-uses[item], item))
