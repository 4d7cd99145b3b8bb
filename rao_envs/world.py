"""What a benchmark supplies: a task, a world with tools, and a verdict on every node."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from rao_envs.errors import CorruptCheckpoint, OptionError, ToolError
from rao_envs.events import Verdict

if TYPE_CHECKING:
    from rao_envs.tree import Node

__all__ = ["Subtask", "Task", "TaskSource", "Verdict", "World", "tool"]


@dataclass(frozen=True, slots=True)
class Task:
    """One root problem, made by a generator that is pure in (seed, split, index).

    Attributes:
        id: unique name; rollouts of the same id form a group.
        goal: what the root is asked, in words.
        payload: the same in the benchmark's own terms: what its `World` needs. JSON-able.
        difficulty: name of the difficulty.
        split: "train", "val" or "test".
        index: index in its split.
    """

    id: str
    goal: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    difficulty: str = "default"
    split: str = "train"
    index: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the task as JSON-able data; ``Task(**data)`` is its inverse."""
        return asdict(self)


class TaskSource(Protocol):
    """Where an environment gets its tasks: pure in its arguments, so that any process can make any task."""

    def __call__(self, index: int) -> Task:
        """Return task number `index` (any int >= 0)."""
        ...


@dataclass(frozen=True, slots=True)
class Subtask:
    """What a parent passes to `launch_subagent`, as its world understood it.

    Attributes:
        goal: what the child is asked, in words.
        payload: the same in the benchmark's own terms (JSON-able, small: it is stored in the tree).
        budget: turns granted; None grants what the limits allow.
        opening: the child's first user message; None shows it the goal.
    """

    goal: str
    payload: Any = None
    budget: int | None = None
    opening: str | None = None


Method = TypeVar("Method", bound=Callable[..., Any])


def tool(method: Method) -> Method:
    """Mark a method of a `World` as a tool that agents may call.

    The method takes ``(self, node, ...)``; the remaining parameters are what the agent passes. They are
    checked against their annotations, and the signature and docstring are shown to the model. Return JSON-able
    data; raise `ToolError` to tell the agent what it did wrong.
    """
    method.__rao_tool__ = True  # type: ignore[attr-defined]
    return method


class World(ABC):
    """One rollout's shared state and rules. One instance serves one rollout.

    A benchmark subclasses it: methods marked `@tool` are what agents may call, `delegate` says what
    `launch_subagent` takes, and `verify` judges each node on its own goal.

    Attributes:
        tools: names of the methods marked `@tool`, in order of definition.
        instructions: the rules in words, shown to every node in its system message.
        finish_doc: what `finish` expects, in words.
        task: the root problem.
    """

    tools: ClassVar[tuple[str, ...]] = ()
    instructions: ClassVar[str] = ""
    finish_doc: ClassVar[str] = "End your work and hand `message` to whoever asked for it."

    def __init__(self, task: Task) -> None:
        """Set up the initial state for `task`."""
        self.task = task

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the tools once per class."""
        super().__init_subclass__(**kwargs)
        own = (name for name, value in vars(cls).items() if getattr(value, "__rao_tool__", False))
        cls.tools = tuple(dict.fromkeys((*cls.tools, *own)))

    def root(self) -> Subtask:
        """Return what the root is asked: by default, the task itself."""
        return Subtask(self.task.goal, self.task.payload)

    def delegate(self, node: Node, *args: Any, **kwargs: Any) -> Subtask:
        """Turn the arguments of `launch_subagent` into a subtask.

        Override it with your own parameters, such as ``delegate(self, node, goal: str)``; they are checked and shown
        to the model like those of a tool. A world that does not override it has no `launch_subagent`.

        Args:
            node: the parent.
            args: the agent's positional arguments.
            kwargs: the agent's keyword arguments.

        Raises:
            ToolError: the launch is refused; the message tells the agent why.
        """
        raise ToolError("in this world there is nothing to delegate")

    def variables(self, node: Node) -> Mapping[str, Any]:
        """Return JSON-able variables that `node` finds in its Python session (code format only)."""
        return {}

    def opened(self, node: Node) -> None:
        """Learn that `node` now exists."""
        return

    def closed(self, node: Node) -> None:
        """Learn that `node` has been judged and has ended."""
        return

    @abstractmethod
    def verify(self, node: Node, result: Any) -> Verdict:
        """Judge `node`, which called `finish(result)`, on its own goal."""

    def state(self) -> Mapping[str, Any]:
        """Return the state as JSON-able data for a checkpoint.

        The default takes every attribute except `task` and those whose names start with an underscore (which
        `__init__` must be able to derive). Override it where attributes are not JSON-able.

        Raises:
            OptionError: an attribute is not JSON-able.
        """
        state = {k: v for k, v in vars(self).items() if k != "task" and not k.startswith("_")}
        for name, value in state.items():
            try:
                exact = json.loads(json.dumps(value)) == value
            except (TypeError, ValueError):
                exact = False
            if not exact:
                raise OptionError(
                    f"{type(self).__name__}.{name}",
                    value,
                    "does not survive JSON; keep JSON-able attributes, or override state() and restore()",
                )
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned, on a world fresh from `__init__`.

        Raises:
            CorruptCheckpoint: the state belongs to another world.
        """
        if set(state) != set(self.state()):
            raise CorruptCheckpoint(
                f"the checkpoint's world has {sorted(state)}, {type(self).__name__} has {sorted(self.state())}"
            )
        vars(self).update(state)
