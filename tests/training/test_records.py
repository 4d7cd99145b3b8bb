"""Records: what they hold, how turns merge, the file, and what is refused."""

import importlib.util
import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs import credit
from rao_envs.errors import CorruptTree, OptionError
from rao_envs.events import Sample
from rao_envs.testing.strategies import LogWriter, grow_tree
from rao_envs.training import NodeRecord, TurnRecord, read_records, records, write_records


def turn(prompt, output, mask=None):
    logprobs = tuple(-0.25 * (place + 1) for place in range(len(output)))
    return TurnRecord(tuple(prompt), tuple(output), logprobs, tuple(mask or [1] * len(output)), "text")


def record(*turns, **changes):
    plain = NodeRecord("task", 0, 0, "0", None, 0, turns, 1.0, 1.0, 0.0, 1.0, 1.0, {"turns": len(turns)}, 7)
    return replace(plain, **changes)


def rollout(number=0, group="task", samples=((1, 2),), success=1.0, **meta):
    """A root that acts once for each sample, given as (a prompt token, an output token)."""
    log = LogWriter(group, {"rollout": number, "seed": 100 + number, **meta})
    log.spawn(None, group)
    for place, sample in enumerate(samples):
        if place:
            log.observe(0)
        log.act(0, "x", 2.0, 5, None if sample is None else Sample(sample[:1], sample[1:], (-0.5,) * len(sample[1:])))
    log.observe(0)
    log.finish(0, success)
    return log.tree


def family():
    """A root with two children, the second of which launches one, all of them with tokens."""
    log = LogWriter("family", {"rollout": 3, "seed": 11})
    for node, above in enumerate((None, 0, 0, 2)):
        log.spawn(above, f"goal {node}")
        log.act(node, f"act {node}", 1.5, 4, Sample((1, node), (2, 3), (-0.5, -1.0)))
    for node, success in ((3, 0.5), (2, None), (1, 1.0), (0, 1.0)):
        log.finish(node, success)
    return log.tree


# What a record holds ----------------------------------------------------------------------------------------


def test_every_field_by_hand():
    other = rollout(4, "family")
    other.nodes[0].goal, other.nodes[0].payload = "goal 0", {"goal": "goal 0"}
    found = records([family(), other])
    # node 0: children 1 (s=1) and 2 (unjudged): r = 1 + 0.4 * 1; the other root has r = 1
    # trained: depth 0: 2 roots, depth 1: node 1, depth 2: node 3; N = 4, D = 3
    root = found[0]
    assert (root.task_id, root.group, root.rollout, root.node, root.parent, root.depth) == (
        "family",
        0,
        3,
        "0",
        None,
        0,
    )
    assert (root.success, root.reward, root.baseline, root.advantage) == (1.0, 1.4, 1.0, pytest.approx(0.4))
    assert root.weight == pytest.approx(4 / (3 * 2))
    assert root.cost == {"turns": 1, "prompt_tokens": 4, "output_tokens": 5, "seconds": 1.5}
    assert root.turns == (TurnRecord((1, 0), (2, 3), (-0.5, -1.0), (1, 1), "act 0"),)
    assert [(r.node, r.parent, r.depth) for r in found] == [
        ("0", None, 0),
        ("0.0", "0", 1),
        ("0.1", "0", 1),
        ("0.1.0", "0.1", 2),
        ("0", None, 0),
    ]
    assert math.isnan(found[2].advantage)
    assert found[2].weight == 0


def test_credit_is_that_of_the_table_and_takes_its_options():
    trees = [rollout(0, success=1.0), rollout(1, success=0.25)]
    table = credit.assign(trees, delegation_bonus=0.0, baseline="none")
    assert records(trees, table) == records(trees, delegation_bonus=0.0, baseline="none")
    assert [r.advantage for r in records(trees, table)] == [1.0, 0.25]


def test_invalid_rollouts_are_left_out():
    spoilt = rollout(0, samples=(None,))  # not even its number or its policy are looked at
    spoilt.invalid = "the server died"
    assert [r.rollout for r in records([rollout(0), spoilt, rollout(1)])] == [0, 1]


