"""BoxSum: a whole benchmark in one file. Add up the numbers in a row of boxes, by halves."""

from typing import Any

import gymnasium as gym

from rao_envs import Node, RecursiveEnv, Subtask, Task, ToolError, Verdict, World, seeding, tool


def tasks(index: int) -> Task:
    """Task number `index`, pure: the same number gives the same boxes in every process."""
    random = seeding.rng("box-sum", index)
    boxes = [random.randrange(100) for _ in range(random.randint(4, 16))]
    goal = f"Add up boxes 0 to {len(boxes)} (the last one not included)."
    return Task(f"box-sum/{index}", goal, {"boxes": boxes}, index=index)


class BoxSum(World):
    """Tools, delegation and verdicts; one instance serves one rollout."""

    instructions = "Boxes in a row hold numbers. Finish with the sum of the boxes you were asked for."

    def root(self) -> Subtask:
        return Subtask(self.task.goal, {"first": 0, "end": len(self.task.payload["boxes"])})

    @tool
    def look(self, node: Node, box: int) -> int:
        """Open one box and return its number."""
        if not 0 <= box < len(self.task.payload["boxes"]):
            raise ToolError(f"there is no box {box}")
        return int(self.task.payload["boxes"][box])

    def delegate(self, node: Node, first: int, end: int) -> Subtask:
        """Have a subagent add up boxes `first` to `end` (not included)."""
        mine = node.payload
        if not (mine["first"] <= first < end <= mine["end"] and end - first < mine["end"] - mine["first"]):
            raise ToolError("hand on a smaller, non-empty part of your own boxes")
        return Subtask(f"Add up boxes {first} to {end} (the last one not included).", {"first": first, "end": end})

    def verify(self, node: Node, result: Any) -> Verdict:
        gold = sum(self.task.payload["boxes"][node.payload["first"] : node.payload["end"]])
        return Verdict(float(result == gold), "exact", f"gold {gold}, got {result!r:.40}")


def oracle(node: Node) -> str:
    """A scripted policy: halve until two boxes are left."""
    first, end = node.payload["first"], node.payload["end"]
    if end - first <= 2:
        return f"<python>finish(sum(look(box) for box in range({first}, {end})))</python>"
    half = (first + end) // 2
    return (
        "<python>import asyncio\n"
        f"parts = await asyncio.gather(launch_subagent({first}, {half}), launch_subagent({half}, {end}))\n"
        "finish(sum(parts))</python>"
    )


gym.register("BoxSum-v0", entry_point=lambda **options: RecursiveEnv(tasks, BoxSum, **options))

if __name__ == "__main__":
    env = gym.make("BoxSum-v0")
    observation, info = env.reset(seed=0)
    done = False
    while not done:
        node = env.unwrapped.tree.nodes[info["node"]]
        observation, reward, terminated, truncated, info = env.step(oracle(node))
        done = terminated or truncated
    print(info["tree"], *info["tree"].walk(), sep="\n")
