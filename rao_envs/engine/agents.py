"""What the engine knows of living nodes beyond their place in the tree."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

from rao_envs.engine.waiting import Ending, Launches
from rao_envs.steps import Session
from rao_envs.tree import Node

__all__ = ["Agent", "ReadyNodes"]


@dataclass(slots=True, eq=False)
class Agent:
    """A living node.

    Attributes:
        node: its place in the tree.
        now: virtual time that it has reached.
        left: turns left.
        tokens: size of its transcript.
        call: number of the call, in its parent's turn, that launched it.
        session: its side of the conversation; None before its first turn.
        calls: tool calls made in this turn.
        blocked: whether its turn stands still until a child returns.
        launches: the launches of its open turn; None if it made none.
        ending: how its turn ends once all that it started has returned; None while it goes on.
    """

    node: Node
    now: float
    left: int
    tokens: int
    call: int = 0
    session: Session | None = None
    calls: int = 0
    blocked: bool = False
    launches: Launches | None = None
    ending: Ending | None = None


class ReadyNodes:
    """The nodes that wait for an action, depth first."""

    __slots__ = ("_keys",)

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        """Start with these nodes."""
        self._keys = sorted((node.path, node.id) for node in nodes)

    def add(self, node: Node) -> None:
        """Let a node wait for an action."""
        insort(self._keys, (node.path, node.id))

    def remove(self, node: Node) -> None:
        """Take a node out that is in."""
        del self._keys[bisect_left(self._keys, (node.path, node.id))]

    def __contains__(self, node: Node) -> bool:
        """Say whether a node waits for an action."""
        i = bisect_left(self._keys, (node.path, node.id))
        return i < len(self._keys) and self._keys[i][1] == node.id

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self._keys)

    def clear(self) -> None:
        """Take all of them out."""
        self._keys.clear()

    @property
    def first(self) -> int | None:
        """Id of the first of them; None if there is none."""
        return self._keys[0][1] if self._keys else None

    @property
    def ids(self) -> tuple[int, ...]:
        """Their ids."""
        return tuple([node for _, node in self._keys])
