"""Crafting tasks, and how one is drawn from a cookbook: pure in its arguments, which are mixed by hashing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from rao_envs.errors import OptionError
from rao_envs.options import one_of, whole
from rao_envs.seeding import rng
from rao_textcraft.cookbook import Cookbook
from rao_textcraft.plan import base_need, closure

__all__ = ["SPLITS", "CraftTask", "Difficulty", "assign_splits", "draw_task"]

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A range of tasks.

    Attributes:
        depths: crafting depths of the target, lowest and highest, inclusive.
        units: units asked for, least and most, inclusive.
    """

    depths: tuple[int, int]
    units: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CraftTask:
    """One root problem.

    Attributes:
        id: unique name, such as ``"textcraft-synth/0/train/medium/17"``.
        targets: what is to be newly made, item -> units.
        inventory: what is held at the start, item -> units, sorted by name.
        depth: crafting depth of the deepest target.
        difficulty: name of the difficulty that covers this depth.
        split: ``"train"``, ``"val"`` or ``"test"``; no target occurs in two of them.
        index: number of the task within its split.
        seed: the seed that the task was drawn with.
    """

    id: str
    targets: dict[str, int]
    inventory: dict[str, int]
    depth: int
    difficulty: str
    split: str
    index: int
    seed: int


Splits = Mapping[tuple[int, str], Sequence[str]]
"""Target items by (depth, split)."""


def assign_splits(cookbook: Cookbook, *key: int | str) -> Splits:
    """Split the craftable items of every depth into train, val and test, 70 / 15 / 15, at least one each.

    A depth with one item has train only, one with two items train and test.

    Args:
        cookbook: the recipes; base items are never targets.
        key: what the shuffle is seeded with. It must contain neither the task seed nor the index, or the splits
            would leak into each other.

    Returns:
        Items by (depth, split), without empty entries.
    """
    splits: dict[tuple[int, str], tuple[str, ...]] = {}
    levels: list[list[str]] = [[] for _ in range(cookbook.max_depth + 1)]
    for item in cookbook.items:
        levels[cookbook.depth(item)].append(item)
    for depth, items in enumerate(levels[1:], 1):
        rng("textcraft-split", *key, depth).shuffle(items)
        held_out = max(1, round(0.15 * len(items)))
        sizes = {"test": min(held_out, len(items) - 1), "val": min(held_out, max(0, len(items) - 2))}
        for split, size in sizes.items():
            if size:
                splits[depth, split] = tuple(items[:size])
                items = items[size:]
        splits[depth, "train"] = tuple(items)
    return splits


def draw_task(
    cookbook: Cookbook,
    splits: Splits,
    difficulties: Mapping[str, Difficulty],
    *,
    family: str,
    seed: int,
    split: str,
    index: int,
    difficulty: str | None,
    depth: int | None,
) -> CraftTask:
    """Draw one task with a single target.

    The start inventory is the base material of the gold plan, 0 to 50% spare of each (rounded down), and 1 to
    3 distractors: items that no recipe on the way to the target uses.

    Args:
        cookbook: the recipes.
        splits: target items by (depth, split).
        difficulties: by name, easiest first; greater depths than those of the last count as the last.
        family: first part of the id; tasks of different cookbooks need different families.
        seed: any integer.
        split: one of `SPLITS`.
        index: at least 0.
        difficulty: a name in `difficulties`; ``"medium"`` when neither this nor `depth` is given.
        depth: exact crafting depth of the target instead of a difficulty.

    Raises:
        OptionError: an argument is out of range, both difficulty and depth are given, or no target fits.
    """
    seed, index = whole("seed", seed), whole("index", index, 0)
    one_of("split", split, SPLITS)
    label, depths = _depths_of(cookbook, difficulties, difficulty, depth)
    random = rng(family, seed, split, label, index)
    offered = [d for d in depths if splits.get((d, split))]
    if not offered:
        raise OptionError("split", split, f"has no target of {label}; choose another split or difficulty")
    chosen = random.choice(offered)
    item = random.choice(splits[chosen, split])
    named = difficulty or next((name for name, d in difficulties.items() if chosen <= d.depths[1]), [*difficulties][-1])
    targets = {item: random.randint(*difficulties[named].units)}
    return CraftTask(
        id=f"{family}/{seed}/{split}/{label}/{index}",
        targets=targets,
        inventory=_stock(cookbook, targets, random),
        depth=chosen,
        difficulty=named,
        split=split,
        index=index,
        seed=seed,
    )


def _depths_of(
    cookbook: Cookbook, difficulties: Mapping[str, Difficulty], difficulty: str | None, depth: int | None
) -> tuple[str, Sequence[int]]:
    if depth is not None:
        if difficulty is not None:
            raise OptionError("difficulty", difficulty, f"goes without depth={depth!r}; give one of them")
        depth = whole("depth", depth, 1, cookbook.max_depth)
        return f"depth-{depth}", (depth,)
    label = "medium" if difficulty is None else difficulty
    one_of("difficulty", label, difficulties)
    low, high = difficulties[label].depths
    return label, range(low, high + 1)


def _stock(cookbook: Cookbook, targets: Mapping[str, int], random: Random) -> dict[str, int]:
    stock = {item: need + random.randint(0, need // 2) for item, need in base_need(cookbook, targets).items()}
    useful = closure(cookbook, targets)
    useless = [item for item in cookbook.items if item not in useful]
    for item in random.sample(useless, min(random.randint(1, 3), len(useless))):
        stock[item] = random.randint(1, 3)
    return dict(sorted(stock.items()))