def test_records_and_their_files_need_no_torch():
    code = "import sys, rao_envs.training as t; t.read_records; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_public_name_loads():
    import rao_envs.training as training

    if importlib.util.find_spec("torch") is None:
        with pytest.raises(ImportError, match="needs torch"):
            training.build_batch  # noqa: B018
    else:
        assert all(getattr(training, name) is not None for name in training.__all__)
    assert callable(training.records)  # the function, not the module of its name
    assert set(training.__all__) <= set(dir(training))
    with pytest.raises(AttributeError, match="nonsense"):
        training.nonsense  # noqa: B018


# Merging ----------------------------------------------------------------------------------------------------


def test_turns_that_continue_each_other_are_one_sequence():
    one = record(turn([1, 2], [3, 4]), turn([1, 2, 3, 4, 5], [6]), turn([1, 2, 3, 4, 5, 6, 7, 8], [9]))
    (sequence,) = one.sequences()
    assert sequence.ids == (1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert list(sequence.mask) == [0, 0, 1, 1, 0, 1, 0, 0, 1]
    assert sequence.logprobs == (-0.25, -0.5, -0.25, -0.25)


@pytest.mark.parametrize(
    "second",
    [[1, 2, 3], [9, 2, 3, 4, 5], [1, 2, 3, 9, 5], [1, 2], []],
    ids=["shorter", "other start", "other message", "prompt only", "nothing"],
)
def test_any_other_turn_begins_a_new_sequence(second):
    first, after = record(turn([1, 2], [3, 4]), turn(second, [6])).sequences()
    assert (first.ids, after.ids) == ((1, 2, 3, 4), (*second, 6))
    assert list(after.mask) == [0] * len(second) + [1]


def test_a_third_turn_may_continue_the_second_alone():
    found = record(turn([1], [2]), turn([5], [6]), turn([5, 6], [7])).sequences()
    assert [s.ids for s in found] == [(1, 2), (5, 6, 7)]
    assert list(found[1].mask) == [0, 1, 1]


def test_a_turn_without_sampled_tokens_leaves_no_trace():
    found = record(turn([1], [2]), turn([1, 2, 3], []), turn([1, 2, 3, 4], [5])).sequences()
    assert [s.ids for s in found] == [(1, 2, 3, 4, 5)]
    assert record(turn([1, 2], [])).sequences() == []
    assert record().sequences() == []


def test_tokens_that_were_put_there_are_not_masked_in():
    (sequence,) = record(turn([1], [2, 3, 4], [1, 0, 1])).sequences()
    assert list(sequence.mask) == [0, 1, 0, 1]
    assert sequence.logprobs == (-0.25, -0.75)


turns = st.lists(
    st.builds(
        turn, st.lists(st.integers(0, 2), min_size=1, max_size=6), st.lists(st.integers(0, 2), min_size=1, max_size=3)
    ),
    max_size=5,
)


@given(turns)
def test_every_sampled_token_is_kept_once_in_order_after_its_own_prompt(turns):
    sequences = record(*turns).sequences()
    # cut every sequence where a message ends: what lies before is a turn's prompt, and the run of ones its message
    seen = iter(turns)
    for sequence in sequences:
        place, logprobs = 0, list(sequence.logprobs)
        assert len(sequence.mask) == len(sequence.ids)
        while place < len(sequence.ids):
            here = next(seen)
            start, stop = len(here.prompt_ids), len(here.prompt_ids) + len(here.output_ids)
            assert sequence.ids[:stop] == here.prompt_ids + here.output_ids
            assert set(sequence.mask[place:start]) <= {0}
            assert set(sequence.mask[start:stop]) == {1}
            assert tuple(logprobs[: len(here.output_ids)]) == here.logprobs
            del logprobs[: len(here.output_ids)]
            place = stop
        assert not logprobs
    assert next(seen, None) is None


# The file ---------------------------------------------------------------------------------------------------

numbers = st.floats(allow_infinity=False) | st.just(-0.0) | st.just(0.1 + 0.2)
ids = st.lists(st.integers(0, 2**40), max_size=4).map(tuple)


@st.composite
def any_records(draw):
    output = draw(ids)
    logprobs = tuple(draw(st.floats(-1e9, 0.0)) for _ in output)
    mask = tuple(draw(st.sampled_from([0, 1])) for _ in output)
    one = TurnRecord(draw(ids), output, logprobs, mask, draw(st.text(max_size=5)))
    values = [draw(numbers) for _ in range(5)]
    task = draw(st.sampled_from(["t", "wörter\u2028", '"\\\n']))
    return NodeRecord(
        task, 0, 1, "0.1", "0", 1, (one,), *values, {"seconds": 0.1}, draw(st.none() | st.just(2**64 - 1))
    )


def exact(one):
    """Everything of a record, so that nan equals nan, and -0.0 is not 0.0."""
    return repr(one)


@given(st.lists(any_records(), max_size=3))
def test_jsonl_round_trip_is_exact(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("records") / "rows.jsonl"
    assert write_records(path, rows) == len(rows)
    assert [exact(one) for one in read_records(path)] == [exact(one) for one in rows]
    for line in path.read_bytes().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_unjudged_is_null_in_the_file(tmp_path):
    write_records(tmp_path / "rows.jsonl", records([family(), rollout(0), rollout(1)], baseline="none"))
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["success"] for row in rows] == [1.0, 1.0, None, 0.5, 1.0, 1.0]
    assert rows[2]["advantage"] is None
    assert rows[0]["turns"][0]["prompt_ids"] == [1, 0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: row.pop("weight"),
        lambda row: row.update(more=1),
        lambda row: row.update(success="1"[:0]),
        lambda row: row.update(turns=[{"prompt_ids": [1]}]),
        lambda row: row["turns"][0].update(logprobs=[]),
    ],
    ids=["field missing", "field too many", "no number", "turn without tokens", "lengths differ"],
)
def test_a_spoilt_line_is_named(tmp_path, spoil):
    good = record(turn([1], [2])).to_json()
    row = json.loads(good)
    spoil(row)
    (tmp_path / "rows.jsonl").write_text(f"{good}\n{json.dumps(row)}\n")
    with pytest.raises(CorruptTree, match=r"rows\.jsonl, line 2"):
        list(read_records(tmp_path / "rows.jsonl"))


