"""`RecursiveEnv`: a Gymnasium environment in which the agent may spawn copies of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np

from rao_envs.action import Action
from rao_envs.actions import ActionFormat, CallsFormat, CodeFormat
from rao_envs.engine import Engine, Latency, Limits, TokenCounter, count_tokens
from rao_envs.engine.checkpoint import MAX_UNPACKED, pack, pack_engine, unpack, unpack_engine
from rao_envs.engine.rules import Rules
from rao_envs.errors import CorruptCheckpoint, EpisodeOver, OptionError
from rao_envs.events import Event
from rao_envs.identity import describe, differing, given_options
from rao_envs.options import check_options
from rao_envs.sandbox.base import Sandbox
from rao_envs.spaces import TextSpace
from rao_envs.tree import ExecutionTree
from rao_envs.world import Task, TaskSource, World

__all__ = ["RecursiveEnv"]

_MAX_TEXT = 10_000_000

_NOT_OPTIONS = frozenset(
    # Compared by what they come to, or without a bearing on the rollout.
    {"action_format", "latency", "limits", "recursive", "render_mode", "sandbox", "token_counter"}
)


class RecursiveEnv(gym.Env[str, str]):
    """A tree of agents acting on one shared world.

    ## Description
    The root is given a task. Every agent, the root included, acts in turns; an agent may launch subagents, which
    are agents of the same kind with a goal and a context window of their own, and await what they return. One
    policy serves all of them. `step` drives one agent at a time, depth first; `ready` and `advance` drive all
    agents that wait for an action at once.

    ## Action Space
    `TextSpace`: the acting agent's message. With `action_format="code"` it is Python for the agent's own
    sandboxed session, with `action_format="calls"` a JSON list of tool calls.

    ## Observation Space
    `TextSpace`: what the agent that acts *next* sees now: the outcome of its last action, or, for an agent that
    has not acted yet, what it is asked. Its whole chat is ``info["messages"]``.

    ## Rewards
    0 until the root returns, then the root's own success in [0, 1]. Rewards of all nodes come from the tree:
    `rao_envs.credit`.

    ## Starting State
    One node, the root, ready. `reset(seed=...)` draws the task; `reset(options={"task": 17})` takes task 17.

    ## Episode End
    Terminated when the root calls `finish`. Truncated when the root runs out of turns or outgrows its context
    window.

    ## Arguments
    See `__init__`; benchmarks add their own.

    Attributes:
        tasks: where tasks come from: number -> `Task`.
        make_world: `Task` -> a fresh `World`.
        rules: what holds for every rollout.
        oracles: scripted policies by name, functions of a `rao_envs.policies.View`: "recursive" solves the
            benchmark by delegating, "single" tries alone.
        difficulties: names of the difficulties, easiest first.
    """

    oracles: ClassVar[Mapping[str, Callable[[Any], str]]] = {}
    difficulties: ClassVar[tuple[str, ...]] = ()
    _options: dict[str, Any]
    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's own type)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Reject unknown options and values of a wrong type, whatever subclass they are meant for; note the others.

        Raises:
            OptionError: names the class, the option, the closest name and all known names.
        """
        check_options(cls, args, options)
        env = super().__new__(cls)
        env._options = given_options(cls, args, options, _NOT_OPTIONS)
        return env

    def __init__(
        self,
        tasks: TaskSource,
        world: Callable[[Task], World],
        *,
        action_format: str = "code",
        limits: Limits | Mapping[str, Any] | None = None,
        recursive: bool = True,
        latency: Callable[[int, int], float] | None = None,
        token_counter: TokenCounter = count_tokens,
        sandbox: Sandbox | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Make an environment over tasks and their world.

        Args:
            tasks: task number -> `Task`, pure.
            world: `Task` -> a fresh `World`.
            action_format: "code" or "calls".
            limits: a `Limits`, or a dict of those that differ from the default.
            recursive: whether agents may launch subagents; False makes the single-agent environment.
            latency: (prompt tokens, output tokens) -> virtual seconds of a message whose latency was not measured;
                None takes `Latency()`.
            token_counter: counts the tokens of one message.
            sandbox: where code runs; None uses the pool that this process shares.
            render_mode: None or "ansi" (the tree as text).

        Raises:
            OptionError: an option has an impossible value.
        """
        if render_mode not in (None, "ansi"):
            raise OptionError("render_mode", render_mode, "must be None or 'ansi'")
        self.render_mode = render_mode
        self.tasks = tasks
        self.rules = Rules(
            format=_format(action_format, sandbox),
            limits=_limits(limits),
            recursive=bool(recursive),
            latency=Latency() if latency is None else latency,
            count=token_counter,
        )
        self.observation_space = TextSpace(_MAX_TEXT)
        self.action_space = TextSpace(_MAX_TEXT)
        self.make_world = world
        self._engine: Engine | None = None

    @property
    def limits(self) -> Limits:
        """What a rollout may use."""
        return self.rules.limits

    @property
    def action_format(self) -> str:
        """How actions are written: "code" or "calls"."""
        return self.rules.format.name

    # The turn-based face --------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin a rollout.

        Args:
            seed: fixes the task (unless `options` name it) and all random streams of the rollout.
            options: "task": a task number, or a `Task`.

        Raises:
            OptionError: an unknown option, or not a task. The rollout in progress is untouched then.
        """
        chosen = _chosen_task(options)
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31))
        task = chosen if isinstance(chosen, Task) else self.tasks(drawn if chosen is None else chosen)
        engine = Engine(self.make_world(task), self.rules, drawn)
        events = engine.start()
        # Not before: a reset that fails leaves the rollout in progress as it was.
        self.close()
        self._engine = engine
        return self._see(events)

    def step(self, action: str | Action) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Give the acting node (``info["node"]``) its action, and go on to the next node that waits for one.

        Args:
            action: the node's message, or an `Action` with its tokens and latency.

        Returns:
            What the next acting node sees, the root's reward, terminated, truncated, info.

        Raises:
            EpisodeOver: `reset` was not called, or the episode has ended.
            OptionError: the action is neither text nor an `Action`. Nothing has happened then.
        """
        engine = self._running()
        node = engine.next_ready
        if node is None:
            raise EpisodeOver("the episode is over: call reset() first")
        events = engine.advance({node: action})
        observation, info = self._see(events)
        root = engine.tree.root
        if root.status is None:
            return observation, 0.0, False, False, info
        finished = root.status == "finished"
        return observation, float(root.success or 0.0), finished, not finished, info

    def _see(self, events: tuple[Event, ...]) -> tuple[str, dict[str, Any]]:
        engine = self._running()
        place = engine.next_ready
        node = engine.tree.nodes[place or 0]
        info: dict[str, Any] = {
            "node": node.id,
            "depth": node.depth,
            "events": events,
            "messages": node.messages,
            "task": engine.world.task.id,
        }
        if place is None:
            info["tree"] = engine.tree
        seen = node.turns[-1].observation if node.turns else node.opening
        return seen or "", info

    # The parallel face ----------------------------------------------------------------------------------

    @property
    def ready(self) -> tuple[int, ...]:
        """Ids of the nodes that wait for an action, depth first; empty when the rollout is over."""
        return self._running().ready

    def advance(self, actions: Mapping[int, str | Action]) -> tuple[Event, ...]:
        """Give several ready nodes their actions; return the events that followed.

        The actions take effect in the order of `ready`, whatever the order of the mapping.

        Args:
            actions: message by node id; nodes left out stay ready.

        Raises:
            EpisodeOver: `reset` was not called, or the episode has ended.
            NotReady: a node is not waiting for an action; nothing has happened then.
            OptionError: an action is neither text nor an `Action`; nothing has happened then.
        """
        return self._running().advance(actions)

    @property
    def tree(self) -> ExecutionTree:
        """The execution tree so far."""
        return self._running().tree

    @property
    def world(self) -> World:
        """The rollout's world, for analysis; agents never see it."""
        return self._running().world

    @property
    def rollout_seed(self) -> int:
        """What the rollout's random streams are hashed from: drawn by `reset`, and kept by checkpoints."""
        return self._running().seed

    def abort(self, reason: str) -> None:
        """End the rollout and mark it invalid: the infrastructure failed, the policy is not to blame."""
        self._running().abort(reason)

    def truncate(self) -> tuple[Event, ...]:
        """End a running rollout by a limit of the caller's, such as Gymnasium's `TimeLimit`.

        The tree is then finished: the root has failed with status "turns", and nodes below it that were still at
        work with status "cancelled"; ``tree.meta["truncated"]`` is True. A rollout that is over stays as it is.

        Returns:
            The events that this adds.

        Raises:
            EpisodeOver: `reset` was not called.
        """
        events = self._running().truncate()
        if events:
            self.tree.meta["truncated"] = True
        return events

    # Checkpoints ----------------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Return the options that a checkpoint must have in common with this environment, as JSON-able data.

        These are the options that the environment was made with, whatever subclass they are meant for, as
        `rao_envs.identity.describe` describes them. Override it to leave out what makes no difference to a rollout,
        such as where a file lies on this machine. The action format, the limits and `recursive` are compared anyway.
        """
        rules = {"latency": describe(self.rules.latency), "token_counter": describe(self.rules.count)}
        return {**self._options, **rules}

    def save(self) -> bytes:
        """Return the rollout as bytes: to go on later, elsewhere, or twice (a fork).

        Raises:
            EpisodeOver: `reset` was not called.
        """
        data, sessions = pack_engine(self._running())
        data["identity"] = self.identity()
        data["generator"] = _jsonable_state(self.np_random.bit_generator.state)
        return pack(data, sessions)

    def load(self, checkpoint: bytes, *, max_bytes: int = MAX_UNPACKED) -> tuple[str, dict[str, Any]]:
        """Resume a rollout that `save` of an environment with the same options returned.

        Args:
            checkpoint: what `save` returned.
            max_bytes: how much it may unpack to.

        Returns:
            What `reset` returns: the acting node's observation, and info.

        Raises:
            CorruptCheckpoint: not a checkpoint, a damaged one, one of an environment with other options (see
                `identity`), or one that unpacks to more than `max_bytes`. The rollout in progress is untouched then.
        """
        data, sessions = unpack(checkpoint, max_bytes)
        if difference := differing(data.get("identity"), self.identity()):
            raise CorruptCheckpoint(f"the checkpoint was saved {difference}")
        engine = unpack_engine(data, sessions, self.rules, self.make_world)
        try:
            generator = np.random.Generator(np.random.PCG64(0))
            generator.bit_generator.state = data["generator"]
        except Exception as error:
            raise CorruptCheckpoint(f"the checkpoint's random generator is damaged: {error!r:.200}") from error
        self.close()
        self.np_random = generator
        self._engine = engine
        return self._see(())

    # Gymnasium's rest -----------------------------------------------------------------------------------

    def render(self) -> str | None:
        """Return the tree so far as text in render mode "ansi", else None."""
        if self.render_mode != "ansi" or self._engine is None:
            return None
        return "\n".join(f"{'  ' * node.depth}{node!r}" for node in self._engine.tree.walk())

    def close(self) -> None:
        """End the rollout's sessions; its tree stays readable."""
        if self._engine is not None:
            self._engine.close()

    def _running(self) -> Engine:
        if self._engine is None:
            raise EpisodeOver("no episode has begun: call reset() first")
        return self._engine


