"""Dynamics of the crafting world: stocks of items, and a ledger of who made and who used what.

One rollout is one `Workshop`. Its agents (nodes, known here by int ids) share a stock of items, so the
difference of that stock over a node's life says nothing about the node: a sibling may have filled or
eaten it. The ledger answers instead. Every craft is entered under the node that did it and under all its
ancestors, so what a subtree made net of what it used is at hand whenever a node is judged.

No I/O and no randomness. What an agent does wrong raises `CraftError`, whose text is meant for the agent;
what the caller does wrong raises `ValueError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rao_textcraft.cookbook import Cookbook, CraftError, Ingredient, Recipe

__all__ = ["Cookbook", "CraftError", "Ingredient", "Recipe", "Workshop"]


class _Node:
    __slots__ = ("above", "children", "made", "net", "open", "parent", "pool", "private", "used")

    def __init__(self, parent: int | None, above: _Node | None, pool: dict[str, int], private: bool) -> None:
        self.parent = parent
        self.above = above
        self.pool = pool
        self.private = private
        self.open = True
        self.children: frozenset[int] | set[int] = _CHILDLESS
        self.made: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self.net: dict[str, int] = {}

    def adopt(self, child: int) -> None:
        """Note that a child is open below this node."""
        if isinstance(self.children, set):
            self.children.add(child)
        else:
            self.children = {child}

    def enter(self, made: Mapping[str, int], used: Mapping[str, int]) -> None:
        """Enter what this node has made and used in its own net and in those of all its ancestors."""
        entry: _Node | None = self
        while entry is not None:
            net = entry.net
            for name, count in used.items():
                net[name] = net.get(name, 0) - count
            for name, count in made.items():
                net[name] = net.get(name, 0) + count
            entry = entry.above


_CHILDLESS: frozenset[int] = frozenset()
"""Shared by all nodes without children: an empty set of their own would cost the garbage collector a visit each."""


class Workshop:
    """The shared state of one rollout: who holds what, and the ledger of who made and used what."""

    def __init__(self, cookbook: Cookbook, inventory: Mapping[str, int]) -> None:
        """Start a rollout without nodes.

        Args:
            cookbook: the recipes.
            inventory: what the shared pool holds at the start, item -> units; counts of 0 are dropped.

        Raises:
            ValueError: an item that the cookbook does not know, or a negative count.
        """
        for name, count in inventory.items():
            if name not in cookbook or type(count) is not int or count < 0:
                raise ValueError(f"inventory: {name!r}: {count!r} must be a known item and a count >= 0")
        self.cookbook = cookbook
        self._stock = {name: count for name, count in inventory.items() if count}
        self._nodes: dict[int, _Node] = {}

    def open(self, node: int, parent: int | None, allotment: Mapping[str, int] | None = None) -> None:
        """Register a node under its parent (the root: parent None).

        Args:
            node: a new id.
            parent: an open node, whose pool the new one shares; None shares the rollout's stock.
            allotment: item -> units to move out of the parent's pool into one that only this node and its
                descendants see. ``{}`` gives an empty private pool, None the parent's own.

        Raises:
            CraftError: the parent's pool does not hold the allotment. Nothing is registered then.
            ValueError: the id is taken, or the parent is unknown or closed.
        """
        if node in self._nodes:
            raise ValueError(f"node: {node} is already registered; give every node an id of its own")
        above = None if parent is None else self._live(parent)
        pool = self._stock if above is None else above.pool
        if allotment is not None:
            self._require(pool, allotment)
            source, pool = pool, {}
            _move(source, pool, allotment)
        self._nodes[node] = _Node(parent, above, pool, allotment is not None)
        if above is not None:
            above.adopt(node)

    def close(self, node: int) -> None:
        """End a node and all that are still open below it; private pools go back to where they came from.

        The ledger of a closed node can still be read.

        Raises:
            ValueError: the node is unknown or closed already.
        """
        entry = self._live(node)
        for child in tuple(entry.children):
            self.close(child)
        above = entry.above
        if above is not None and isinstance(above.children, set):
            above.children.discard(node)
        if entry.private:
            _move(entry.pool, self._stock if above is None else above.pool, dict(entry.pool))
        entry.open = False

    def craft(self, node: int, ingredients: Mapping[str, int], item: str, total: int) -> None:
        """Make `total` units of an item from exactly these ingredients, out of the node's pool.

        An error changes nothing.

        Raises:
            CraftError: the recipes do not allow it, or the pool lacks an ingredient.
            ValueError: the node is unknown or closed.
        """
        entry = self._nodes.get(node)
        if entry is None or not entry.open:
            entry = self._live(node)
        spent = self.cookbook.match(ingredients, item, total)
        pool = entry.pool
        for name, count in spent.items():
            if pool.get(name, 0) < count:
                self._require(pool, spent)
        used = entry.used
        for name, count in spent.items():
            left = pool[name] - count
            if left:
                pool[name] = left
            else:
                del pool[name]
            used[name] = used.get(name, 0) + count
        pool[item] = pool.get(item, 0) + total
        entry.made[item] = entry.made.get(item, 0) + total
        entry.enter({item: total}, spent)

    def require(self, node: int, items: Mapping[str, int]) -> None:
        """Check that the node's pool holds these items (item -> units); nothing is taken.

        Raises:
            CraftError: it does not, an item is unknown, or a count is no positive whole number.
            ValueError: the node is unknown or closed.
        """
        self._require(self._live(node).pool, items)

    def pool(self, node: int) -> Mapping[str, int]:
        """Return what the node's pool holds as a live read-only view, in no particular order.

        Raises:
            ValueError: the node is unknown or closed.
        """
        return MappingProxyType(self._live(node).pool)

    def held(self, node: int) -> dict[str, int]:
        """Return a copy of what the node's pool holds: positive counts, sorted by name.

        Raises:
            ValueError: the node is unknown or closed.
        """
        return dict(sorted(self._live(node).pool.items()))

    def net(self, node: int) -> Mapping[str, int]:
        """Return units made minus units used by the node and all its descendants, as a live read-only view.

        An item that is missing was never touched; a count may be negative or 0.

        Raises:
            ValueError: the node is unknown.
        """
        return MappingProxyType(self._known(node).net)

    def made(self, node: int) -> Mapping[str, int]:
        """Return units made by the node itself, without its descendants.

        Raises:
            ValueError: the node is unknown.
        """
        return MappingProxyType(self._known(node).made)

    def used(self, node: int) -> Mapping[str, int]:
        """Return units used by the node itself, without its descendants.

        Raises:
            ValueError: the node is unknown.
        """
        return MappingProxyType(self._known(node).used)

    def state(self) -> dict[str, Any]:
        """Return everything but the cookbook as JSON-able data that shares nothing with the workshop."""
        return {
            "stock": dict(self._stock),
            "nodes": [
                [node, e.parent, e.open, dict(e.pool) if e.private else None, dict(e.made), dict(e.used)]
                for node, e in self._nodes.items()
            ],
        }

    @classmethod
    def restore(cls, cookbook: Cookbook, state: Mapping[str, Any]) -> Workshop:
        """Rebuild a workshop from what `state` returned, also after a trip through JSON."""
        shop = cls(cookbook, state["stock"])
        for node, parent, is_open, private, made, used in state["nodes"]:
            above = None if parent is None else shop._nodes[parent]
            shared = shop._stock if above is None else above.pool
            pool = shared if private is None else dict(private)
            entry = _Node(parent, above, pool, private is not None)
            entry.open = is_open
            entry.made.update(made)
            entry.used.update(used)
            entry.enter(made, used)
            shop._nodes[node] = entry
            if above is not None and is_open:
                above.adopt(node)
        return shop

    def _known(self, node: int) -> _Node:
        entry = self._nodes.get(node)
        if entry is None:
            raise ValueError(f"node: {node} was never opened")
        return entry

    def _live(self, node: int) -> _Node:
        entry = self._known(node)
        if not entry.open:
            raise ValueError(f"node: {node} is closed")
        return entry

    def _require(self, pool: Mapping[str, int], wanted: Mapping[str, int]) -> None:
        for name, count in wanted.items():
            if name not in self.cookbook:
                raise CraftError(self.cookbook.unknown(name))
            if type(count) is not int or count < 1:
                raise CraftError(f"counts must be positive whole numbers, got {name!r}: {count!r}")
        short = [
            f"missing {count - pool.get(name, 0)} more {name}: you hold {pool.get(name, 0)}"
            for name, count in wanted.items()
            if pool.get(name, 0) < count
        ]
        if short:
            raise CraftError("; ".join(short))


def _move(source: dict[str, int], target: dict[str, int], items: Mapping[str, int]) -> None:
    for name, count in items.items():
        left = source[name] - count
        if left:
            source[name] = left
        else:
            del source[name]
        target[name] = target.get(name, 0) + count
