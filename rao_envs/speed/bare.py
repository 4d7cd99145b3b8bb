"""The lower bound for the code format: the same snippets and tool calls, without an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pydantic_monty as monty

from rao_envs.actions.tools import FINISH, LAUNCH, Toolset
from rao_envs.env import RecursiveEnv
from rao_envs.errors import ToolError
from rao_envs.sandbox.monty import MontySandbox
from rao_envs.sandbox.monty.session import PooledSession
from rao_envs.sandbox.monty.wire import session_options, wire
from rao_envs.steps import Answer, Failure, Step, Value
from rao_envs.tree import Node
from rao_envs.world import Task, World

__all__ = ["Recorder", "Recording", "play"]

Operation = tuple[str, int, Any]
"""One interpreter call: ("start" | "answer" | "end", session number, argument)."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One rollout as interpreter calls.

    Attributes:
        task: what was played.
        operations: the interpreter calls, in order.
        nodes: the node that each session number belongs to.
    """

    task: Task
    operations: Sequence[Operation]
    nodes: Sequence[Node]


class Recorder:
    """A sandbox that records everything the interpreter is asked to do."""

    def __init__(self, sandbox: MontySandbox) -> None:
        """Record what goes to `sandbox`."""
        self._sandbox = sandbox
        self._log: list[Operation] = []
        self._count = 0

    def take(self) -> list[Operation]:
        """Return what was recorded since the last call, and clear it."""
        log, self._log, self._count = self._log, [], 0
        return log

    def open(self, tools: Sequence[str], variables: Mapping[str, Any], seed: int) -> _RecordedRepl:
        """Open a session that is recorded."""
        self._count += 1
        return _RecordedRepl(self._sandbox.open(tools, variables, seed), self._log, self._count - 1)

    def restore(self, tools: Sequence[str], variables: Mapping[str, Any], state: bytes) -> PooledSession:
        """Restore a session, unrecorded."""
        return self._sandbox.restore(tools, variables, state)

    def close(self) -> None:
        """Do nothing: the recorder holds no resources."""


class _RecordedRepl:
    def __init__(self, repl: PooledSession, log: list[Operation], name: int) -> None:
        self._repl, self._log, self._name = repl, log, name
        self.dump = repl.dump
        self.close = repl.close

    def start(self, code: str) -> Step:
        self._log.append(("start", self._name, code))
        return self._repl.start(code)

    def answer(self, call: int, answer: Answer) -> Step:
        self._log.append(("answer", self._name, wire(answer)))
        return self._repl.answer(call, answer)

    def settle(self, call: int, answer: Value | Failure) -> Step:
        self._log.append(("answer", self._name, {call: wire(answer)}))
        return self._repl.settle(call, answer)

    def abandon(self) -> str:
        self._log.append(("end", self._name, None))
        return self._repl.abandon()


def play(pool: monty.Monty, sandbox: MontySandbox, env: RecursiveEnv | None, recordings: Sequence[Recording]) -> None:
    """Replay recordings directly on the interpreter.

    Args:
        pool: the workers.
        sandbox: whose limits apply.
        env: makes the worlds on which the tools are called; None calls no tools.
        recordings: the rollouts to replay.
    """
    options = session_options(sandbox.limits, 0)
    for recording in recordings:
        server = None if env is None else _Server(env.make_world(recording.task), recording.nodes)
        _play(pool, options, server, recording.operations)


def _play(
    pool: monty.Monty, options: Mapping[str, Any], server: _Server | None, operations: Sequence[Operation]
) -> None:
    sessions: dict[int, monty.MontySession] = {}
    snapshots: dict[int, Any] = {}
    collector = monty.CollectString()
    for kind, name, argument in operations:
        if kind == "start":
            if name not in sessions:
                sessions[name] = pool.checkout(**options)
                sessions[name].__enter__()
            collector = monty.CollectString()
            snapshot: Any = sessions[name].feed_start(argument, print_callback=collector)
        elif kind == "answer":
            snapshot = snapshots[name].resume(argument)
        else:
            sessions.pop(name).__exit__(None, None, None)
            continue
        snapshots[name] = snapshot
        if isinstance(snapshot, monty.FunctionSnapshot):
            call = snapshot.function_name, snapshot.args, snapshot.kwargs
            if server is not None:
                server.serve(name, *call)
        elif isinstance(snapshot, monty.MontyComplete):
            _ = collector.output, snapshot.output


@cache
def _toolset(world: type[World]) -> Toolset:
    # Like the engine, read a world's tools once, not for every rollout.
    return Toolset(world, delegate=True)


class _Server:
    """Calls the world's tools for the nodes of a recording."""

    def __init__(self, world: World, nodes: Sequence[Node]) -> None:
        self._world, self._nodes = world, nodes
        self._tools = _toolset(type(world))
        self._by_id = {node.id: node for node in nodes}
        self._launched = dict.fromkeys(self._by_id, 0)
        world.opened(nodes[0])

    def serve(self, name: int, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        node, world = self._nodes[name], self._world
        if function == FINISH:
            world.verify(node, args[0])
            world.closed(node)
        elif function == LAUNCH and self._tools.launch is not None:
            self._tools.launch(world, node, args, kwargs)
            world.opened(self._by_id[node.children[self._launched[node.id]]])
            self._launched[node.id] += 1
        else:
            try:
                self._tools.tools[function](world, node, args, kwargs)
            except ToolError:
                return