ODD = [None, -1, True, 10**400, "x", "\ud800", [], {}, [[]], 0.5, math.nan, math.inf]
WRONG = {
    "task_id": [None, 3, True, []],
    "group": [None, -1, True, 0.5, "0"],
    "rollout": [None, True, 0.5, "0"],
    "node": [None, 0, "", "1", "0.", "0.01", "0.-1", "0.1\n", "0.1.2", "0"],
    "parent": [None, 0, "", "x", []],
    "depth": [None, -1, True, "1", 0, 2],
    "turns": [None, {}, "x", [None], [[]]],
    "success": [True, "1", [], math.nan, math.inf, 10**400],
    "reward": [True, "1", []],
    "baseline": [True, "1", []],
    "advantage": [True, "1", []],
    "weight": [True, "1", []],
    "cost": [None, [], {"turns": "1"}, {"turns": None}, {"turns": True}, {"turns": math.nan}],
    "seed": [True, 0.5, "7", []],
    "prompt_ids": [None, "12", [True], [-1], [0.5], [None], ["1"]],
    "output_ids": [None, "1", [True], [-1], [0.5]],
    "logprobs": [None, "1", [True], ["1"], [None], [math.nan], [-math.inf]],
    "mask": [None, "1", [True], [2], [-1], [1.0], [0, 1]],
    "text": [None, 3, True, []],
}


