"""TextCraft as the engine sees it: tools, delegation and verdicts over one shared workshop."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from rao_envs import Node, Subtask, Task, ToolError, Verdict, World, tool
from rao_envs.errors import CorruptCheckpoint
from rao_textcraft.rules import Cookbook, CraftError, Workshop
from rao_textcraft.verify import made_targets

__all__ = ["TextCraftWorld", "describe"]

_MAX_UNITS = 1_000_000


class TextCraftWorld(World):
    """One rollout's inventory, its ledger, and the rules.

    Every node is judged on what its own subtree newly made, net of what it used: a sibling's work neither helps
    nor hurts.

    Attributes:
        shop: inventory and ledger.
    """

    instructions = """\
You craft items. Recipes take exact ingredients and give a fixed number of units each time; base materials cannot \
be crafted. All agents share one inventory. You succeed when the units you were asked for have been newly made, by \
you or your subagents, and you have called finish; units held before do not count.
"""
    finish_doc = "End your work. `message` goes to whoever asked you, in a few words."

    def __init__(self, task: Task, cookbook: Cookbook) -> None:
        """Stock the workshop for `task`, whose payload has "targets" and "inventory"."""
        super().__init__(task)
        self.shop = Workshop(cookbook, task.payload["inventory"])

    def root(self) -> Subtask:
        """Return the task's targets."""
        targets = dict(self.task.payload["targets"])
        return Subtask(self.task.goal, {"targets": targets})

    @tool
    def craft(self, node: Node, ingredients: dict[str, int], target: tuple[str, int]) -> str:
        """Craft `target`, which is (item, total units), from exactly the ingredients that this total takes.

        The total must be a multiple of what one craft makes.
        """
        item, total = target
        try:
            self.shop.craft(node.id, ingredients, item, total)
        except CraftError as error:
            raise ToolError(str(error)) from None
        return f"made {total} {item}"

    @tool
    def get_info(self, node: Node, items: list[str] | str) -> list[dict[str, Any]]:
        """Look items up: crafting depth (0 = base material), units held, what one craft makes and needs."""
        names = [items] if isinstance(items, str) else items
        held = self.shop.pool(node.id)
        return [self._info(name, held.get(name, 0)) for name in names]

    def _info(self, name: str, held: int) -> dict[str, Any]:
        book = self.shop.cookbook
        if name not in book:
            raise ToolError(book.unknown(name))
        recipes = []
        for recipe in book.recipes(name):
            entry: dict[str, Any] = {
                "makes": recipe.yields,
                "needs": {slot.name: slot.count for slot in recipe.ingredients},
            }
            any_of = {s.name: list(s.options) for s in recipe.ingredients if s.options != (s.name,)}
            if any_of:
                entry["any_of"] = any_of
            recipes.append(entry)
        return {"item": name, "depth": book.depth(name), "held": held, "recipes": recipes}

    @tool
    def view_inventory(self, node: Node) -> dict[str, int]:
        """List what is held: item -> units."""
        return self.shop.held(node.id)

    def delegate(
        self,
        node: Node,
        targets: dict[str, int],
        num_steps: int,
        context: str = "",
        allotment: dict[str, int] | None = None,
    ) -> Subtask:
        """Have a subagent newly craft `targets` (item -> units) within `num_steps` messages.

        `context` is anything it should know. It shares your inventory, unless `allotment` (item -> units) sets part
        of yours aside: it then sees only that, and what is left comes back with what it made.
        """
        book = self.shop.cookbook
        if not targets:
            raise ToolError("targets is empty: ask for at least one item")
        for item, units in targets.items():
            if item not in book:
                raise ToolError(book.unknown(item))
            if not 1 <= units <= _MAX_UNITS:
                raise ToolError(f"targets[{item!r}]={units}: ask for 1 to {_MAX_UNITS:,} units")
            if not book.recipes(item):
                raise ToolError(f"{item} is a base material and cannot be crafted: take it from the inventory")
        if num_steps < 1:
            raise ToolError(f"num_steps={num_steps}: grant at least 1 message")
        if allotment:
            try:
                self.shop.require(node.id, allotment)
            except CraftError as error:
                raise ToolError(f"allotment: {error}") from None
        goal = describe(targets)
        opening = f"{goal}\n\n{context}" if context.strip() else goal
        return Subtask(goal, {"targets": dict(targets), "allotment": allotment or None}, num_steps, opening)

    def opened(self, node: Node) -> None:
        """Enter the node in the ledger, and give it its allotment if it has one."""
        self.shop.open(node.id, node.parent, node.payload.get("allotment"))

    def closed(self, node: Node) -> None:
        """Return what is left of an allotment."""
        self.shop.close(node.id)

    def verify(self, node: Node, result: Any) -> Verdict:
        """Check the ledger: were the targets newly made by this node and its descendants?"""
        success, why = made_targets(self.shop.net(node.id), node.payload["targets"])
        return Verdict(success, "exact", why)

    def state(self) -> Mapping[str, Any]:
        """Return inventory, ledger, and a fingerprint of the recipes."""
        return {**self.shop.state(), "recipes": _fingerprint(self.shop.cookbook)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore inventory and ledger.

        Raises:
            CorruptCheckpoint: the state comes from a world with different recipes.
        """
        if state["recipes"] != _fingerprint(self.shop.cookbook):
            raise CorruptCheckpoint("the checkpoint was saved with different recipes; load it in a world that has them")
        self.shop = Workshop.restore(self.shop.cookbook, state)


@lru_cache(maxsize=16)
def _fingerprint(cookbook: Cookbook) -> str:
    """Return a digest of the recipes: in another cookbook, items of the same name may need different ingredients."""
    digest = blake2b(digest_size=8)
    for item in cookbook:
        digest.update(repr((item, cookbook.recipes(item))).encode())
    return digest.hexdigest()


def describe(targets: Mapping[str, int]) -> str:
    """Describe the targets in the words that agents read."""
    return "Craft " + ", ".join(f"{units} {item}" for item, units in targets.items()) + "."
