"""Trees as padded tensors: one row per training sequence, with the sampled tokens and their credit."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rao_envs.extras import extra

with extra("train", __name__):
    import torch

from rao_envs import credit
from rao_envs.credit import NodeTable
from rao_envs.errors import OptionError
from rao_envs.seeding import derive
from rao_envs.training.records import NodeRecord, TrainingSequence, records
from rao_envs.tree import ExecutionTree

__all__ = ["Batch", "Decoder", "Totals", "batch_from_records", "batch_of", "build_batch"]

Indices: TypeAlias = Sequence[int] | NDArray[np.int64] | torch.Tensor


class Decoder(Protocol):
    """What the drift check needs from a tokenizer."""

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text of some tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of the whole batch, which its loss is divided by. Every part of the batch keeps them.

    Sequences that are left out because their advantage is 0 are counted, so leaving them out changes nothing. Those
    that cannot be trained on (unjudged, too long) are not.

    Attributes:
        tokens: sampled tokens.
        sequences: training sequences.
        nodes: nodes with at least one of these.
        rollouts: all valid rollouts.
        zero: sequences left out because their advantage is 0.
        untrained: nodes left out because their weight is 0, usually because they are unjudged.
        too_long: sequences left out because they exceed `max_length`.
    """

    tokens: int
    sequences: int
    nodes: int
    rollouts: int
    zero: int = 0
    untrained: int = 0
    too_long: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Q training sequences of at most L tokens.

    Attributes:
        input_ids: Long [Q, L], padded at the right.
        attention_mask: Bool [Q, L], False where padded.
        loss_mask: Bool [Q, L], whether token t was sampled by the policy.
        old_logprobs: Float [Q, L], log-probability of token t when it was sampled; 0 elsewhere.
        advantage: Float [Q], of the sequence's node.
        weight: Float [Q], the node's weight spread over its sequences (`credit.sequence_weights`).
        copies: Float [Q], how many sequences of the whole batch this one represents: 1 unless `subsample` drew it.
        depth: Long [Q], of the node.
        row: Long [Q], row of the node in the `NodeTable`.
        totals: counts of the whole batch, the same in every part of it.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    loss_mask: torch.Tensor
    old_logprobs: torch.Tensor
    advantage: torch.Tensor
    weight: torch.Tensor
    copies: torch.Tensor
    depth: torch.Tensor
    row: torch.Tensor
    totals: Totals

    def __len__(self) -> int:
        """Count the sequences."""
        return int(self.input_ids.shape[0])

    @property
    def lengths(self) -> torch.Tensor:
        """Long [Q], tokens of each sequence."""
        return self.attention_mask.sum(1)

    def to(self, device: torch.device | str) -> Batch:
        """Move every tensor; return the batch itself if it is there already."""
        if self.input_ids.device == torch.device(device):
            return self
        return self._each(lambda value: value.to(device))

    def select(self, indices: Indices) -> Batch:
        """Select sequences, in the order given; the totals stay those of the whole batch."""
        chosen = torch.as_tensor(indices, dtype=torch.long, device=self.input_ids.device)
        return self._each(lambda value: value[chosen])

    def pad_to(self, length: int, pad_id: int = 0) -> Batch:
        """Add or remove padding, so that L is `length`.

        Args:
            length: L.
            pad_id: fills `input_ids`.

        Raises:
            OptionError: a sequence is longer than `length`.
        """
        longest = int(self.lengths.max()) if len(self) else 0
        if length < longest:
            raise OptionError("length", length, f"the longest sequence has {longest} tokens")
        return self._pad(length, pad_id)

    def micro_batches(self, max_tokens: int) -> list[Batch]:
        """Split into parts of at most `max_tokens` padded tokens, grouping sequences of similar length.

        The gradients of the parts' losses add up to that of the whole. The order of rows of equal length affects
        rounding only.

        Args:
            max_tokens: rows times the longest row; a longer sequence becomes a part of its own.

        Raises:
            OptionError: `max_tokens` is not positive.
        """
        if max_tokens < 1:
            raise OptionError("max_tokens", max_tokens, "must be at least 1")
        lengths = self.lengths.cpu().numpy()
        order = np.argsort(-lengths, kind="stable")
        parts, start = [], 0
        while start < len(order):
            longest = int(lengths[order[start]])
            stop = start + max(1, max_tokens // longest)
            parts.append(self.select(order[start:stop])._pad(longest, 0))
            start = stop
        return parts

    def subsample(self, limit: int, seed: int) -> Batch:
        """Draw at most `limit` sequences so that the gradient stays the same in expectation.

        Sequences are drawn without replacement within each depth. Each represents (sequences at its depth) / (draws at
        its depth) sequences, and its loss is multiplied by that. Every depth carries the same weight, so every depth
        gets the same number of draws; draws that a depth has no sequences for go to the others.

        Args:
            limit: how many; at least the number of depths, since a depth without a draw would bias the gradient.
            seed: seed of the draw.

        Raises:
            OptionError: `limit` is less than the number of depths.
        """
        if len(self) <= limit:
            return self
        depth = self.depth.cpu().numpy()
        levels, counts = np.unique(depth, return_counts=True)
        if limit < len(levels):
            raise OptionError("limit", limit, f"must be at least {len(levels)}, one sequence for each depth present")
        shares = _shares(counts, limit)
        generator = np.random.default_rng(derive(seed, "subsample"))
        chosen = [
            np.sort(generator.permutation(np.flatnonzero(depth == level))[:share])
            for level, share in zip(levels, shares, strict=True)
        ]
        factor = torch.from_numpy(np.repeat(counts / shares, shares))
        part = self.select(np.concatenate(chosen))
        return replace(part, copies=part.copies * factor.to(part.copies))

    def _each(self, change: Any) -> Batch:
        names = [field.name for field in fields(self) if field.name != "totals"]
        return Batch(**{name: change(getattr(self, name)) for name in names}, totals=self.totals)

    def _pad(self, length: int, pad_id: int) -> Batch:
        added = length - int(self.input_ids.shape[1])
        fill = {"input_ids": pad_id, "attention_mask": False, "loss_mask": False, "old_logprobs": 0.0}
        pad = torch.nn.functional.pad
        padded: dict[str, Any] = {
            name: pad(getattr(self, name), (0, added), value=value) for name, value in fill.items()
        }
        return replace(self, **padded)


def build_batch(
    trees: Sequence[ExecutionTree],
    *,
    table: NodeTable | None = None,
    pad_id: int = 0,
    max_length: int | None = None,
    too_long: Literal["error", "drop"] = "error",
    drop_zero: bool = False,
    tokenizer: Decoder | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    **options: Any,
) -> Batch:
    """Turn the rollouts of one optimiser step into padded tensors.

    Consecutive turns of a node that continue each other form one sequence. Token ids are those recorded when sampling,
    and only sampled ones are in the loss mask. Nodes that are not trained on (weight 0) are left out.

    Args:
        trees: all groups of the step, as `collect` returned them; invalid trees are left out.
        table: their credit; None computes it with `options`.
        pad_id: fills `input_ids` at the right.
        max_length: maximum tokens of a sequence; None allows any number.
        too_long: "error" refuses a longer one, "drop" leaves it out and counts it in `Batch.totals`.
        drop_zero: leave out sequences whose advantage is exactly 0: they have no gradient unless there is a KL or
            entropy term. The totals still count them, so nothing else changes.
        tokenizer: if given, its `decode` must turn the sampled tokens of every turn into the message that was sent.
        device: where the tensors are put.
        dtype: of the floats.
        options: options of `credit.assign`, if no table is given.

    Raises:
        OptionError: what `records` refuses; nothing to train on; an advantage that is nan or infinite on a node
            with a weight; a sequence that is too long; or a message that the tokenizer decodes differently.
    """
    return batch_from_records(
        records(trees, table, **options),
        pad_id=pad_id,
        max_length=max_length,
        too_long=too_long,
        drop_zero=drop_zero,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
    )


def batch_from_records(
    rows: Sequence[NodeRecord],
    *,
    pad_id: int = 0,
    max_length: int | None = None,
    too_long: Literal["error", "drop"] = "error",
    drop_zero: bool = False,
    tokenizer: Decoder | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """As `build_batch`, from records of this process or read from a file."""
    if too_long not in ("error", "drop"):
        raise OptionError("too_long", too_long, 'must be "error" or "drop"')
    advantage = np.array([record.advantage for record in rows])
    weight = np.array([record.weight for record in rows])
    _check_credit(rows, advantage, weight)
    owners: list[int] = []
    sequences: list[TrainingSequence] = []
    dropped = 0
    for row in np.flatnonzero(weight > 0).tolist():
        if tokenizer is not None:
            _check_drift(rows[row], tokenizer)
        for sequence in rows[row].sequences():
            if sequence.mask[0]:
                fix = "samples the first token of a sequence, which has nothing to be predicted from; give it a prompt"
                raise OptionError("prompt_ids", (), f"{rows[row].name} {fix}")
            if max_length is not None and len(sequence.ids) > max_length:
                if too_long == "error":
                    fix = (
                        f'{rows[row].name} has a sequence of {len(sequence.ids)} tokens; too_long="drop" leaves it out'
                    )
                    raise OptionError("max_length", max_length, fix)
                dropped += 1
                continue
            owners.append(row)
            sequences.append(sequence)
    if not sequences:
        fix = "has no token to train on: no judged node acted, or every sequence was too long"
        raise OptionError("trees", f"{len(rows)} nodes", fix)
    owner = np.array(owners, dtype=np.int64)
    spread = credit.sequence_weights(weight, owner)
    keep = np.flatnonzero(advantage[owner] != 0.0) if drop_zero else np.arange(len(owner))
    totals = Totals(
        tokens=sum(len(sequence.logprobs) for sequence in sequences),
        sequences=len(owner),
        nodes=len(set(owners)),
        rollouts=len({(record.task_id, record.rollout, record.seed) for record in rows}),
        zero=len(owner) - len(keep),
        untrained=int((weight == 0).sum()),
        too_long=dropped,
    )
    kept = owner[keep]
    tensors = {
        **_pad([sequences[i] for i in keep.tolist()], pad_id, dtype),
        "advantage": torch.from_numpy(advantage[kept]).to(dtype),
        "weight": torch.from_numpy(spread[keep]).to(dtype),
        "copies": torch.ones(len(kept), dtype=dtype),
        "depth": torch.from_numpy(np.array([rows[row].depth for row in kept.tolist()], dtype=np.int64)),
        "row": torch.from_numpy(kept),
    }
    batch = Batch(**tensors, totals=totals)
    return batch if device is None else batch.to(device)


def batch_of(sequences: Sequence[TrainingSequence], pad_id: int = 0) -> Batch:
    """Make a batch of bare sequences, all with advantage and weight 1, for imitation."""
    ones, rows = torch.ones(len(sequences)), torch.arange(len(sequences))
    tokens = sum(len(sequence.logprobs) for sequence in sequences)
    return Batch(
        **_pad(sequences, pad_id, torch.float32),
        advantage=ones,
        weight=ones,
        copies=ones,
        depth=torch.zeros_like(rows),
        row=rows,
        totals=Totals(tokens, len(sequences), len(sequences), len(sequences)),
    )


def _pad(sequences: Sequence[TrainingSequence], pad_id: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Lay sequences out as rows: join all tokens first, then assign them to the padded array at once."""
    lengths = np.array([len(sequence.ids) for sequence in sequences], dtype=np.int64)
    attention = np.arange(lengths.max(initial=0)) < lengths[:, None]
    input_ids = np.full(attention.shape, pad_id, dtype=np.int64)
    input_ids[attention] = np.frombuffer(b"".join(array("q", sequence.ids) for sequence in sequences), dtype=np.int64)
    loss_mask = np.zeros(attention.shape, dtype=bool)
    loss_mask[attention] = np.frombuffer(b"".join(sequence.mask for sequence in sequences), dtype=bool)
    logprobs = np.zeros(attention.shape)
    sampled = chain.from_iterable(sequence.logprobs for sequence in sequences)
    logprobs[loss_mask] = np.fromiter(sampled, np.float64, int(loss_mask.sum()))
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(attention),
        "loss_mask": torch.from_numpy(loss_mask),
        "old_logprobs": torch.from_numpy(logprobs).to(dtype),
    }


def _check_credit(rows: Sequence[NodeRecord], advantage: NDArray[np.float64], weight: NDArray[np.float64]) -> None:
    if not len(rows):
        raise OptionError("trees", "0 nodes", "has no valid rollout: nothing is left to train on")
    wrong = ~np.isfinite(advantage) & (weight != 0)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        fix = f"{rows[row].name} is trained on (weight {weight[row]}); give it a finite advantage, or weight 0"
        raise OptionError(f"advantage[{row}]", float(advantage[row]), fix)


def _check_drift(record: NodeRecord, tokenizer: Decoder) -> None:
    for number, turn in enumerate(record.turns):
        read = tokenizer.decode(turn.output_ids)
        if read != turn.text:
            fix = (
                f"{record.name}, turn {number}: the sampled tokens decode to {read!r:.200}, but the message sent was "
                f"{turn.text!r:.200}; record the tokens as sampled, and pass the tokenizer that sampled them"
            )
            raise OptionError("tokenizer", type(tokenizer).__name__, fix)


def _shares(counts: NDArray[np.int64], draws: int) -> NDArray[np.int64]:
    """Share draws out evenly, but no depth gets more than it has sequences: water filling, smallest first."""
    shares = np.zeros(len(counts), dtype=np.int64)
    left = draws
    for rank, level in enumerate(np.argsort(counts, kind="stable")):
        shares[level] = min(int(counts[level]), left // (len(counts) - rank))
        left -= shares[level]
    return shares
