"""What the engine knows about living nodes beyond the tree itself."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rao_envs.engine.waiting import Ending, Launches
from rao_envs.steps import Session
from rao_envs.tree import Node

__all__ = ["Agent", "ReadyNodes"]


@dataclass(slots=True, eq=False)
class Agent:
    """A living node.

    Attributes:
        node: its node in the tree.
        now: virtual time that it has reached.
        left: turns left.
        tokens: size of its transcript.
        call: number of the call, in its parent's turn, that launched it.
        session: its session; None before its first turn.
        calls: tool calls made in this turn.
        max_bytes: size to which the arguments of these calls are held; None if their format sees to it.
        blocked: whether its turn waits for a child to return.
        launches: the launches of its open turn; None if it made none.
        ending: how its turn ends once everything that it started has returned; None while its code still runs.
    """

    node: Node
    now: float
    left: int
    tokens: int
    call: int = 0
    session: Session | None = None
    calls: int = 0
    max_bytes: int | None = None
    blocked: bool = False
    launches: Launches | None = None
    ending: Ending | None = None


class ReadyNodes:
    """The nodes that wait for an action, depth-first.

    Changing many nodes at once costs a single pass over the list, so that a driver can ask all nodes at once even if
    there are a hundred thousand.
    """

    __slots__ = ("_added", "_keys")

    def __init__(self) -> None:
        """Start empty."""
        self._keys: list[_Key] = []
        self._added: list[_Key] = []

    def add(self, node: Node) -> None:
        """Add a node."""
        self._added.append((node.path, node.id))

    def remove(self, nodes: Sequence[Node]) -> None:
        """Remove nodes that are present."""
        keys = self._sorted()
        if len(nodes) <= _FEW:
            for node in nodes:
                del keys[bisect_left(keys, (node.path, node.id))]
        else:
            gone = {node.id for node in nodes}
            self._keys = [key for key in keys if key[1] not in gone]

    def clear(self) -> None:
        """Remove all nodes."""
        self._keys.clear()
        self._added.clear()

    @property
    def first(self) -> int | None:
        """Id of the first node; None if there is none."""
        keys = self._sorted()
        return keys[0][1] if keys else None

    @property
    def ids(self) -> tuple[int, ...]:
        """Ids of the nodes."""
        return tuple([node for _, node in self._sorted()])

    def _sorted(self) -> list[_Key]:
        if self._added:
            if len(self._added) <= _FEW:
                for key in self._added:
                    insort(self._keys, key)
            else:
                self._keys += self._added
                self._keys.sort()  # usually two sorted runs, which one pass merges
            self._added.clear()
        return self._keys


_Key: TypeAlias = tuple[tuple[int, ...], int]
_FEW = 8