@pytest.mark.parametrize(("name", "wrong"), [(name, wrong) for name in WRONG for wrong in WRONG[name]])
def test_a_wrong_value_is_refused_and_named(name, wrong):
    row = json.loads(record(turn([1], [2]), node="0.1", parent="0", depth=1).to_json())
    NodeRecord.from_json(json.dumps(row))
    (row if name in row else row["turns"][0])[name] = wrong
    with pytest.raises(CorruptTree, match=f"not the JSON of a training record: .*{name}"):
        NodeRecord.from_json(json.dumps(row))


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{}", "[" * 100_000, b"\xff", '{"task_id": 1}'])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(CorruptTree):
        NodeRecord.from_json(text)


@given(any_records(), st.data())
def test_a_tampered_record_is_refused_or_sound(one, data):
    row = json.loads(one.to_json())
    inside = data.draw(st.booleans())
    where = row["turns"][0] if inside else row
    name = data.draw(st.sampled_from(sorted(where)))
    if inside and where[name] and isinstance(where[name], list) and data.draw(st.booleans()):
        where[name][data.draw(st.integers(0, len(where[name]) - 1))] = data.draw(st.sampled_from(ODD))
    else:
        where[name] = data.draw(st.sampled_from(ODD))
    try:
        read = NodeRecord.from_json(json.dumps(row))
    except CorruptTree:
        return
    assert exact(NodeRecord.from_json(read.to_json())) == exact(read)
    assert read.name
    for sequence in read.sequences():
        assert len(sequence.ids) == len(sequence.mask)
        assert sum(sequence.mask) == len(sequence.logprobs)


def test_a_number_that_json_lacks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_records(tmp_path / "rows.jsonl", [record(advantage=math.inf)])


# What is refused --------------------------------------------------------------------------------------------


def refuses(trees, match, **options):
    with pytest.raises(OptionError, match=match):
        records(trees, **options)


def test_a_policy_without_log_probabilities_is_named():
    refuses([rollout(0), rollout(1, samples=((1, 2), None))], r"trees\[1\].nodes\[0\].turns\[1\].sample.*Action")


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf, 0.5])
def test_impossible_log_probabilities_are_named(value):
    log = LogWriter("task", {"rollout": 0})
    log.spawn(None)
    log.act(0, "x", sample=Sample((1,), (2, 3, 4), (-1.0, value, -1.0)))
    log.finish(0)
    refuses([log.tree], r"trees\[0\].nodes\[0\].turns\[0\].sample.logprobs=.*natural logarithms", baseline="none")


def test_an_empty_prompt_is_named():
    log = LogWriter("task", {"rollout": 0})
    log.spawn(None)
    log.act(0, "x", sample=Sample((), (2,), (-1.0,)))
    log.finish(0)
    refuses([log.tree], r"sample.prompt_ids=\(\)", baseline="none")


def test_an_empty_batch_is_named():
    refuses([], "at least one rollout")


def test_a_single_tree_is_no_batch():
    refuses(rollout(0), "list")


def test_trees_without_a_task_or_a_number_are_named():
    refuses([rollout(0), rollout(1, group="")], r'trees\[1\].task\["id"\]')
    refuses([grow_tree([-1], [1.0])], r'trees\[0\].meta\["rollout"\]=None')


def test_different_tasks_of_one_id_are_named():
    other = rollout(1)
    other.nodes[0].goal = "another goal"
    refuses([rollout(0), other], r"trees\[1\].task='task'.*trees\[0\].*give every task its own id")
    refuses([rollout(0, env="A-v0"), rollout(1, env="B-v0")], "give every task its own id")
    refuses([rollout(0, options={"depth": 1}), rollout(1, options={"depth": 2})], "give every task its own id")


def test_the_same_rollout_twice_is_named():
    refuses([rollout(0), rollout(1), rollout(0)], r"trees\[2\]=.*so is trees\[0\]")
    other_seed = rollout(0)
    other_seed.meta["seed"] = 5
    assert len(records([rollout(0), other_seed])) == 2


def test_a_table_of_other_trees_is_named():
    trees = [rollout(0), rollout(1)]
    refuses(trees, "table", table=credit.assign([*trees, rollout(2)]))
    refuses(trees, "table", table=credit.assign([rollout(0), family()], baseline="none"))
    refuses(trees, "delegation_bonus would be ignored", table=credit.assign(trees), delegation_bonus=0.1)
