"""TextCraft-Synth: a made-up crafting world whose recursive depth can be chosen, and the tasks in it.

The facts (tiers, domains, ingredient weights, counts, yields, difficulties) are those of the world published
with "Recursive Agent Optimization". Where the paper leaves a choice, this module makes the following:

- 25 items per domain in tiers 0 to 6, 15 in tiers 7 to 9, 10 in tiers 10 to 12, and in each of the last three
  tiers another 10 items that cross 2 to 5 domains.
- From tier 4 up, the ingredient from at least three tiers below is the first of the 0 to 2 extra ones, so there
  is at least one extra. Of the interpretations tried, this one gives recursive trees closest to the published
  sizes (medians 4, 26, 370 and 12,000 nodes from easy to extreme; here 3, 26, 350 and 7,600).
- Names give domain, family and tier; the family number is arbitrary, so a name gives no hint of a recipe.

An item of tier `t` always has an ingredient of tier `t - 1`, so its true crafting depth is `t`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from random import Random

from rao_envs.seeding import rng
from rao_textcraft.cookbook import Cookbook, Ingredient, Recipe
from rao_textcraft.plan import gold_plan, plan_size
from rao_textcraft.tasks import SPLITS, CraftTask, Difficulty, Splits, assign_splits, draw_task

__all__ = [
    "DIFFICULTIES",
    "DOMAINS",
    "SPLITS",
    "TIERS",
    "CraftTask",
    "Difficulty",
    "SynthWorld",
    "gold_plan",
    "plan_size",
    "sample",
    "world",
]

TIERS = 13
DOMAINS: Mapping[str, str] = {
    "metal": "m{}_ore",
    "crystal": "c{}_shard",
    "organic": "raw_o{}",
    "arcane": "a{}_dust",
    "tech": "t{}_scrap",
}
"""Domain -> pattern of its base materials' names; names of other items start with the domain's first letter."""

DIFFICULTIES: Mapping[str, Difficulty] = {
    "easy": Difficulty(depths=(2, 3), units=(1, 3)),
    "medium": Difficulty(depths=(4, 6), units=(1, 3)),
    "hard": Difficulty(depths=(7, 9), units=(1, 2)),
    "extreme": Difficulty(depths=(10, 12), units=(1, 2)),
}

_WEIGHTS = {first: tuple(accumulate(1 / (d + 1) for d in range(first, TIERS))) for first in (1, 3)}
"""Weights of distances from the first on, summed up as `Random.choices` does."""

_CROSSING_TIERS = (10, 11, 12)
_CROSSING_ITEMS = 10


@dataclass(frozen=True, slots=True, eq=False)
class SynthWorld:
    """One generated world.

    Attributes:
        seed: the seed it was generated from.
        cookbook: all recipes.
        splits: target items by (tier, split), none of them empty, no item in two.
    """

    seed: int
    cookbook: Cookbook
    splits: Splits


@lru_cache(maxsize=16)
def world(seed: int = 0) -> SynthWorld:
    """Generate a world; the same seed gives the same world in every process. The last 16 are kept."""
    random = rng("textcraft-synth-world", seed)
    domains = [[[_name(domain, n, 0) for n in range(1, 26)]] for domain in DOMAINS]
    recipes: list[Recipe] = []
    for tier in range(1, TIERS):
        size = 25 if tier <= 6 else 15 if tier <= 9 else 10
        # Draw all domains before extending any: crossing items take ingredients from lower tiers only.
        grown = [[_name(domain, n, tier) for n in range(1, size + 1)] for domain in DOMAINS]
        for below, names in zip(domains, grown, strict=True):
            recipes += (_recipe(random, name, tier, [below]) for name in names)
        if tier in _CROSSING_TIERS:
            for n in range(1, _CROSSING_ITEMS + 1):
                crossed = random.sample(domains, random.randint(2, len(domains)))
                recipes.append(_recipe(random, f"x{n}_i{tier}", tier, crossed))
        for below, names in zip(domains, grown, strict=True):
            below.append(names)
    cookbook = Cookbook(recipes)
    return SynthWorld(seed, cookbook, assign_splits(cookbook, "synth", seed))


def sample(
    seed: int,
    split: str,
    index: int,
    *,
    difficulty: str | None = None,
    depth: int | None = None,
    world_seed: int = 0,
) -> CraftTask:
    """Draw one task, pure in the arguments.

    Args:
        seed: any integer; a different seed gives different tasks in the same world.
        split: ``"train"``, ``"val"`` or ``"test"``.
        index: number of the task, at least 0.
        difficulty: a name in `DIFFICULTIES`; ``"medium"`` when neither this nor `depth` is given.
        depth: exact crafting depth from 1 to 12 instead of a difficulty.
        world_seed: which world.

    Returns:
        The task; its id names the world unless that is world 0.

    Raises:
        OptionError: an argument is out of range, or both difficulty and depth are given.
    """
    made = world(world_seed)
    return draw_task(
        made.cookbook,
        made.splits,
        DIFFICULTIES,
        family=f"textcraft-synth@{world_seed}" if world_seed else "textcraft-synth",
        seed=seed,
        split=split,
        index=index,
        difficulty=difficulty,
        depth=depth,
    )


def _name(domain: str, family: int, tier: int) -> str:
    return f"{domain[0]}{family}_i{tier}" if tier else DOMAINS[domain].format(family)


def _recipe(random: Random, item: str, tier: int, domains: Sequence[Sequence[Sequence[str]]]) -> Recipe:
    """Draw a recipe from the tiers below, touching each of the given domains at least once."""
    slots = 1 if tier == 1 else 2 if tier <= 7 else 3 if tier <= 11 else 4
    more = random.randint(0, min(2, tier // 3))
    far = range(3, tier + 1) if tier >= 4 else ()
    slots = max(slots + max(more, 1 if far else 0), len(domains))
    near = range(1, min(2, tier) + 1)
    distances = [1]
    distances += random.choices(near, cum_weights=_WEIGHTS[1][: len(near)], k=slots - (2 if far else 1))
    if far:
        distances += random.choices(far, cum_weights=_WEIGHTS[3][: len(far)])
    # The first slots take one domain each, the rest a random one.
    chosen: list[str] = []
    for i, distance in enumerate(distances):
        domain = domains[i] if i < len(domains) else random.choice(domains)
        names = domain[tier - distance]
        chosen.append(random.choice([name for name in names if name not in chosen] if chosen else names))
    max_count = 2 if tier <= 4 else 1
    min_yield, max_yield = _yields(tier)
    return Recipe(
        item,
        random.randint(min_yield, max_yield),
        tuple(Ingredient(name, random.randint(1, max_count), (name,)) for name in sorted(chosen)),
    )


def _yields(tier: int) -> tuple[int, int]:
    if tier == 1:
        return 2, 4
    if tier == 2:
        return 2, 3
    return (1, 2) if tier <= 5 else (1, 1)
