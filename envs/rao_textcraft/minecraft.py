"""Cookbooks for the original TextCraft, made of real Minecraft recipes, and the tasks in them.

Recipes come from a data pack's folder (`from_folder`), from the optional package ``minecraft-data``
(`from_minecraft_data`), or from a small table written for this package (`builtin`). Only crafting recipes
count. Item names are lower case with spaces. An ingredient that a tag or a list of alternatives can fill is
one slot with several options; what a recipe gives back (an empty bucket) is left out.

TextCraft was published with "ADaPT: As-Needed Decomposition and Planning with Language Models".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rao_envs.extras import extra
from rao_textcraft.builtin_recipes import RECIPES, TAGS
from rao_textcraft.cookbook import Cookbook, Ingredient, Recipe
from rao_textcraft.tasks import CraftTask, Difficulty, Splits, assign_splits, draw_task

__all__ = ["MINECRAFT_DIFFICULTIES", "builtin", "from_folder", "from_minecraft_data", "sample_minecraft"]

MINECRAFT_DIFFICULTIES: Mapping[str, Difficulty] = {
    "easy": Difficulty(depths=(1, 2), units=(1, 3)),
    "medium": Difficulty(depths=(3, 3), units=(1, 3)),
    "hard": Difficulty(depths=(4, 4), units=(1, 2)),
}
"""Real recipes reach depth 4; what a modded folder has beyond is had with ``depth=`` and counts as hard."""


_Slots = list[tuple[tuple[str, ...], int]]
"""The slots of one recipe as (options, count)."""


@lru_cache(maxsize=1)
def builtin() -> Cookbook:
    """Return the cookbook that needs nothing installed: about 150 real recipes of depth 1 to 4."""
    return Cookbook(_parse_line(line) for line in RECIPES)


def from_folder(path: str | Path) -> Cookbook:
    """Read recipes in Minecraft's own JSON format.

    Takes every ``*.json`` below the folder whose type is ``crafting_shaped`` or ``crafting_shapeless``, in
    the formats of versions 1.13 and later. Tags come from ``tags/items`` or ``tags/item`` inside or beside
    the folder; without such a folder, from a small built-in table.

    Args:
        path: a folder of recipes, such as ``data/minecraft/recipe``, or one that holds it.

    Raises:
        ValueError: no such folder, no crafting recipe in it, or a malformed file; the message names the file
            and the fault.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{str(root)!r} is not a folder; give the folder that holds the recipe files")
    folders = [f / "tags" / kind for f in (root, root.parent) for kind in ("items", "item")]
    tag_folder = next((f for f in folders if f.is_dir()), None)
    tags = TAGS if tag_folder is None else _read_tags(tag_folder)
    recipes: dict[Recipe, None] = {}
    for file in sorted(root.rglob("*.json")):
        data = _load(file)
        if str(data.get("type", "")).removeprefix("minecraft:") in ("crafting_shaped", "crafting_shapeless"):
            try:
                recipes[_parse_json(data, tags)] = None
            except ValueError as error:
                raise ValueError(f"{file}: {error}") from error
    if not recipes:
        raise ValueError(f"{str(root)!r} holds no crafting recipe; give a folder such as data/minecraft/recipe")
    return Cookbook(recipes)


def from_minecraft_data(version: str = "1.19.2") -> Cookbook:
    """Read the recipes of one game version from the optional package ``minecraft-data``.

    That package lists a recipe once for each combination of alternatives; they are folded back into one
    recipe whose slots have options.

    Args:
        version: a game version from 1.13 up that the installed package knows.

    Raises:
        ImportError: the package is not installed.
        ValueError: the installed package has no such version, or it is older than 1.13.
    """
    with extra("minecraft", "from_minecraft_data"):
        import minecraft_data
    try:
        data = minecraft_data(version)
    except KeyError:
        raise ValueError(f"version: {version!r} is not in the installed minecraft-data; try '1.19.2'") from None
    names = {item["id"]: _name(item["name"]) for item in data.items_list}
    recipes: dict[Recipe, None] = {}
    try:
        for ways in data.recipes.values():
            variants: list[tuple[int, _Slots]] = []
            for way in ways:
                cells = way["ingredients"] if "ingredients" in way else [c for row in way["inShape"] for c in row]
                slots = Counter(names[cell] for cell in cells if cell is not None)
                variants.append((way["result"]["count"], [((name,), count) for name, count in slots.items()]))
            item = names[ways[0]["result"]["id"]]
            recipes.update(dict.fromkeys(_fold(item, variants)))
    except (KeyError, TypeError):
        raise ValueError(f"version: {version!r} has recipes by metadata; take a version from 1.13 up") from None
    return Cookbook(recipes)


