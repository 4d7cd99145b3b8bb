"""Padded batches: every tensor by hand, parts of a batch, and what is refused."""

import importlib.util
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")

from rao_envs import collect, credit  # noqa: E402
from rao_envs.errors import OptionError  # noqa: E402
from rao_envs.events import Sample  # noqa: E402
from rao_envs.testing.strategies import LogWriter  # noqa: E402
from rao_envs.training import Batch, batch_from_records, build_batch, read_records, records, write_records  # noqa: E402

SPEC = importlib.util.spec_from_file_location("tiny_torch", Path(__file__).parent / "tiny_torch.py")
tiny = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tiny)

TENSORS = [field.name for field in fields(Batch) if field.name != "totals"]


def play(group_size=4, tasks=2, **changes):
    policy = tiny.TinyPolicy()
    for name, value in changes.items():
        setattr(policy, name, value)
    return collect(tiny.tiny_env, policy, tasks=tasks, group_size=group_size, progress=False)


TREES = play(tasks=6, group_size=6, forget=True)


def two_rollouts():
    """Rollout 0: a root of two turns that merge (s=1), a child with two sequences (s=0). Rollout 1: a root (s=0)."""
    log = LogWriter("task", {"rollout": 0, "seed": 0})
    log.spawn(None, "task")
    log.act(0, "ab", sample=Sample((1, 2), (3, 4), (-0.5, -1.0)))
    log.spawn(0, "part")
    log.act(1, "c", sample=Sample((5,), (6,), (-0.25,)))
    log.observe(1)
    log.act(1, "d", sample=Sample((7,), (8,), (-0.125,)))
    log.finish(1, 0.0)
    log.observe(0)
    log.act(0, "e", sample=Sample((1, 2, 3, 4, 9), (3,), (-2.0,)))
    log.finish(0, 1.0)
    other = LogWriter("task", {"rollout": 1, "seed": 1})
    other.spawn(None, "task")
    other.act(0, "f", sample=Sample((1,), (2,), (-0.75,)))
    other.finish(0, 0.0)
    return [log.tree, other.tree]


def same(one, other, names=TENSORS):
    for name in names:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0, msg=name)


def keys(batch):
    """Tell the sequences of `TREES` apart: those of one node differ in their first token or length."""
    return list(zip(batch.row.tolist(), batch.input_ids[:, 0].tolist(), batch.lengths.tolist(), strict=True))


# By hand ----------------------------------------------------------------------------------------------------


def test_every_tensor_by_hand():
    batch = build_batch(two_rollouts(), pad_id=99, dtype=torch.float64)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 9, 3], [5, 6, *[99] * 4], [7, 8, *[99] * 4], [1, 2, *[99] * 4]]
    assert batch.attention_mask.int().tolist() == [[1] * 6, *[[1, 1, 0, 0, 0, 0]] * 3]
    assert batch.loss_mask.int().tolist() == [[0, 0, 1, 1, 0, 1], *[[0, 1, 0, 0, 0, 0]] * 3]
    assert batch.old_logprobs.tolist() == [
        [0, 0, -0.5, -1.0, 0, -2.0],
        [0, -0.25, 0, 0, 0, 0],
        [0, -0.125, 0, 0, 0, 0],
        [0, -0.75, 0, 0, 0, 0],
    ]
    # rewards: root 0: 1 + 0.4 * 0 = 1, its child 0, root 1: 0; baselines 0 for rollout 0 and 1 for rollout 1
    assert batch.advantage.tolist() == [1.0, 0.0, 0.0, -1.0]
    # node weights 3/4, 3/2, 3/4 over sequences 1, 2, 1: they sum to 3/4 + 3/2 + 3/2 + 3/4 = 4.5, so times 4/4.5
    np.testing.assert_allclose(batch.weight, np.array([0.75, 1.5, 1.5, 0.75]) * 4 / 4.5)
    assert batch.row.tolist() == [0, 1, 1, 2]
    assert batch.depth.tolist() == [0, 1, 1, 0]
    assert batch.copies.tolist() == [1, 1, 1, 1]
    totals = batch.totals
    assert (totals.tokens, totals.sequences, totals.nodes, totals.rollouts) == (6, 4, 3, 2)
    assert (totals.zero, totals.untrained, totals.too_long) == (0, 0, 0)
    assert [batch.input_ids.dtype, batch.row.dtype, batch.attention_mask.dtype] == [torch.long, torch.long, torch.bool]


