"""Trainer-independent records: what any trainer needs of a node, as plain data and as JSON Lines.

| field | is |
|---|---|
| `task_id`, `group`, `rollout`, `seed` | the task, its number in the batch, which of its rollouts, its seed |
| `node`, `parent`, `depth` | position in the tree: paths such as "0.2.1" |
| `turns` | tokens and log-probabilities as sampled, turn by turn |
| `success`, `reward`, `baseline`, `advantage`, `weight` | the row of `credit.NodeTable` |
| `cost` | what the node itself used, without its descendants |

Token ids are those of the `Sample` that the policy returned when it acted. Nothing here tokenises text.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import compress
from typing import Any

from rao_envs import credit
from rao_envs._fields import (
    Check,
    as_count,
    as_int,
    as_logprobs,
    as_number,
    as_text,
    as_token_ids,
    maybe,
    shown,
)
from rao_envs.credit import NodeTable
from rao_envs.errors import CorruptTree, OptionError
from rao_envs.events import Sample
from rao_envs.tree import ExecutionTree, Node, Turn

__all__ = ["NodeRecord", "TrainingSequence", "TurnRecord", "read_records", "records", "write_records"]

MAX_LOGPROB = 1e-3
"""By how much rounding may push a log-probability above 0."""

_NUMBERS = ("success", "reward", "baseline", "advantage", "weight")


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """The tokens of one turn.

    Attributes:
        prompt_ids: token ids that the policy was given, length P.
        output_ids: token ids that followed, length T.
        logprobs: natural-log probabilities of `output_ids` when sampled, length T.
        mask: 1 where the policy sampled the token, 0 where something else inserted it, length T.
        text: the message as the environment read it.
    """

    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    mask: tuple[int, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """One row of a batch: turns of one node that continue each other, as a single sequence of tokens.

    Attributes:
        ids: all tokens, length L: prompts, messages, observations.
        mask: one byte per token, 1 where the policy sampled it, length L.
        logprobs: log-probabilities of the sampled tokens, in order.
    """

    ids: tuple[int, ...]
    mask: bytes
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One node of a batch.

    Attributes:
        task_id: the task's id.
        group: number of the task in the batch.
        rollout: number of the rollout within its task.
        node: path from the root: "0", "0.2.1".
        parent: its parent's path; None for a root.
        depth: 0 for a root.
        turns: what it sampled.
        success: own success, nan = unjudged; see `credit.NodeTable` for this and the next four.
        reward: success plus delegation bonus.
        baseline: what the reward is compared with.
        advantage: reward − baseline.
        weight: factor on the node's loss; 0 = not trained on.
        cost: "turns", "prompt_tokens", "output_tokens" and (virtual) "seconds" of the node itself.
        seed: what the rollout's random numbers were hashed from; None if unknown.
    """

    task_id: str
    group: int
    rollout: int
    node: str
    parent: str | None
    depth: int
    turns: tuple[TurnRecord, ...]
    success: float
    reward: float
    baseline: float
    advantage: float
    weight: float
    cost: Mapping[str, float]
    seed: int | None

    @property
    def name(self) -> str:
        """Name of the node for messages."""
        return f"task {self.task_id!r}, rollout {self.rollout}, node {self.node}"

    def sequences(self) -> list[TrainingSequence]:
        """Merge turns into training sequences.

        A turn whose prompt begins with everything before it (prompt and message of the turns merged so far)
        continues that sequence; any other begins a new one. Turns without sampled tokens are skipped: the next turn
        is compared with what came before them.
        """
        merged: list[TrainingSequence] = []
        for turn in self.turns:
            if 1 not in turn.mask:
                continue
            known, mask, logprobs = ((), b"", ())  # type: tuple[tuple[int, ...], bytes, tuple[float, ...]]
            if merged and turn.prompt_ids[: len(merged[-1].ids)] == merged[-1].ids:
                last = merged.pop()
                known, mask, logprobs = last.ids, last.mask, last.logprobs
            mask += bytes(len(turn.prompt_ids) - len(known)) + bytes(turn.mask)
            logprobs += turn.logprobs if all(turn.mask) else tuple(compress(turn.logprobs, turn.mask))
            merged.append(TrainingSequence(turn.prompt_ids + turn.output_ids, mask, logprobs))
        return merged

    def to_json(self) -> str:
        """Return the record as one line of JSON; nan becomes null."""
        data = {name: getattr(self, name) for name in _FIELDS}
        data["turns"] = [{name: getattr(turn, name) for name in _TURN_FIELDS} for turn in self.turns]
        for name in _NUMBERS:
            if math.isnan(data[name]):
                data[name] = None
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> NodeRecord:
        """Rebuild the record that `to_json` wrote, exactly.

        Raises:
            CorruptTree: the text is not such a record.
        """
        try:
            data = json.loads(text)
            values = _checked(data, _CHECKS)
            if (values["parent"] is None) != (values["node"] == "0") or values["depth"] != values["node"].count("."):
                raise ValueError("its node, parent and depth contradict each other")
            return cls(**values)
        except (ValueError, RecursionError) as error:
            raise CorruptTree(f"not the JSON of a training record: {error!s:.200}") from error


