"""The engine: one rollout, turn by turn, synchronous and deterministic.

Concurrency means that several nodes are *ready* at once; the driver decides how many of them to ask at a time, and in
which order. Neither changes the tree, provided that the world's tools do not depend on who acts first:

- A launch starts when its turn next waits. What is never awaited never starts.
- Results are delivered in the order of *virtual* time: each is held back while another child could still return
  before it. So nothing in a turn happens before what it depends on.
- A turn ends when everything it has started has returned, whether it failed, ran out of time or called `finish`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from rao_envs._fields import MAX_SECONDS
from rao_envs.action import Action
from rao_envs.actions.tools import FINISH, LAUNCH, finish_message
from rao_envs.engine.agents import Agent
from rao_envs.engine.launching import Launcher
from rao_envs.engine.prompts import WHY, Prompts, cut
from rao_envs.engine.rules import Rules
from rao_envs.engine.waiting import Due, Ending, Finish, Launches, Outcome
from rao_envs.errors import EpisodeOver, NotReady, OptionError, ToolError
from rao_envs.events import Aborted, Acted, Blocked, Event, Fault, Observed, Resumed, Returned, Status, Verdict
from rao_envs.seeding import derive
from rao_envs.steps import LATER, Call, Done, Failure, Session, Step, Value, Wait
from rao_envs.tree import ExecutionTree, Node
from rao_envs.values import clean_text
from rao_envs.world import World

__all__ = ["Engine"]


class Engine:
    """One rollout.

    Attributes:
        world: its shared state.
        rules: its rules.
        seed: the seed from which its nodes' random streams are derived.
        tree: what has happened so far.
        agents: the living nodes by id.
    """

    def __init__(self, world: World, rules: Rules, seed: int, tree: ExecutionTree | None = None) -> None:
        """Prepare a rollout; `start` begins it, `resume` continues the one recorded in `tree`."""
        self.world = world
        self.rules = rules
        self.seed = seed
        self.tree = ExecutionTree() if tree is None else tree
        self._prompts = Prompts(world, rules)
        self._launcher = Launcher(world, rules, self.tree, self._prompts)
        self.agents = self._launcher.agents
        self._ready = self._launcher.ready
        self._resumable: list[tuple[int, tuple[int, ...], int]] = []

    # Driving --------------------------------------------------------------------------------------------

    def start(self) -> tuple[Event, ...]:
        """Spawn the root.

        Raises:
            OptionError: the context window cannot hold the root's prompt, or the world grants it no turn.
        """
        self._launcher.root()
        return tuple(self.tree.events)

    @property
    def ready(self) -> tuple[int, ...]:
        """Ids of the nodes that wait for an action, depth-first."""
        return self._ready.ids

    @property
    def next_ready(self) -> int | None:
        """The first of `ready`; None when the rollout is over."""
        return self._ready.first

    def advance(self, actions: Mapping[int, str | Action]) -> tuple[Event, ...]:
        """Give several ready nodes their actions at once; return what happened.

        Any exception in the middle of a turn (from a bug in the world, say) aborts the rollout: half a turn cannot be
        undone.

        Raises:
            EpisodeOver: the rollout has ended.
            NotReady: a node is not waiting for an action; nothing has been done.
            OptionError: an action is neither text nor an `Action`; nothing has been done.
        """
        if not self.agents:
            raise EpisodeOver("the episode is over: call reset() first")
        given: list[tuple[Agent, Action]] = []
        for node, action in actions.items():
            agent = self.agents.get(node)
            if agent is None or agent.blocked:  # between messages, a living node that is not blocked is ready
                raise NotReady(f"node {node!r} is not ready; ready: {_few(self.ready)}")
            given.append((agent, action if isinstance(action, Action) else Action(action)))
        if not given:
            raise NotReady(f"no actions were given; ready: {_few(self.ready)}")
        if len(given) > 1:
            given.sort(key=lambda pair: pair[0].node.path)
        log = self.tree.events
        start = log.size
        try:
            self._ready.remove([agent.node for agent, _ in given])
            for agent, action in given:
                self._turn(agent, action)
            self._resume_waiting()
        except BaseException as error:
            self.abort(f"{type(error).__name__}: {error}")
            raise
        happened = tuple(log[start:])
        log.pack()
        return happened

    def abort(self, reason: str) -> None:
        """Mark the rollout invalid and end it; a second call keeps the first reason."""
        if self.tree.invalid is None:
            root = self.agents.get(0)
            now = root.now if root is not None else self.tree.nodes[0].returned_at or 0.0
            self.tree.apply(Aborted(self.tree.events.size, 0, now, reason))
        self.close()

    def truncate(self) -> tuple[Event, ...]:
        """End a running rollout by an external limit: the root runs out of turns, its descendants are cancelled.

        Returns:
            What happened; nothing if the rollout is over.
        """
        log = self.tree.events
        start = log.size
        for node in sorted(self.agents, reverse=True):  # children have greater ids than their parents
            agent = self.agents[node]
            parent = None if agent.node.parent is None else self.agents[agent.node.parent]
            if parent is not None:
                parent.now = max(parent.now, agent.now)
            self._return(agent, "turns" if parent is None else "cancelled")
        self.close()
        return tuple(log[start:])

    def close(self) -> None:
        """End all sessions; the tree stays."""
        for agent in self.agents.values():
            if agent.session is not None:
                agent.session.close()
        self.agents.clear()
        self._ready.clear()
        self._resumable.clear()

    # Checkpoints ----------------------------------------------------------------------------------------

    def restore_session(self, node: Node, state: bytes) -> Session:
        """Restore a dumped session of `node`.

        Raises:
            CorruptCheckpoint: the bytes are not a session of this format.
        """
        toolset = self._prompts.at(node.depth).toolset
        return self.rules.format.restore(toolset, self.world.variables(node), state)

    def resume(self, agents: Mapping[int, Agent], ready: Sequence[int]) -> None:
        """Continue with these living nodes, of which these are ready."""
        self.agents.update(agents)
        for node in ready:
            self._ready.add(self.tree.nodes[node])

    # One turn -------------------------------------------------------------------------------------------

    def _turn(self, agent: Agent, action: Action) -> None:
        node, text, sample = agent.node, clean_text(action.text), action.sample
        prompt = agent.tokens if sample is None else len(sample.prompt_ids)
        output = self.rules.count(text) if sample is None else len(sample.output_ids)
        latency = self.rules.latency(prompt, output) if action.latency is None else action.latency
        if not 0 <= latency <= MAX_SECONDS - agent.now:
            fix = f"must return seconds of at least 0, and less than {MAX_SECONDS:g} in all"
            raise OptionError("latency", latency, fix)
        tree = self.tree
        tree.apply(Acted(tree.events.size, node.id, agent.now, text, latency, prompt, output, sample))
        agent.now += latency
        agent.left -= 1
        agent.tokens = prompt + output
        agent.calls = 0
        agent.max_bytes = self._bound(text)
        if agent.tokens > self.rules.limits.context_tokens:
            self._return(agent, "context")
            return
        if agent.session is None:
            agent.session = self._open(node)
        self._drive(agent, self.rules.format.start(agent.session, text))

    def _bound(self, text: str) -> int | None:
        """Return the size to which the arguments in a message are held; None if they cannot exceed it."""
        limit, growth = self.rules.limits.max_value_bytes, self.rules.format.growth
        return None if growth is not None and growth * len(text) <= limit else limit

    def _open(self, node: Node) -> Session:
        seed = derive(self.seed, self.world.task.id, node.address)
        toolset = self._prompts.at(node.depth).toolset
        return self.rules.format.open(toolset, self.world.variables(node), seed)

    def _drive(self, agent: Agent, step: Step | None) -> None:
        """Serve a turn until it ends or waits for children."""
        while step is not None:
            if isinstance(step, Call):
                step = self._call(agent, step)
            elif isinstance(step, Wait):
                step = self._wait(agent)
            else:
                self._end_turn(agent, step)
                return

    def _call(self, agent: Agent, call: Call) -> Step | None:
        session = agent.session
        assert session is not None
        agent.calls += 1
        limits = self.rules.limits
        over = agent.calls > limits.max_calls
        if call.name == FINISH:
            try:
                result = finish_message(call.args, call.kwargs, agent.max_bytes)
            except ToolError as error:
                if not over:
                    return session.answer(call.id, Failure(str(error)))
            else:
                self._end_turn(agent, Finish(result, session.abandon()))
                return None
        if over:
            limit = f"Stopped: more than {limits.max_calls:,} tool calls in one turn."
            return Done(f"{session.abandon()}\n{limit}".lstrip(), "agent")
        if call.name == LAUNCH:
            if agent.launches is None:
                agent.launches = Launches()
            agent.launches.requested.append(call)
            return session.answer(call.id, LATER)
        tool = self._prompts.at(agent.node.depth).toolset.tools[call.name]
        try:
            return session.answer(call.id, Value(tool(self.world, agent.node, call.args, call.kwargs, agent.max_bytes)))
        except ToolError as error:
            return session.answer(call.id, Failure(str(error)))

    # Waiting for children -------------------------------------------------------------------------------

    def _wait(self, agent: Agent) -> Step | None:
        """Start what was launched; deliver the outcome that is due, or block if there is none."""
        session, launches = agent.session, agent.launches
        assert session is not None
        assert launches is not None
        if launches.requested:
            self._start(agent, launches)
        # Refusals come first: a refusal may end the turn, and it can then still cancel the children just started,
        # which cannot have acted.
        if launches.refused:
            return session.settle(*launches.refused.popleft())
        launches.fresh.clear()
        due = self._next_due(agent, launches)
        return None if due is None else session.settle(due[1], self._deliver(agent, launches, due).answer)

    def _start(self, agent: Agent, launches: Launches) -> None:
        requested, launches.requested = launches.requested, []
        for call in requested:
            child = self._launcher.launch(agent, call)
            if isinstance(child, str):
                launches.refused.append((call.id, Failure(f"refused: {child}")))
            else:
                launches.started(call.id, child.node.id, agent.now)

    def _next_due(self, agent: Agent, launches: Launches) -> Due | None:
        """Return what is due to a waiting turn; block it if nothing is."""
        # Announced in either case: whether something is already due depends on which node the driver asked first.
        if not launches.announced:
            launches.announced = True
            on = tuple(launches.running.values())
            self.tree.apply(Blocked(self.tree.events.size, agent.node.id, agent.now, on))
        due = launches.due(self.agents)
        if due is None:
            agent.blocked = True
            self._progressed(agent)
        return due

    def _deliver(self, agent: Agent, launches: Launches, due: Due) -> Outcome:
        agent.now = max(agent.now, due[0])
        agent.blocked = False
        child = launches.running[due[1]]
        outcome = launches.deliver()
        agent.left += outcome.left
        self.tree.apply(Resumed(self.tree.events.size, agent.node.id, agent.now, child))
        return outcome

    def _progressed(self, agent: Agent) -> None:
        """Note that a node has advanced in time: an outcome that its parent holds back may now be due."""
        parent = None if agent.node.parent is None else self.agents.get(agent.node.parent)
        if parent is not None and parent.blocked and parent.launches is not None and parent.launches.order:
            heappush(self._resumable, (-parent.node.depth, parent.node.path, parent.node.id))

    def _resume_waiting(self) -> None:
        """Continue the turns to which an outcome is due, deepest first."""
        while self._resumable:
            agent = self.agents.get(heappop(self._resumable)[2])
            if agent is None or not agent.blocked or agent.launches is None or agent.launches.due(self.agents) is None:
                continue
            if agent.ending is None:
                self._drive(agent, self._wait(agent))
            else:
                self._end_turn(agent, agent.ending)

    # Ends -----------------------------------------------------------------------------------------------

    def _end_turn(self, agent: Agent, ending: Ending) -> None:
        """End a turn as soon as everything it has started has returned."""
        notice = ""
        if agent.launches is not None:
            if agent.ending is None:
                agent.ending = ending
                self._drop(agent, agent.launches)
            if self._is_waited_for(agent, agent.launches):
                return
            notice = agent.launches.notice()
            agent.launches = agent.ending = None
        if isinstance(ending, Finish):
            self._observe(agent, ending.shown, None)
            self._return(agent, "finished", ending.result)
            return
        text = f"{ending.text}\n{notice}" if ending.text and notice else ending.text or notice
        text = self._observe(agent, text.rstrip("\n") or "(no output)", ending.fault)
        agent.tokens += self.rules.count(text)
        if agent.tokens >= self.rules.limits.context_tokens:
            self._return(agent, "context")
        elif agent.left <= 0:
            self._return(agent, "turns")
        else:
            self._ready.add(agent.node)
            self._progressed(agent)

    def _drop(self, agent: Agent, launches: Launches) -> None:
        """Undo launches that have not started, or that cannot have acted."""
        launches.dropped = len(launches.requested)
        launches.requested.clear()
        for child in launches.fresh:
            self._cancel(agent, launches, self.agents[child])
        launches.fresh.clear()

    def _is_waited_for(self, agent: Agent, launches: Launches) -> bool:
        """Deliver what is due to a turn that has ended; return whether more is to come."""
        while launches.running:
            due = self._next_due(agent, launches)
            if due is None:
                return True
            self._deliver(agent, launches, due)
            launches.lost += 1
        return False

    def _observe(self, agent: Agent, text: str, fault: Fault | None) -> str:
        text = cut(clean_text(text).rstrip("\n"), self.rules.limits.max_observation_chars)
        self.tree.apply(Observed(self.tree.events.size, agent.node.id, agent.now, text, agent.calls, fault))
        return text

    def _return(self, agent: Agent, status: Status, result: Any = None) -> None:
        """End a node, and keep its outcome for its parent."""
        node = agent.node
        finished = status == "finished"
        verdict = self.world.verify(node, result) if finished else Verdict(0.0, "engine", WHY[status])
        self.tree.apply(Returned(self.tree.events.size, node.id, agent.now, status, result, verdict))
        self.world.closed(node)
        if agent.session is not None:
            agent.session.close()
        del self.agents[node.id]
        parent = None if node.parent is None else self.agents.get(node.parent)
        if parent is None or parent.launches is None or status == "cancelled":
            return
        answer = Value(result if finished else f"[the subagent did not finish: it {WHY[status]}]")
        left = 0 if self.rules.limits.tree_turns is None else agent.left
        parent.launches.returned(agent.call, agent.now, Outcome(answer, left))
        self._progressed(agent)

    def _cancel(self, parent: Agent, launches: Launches, agent: Agent) -> None:
        """End a child that has not acted."""
        self._ready.remove([agent.node])
        del launches.running[agent.call]
        if self.rules.limits.tree_turns is not None:
            parent.left += agent.left
        self._return(agent, "cancelled")


def _few(nodes: tuple[int, ...]) -> str:
    """List up to ten ids, and their number if there are more."""
    shown = ", ".join(map(str, nodes[:10]))
    return (f"{shown}, ... ({len(nodes)} in all)" if len(nodes) > 10 else shown) or "none"