def sample_minecraft(
    cookbook: Cookbook,
    seed: int,
    split: str,
    index: int,
    *,
    difficulty: str | None = None,
    depth: int | None = None,
    family: str = "textcraft",
) -> CraftTask:
    """Draw one task, pure in the arguments and in the cookbook's content.

    Args:
        cookbook: from any of the readers above.
        seed: any integer.
        split: ``"train"``, ``"val"`` or ``"test"``.
        index: number of the task, at least 0.
        difficulty: a name in `MINECRAFT_DIFFICULTIES`; ``"medium"`` when neither this nor `depth` is given.
        depth: exact crafting depth instead of a difficulty, from 1 to the cookbook's deepest.
        family: first part of the id; give every cookbook that is used side by side one of its own.

    Raises:
        OptionError: an argument out of range, both difficulty and depth, or no target to be had.
    """
    return draw_task(
        cookbook,
        _splits(cookbook),
        MINECRAFT_DIFFICULTIES,
        family=family,
        seed=seed,
        split=split,
        index=index,
        difficulty=difficulty,
        depth=depth,
    )


@lru_cache(maxsize=16)
def _splits(cookbook: Cookbook) -> Splits:
    return assign_splits(cookbook, "minecraft")


def _name(identifier: object) -> str:
    if not isinstance(identifier, str) or not identifier:
        raise ValueError(f"an item id must be a text such as 'minecraft:stick', got {identifier!r}")
    return identifier.rpartition(":")[2].replace("_", " ").lower()


def _parse_line(line: str) -> Recipe:
    left, right = line.split(" = ")
    yields, item = _counted(left)
    slots: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for part in right.split(", "):
        count, name = _counted(part)
        slots[name, TAGS[name.removeprefix("any ")] if name.startswith("any ") else (name,)] += count
    return _recipe(item, yields, slots)


def _counted(text: str) -> tuple[int, str]:
    number, _, name = text.partition(" ")
    return (int(number), name) if number.isdigit() else (1, text)


def _recipe(item: str, yields: int, slots: Mapping[tuple[str, tuple[str, ...]], int]) -> Recipe:
    return Recipe(item, yields, tuple(Ingredient(name, n, options) for (name, options), n in slots.items()))