_FIELDS = tuple(field.name for field in fields(NodeRecord))
_TURN_FIELDS = tuple(field.name for field in fields(TurnRecord))


def _checked(data: Any, checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the values of an object that has exactly these fields."""
    if type(data) is not dict or data.keys() != checks.keys():
        raise ValueError(f"it must be an object with the fields {', '.join(checks)}")
    values = {}
    for name, check in checks.items():
        try:
            values[name] = check(data[name])
        except ValueError as error:
            raise ValueError(f"{name} {error}") from error
    return values


def _turns(data: Any) -> tuple[TurnRecord, ...]:
    if type(data) is not list:
        raise ValueError(f"must be a list, not {shown(data)}")
    turns = [TurnRecord(**_checked(turn, _TURN_CHECKS)) for turn in data]
    for turn in turns:
        if not len(turn.output_ids) == len(turn.logprobs) == len(turn.mask):
            raise ValueError("hold one whose output_ids, logprobs and mask differ in length")
    return tuple(turns)


def _mask(data: Any) -> tuple[int, ...]:
    mask = as_token_ids(data)
    if max(mask, default=0) > 1:
        raise ValueError("must be zeros and ones")
    return mask


def _maybe_nan(data: Any) -> float:
    return math.nan if data is None else float(as_number(data))


def _path(data: Any) -> str:
    if type(data) is str and _PATH.fullmatch(data):
        return data
    raise ValueError(f'must be a path such as "0.2.1", not {shown(data)}')


def _costs(data: Any) -> dict[str, float]:
    if type(data) is not dict:
        raise ValueError(f"must be an object, not {shown(data)}")
    return {name: as_number(value) for name, value in data.items()}


_PATH = re.compile(r"0(\.(0|[1-9][0-9]{0,15}))*")
_TURN_CHECKS: Mapping[str, Check] = {
    "prompt_ids": as_token_ids,
    "output_ids": as_token_ids,
    "logprobs": as_logprobs,
    "mask": _mask,
    "text": as_text,
}
_CHECKS: Mapping[str, Check] = {
    **dict.fromkeys(_NUMBERS, _maybe_nan),
    "task_id": as_text,
    "group": as_count,
    "rollout": as_int,
    "node": _path,
    "parent": maybe(_path),
    "depth": as_count,
    "turns": _turns,
    "cost": _costs,
    "seed": maybe(as_int),
}


def records(trees: Sequence[ExecutionTree], table: NodeTable | None = None, **options: Any) -> list[NodeRecord]:
    """Return the record of every node of the valid trees, in the order of the table's rows.

    Args:
        trees: all groups of one optimiser step, as `collect` returned them; invalid trees are left out.
        table: their credit; None computes it with `options`.
        options: options of `credit.assign`, if no table is given.

    Raises:
        OptionError: `trees` is empty, its groups are inconsistent (a tree without task or rollout number, a rollout
            given twice, different tasks under one id), a turn was sampled without log-probabilities, or the table
            belongs to other trees.
    """
    _check_groups(trees)
    if table is None:
        table = credit.assign(trees, **options)
    elif options:
        raise OptionError(
            "table", table, f"is given, so {', '.join(options)} would be ignored; give either a table or options"
        )
    columns = {name: getattr(table, name).tolist() for name in ("group", "tree", "node", "depth", *_NUMBERS)}
    _check_table(trees, columns["tree"], columns["node"])
    rows = []
    for row, (index, node_id) in enumerate(zip(columns["tree"], columns["node"], strict=True)):
        tree = trees[index]
        node = tree.nodes[node_id]
        rows.append(
            NodeRecord(
                task_id=tree.group,
                group=columns["group"][row],
                rollout=tree.meta["rollout"],
                node=node.address,
                parent=None if node.parent is None else tree.nodes[node.parent].address,
                depth=columns["depth"][row],
                turns=tuple(_turn(index, node, number, turn) for number, turn in enumerate(node.turns)),
                success=columns["success"][row],
                reward=columns["reward"][row],
                baseline=columns["baseline"][row],
                advantage=columns["advantage"][row],
                weight=columns["weight"][row],
                cost=_cost(node),
                seed=tree.meta.get("seed"),
            )
        )
    return rows


def write_records(path: str | os.PathLike[str], rows: Iterable[NodeRecord]) -> int:
    """Write records as JSON Lines; nan becomes null. Return how many.

    Raises:
        OSError: the file cannot be written.
    """
    count = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for record in rows:
            file.write(record.to_json() + "\n")
            count += 1
    return count


def read_records(path: str | os.PathLike[str]) -> Iterator[NodeRecord]:
    """Read the records that `write_records` wrote, one at a time.

    Raises:
        CorruptTree: a line is not a record; names the file and the line.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield NodeRecord.from_json(line)
            except CorruptTree as error:
                raise CorruptTree(f"{os.fspath(path)}, line {number}: {error}") from error


def _turn(index: int, node: Node, number: int, turn: Turn) -> TurnRecord:
    sample = turn.sample
    if sample is None or (sample.output_ids and not sample.prompt_ids):
        raise _unusable(index, node, number, sample)
    # Two passes in C instead of a test per token: the sum is finite if every term is.
    if not (math.isfinite(sum(sample.logprobs)) and max(sample.logprobs, default=0.0) <= MAX_LOGPROB):
        raise _unusable(index, node, number, sample)
    mask = (1,) * len(sample.output_ids)
    return TurnRecord(sample.prompt_ids, sample.output_ids, sample.logprobs, mask, turn.action)


def _unusable(index: int, node: Node, number: int, sample: Sample | None) -> OptionError:
    """Say what is wrong with the tokens of a turn."""
    where = f"trees[{index}].nodes[{node.id}].turns[{number}].sample"
    if sample is None:
        fix = "the policy returned no tokens and log-probabilities; have it return Action(text, sample=Sample(...))"
        return OptionError(where, None, fix)
    if not sample.prompt_ids:
        fix = "is empty, so the first sampled token has nothing to be predicted from; record the prompt"
        return OptionError(f"{where}.prompt_ids", (), fix)
    wrong = [value for value in sample.logprobs if not -math.inf < value <= MAX_LOGPROB]
    fix = "must be natural logarithms of probabilities above 0"
    return OptionError(f"{where}.logprobs", wrong or sample.logprobs, fix)


def _cost(node: Node) -> dict[str, float]:
    return {
        "turns": len(node.turns),
        "prompt_tokens": sum(turn.prompt_tokens for turn in node.turns),
        "output_tokens": sum(turn.output_tokens for turn in node.turns),
        "seconds": sum(turn.latency for turn in node.turns),
    }


def _check_groups(trees: Sequence[ExecutionTree]) -> None:
    """Refuse a batch if it is unclear which of its rollouts belong together."""
    if isinstance(trees, ExecutionTree) or not trees:
        raise OptionError("trees", trees, "must be a list with at least one rollout")
    tasks: dict[str, tuple[int, object]] = {}
    seen: dict[tuple[object, ...], int] = {}
    for i, tree in enumerate(trees):
        if tree.invalid is not None:
            continue
        if not tree.group:
            fix = "a tree without a task id belongs to no group; collect it with rao_envs.collect"
            raise OptionError(f'trees[{i}].task["id"]', tree.task.get("id"), fix)
        rollout = tree.meta.get("rollout")
        if not isinstance(rollout, int) or isinstance(rollout, bool):
            fix = "must be the number of the rollout in its group; rao_envs.collect writes it"
            raise OptionError(f'trees[{i}].meta["rollout"]', rollout, fix)
        what = (tree.root.goal, tree.root.payload, tree.meta.get("env"), tree.meta.get("options"))
        first, known = tasks.setdefault(tree.group, (i, what))
        if known != what:
            fix = f"has the id of trees[{first}] but another goal, payload or environment; give every task its own id"
            raise OptionError(f"trees[{i}].task", tree.group, fix)
        twin = seen.setdefault((tree.group, rollout, tree.meta.get("seed")), i)
        if twin != i:
            fix = f"is rollout {rollout} of task {tree.group!r}, and so is trees[{twin}]; give each rollout once"
            raise OptionError(f"trees[{i}]", tree, fix)


def _check_table(trees: Sequence[ExecutionTree], tree: list[int], node: list[int]) -> None:
    expected = [(i, number) for i, one in enumerate(trees) if one.invalid is None for number in range(len(one))]
    if sorted(zip(tree, node, strict=True)) != expected:
        fix = f"is the credit of other trees: these have {len(expected)} nodes; use credit.assign(trees)"
        raise OptionError("table", f"{len(tree)} rows", fix)
