"""Scripted policies that know how to craft. They read only what any agent can read.

| oracle | does |
|---|---|
| `recursive_oracle` | looks up its targets, delegates every craftable ingredient in full, crafts, finishes |
| `single_oracle` | works alone and as frugally as possible: reads every recipe once, crafts every item once |
| `program_oracle` | works alone, in code: writes the planner as a program, so that it need not read anything |

All are functions of the node's view: they keep no state, so they survive checkpoints and forks.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from rao_envs import Node
from rao_envs.policies import View

__all__ = ["program_oracle", "recursive_oracle", "single_oracle"]

_STEPS = 25
Info = dict[str, dict[str, Any]]


def recursive_oracle(view: View) -> str:
    """Act in four steps: look up the targets, look up their ingredients, delegate these, craft and finish.

    If the craft fails because a subagent did not deliver, a fifth step finishes without it. A node that may not
    delegate works like `single_oracle`.
    """
    node = view.node
    if not node.may_delegate:
        return single_oracle(view)
    say = _speaker(view)
    targets: dict[str, int] = node.payload["targets"]
    if not node.turns:
        return say.look(targets)
    info = say.read(node)
    if not targets.keys() <= info.keys():  # the lookup was truncated: looking again would not help
        return say.craft([])
    crafts = [_craft(info, item, units) for item, units in targets.items()]
    needed = _total(ingredients for ingredients, _, _ in crafts)
    if len(node.turns) == 1:
        return say.look(needed)
    parts = {item: units for item, units in needed.items() if item in info and info[item]["depth"] > 0}
    if parts and len(node.turns) == 2:
        return say.delegate(parts)
    return say.craft(crafts) if len(node.turns) <= 2 + bool(parts) else say.craft([])


def single_oracle(view: View) -> str:
    """Read the inventory and each recipe once, level by level; then craft everything in one message.

    Items in the initial inventory are treated as base material and not looked up. Amounts are summed over the whole
    plan, so that no craft is made twice.
    """
    node = view.node
    say = _speaker(view)
    targets: dict[str, int] = node.payload["targets"]
    if not node.turns:
        return say.look(targets, inventory=True)
    info, stock = say.read(node), say.inventory(node)
    unknown = _unknown(info, stock, targets)
    return say.look(unknown) if unknown else say.craft(_plan(info, targets))


def program_oracle(view: View) -> str:
    """Write the planner as a program and run it in one message: the shortcut that the code format leaves open.

    Nothing that the program reads enters the transcript, so no context window ever ends it. Works on cookbooks with
    one recipe per item and no tags.
    """
    return _PROGRAM.format(targets=view.node.payload["targets"])


_PROGRAM = """<python>
book, need = {{}}, {targets!r}
def read(item):
    if item not in book:
        book[item] = get_info([item])[0]
        for recipe in book[item]["recipes"]:
            for name in recipe["needs"]:
                read(name)
for item in need:
    read(item)