def test_tokens_optimised_are_the_tokens_sampled():
    trees = play()
    table = credit.assign(trees, baseline="none")
    batch = build_batch(trees, table=table)
    sampled = {}
    for place, row in enumerate(batch.row.tolist()):
        tokens = batch.input_ids[place][batch.loss_mask[place]].tolist()
        scores = batch.old_logprobs[place][batch.loss_mask[place]].tolist()
        sampled.setdefault(row, []).extend(zip(tokens, scores, strict=True))
    for row, pairs in sampled.items():
        turns = trees[table.tree[row]].nodes[table.node[row]].turns
        ids = [token for turn in turns for token in turn.sample.output_ids]
        scores = [score for turn in turns for score in turn.sample.logprobs]
        assert [token for token, _ in pairs] == ids
        np.testing.assert_allclose([score for _, score in pairs], scores, rtol=1e-6)
        # and they say what the environment was told
        assert tiny.decode(ids) == "".join(turn.action for turn in turns)
    assert set(sampled) == set(np.flatnonzero(table.weight > 0).tolist())


def test_unjudged_nodes_and_invalid_rollouts_are_left_out():
    trees = two_rollouts()
    trees[0].nodes[1].success = None
    spoilt = two_rollouts()[1]
    spoilt.invalid = "the server died"
    batch = build_batch([*trees, spoilt])
    assert batch.row.tolist() == [0, 2]
    assert batch.weight.tolist() == [1.0, 1.0]
    assert (batch.totals.rollouts, batch.totals.nodes, batch.totals.untrained) == (2, 2, 1)


def test_sequences_without_advantage_may_be_left_out_and_still_count():
    trees = two_rollouts()
    every, some = build_batch(trees), build_batch(trees, drop_zero=True)
    same(some, every.select([0, 3]))
    assert some.totals == replace(every.totals, zero=2)
    none = build_batch(two_rollouts(), table=replace(credit.assign(trees), advantage=np.zeros(3)), drop_zero=True)
    assert len(none) == 0
    assert none.totals == replace(every.totals, zero=4)
    assert none.micro_batches(10) == []


def test_long_sequences_are_refused_or_counted():
    assert len(build_batch(two_rollouts(), max_length=6)) == 4
    with pytest.raises(OptionError, match=r"max_length=5: task 'task', rollout 0, node 0 .*6 tokens"):
        build_batch(two_rollouts(), max_length=5)
    batch = build_batch(two_rollouts(), max_length=5, too_long="drop")
    assert batch.row.tolist() == [1, 1, 2]
    assert (batch.totals.too_long, batch.totals.sequences, batch.totals.tokens) == (1, 3, 3)
    np.testing.assert_allclose(batch.weight.mean(), 1.0)
    with pytest.raises(OptionError, match="too_long='cut'"):
        build_batch(two_rollouts(), too_long="cut")


def test_a_batch_from_a_file_is_the_same(tmp_path):
    trees = play()
    write_records(tmp_path / "rows.jsonl", records(trees))
    same(batch_from_records(list(read_records(tmp_path / "rows.jsonl"))), build_batch(trees))


def test_a_batch_cannot_be_changed_by_its_trees_later():
    trees = two_rollouts()
    batch = build_batch(trees)
    with pytest.raises(AttributeError):
        batch.advantage = None


# Parts of a batch -------------------------------------------------------------------------------------------


def test_select_and_pad_keep_the_totals():
    batch = build_batch(two_rollouts())
    part = batch.select([2, 0])
    assert part.row.tolist() == [1, 0]
    assert part.totals is batch.totals
    wide = batch.pad_to(9, pad_id=7)
    assert wide.input_ids[1].tolist() == [5, 6, 0, 0, 0, 0, 7, 7, 7]
    assert wide.attention_mask.sum() == batch.attention_mask.sum()
    same(wide.pad_to(6), batch)
    assert batch.select([1]).pad_to(2).input_ids.tolist() == [[5, 6]]
    with pytest.raises(OptionError, match=r"length=5: .* 6 tokens"):
        batch.pad_to(5)


