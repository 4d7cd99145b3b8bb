"""Check that the tree does not depend on the order in which a driver asks the nodes, unless the world does.

from rao_envs.testing.orders import AnyOrderPolicy, outline, play

outlines = [outline(play(make(), AnyOrderPolicy(seed=7), order)) for order in range(10)]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from rao_envs.action import Action
from rao_envs.env import RecursiveEnv
from rao_envs.events import Blocked, Resumed
from rao_envs.policies.base import View, views
from rao_envs.seeding import rng
from rao_envs.testing.toy import finish, launch
from rao_envs.tree import ExecutionTree

__all__ = ["AnyOrderPolicy", "outline", "play"]


def play(env: RecursiveEnv, act: Callable[[View], Action], order: int, task: int = 0) -> ExecutionTree:
    """Play a rollout, asking the ready nodes in a given order.

    Args:
        env: the environment.
        act: answers a view; the same view must always get the same answer.
        order: 0 asks the first ready node each time, as `step` does; 1 asks all of them at once; any other number
            seeds a random choice of a few at a time.
        task: task number.
    """
    env.reset(seed=task, options={"task": task})
    random = Random(order)
    while env.ready:
        waiting = views(env)
        if order == 0:
            waiting = waiting[:1]
        elif order > 1:
            waiting = random.sample(waiting, random.randint(1, len(waiting)))
        env.advance({view.node.id: act(view) for view in waiting})
    return env.tree


def outline(tree: ExecutionTree) -> dict[str, Any]:
    """Return everything in a tree except the order of its log: node ids become paths (JSON-able)."""
    path = [node.address for node in tree.nodes]
    told: dict[str, list[Any]] = {address: [] for address in path}
    for event in tree.events:
        if isinstance(event, Blocked):
            told[path[event.node]].append(["waits", event.time, sorted(path[child] for child in event.on)])
        elif isinstance(event, Resumed):
            told[path[event.node]].append(["knows", event.time, path[event.child]])
    return {
        node.address: {
            "asked": [node.goal, node.opening, node.budget, node.spawned_at],
            "ended": [node.status, node.result, node.success, node.returned_at],
            "turns": [
                [turn.action, turn.observation, turn.start, turn.end, turn.prompt_tokens, turn.calls, turn.fault]
                for turn in node.turns
            ],
            "children": [path[child] for child in node.children],
            "told": told[node.address],
        }
        for node in tree.nodes
    }


class AnyOrderPolicy:
    """Does everything an agent can do with launches in a toy world, rightly or wrongly; the same view, the same answer.

    Launches are awaited at once, late, twice, in nested coroutines, or never; turns fail, reach limits and finish
    while children still run; messages take equal, zero or arbitrary time.

    Args:
        seed: seed of everything it does.
    """

    _CODE = (
        "r = await {0}\nprint(r)",
        "a = {0}\nb = {1}\nprint(await b)\nprint(await a)",
        "a = {0}\nprint(await {1})",
        "{0}\nprint(await {1})\n1 / 0",
        "{0}",
        "print(await asyncio.gather({0}, {1}, {2}))",
        "print(await asyncio.gather({0}, {1}, return_exceptions=True))",
        "async def go(n):\n    x = await {0}\n    print(n, x)\n    return await {1}\n"
        "print(await asyncio.gather(go(1), go(2)))",
        "async def go():\n    await {0}\n    finish(0.5)\nawait asyncio.gather(go(), {1})",
        "async def go():\n    print(await {0})\n    raise ValueError('no')\nawait asyncio.gather(go(), {1}, {2})",
        "async def go(aw):\n    try:\n        print(await aw)\n    except ValueError as error:\n        print(error)\n"
        "await asyncio.gather(*[go(aw) for aw in ({0}, {1}, {2})])",
        "a = {0}\nprint(await {1})\nb = {2}\nfinish(0.25)",
        "t = [asyncio.create_task({0}), asyncio.create_task({1})]\nprint([await x for x in t])",
        "for i in range(3):\n    print(await {0})",
        "finish(0.75)",
        "print('hm')",
    )

    def __init__(self, seed: int) -> None:
        """Fix the seed."""
        self.seed = seed

    def __call__(self, view: View) -> Action:
        """Answer a view."""
        node = view.node
        random = rng(self.seed, node.address, len(node.turns))
        if node.depth >= 3 or len(node.turns) >= 3 or random.random() < 0.15 * node.depth:
            text = self._finish(random, view.format)
        elif view.format == "calls":
            text = json.dumps(self._calls(random))
        else:
            launches = [self._launch(random) for _ in range(3)]
            text = "import asyncio\n" + random.choice(self._CODE).format(*launches)
        return Action(text, random.choice([0.0, 1.0, 1.0, 2.0, random.randint(0, 40) / 10]))

    def _finish(self, random: Random, action_format: str) -> str:
        success = random.choice([0, 0.5, 1])
        return json.dumps([finish(success)]) if action_format == "calls" else f"finish({success})"

    def _launch(self, random: Random) -> str:
        turns = random.choice([0, 1, 2, 3, 5, 25])
        return f"launch_subagent({random.choice('abc')!r}{f', {turns}' if turns < 25 else ''})"

    def _calls(self, random: Random) -> list[dict[str, Any]]:
        calls = [
            launch(random.choice("abc"), random.choice([0, 1, 2, 3, None, None, None]))
            for _ in range(random.randint(1, 4))
        ]
        if random.random() < 0.2:
            calls.insert(random.randint(0, len(calls)), {"name": "nothing"})
        if random.random() < 0.2:
            calls.insert(random.randint(0, len(calls)), finish(0.5))
        return calls
