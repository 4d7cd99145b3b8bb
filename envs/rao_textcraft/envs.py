"""The two environments: the synthetic world and Minecraft's recipes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from rao_envs import Limits, RecursiveEnv, Task
from rao_envs.errors import OptionError
from rao_textcraft import generator, minecraft
from rao_textcraft.cookbook import Cookbook
from rao_textcraft.oracle import program_oracle, recursive_oracle, single_oracle
from rao_textcraft.tasks import CraftTask
from rao_textcraft.world import TextCraftWorld, describe

__all__ = ["TextCraftEnv", "TextCraftSynthEnv"]

_DEPTH_CAP = 6
_TURNS = 25
_TURNS_ALONE = 75


class TextCraftSynthEnv(RecursiveEnv):
    """TextCraft-Synth: craft one target of a chosen depth in a made-up world.

    ## Description
    Items stand in 13 tiers, from base materials to tier 12. A recipe takes exact amounts of 1 to 6 ingredients
    from lower tiers, so a target unfolds into a tree of sub-targets: about 4 of them on easy tasks, 25 on medium,
    300 on hard and 7,000 on extreme ones. Names do not betray recipes; they must be looked up. Parent and
    children share one inventory, which holds enough base material, some to spare, and a few distractors.

    ## Action Space
    `TextSpace`: Python (``action_format="code"``) or a JSON list of tool calls (``"calls"``). Tools:
    ``craft(ingredients, (item, total))``, ``get_info(items)``, ``view_inventory()``, ``finish(message)`` and
    ``launch_subagent(targets, num_steps, context="", allotment=None)``.

    ## Observation Space
    `TextSpace`: what the next acting agent sees.

    ## Rewards
    0 until the root returns; then 1 if it called `finish` and its targets have been newly made by it or its
    descendants, net of what they used themselves, else 0.

    ## Starting State
    One root with one target item and 1 to 3 units asked for.

    ## Episode End
    Terminated when the root finishes; truncated when it runs out of turns or of its context window.

    ## Arguments
    See `__init__`.

    ## Version History
    * v0: initial version.
    """

    oracles: ClassVar = {"recursive": recursive_oracle, "single": single_oracle, "program": program_oracle}
    difficulties: ClassVar = tuple(generator.DIFFICULTIES)

    def __init__(
        self,
        depth: int | None = None,
        difficulty: str | None = None,
        split: str = "train",
        *,
        task_seed: int = 0,
        world_seed: int = 0,
        recursive: bool = True,
        limits: Limits | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Make the environment.

        Args:
            depth: exact crafting depth of the target, 1 to 12.
            difficulty: instead of a depth: "easy" (2-3), "medium" (4-6, the default), "hard" (7-9) or "extreme"
                (10-12).
            split: "train", "val" or "test"; no target occurs in two of them.
            task_seed: another seed gives other tasks in the same world.
            world_seed: another seed gives another world.
            recursive: False makes the single-agent environment, with 75 turns instead of 25.
            limits: what differs from the defaults: 25 turns and 8,192 tokens a node, trees as deep as the task but
                at least 6.
            options: the rest of `RecursiveEnv`: action_format, latency, token_counter, sandbox, render_mode.

        Raises:
            OptionError: an option has an impossible value.
        """
        # A wrong option must be refused here, not at the first reset.
        generator.sample(task_seed, split, 0, difficulty=difficulty, depth=depth, world_seed=world_seed)
        deepest = generator.DIFFICULTIES[difficulty or "medium"].depths[1] if depth is None else int(depth)

        def tasks(index: int) -> Task:
            drawn = generator.sample(task_seed, split, index, difficulty=difficulty, depth=depth, world_seed=world_seed)
            return _task(drawn)

        def world(task: Task) -> TextCraftWorld:
            return TextCraftWorld(task, generator.world(world_seed).cookbook)

        limits = _limits(limits, recursive, deepest)
        super().__init__(tasks, world, recursive=recursive, limits=limits, **options)


