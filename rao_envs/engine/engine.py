"""The engine: one rollout, turn by turn, synchronous and deterministic.

Same task, same actions in the same order: same events. Concurrency is several nodes being *ready* at once; the
driver decides how many of them to ask at a time. A node that awaits children is blocked in the middle of its
turn; their results are handed to it in the order of *virtual* time, whatever the order in which the driver asked:
a result is held back while another child that is awaited too could still return before it. So what a turn goes on
to do never happens before what it depends on, and the makespan does not depend on who was asked first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from typing import Any

from rao_envs.action import Action
from rao_envs.actions.tools import FINISH, LAUNCH, finish_message, too_large
from rao_envs.engine.agents import Agent
from rao_envs.engine.limits import grant
from rao_envs.engine.prompts import WHY, Prompt, cut, opening_of, prompt_of
from rao_envs.engine.rules import Rules
from rao_envs.errors import EpisodeOver, NotReady, OptionError, ToolError
from rao_envs.events import (
    Aborted,
    Acted,
    Blocked,
    Event,
    Observed,
    Resumed,
    Returned,
    Spawned,
    Status,
    Verdict,
)
from rao_envs.seeding import derive
from rao_envs.steps import LATER, Call, Done, Failure, Session, Step, Value, Wait
from rao_envs.tree import ExecutionTree, Node
from rao_envs.values import clean_text
from rao_envs.world import Subtask, World

__all__ = ["Engine"]


class Engine:
    """One rollout.

    Attributes:
        world: its shared state.
        rules: what holds for it.
        seed: what its nodes' random streams are hashed from.
        tree: what has happened so far.
        agents: the living nodes by id.
    """

    def __init__(self, world: World, rules: Rules, seed: int) -> None:
        """Prepare a rollout; `start` begins it."""
        self.world = world
        self.rules = rules
        self.seed = seed
        self.tree = ExecutionTree()
        self.agents: dict[int, Agent] = {}
        self._ready: list[tuple[tuple[int, ...], int]] = []
        self._resumable: list[tuple[int, tuple[int, ...], int]] = []
        self._prompts = (prompt_of(world, rules, delegate=False), prompt_of(world, rules, delegate=True))

    # Driving --------------------------------------------------------------------------------------------

    def start(self) -> tuple[Event, ...]:
        """Spawn the root.

        Raises:
            OptionError: the context window cannot hold the root's prompt, or the world grants it no turn.
        """
        limits, subtask = self.rules.limits, self.world.root()
        budget = limits.tree_turns or limits.max_turns
        if subtask.budget is not None:
            if subtask.budget < 1:
                raise OptionError("World.root().budget", subtask.budget, "must be at least 1, or None")
            budget = min(budget, subtask.budget)
        opening = opening_of(subtask, budget)
        tokens = self._prompt(0).tokens + self.rules.count(opening)
        if tokens >= limits.context_tokens:
            mend = f"cannot hold the root's prompt of {tokens} tokens; allow more"
            raise OptionError("context_tokens", limits.context_tokens, mend)
        self._spawn(None, subtask, opening, budget, tokens)
        return tuple(self.tree.events)

    @property
    def ready(self) -> tuple[int, ...]:
        """Ids of the nodes that wait for an action, depth first."""
        return tuple([node for _, node in self._ready])

    @property
    def next_ready(self) -> int | None:
        """The first of `ready`; None when the rollout is over."""
        return self._ready[0][1] if self._ready else None

    def advance(self, actions: Mapping[int, str | Action]) -> tuple[Event, ...]:
        """Give several ready nodes their actions at once; return what happened.

        Whatever is raised in the middle of a turn (a worker that died, a mistake in the world) aborts the rollout:
        half a turn cannot be taken back.

        Raises:
            EpisodeOver: the rollout has ended.
            NotReady: a node is not waiting for an action. Nothing has happened then.
            OptionError: an action is neither text nor an `Action`. Nothing has happened then.
        """
        if not self._ready:
            raise EpisodeOver("the episode is over: call reset() first")
        given: list[tuple[Agent, Action]] = []
        for node, action in actions.items():
            agent = self.agents.get(node)
            if agent is None or not self._is_ready(agent):
                raise NotReady(f"node {node!r} is not ready; ready: {few(self.ready)}")
            given.append((agent, action if isinstance(action, Action) else Action(action)))
        if not given:
            raise NotReady(f"no actions were given; ready: {few(self.ready)}")
        if len(given) > 1:
            given.sort(key=lambda pair: pair[0].node.path)
        start = len(self.tree.events)
        try:
            # No action can end the life of another node that is ready: its children live in open turns only.
            for agent, action in given:
                self._turn(agent, action)
            self._resume_waiting()
        except BaseException as error:
            self.abort(f"{type(error).__name__}: {error}")
            raise
        return tuple(self.tree.events[start:])

    def abort(self, reason: str) -> None:
        """Mark the rollout as spoilt and end it; doing so twice keeps the first reason."""
        if self.tree.invalid is None:
            root = self.agents.get(0)
            now = root.now if root is not None else self.tree.nodes[0].returned_at or 0.0
            self.tree.apply(Aborted(self._seq, 0, now, reason))
        self.close()

    def close(self) -> None:
        """End all sessions; the tree stays."""
        for agent in self.agents.values():
            if agent.session is not None:
                agent.session.close()
        self.agents.clear()
        self._ready.clear()
        self._resumable.clear()

    def restore_session(self, node: Node, state: bytes) -> Session:
        """Bring a dumped session of `node` back to life. For checkpoints.

        Raises:
            CorruptCheckpoint: the bytes are not a session of this format.
        """
        toolset = self._prompt(node.depth).toolset
        return self.rules.format.restore(toolset, self.world.variables(node), state)

    def resume(self, agents: Mapping[int, Agent], ready: Sequence[int]) -> None:
        """Go on with these living nodes, of which these are ready. For checkpoints."""
        self.agents = dict(agents)
        for agent in self.agents.values():
            running = ((call, self.agents.get(child)) for call, child in agent.launches.items())
            agent.clocks = sorted((child.now, call) for call, child in running if child is not None)
        self._ready = sorted((self.tree.nodes[place].path, place) for place in ready)

    # One turn -------------------------------------------------------------------------------------------

    def _turn(self, agent: Agent, action: Action) -> None:
        node, text, sample = agent.node, clean_text(action.text), action.sample
        self._ready.pop(bisect_left(self._ready, (node.path, node.id)))
        prompt = agent.tokens if sample is None else len(sample.prompt_ids)
        output = self.rules.count(text) if sample is None else len(sample.output_ids)
        latency = self.rules.latency(prompt, output) if action.latency is None else action.latency
        self.tree.apply(Acted(self._seq, node.id, agent.now, text, latency, prompt, output, sample))
        agent.now += latency
        agent.left -= 1
        agent.tokens = prompt + output
        agent.calls = 0
        if agent.tokens > self.rules.limits.context_tokens:
            self._return(agent, "context")
            return
        if agent.session is None:
            agent.session = self._open(node)
        self._drive(agent, self.rules.format.start(agent.session, text))

    def _drive(self, agent: Agent, step: Step | None) -> None:
        """Serve a turn until it ends or waits for children."""
        while step is not None:
            if isinstance(step, Call):
                step = self._call(agent, step)
            elif isinstance(step, Wait):
                step = self._settle(agent)
            else:
                self._observe(agent, step)
                return

    def _call(self, agent: Agent, call: Call) -> Step | None:
        session = agent.session
        assert session is not None
        agent.calls += 1
        limits = self.rules.limits
        over = agent.calls > limits.max_calls
        if call.name == FINISH:
            try:
                result = finish_message(call.args, call.kwargs, limits.max_value_bytes)
            except ToolError as error:
                if not over:
                    return session.answer(call.id, Failure(str(error)))
            else:
                self._finish(agent, result, session.abandon())
                return None
        if over:
            limit = f"Stopped: more than {limits.max_calls:,} tool calls in one turn."
            return Done(f"{session.abandon()}\n{limit}".lstrip(), "agent")
        if call.name == LAUNCH:
            refusal = self._launch(agent, call)
            if refusal:
                agent.take(call.id, agent.now, Failure(f"refused: {refusal}"))
            return session.answer(call.id, LATER)
        tool = self._prompt(agent.node.depth).toolset.tools[call.name]
        try:
            return session.answer(
                call.id, Value(tool(self.world, agent.node, call.args, call.kwargs, limits.max_value_bytes))
            )
        except ToolError as error:
            return session.answer(call.id, Failure(str(error)))

    def _settle(self, agent: Agent) -> Step | None:
        """Deliver the answer that is due; block if none is."""
        if (call := self._due(agent)) is not None:
            return self._deliver(agent, call)
        agent.blocked = True
        if not agent.announced:
            agent.announced = True
            self.tree.apply(Blocked(self._seq, agent.node.id, agent.now, tuple(agent.launches.values())))
        self._progressed(agent)
        return None

    def _due(self, agent: Agent) -> int | None:
        """Return the call whose answer comes first in virtual time.

        None while that is not known: no answer has come, or a child without one has not yet reached that time.
        """
        if not agent.order:
            return None
        clocks = agent.clocks
        while clocks:
            noted, call = clocks[0]
            child = self.agents.get(agent.launches.get(call, -1))
            if child is None:
                heappop(clocks)
            elif child.now > noted:
                heapreplace(clocks, (child.now, call))
            else:
                break
        time, call = agent.order[0]
        return call if not clocks or max(time, agent.now) <= max(clocks[0][0], agent.now) else None

    def _deliver(self, agent: Agent, call: int) -> Step:
        assert agent.session is not None
        time, _ = heappop(agent.order)
        agent.now = max(agent.now, time)
        agent.blocked = False
        if call in agent.launches:
            self.tree.apply(Resumed(self._seq, agent.node.id, agent.now, agent.launches.pop(call)))
        return agent.session.settle(call, agent.answers.pop(call))

    def _progressed(self, agent: Agent) -> None:
        """Note that a node has come further in time: an answer that its parent holds back may now be due."""
        parent = None if agent.node.parent is None else self.agents.get(agent.node.parent)
        if parent is not None and parent.blocked and parent.order:
            heappush(self._resumable, (-parent.node.depth, parent.node.path, parent.node.id))

    def _resume_waiting(self) -> None:
        """Go on with the turns whose answers are due, deepest first."""
        while self._resumable:
            agent = self.agents.get(heappop(self._resumable)[2])
            call = self._due(agent) if agent is not None and agent.blocked else None
            if agent is not None and call is not None:
                self._drive(agent, self._deliver(agent, call))

    def _observe(self, agent: Agent, done: Done) -> None:
        """End the turn: cancel what was launched and not awaited, show what came of it, check the limits."""
        notice = self._drop_launches(agent)
        text = clean_text(f"{done.text}\n{notice}" if done.text and notice else done.text or notice)
        text = cut(text.rstrip("\n") or "(no output)", self.rules.limits.max_observation_chars)
        node = agent.node
        self.tree.apply(Observed(self._seq, node.id, agent.now, text, agent.calls, done.fault))
        agent.tokens += self.rules.count(text)
        if agent.tokens >= self.rules.limits.context_tokens:
            self._return(agent, "context")
        elif agent.left <= 0:
            self._return(agent, "turns")
        else:
            insort(self._ready, (node.path, node.id))
            self._progressed(agent)

    def _drop_launches(self, agent: Agent) -> str:
        """Cancel launches that were never awaited; return the notice that says so.

        A message that a child has begun is not taken back: the child ends with it, and its parent not before.
        """
        if not agent.launches and not agent.answers:
            if agent.announced:
                agent.forget_launches()
            return ""
        refused = [answer.message for answer in agent.answers.values() if isinstance(answer, Failure)]
        unread = len(agent.launches)
        for child in agent.launches.values():
            self._cancel(child, agent.now)
        agent.now = self._last_return(agent)
        agent.forget_launches()
        lines = []
        if unread:
            lines.append(f"Not awaited, so cancelled or lost: {unread} x launch_subagent. Await each in its own turn.")
        lines += [f"launch_subagent was {message}" for message in refused[:3]]
        return "\n".join(lines)

    # Nodes ----------------------------------------------------------------------------------------------

    def _launch(self, agent: Agent, call: Call) -> str:
        """Spawn a child, or return why not."""
        node, limits = agent.node, self.rules.limits
        launch = self._prompt(node.depth).toolset.launch
        if launch is None:
            reason = f"depth {node.depth} is the deepest allowed" if self.rules.recursive else "it is switched off"
            return f"you cannot delegate ({reason}); do it yourself"
        if len(node.children) >= limits.max_children:
            return f"you have launched {limits.max_children} subagents, the most allowed"
        if len(self.tree.nodes) >= limits.max_nodes:
            return f"all agents together have launched {limits.max_nodes:,}, the most allowed"
        try:
            subtask: Subtask = launch(self.world, node, call.args, call.kwargs, limits.max_value_bytes)
        except ToolError as error:
            return str(error)
        if why := too_large(subtask.payload, limits.max_value_bytes):
            return why
        budget = grant(limits, agent.left, subtask.budget)
        if isinstance(budget, str):
            return budget
        opening = opening_of(subtask, budget)
        tokens = self._prompt(node.depth + 1).tokens + self.rules.count(opening)
        if tokens >= limits.context_tokens:
            return f"its prompt of {tokens:,} tokens would fill its window of {limits.context_tokens:,}: say less"
        if limits.tree_turns is not None:
            agent.left -= budget
        child = self._spawn(agent, subtask, opening, budget, tokens)
        agent.launches[call.id] = child
        agent.announced = False
        self.agents[child].call = call.id
        heappush(agent.clocks, (agent.now, call.id))
        return ""

    def _spawn(self, parent: Agent | None, subtask: Subtask, opening: str, budget: int, tokens: int) -> int:
        place = len(self.tree.nodes)
        depth = 0 if parent is None else parent.node.depth + 1
        prompt = self._prompt(depth)
        same = parent is not None and self._prompt(parent.node.depth) is prompt
        now = 0.0 if parent is None else parent.now
        task = self.world.task
        self.tree.apply(
            Spawned(
                self._seq,
                place,
                now,
                None if parent is None else parent.node.id,
                clean_text(subtask.goal),
                opening,
                None if same else prompt.text,
                budget,
                subtask.payload,
                None
                if parent is not None
                else {
                    "id": task.id,
                    "difficulty": task.difficulty,
                    "split": task.split,
                    "index": task.index,
                },
            )
        )
        node = self.tree.nodes[place]
        self.agents[place] = Agent(node, now, budget, tokens)
        insort(self._ready, (node.path, place))
        self.world.opened(node)
        return place

    def _finish(self, agent: Agent, result: Any, shown: str) -> None:
        # Children that still run are abandoned by the finish, and end before the turn does.
        self._drop_launches(agent)
        shown = cut(clean_text(shown).rstrip("\n"), self.rules.limits.max_observation_chars)
        self.tree.apply(Observed(self._seq, agent.node.id, agent.now, shown, agent.calls))
        self._return(agent, "finished", result)

    def _return(self, agent: Agent, status: Status, result: Any = None) -> None:
        """End a node and hand what came of it to its parent."""
        node = agent.node
        finished = status == "finished"
        verdict = self.world.verify(node, result) if finished else Verdict(0.0, "engine", WHY[status])
        self.tree.apply(Returned(self._seq, node.id, agent.now, status, result, verdict))
        self.world.closed(node)
        if agent.session is not None:
            agent.session.close()
        del self.agents[node.id]
        parent = None if node.parent is None else self.agents.get(node.parent)
        if parent is None:
            return
        if self.rules.limits.tree_turns is not None:
            parent.left += agent.left
        if status != "cancelled":
            self._answer_parent(parent, agent, status, result)

    def _answer_parent(self, parent: Agent, agent: Agent, status: Status, result: Any) -> None:
        answer = Value(result if status == "finished" else f"[the subagent did not finish: it {WHY[status]}]")
        parent.take(agent.call, agent.now, answer)
        self._progressed(agent)

    def _cancel(self, child: int, now: float) -> None:
        """End a node and everything below it, deepest first."""
        subtree, stack = [], [child]
        while stack:
            place = stack.pop()
            if place in self.agents:
                subtree.append(place)
                stack.extend(self.tree.nodes[place].children)
        for place in reversed(subtree):
            agent = self.agents[place]
            if self._is_ready(agent):
                self._ready.pop(bisect_left(self._ready, (agent.node.path, place)))
            agent.now = max(now, self._last_return(agent))
            self._return(agent, "cancelled")

    def _last_return(self, agent: Agent) -> float:
        """Return the time of a node, but not before any child of its open turn that has returned."""
        ends = (self.tree.nodes[child].returned_at for child in agent.launches.values())
        return max((agent.now, *(end for end in ends if end is not None)))

    # Small things ---------------------------------------------------------------------------------------

    @property
    def _seq(self) -> int:
        return len(self.tree.events)

    def _is_ready(self, agent: Agent) -> bool:
        place = bisect_left(self._ready, (agent.node.path, agent.node.id))
        return place < len(self._ready) and self._ready[place][1] == agent.node.id

    def _prompt(self, depth: int) -> Prompt:
        return self._prompts[self.rules.recursive and depth < self.rules.limits.max_depth]

    def _open(self, node: Node) -> Session:
        seed = derive(self.seed, self.world.task.id, node.address)
        toolset = self._prompt(node.depth).toolset
        return self.rules.format.open(toolset, self.world.variables(node), seed)


def few(nodes: tuple[int, ...]) -> str:
    """List the first of many ids."""
    shown = ", ".join(map(str, nodes[:10]))
    return (f"{shown}, ... ({len(nodes)} in all)" if len(nodes) > 10 else shown) or "none"