def _load(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{file}: is not readable JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{file}: must hold a JSON object, got {type(data).__name__}")
    return data


def _read_tags(folder: Path) -> dict[str, tuple[str, ...]]:
    raw: dict[str, tuple[Path, list[Any]]] = {}
    for file in sorted(folder.rglob("*.json")):
        values = _load(file).get("values")
        if not isinstance(values, list):
            raise ValueError(f"{file}: lacks a list 'values'")
        raw[_name(file.relative_to(folder).with_suffix("").as_posix())] = file, values
    tags: dict[str, tuple[str, ...]] = {}
    for tag, (file, _) in raw.items():
        try:
            tags[tag] = tuple(dict.fromkeys(_members(tag, raw, ())))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
    return tags


def _members(tag: str, raw: Mapping[str, tuple[Path, list[Any]]], above: tuple[str, ...]) -> Iterator[str]:
    if tag in above:
        raise ValueError(f"tag {tag!r} contains itself")
    if tag not in raw:
        raise ValueError(f"tag {tag!r} is not defined")
    for value in raw[tag][1]:
        entry = value if isinstance(value, dict) else {"id": value}
        text = entry.get("id")
        if not isinstance(text, str) or not text.startswith("#"):
            yield _name(text)
        elif _name(text[1:]) in raw or entry.get("required", True):
            yield from _members(_name(text[1:]), raw, (*above, tag))


def _parse_json(data: Mapping[str, Any], tags: Mapping[str, tuple[str, ...]]) -> Recipe:
    result = data.get("result")
    entry = result if isinstance(result, dict) else {"id": result}
    item, yields = _name(entry.get("id", entry.get("item"))), entry.get("count", 1)
    if type(yields) is not int or yields < 1:
        raise ValueError(f"result count must be a positive whole number, got {yields!r}")
    cells: object = data.get("ingredients")
    if "pattern" in data:
        pattern, key = data["pattern"], data.get("key")
        if not isinstance(pattern, list) or not all(isinstance(row, str) for row in pattern):
            raise ValueError(f"pattern must be a list of texts, got {pattern!r}")
        symbols = [symbol for row in pattern for symbol in row if symbol != " "]
        if not isinstance(key, dict) or not key.keys() >= set(symbols):
            raise ValueError(f"key must say what every symbol of pattern {pattern!r} is, got {key!r}")
        cells = [key[symbol] for symbol in symbols]
    if not isinstance(cells, list) or not cells:
        raise ValueError(f"ingredients must be a list that is not empty, got {cells!r}")
    return _recipe(item, yields, Counter(_slot(cell, tags) for cell in cells))


def _slot(cell: object, tags: Mapping[str, tuple[str, ...]]) -> tuple[str, tuple[str, ...]]:
    """Read one ingredient of either format as (name, options)."""
    if isinstance(cell, list):
        parts = [_slot(part, tags) for part in cell]
        options = tuple(dict.fromkeys(option for _, part in parts for option in part))
        name = " or ".join(dict.fromkeys(name for name, _ in parts))
    elif (isinstance(cell, dict) and "tag" in cell) or (isinstance(cell, str) and cell.startswith("#")):
        tag = _name(cell["tag"] if isinstance(cell, dict) else cell[1:])
        if tag not in tags:
            raise ValueError(f"tag {tag!r} is not defined; put its file into tags/items beside the recipes")
        name, options = f"any {tag}", tags[tag]
    else:
        name = _name(cell.get("item") if isinstance(cell, dict) else cell)
        options = (name,)
    if not options:
        raise ValueError(f"ingredient {name!r} has no items")
    return (options[0] if len(options) == 1 else name), options


def _fold(item: str, variants: Iterable[tuple[int, _Slots]]) -> list[Recipe]:
    """Merge recipes that differ in the item of one slot only, until none do."""
    folded: list[tuple[int, _Slots]] = []
    for yields, slots in variants:
        current = slots
        merged = True
        while merged:
            merged = False
            for place, (other_yields, other) in enumerate(folded):
                union = _union(current, other) if yields == other_yields else None
                if union is not None:
                    del folded[place]
                    current, merged = union, True
                    break
        folded.append((yields, current))
    return [
        _recipe(item, yields, Counter({(_options_name(options), options): n for options, n in slots}))
        for yields, slots in folded
    ]


def _union(new: _Slots, old: _Slots) -> _Slots | None:
    only_new = [slot for slot in new if slot not in old]
    only_old = [slot for slot in old if slot not in new]
    if len(only_new) == len(only_old) == 1 and only_new[0][1] == only_old[0][1]:
        options = tuple(dict.fromkeys((*only_old[0][0], *only_new[0][0])))
        return [(options, slot[1]) if slot == only_old[0] else slot for slot in old]
    return None if only_new or only_old else old


def _options_name(options: Sequence[str]) -> str:
    if len(options) == 1:
        return options[0]
    known = next((tag for tag, members in TAGS.items() if set(options) == set(members)), None)
    if known is not None:
        return f"any {known}"
    return " or ".join(options) if len(options) <= 3 else f"any of {len(options)} such as {options[0]}"
