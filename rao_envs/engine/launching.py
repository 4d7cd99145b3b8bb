"""How nodes are spawned: the root, and every launch that the rules and the world allow."""

from __future__ import annotations

from rao_envs.actions.tools import too_large
from rao_envs.engine.agents import Agent, ReadyNodes
from rao_envs.engine.limits import grant
from rao_envs.engine.prompts import Prompts, opening_of
from rao_envs.engine.rules import Rules
from rao_envs.errors import OptionError, ToolError
from rao_envs.events import Spawned
from rao_envs.steps import Call
from rao_envs.tree import ExecutionTree
from rao_envs.values import clean_text
from rao_envs.world import Subtask, World

__all__ = ["Launcher"]


class Launcher:
    """Spawns the nodes of one rollout.

    Attributes:
        agents: the living nodes by id.
        ready: the nodes that wait for an action.
    """

    def __init__(self, world: World, rules: Rules, tree: ExecutionTree, prompts: Prompts) -> None:
        """Prepare to spawn into `tree`."""
        self._world = world
        self._rules = rules
        self._tree = tree
        self._prompts = prompts
        self.agents: dict[int, Agent] = {}
        self.ready = ReadyNodes()

    def root(self) -> None:
        """Spawn the root.

        Raises:
            OptionError: the context window cannot hold the root's prompt, or the world grants it no turn.
        """
        limits, subtask = self._rules.limits, self._world.root()
        budget = limits.tree_turns or limits.max_turns
        if subtask.budget is not None:
            if subtask.budget < 1:
                raise OptionError("World.root().budget", subtask.budget, "must be at least 1, or None")
            budget = min(budget, subtask.budget)
        opening = opening_of(subtask, budget)
        tokens = self._prompts.at(0).tokens + self._rules.count(opening)
        if tokens >= limits.context_tokens:
            fix = f"cannot hold the root's prompt of {tokens} tokens; allow more"
            raise OptionError("context_tokens", limits.context_tokens, fix)
        self._spawn(None, subtask, opening, budget, tokens)

    def launch(self, agent: Agent, call: Call) -> Agent | str:
        """Spawn the child that a call of `launch_subagent` asks for; return it, or the reason for a refusal."""
        node, limits = agent.node, self._rules.limits
        launch = self._prompts.at(node.depth).toolset.launch
        if launch is None:
            reason = f"depth {node.depth} is the deepest allowed" if self._rules.recursive else "it is switched off"
            return f"you cannot delegate ({reason}); do it yourself"
        if len(node.children) >= limits.max_children:
            return f"you have launched {limits.max_children} subagents, the most allowed"
        if len(self._tree.nodes) >= limits.max_nodes:
            return f"all agents together have launched {limits.max_nodes:,}, the most allowed"
        try:
            subtask: Subtask = launch(self._world, node, call.args, call.kwargs, agent.max_bytes)
        except ToolError as error:
            return str(error)
        if why := too_large(subtask.payload, limits.max_value_bytes):
            return why
        budget = grant(limits, agent.left, subtask.budget)
        if isinstance(budget, str):
            return budget
        opening = opening_of(subtask, budget)
        tokens = self._prompts.at(node.depth + 1).tokens + self._rules.count(opening)
        if tokens >= limits.context_tokens:
            return f"its prompt of {tokens:,} tokens would fill its window of {limits.context_tokens:,}: say less"
        if limits.tree_turns is not None:
            agent.left -= budget
        child = self._spawn(agent, subtask, opening, budget, tokens)
        child.call = call.id
        return child

    def _spawn(self, parent: Agent | None, subtask: Subtask, opening: str, budget: int, tokens: int) -> Agent:
        tree, task = self._tree, self._world.task
        if parent is None:
            depth, now, above = 0, 0.0, None
            described = {"id": task.id, "difficulty": task.difficulty, "split": task.split, "index": task.index}
        else:
            depth, now, above = parent.node.depth + 1, parent.now, parent.node.id
            described = None
        prompt = self._prompts.at(depth)
        same = parent is not None and self._prompts.at(depth - 1) is prompt
        event = Spawned(
            tree.events.size,
            len(tree.nodes),
            now,
            above,
            clean_text(subtask.goal),
            opening,
            None if same else prompt.text,
            budget,
            subtask.payload,
            described,
            None if same else prompt.toolset.launch is not None,
        )
        tree.apply(event)
        node = tree.nodes[event.node]
        agent = self.agents[node.id] = Agent(node, now, budget, tokens)
        self.ready.add(node)
        self._world.opened(node)
        return agent
