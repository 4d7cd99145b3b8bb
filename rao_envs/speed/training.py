"""What it costs to turn trees into tensors."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from rao_envs.events import Acted, Event, Observed, Returned, Sample, Spawned, Verdict
from rao_envs.extras import extra
from rao_envs.seeding import rng
from rao_envs.speed.credit import random_forest
from rao_envs.tree import ExecutionTree

__all__ = ["measure", "random_trees"]

TURNS = 3
TOKENS = 100


def random_trees(nodes: int, seed: int = 0, *, turns: int = TURNS, tokens: int = TOKENS) -> list[ExecutionTree]:
    """Make a typical batch of rollouts that contain a policy's tokens.

    Every node takes `turns` turns, each of which adds `tokens` tokens to its transcript, half of them sampled.

    Args:
        nodes: total number of nodes; see `credit.random_forest` for the shapes.
        seed: seed for the shapes, outcomes and tokens.
        turns: turns per node.
        tokens: tokens per turn.
    """
    success, parent, tree, group = random_forest(nodes, seed)
    random = rng(seed, "tokens")
    text = [random.randrange(50_000) for _ in range(10_000)]
    trees, first = [], 0
    for index, task in enumerate(group.tolist()):
        size = int((tree == index).sum())
        parents = [int(up) - first for up in parent[first : first + size]]
        log = _Log(f"task {task}", parents, success[first : first + size].tolist())
        for node in range(size):
            log.open(node)
            ids: list[int] = []
            for turn in range(turns):
                start = random.randrange(len(text) - tokens)
                ids += text[start : start + tokens // 2]
                output = tuple(text[start + tokens // 2 : start + tokens])
                log.act(node, Sample(tuple(ids), output, (-0.5,) * len(output)), last=turn == turns - 1)
                ids += output
        meta = {"rollout": index % 8, "seed": index}
        trees.append(ExecutionTree.from_events(log.close(), meta))
        first += size
    return trees


class _Log:
    """Writes the events of one rollout; every node launches its children in its last turn."""

    def __init__(self, task: str, parents: list[int], success: list[float]) -> None:
        self.task, self.parents, self.success = task, parents, success
        self.events: list[Event] = []

    def open(self, node: int) -> None:
        above = None if node == 0 else self.parents[node]
        task, system = ({"id": self.task}, "rules") if node == 0 else (None, None)
        goal = f"goal of {self.task}"
        self.events.append(Spawned(self._seq, node, 0.0, above, goal, goal, system, TURNS, None, task))

    def act(self, node: int, sample: Sample, last: bool) -> None:
        self.events.append(
            Acted(self._seq, node, 0.0, "x", 1.0, len(sample.prompt_ids), len(sample.output_ids), sample)
        )
        if not last:
            self.events.append(Observed(self._seq, node, 0.0, "seen", 0))

    def close(self) -> list[Event]:
        for node in reversed(range(len(self.parents))):
            verdict = Verdict(self.success[node])
            self.events.append(Returned(self._seq, node, 0.0, "finished", None, verdict))
        return self.events

    @property
    def _seq(self) -> int:
        return len(self.events)


def measure(nodes: int = 10_000, repeats: int = 5, seed: int = 0) -> dict[str, Any]:
    """Time `build_batch`, credit included, and for comparison torch's own padding of ready-made token lists.

    Args:
        nodes: size of the batch.
        repeats: how often to run each; the fastest counts.
        seed: seed of the batch.

    Returns:
        nodes, sequences, tokens, seconds, nodes_per_second and padding_seconds.

    Raises:
        ImportError: torch is not installed.
    """
    with extra("train", __name__):
        import torch

    from rao_envs.training import build_batch, records

    trees = random_trees(nodes, seed)
    seconds, batch = _fastest(repeats, lambda: build_batch(trees))
    ids = [sequence.ids for record in records(trees) for sequence in record.sequences()]

    def pad() -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)

    padding_seconds, _ = _fastest(repeats, pad)
    return {
        "nodes": nodes,
        "sequences": len(batch),
        "tokens": int(batch.attention_mask.sum()),
        "seconds": seconds,
        "nodes_per_second": nodes / seconds,
        "padding_seconds": padding_seconds,
    }


def _fastest(repeats: int, run: Any) -> tuple[float, Any]:
    best, result = float("inf"), None
    for _ in range(repeats):
        start = perf_counter()
        result = run()
        best = min(best, perf_counter() - start)
    return best, result