class TextCraftEnv(RecursiveEnv):
    """TextCraft, the original: craft an item of Minecraft by its real recipes.

    ## Description
    As `TextCraftSynthEnv`, with real names, several recipes for some items, and ingredients such as "any planks".
    From ADaPT (Prasad et al., 2023).

    ## Action Space
    `TextSpace`: Python (``action_format="code"``) or a JSON list of tool calls (``"calls"``), with the tools of
    `TextCraftSynthEnv`.

    ## Observation Space
    `TextSpace`: what the next acting agent sees.

    ## Rewards
    0 until the root returns; then 1 if it called `finish` and its targets have been newly made, else 0.

    ## Starting State
    One root with one target item and an inventory of base materials and distractors.

    ## Episode End
    Terminated when the root finishes; truncated when it runs out of turns or of its context window.

    ## Arguments
    See `__init__`.

    ## Version History
    * v0: initial version.
    """

    oracles: ClassVar = {"recursive": recursive_oracle, "single": single_oracle}
    difficulties: ClassVar = tuple(minecraft.MINECRAFT_DIFFICULTIES)

    def __init__(
        self,
        depth: int | None = None,
        difficulty: str | None = None,
        split: str = "train",
        *,
        recipes: str | os.PathLike[str] = "builtin",
        task_seed: int = 0,
        recursive: bool = True,
        limits: Limits | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Make the environment.

        Args:
            depth: exact crafting depth of the target, 1 to the deepest of the recipes (4).
            difficulty: instead of a depth: "easy", "medium" (the default) or "hard".
            split: "train", "val" or "test"; no target occurs in two of them.
            recipes: "builtin" (a selection that ships with this package), "minecraft-data" (the PyPI package of
                that name, which must be installed), or a folder of recipes in Minecraft's own JSON format.
            task_seed: another seed gives other tasks.
            recursive: False makes the single-agent environment, with 75 turns instead of 25.
            limits: what differs from the defaults: 25 turns and 8,192 tokens a node, trees of depth 6.
            options: the rest of `RecursiveEnv`.

        Raises:
            OptionError: an option has an impossible value.
            ImportError: `minecraft-data` is not installed.
        """
        book = _cookbook(os.fspath(recipes))
        # A wrong option must be refused here, not at the first reset.
        minecraft.sample_minecraft(book, task_seed, split, 0, difficulty=difficulty, depth=depth)

        def tasks(index: int) -> Task:
            return _task(minecraft.sample_minecraft(book, task_seed, split, index, difficulty=difficulty, depth=depth))

        def world(task: Task) -> TextCraftWorld:
            return TextCraftWorld(task, book)

        limits = _limits(limits, recursive, book.max_depth)
        super().__init__(tasks, world, recursive=recursive, limits=limits, **options)


@lru_cache(maxsize=8)
def _cookbook(recipes: str) -> Cookbook:
    if recipes == "builtin":
        return minecraft.builtin()
    if recipes == "minecraft-data":
        return minecraft.from_minecraft_data()
    if not os.path.isdir(recipes):
        raise OptionError("recipes", recipes, "must be 'builtin', 'minecraft-data' or a folder of recipe files")
    try:
        return minecraft.from_folder(recipes)
    except ValueError as error:
        raise OptionError("recipes", recipes, str(error)) from error


def _task(drawn: CraftTask) -> Task:
    return Task(
        id=drawn.id,
        goal=describe(drawn.targets),
        payload={"targets": drawn.targets, "inventory": drawn.inventory},
        difficulty=drawn.difficulty,
        split=drawn.split,
        index=drawn.index,
    )


def _limits(limits: Limits | Mapping[str, Any] | None, recursive: bool, deepest: int) -> Limits | dict[str, Any]:
    if isinstance(limits, Limits):
        return limits
    turns = _TURNS if recursive else _TURNS_ALONE
    return {"max_depth": max(_DEPTH_CAP, deepest), "max_turns": turns, **(limits or {})}