crafts = []
for item in sorted(book, key=lambda item: -book[item]["depth"]):
    if need.get(item) and book[item]["recipes"]:
        recipe = book[item]["recipes"][0]
        times = -(-need[item] // recipe["makes"])
        needs = {{name: count * times for name, count in recipe["needs"].items()}}
        crafts.append((needs, (item, times * recipe["makes"])))
        for name, count in needs.items():
            need[name] = need.get(name, 0) + count
for needs, target in crafts[::-1]:
    craft(needs, target)
finish("done")
</python>"""

Craft = tuple[dict[str, int], str, int]


def _craft(info: Info, item: str, units: int) -> Craft:
    """Choose how to make `units` of an item: the first recipe, and for a tag the option held in the largest number."""
    recipe = info[item]["recipes"][0]
    times = -(-units // recipe["makes"])
    any_of: Mapping[str, list[str]] = recipe.get("any_of", {})
    needs: dict[str, int] = {}
    for name, count in recipe["needs"].items():
        chosen = max(any_of[name], key=lambda option: info.get(option, {}).get("held", 0)) if name in any_of else name
        needs[chosen] = needs.get(chosen, 0) + count * times
    return needs, item, times * recipe["makes"]


def _total(needs: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for need in needs:
        for item, units in need.items():
            total[item] = total.get(item, 0) + units
    return total


def _unknown(info: Info, stock: Mapping[str, int], targets: Iterable[str]) -> list[str]:
    """List the items still to look up: reachable from the targets, not held, not yet read."""
    seen, stack, unknown = set(targets), list(targets), []
    while stack:
        item = stack.pop()
        if item not in info:
            unknown.append(item)
            continue
        for name in _craft(info, item, 1)[0] if info[item]["recipes"] else ():
            if name not in seen and name not in stock:
                seen.add(name)
                stack.append(name)
    return sorted(unknown)


def _plan(info: Info, targets: Mapping[str, int]) -> list[Craft]:
    """Make each item once, in full, deepest ingredients first."""
    need = dict(targets)
    crafts = []
    for item in sorted(info, key=lambda item: -int(info[item]["depth"])):
        if need.get(item) and info[item]["recipes"] and info[item]["depth"]:
            crafts.append(_craft(info, item, need[item]))
            for name, units in crafts[-1][0].items():
                need[name] = need.get(name, 0) + units
    return crafts[::-1]


class _Code:
    """Write and read the code format."""

    def look(self, items: Iterable[str], *, inventory: bool = False) -> str:
        first = "print(view_inventory())\n" if inventory else ""
        return f"<python>{first}print(get_info({list(items)!r}))</python>"

    def delegate(self, parts: Mapping[str, int]) -> str:
        launches = ", ".join(f"launch_subagent({{{item!r}: {units}}}, {_STEPS})" for item, units in parts.items())
        return f"<python>import asyncio\nawait asyncio.gather({launches})</python>"

    def craft(self, crafts: Iterable[Craft]) -> str:
        lines = [f"craft({needs!r}, ({item!r}, {total}))" for needs, item, total in crafts]
        return "<python>" + "\n".join([*lines, 'finish("done")']) + "</python>"

    def _results(self, node: Node) -> Iterable[Any]:
        for turn in node.turns:
            for line in (turn.observation or "").splitlines():
                if line.startswith(("[{", "{")):
                    with suppress(ValueError, SyntaxError):  # a long line may be truncated
                        yield ast.literal_eval(line)

    def read(self, node: Node) -> Info:
        lists = (result for result in self._results(node) if isinstance(result, list))
        return {entry["item"]: entry for entries in lists for entry in entries}

    def inventory(self, node: Node) -> Mapping[str, int]:
        return next((result for result in self._results(node) if isinstance(result, dict)), {})


class _Calls(_Code):
    """Write and read the tool-call format."""

    def look(self, items: Iterable[str], *, inventory: bool = False) -> str:
        first = [{"name": "view_inventory"}] if inventory else []
        return _dumps([*first, {"name": "get_info", "arguments": {"items": list(items)}}])

    def delegate(self, parts: Mapping[str, int]) -> str:
        return _dumps(
            {"name": "launch_subagent", "arguments": {"targets": {item: units}, "num_steps": _STEPS}}
            for item, units in parts.items()
        )

    def craft(self, crafts: Iterable[Craft]) -> str:
        calls: list[dict[str, Any]] = [
            {"name": "craft", "arguments": {"ingredients": needs, "target": [item, total]}}
            for needs, item, total in crafts
        ]
        return _dumps([*calls, {"name": "finish", "arguments": {"message": "done"}}])

    def _results(self, node: Node) -> Iterable[Any]:
        for turn in node.turns:
            with suppress(ValueError):  # a long observation may be truncated
                yield from (entry["result"] for entry in json.loads(turn.observation or "[]") if "result" in entry)


def _dumps(calls: Iterable[Any]) -> str:
    return json.dumps(list(calls), separators=(",", ":"))


def _speaker(view: View) -> _Code:
    return _SPEAKERS[view.format]


_SPEAKERS: Mapping[str, _Code] = {"code": _Code(), "calls": _Calls()}