@given(st.integers(1, 60))
def test_micro_batches_hold_every_sequence_once_within_bounds(max_tokens):
    batch = build_batch(TREES)
    parts = batch.micro_batches(max_tokens)
    assert sorted(row for part in parts for row in part.row.tolist()) == sorted(batch.row.tolist())
    for part in parts:
        assert part.input_ids.shape[1] == int(part.lengths.max())
        assert part.input_ids.numel() <= max_tokens or len(part) == 1
        assert part.totals is batch.totals
    # the longest first: whatever does not fit in memory fails at once, not after an hour
    longest = [part.input_ids.shape[1] for part in parts]
    assert longest == sorted(longest, reverse=True)


def test_micro_batches_waste_little_and_refuse_nothing_at_all():
    batch = build_batch(TREES)
    padded = sum(part.input_ids.numel() for part in batch.micro_batches(40))
    assert padded < batch.input_ids.numel()
    with pytest.raises(OptionError, match="max_tokens=0"):
        batch.micro_batches(0)


def test_moving_to_where_it_is_costs_nothing():
    batch = build_batch(two_rollouts())
    assert batch.to("cpu") is batch
    assert batch.to("meta").input_ids.device.type == "meta"


# Subsampling ------------------------------------------------------------------------------------------------


def test_a_subsample_stands_for_all():
    batch = build_batch(TREES)
    depths, counts = np.unique(batch.depth, return_counts=True)
    part = batch.subsample(9, seed=1)
    assert len(part) == 9
    assert len(set(keys(part))) == 9
    for depth, count in zip(depths, counts, strict=True):
        drawn = part.depth == depth
        assert drawn.any()
        assert float(part.copies[drawn].sum()) == pytest.approx(count)
    same(part, batch.subsample(9, seed=1))
    assert any(part.row.tolist() != batch.subsample(9, seed=seed).row.tolist() for seed in range(2, 6))
    assert batch.subsample(len(batch), seed=1) is batch
    with pytest.raises(OptionError, match=f"limit=1: must be at least {len(depths)}"):
        batch.subsample(1, seed=0)


def test_every_sequence_is_as_likely_as_any_other_of_its_depth():
    batch = build_batch(TREES)
    drawn = torch.zeros(len(batch))
    for seed in range(600):
        part = batch.subsample(8, seed)
        copies = dict(zip(keys(part), part.copies, strict=True))
        drawn += torch.tensor([copies.get(key, 0.0) for key in keys(batch)])
    # E[copies of a sequence] = 1; the standard error of each mean is at most sqrt(max(copies) / 600)
    error = math.sqrt(float(batch.subsample(8, 0).copies.max()) / 600)
    assert (drawn / 600 - 1).abs().max() < 4.5 * error


# What is refused --------------------------------------------------------------------------------------------


def test_a_drifting_tokenizer_is_caught():
    class Drifting:
        @staticmethod
        def decode(ids):
            return tiny.decode(ids).replace("x", "y")

    trees = play()
    same(build_batch(trees, tokenizer=tiny.Tokenizer()), build_batch(trees))
    with pytest.raises(
        OptionError, match=r"tokenizer='Drifting': task .*, rollout \d, node .*, turn \d: .*decode to .*, but"
    ):
        build_batch(trees, tokenizer=Drifting())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_advantages_that_are_no_numbers_are_named(value):
    trees = two_rollouts()
    table = credit.assign(trees)
    table.advantage[2] = value
    with pytest.raises(OptionError, match=r"advantage\[2\]=.*rollout 1, node 0 is trained on"):
        build_batch(trees, table=table)
    table.weight[2] = 0
    assert build_batch(trees, table=table).row.tolist() == [0, 1, 1]


def test_batches_with_nothing_to_train_on_are_named():
    trees = two_rollouts()
    table = credit.assign(trees)
    with pytest.raises(OptionError, match="no token to train on"):
        build_batch(trees, table=replace(table, weight=np.zeros(3)))
    for tree in trees:
        tree.invalid = "the server died"
    with pytest.raises(OptionError, match="no valid rollout"):
        build_batch(trees)
    with pytest.raises(OptionError, match="at least one rollout"):
        build_batch([])


def test_a_record_whose_first_token_was_sampled_is_named():
    row = records(two_rollouts())[2]
    row = replace(row, turns=(replace(row.turns[0], prompt_ids=()),))
    with pytest.raises(OptionError, match="rollout 1, node 0 samples the first token"):
        batch_from_records([row])