def _format(name: str, sandbox: Sandbox | None) -> ActionFormat:
    if name == "code":
        return CodeFormat(sandbox)
    if name == "calls":
        return CallsFormat()
    raise OptionError("action_format", name, "must be 'code' or 'calls'")


def _limits(limits: Limits | Mapping[str, Any] | None) -> Limits:
    if isinstance(limits, Limits):
        return limits
    if limits is not None and not isinstance(limits, Mapping):
        raise OptionError("limits", limits, "must be a Limits, or a dict such as {'max_turns': 10}")
    try:
        return Limits(**(limits or {}))
    except TypeError as error:
        known = ", ".join(Limits().to_dict())
        raise OptionError("limits", limits, f"unknown limit; known: {known}") from error


def _chosen_task(options: Mapping[str, Any] | None) -> Task | int | None:
    """Return the task or the task number that the options of `reset` name; None if they name none."""
    if options is not None and not isinstance(options, Mapping):
        raise OptionError("options", options, "must be a dict, such as {'task': 17}")
    if unknown := set(options or ()) - {"task"}:
        raise OptionError("options", sorted(map(str, unknown)), "unknown; known: 'task'")
    if not options or isinstance(options["task"], Task):
        return options["task"] if options else None
    number = options["task"]
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
        raise OptionError("options['task']", number, "must be a task number (an int >= 0) or a Task")
    return int(number)


def _jsonable_state(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {key: _jsonable_state(value) for key, value in state.items()}
    return state if isinstance(state, str) else int(state)
