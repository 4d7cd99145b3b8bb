"""Stored trees that somebody has tampered with: refused when they are read, or sound in every use."""

import copy
import json
import pickle
import warnings
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rao_envs import credit, metrics
from rao_envs.errors import CorruptTree
from rao_envs.events import EVENT_TYPES, Sample, Verdict, event_from_dict, event_to_dict
from rao_envs.storage import TreeWriter, read_trees
from rao_envs.testing.strategies import LogWriter, execution_trees
from rao_envs.tree import ExecutionTree

SAMPLE = Sample(tuple(range(300)), (7, 0, 1), (-0.5, 0.0, -1.0))


def one_of_each():
    """Write a log in which every event type occurs and every optional field is there."""
    log = LogWriter("task", {"rollout": 0, "seed": 1})
    log.spawn(None, "root")
    log.act(0, sample=SAMPLE)
    log.spawn(0, "part")
    log.block(0)
    log.act(1)
    log.observe(1, "oops", "agent")
    log.finish(1, None)
    log.resume(0)
    log.observe(0)
    log.finish(0)
    log.abort()
    return log.tree


EVENTS = {type(event).__name__: event_to_dict(event) for event in reversed(one_of_each().events)}


def test_every_event_type_is_there():
    assert EVENTS.keys() == EVENT_TYPES.keys()
    assert {"task", "payload"} < EVENTS["Spawned"].keys()
    assert "sample" in EVENTS["Acted"]


# Field by field -------------------------------------------------------------------------------------------------------


def deep(depth):
    value = "x"
    for _ in range(depth):
        value = [value]
    return value


INF, NAN = float("inf"), float("nan")
NO_TEXT = [None, 3, True, 0.5, ["x"], {"x": "x"}]
NO_COUNT = [-1, True, False, 1.0, "1", [1], {}, 10**30, NAN, INF]
NO_SECONDS = [-0.1, -1, True, "1", [1], {}, NAN, INF, -INF, 1e200, 10**400]
NO_DATA = [NAN, [INF], {"x": [{"y": -INF}]}, deep(201), {"x": deep(300)}]
COUNT, TEXT = [None, *NO_COUNT], NO_TEXT
WRONG = {
    "seq": COUNT,
    "node": COUNT,
    "time": [None, *NO_SECONDS],
    "parent": NO_COUNT,
    "goal": TEXT,
    "opening": TEXT,
    "system": NO_TEXT[1:],
    "budget": [None, -1, True, 1.0, "1", [1], NAN],
    "payload": NO_DATA,
    "task": [3, "x", [], True, {"x": NAN}, {"x": deep(300)}],
    "action": TEXT,
    "latency": [None, *NO_SECONDS],
    "prompt_tokens": COUNT,
    "output_tokens": COUNT,
    "sample": [
        *([], {}, 3, "x", True, {"prompt_ids": [], "output_ids": []}),
        {"prompt_ids": [], "output_ids": [], "logprobs": [], "more": []},
        {"prompt_ids": [], "output_ids": [1], "logprobs": []},
        *({"prompt_ids": ids, "output_ids": [], "logprobs": []} for ids in (None, "12", {}, [None], ["1"], [1.0])),
        *({"prompt_ids": ids, "output_ids": [], "logprobs": []} for ids in ([True], [-1], [10**30], [[1]], [NAN])),
        *(
            {"prompt_ids": [*range(300), odd], "output_ids": [], "logprobs": []}
            for odd in (None, True, False, 2.0, "3", -1, 2**53 + 1, 10**30, [4])
        ),
        *({"prompt_ids": [], "output_ids": [1], "logprobs": [lp]} for lp in (None, "1", True, NAN, INF, 10**400)),
    ],
    "on": [None, 3, "1", [None], [True], [-1], [0.5], [[1]], {}],
    "child": COUNT,
    "observation": TEXT,
    "calls": COUNT,
    "fault": [3, True, "", "policy", [], {}, ["agent"]],
    "status": [None, 3, True, "", "done", [], {}],
    "result": NO_DATA,
    "verdict": [
        *(None, 3, "x", [], {}, {"source": "exact", "why": ""}, {"success": 1, "more": 0}),
        *({"success": success} for success in (True, "1", -0.1, 1.1, NAN, INF, 10**400, [1], {})),
        *({"success": 1.0, "source": wrong} for wrong in TEXT),
        *({"success": 1.0, "why": wrong} for wrong in TEXT),
    ],
    "reason": TEXT,
    "may_delegate": [0, 1, "true", [], {}, 0.5],
}
CASES = [
    pytest.param(name, field.name, wrong, id=f"{name}.{field.name}-{number}")
    for name, cls in EVENT_TYPES.items()
    for field in fields(cls)
    for number, wrong in enumerate(WRONG[field.name])
]


@pytest.mark.parametrize(("name", "field", "wrong"), CASES)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(name, field, wrong):
    with pytest.raises(CorruptTree, match=f"^not a {name} event: {field} ") as caught:
        event_from_dict({**EVENTS[name], field: wrong})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", EVENTS)
def test_missing_and_unknown_fields_are_named(name):
    event = EVENTS[name]
    optional = {"payload", "task", "sample", "fault", "may_delegate"}
    for field in event.keys() - optional - {"type"}:
        with pytest.raises(CorruptTree, match=f"not a {name} event: {field} is missing"):
            event_from_dict({key: value for key, value in event.items() if key != field})
    for field in event.keys() & optional:
        assert event_from_dict({key: value for key, value in event.items() if key != field})
    with pytest.raises(CorruptTree, match=f"not a {name} event: unknown field 'colour'"):
        event_from_dict({**event, "colour": 3})


@pytest.mark.parametrize("event", [None, 3, "Acted", [], [["type", "Acted"]], {"type": deep(900)}, {"type": "x" * 999}])
def test_what_is_no_event_is_refused(event):
    with pytest.raises(CorruptTree) as caught:
        event_from_dict(event)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    [
        '{"meta": {}, "events": [], "more": 0}',
        '{"meta": [], "events": []}',
        '{"meta": null, "events": []}',
        '{"meta": {}, "events": {}}',
        '{"meta": {"x": NaN}, "events": []}',
        '{"meta": {"x": [1e999]}, "events": []}',
        '{"meta": {"x": ' + "9" * 5000 + '}, "events": []}',
        '{"meta": {"x": ' + "[" * 300 + "]" * 300 + '}, "events": []}',
        b"\xff\xfe\xff",
        b"\x00",
    ],
    ids=lambda text: repr(text)[:50],
)
def test_what_is_no_tree_is_refused(text):
    with pytest.raises(CorruptTree):
        ExecutionTree.from_json(text)


def test_a_line_is_named_when_it_is_read(tmp_path):
    path = tmp_path / "trees.jsonl"
    with TreeWriter(path) as writer:
        writer.write(one_of_each())
    path.write_bytes(path.read_bytes() * 2 + path.read_bytes().replace(b'"budget":9', b'"budget":true'))
    with pytest.raises(CorruptTree, match=r"trees\.jsonl, line 3: not a Spawned event: budget must be"):
        list(read_trees(path))


@pytest.mark.parametrize("success", [True, False, np.bool_(True), np.float32(0.5)])
def test_a_verdict_of_a_bool_is_stored_as_a_number(success):
    # `Verdict(answer == gold)` is easily written; its tree must be readable.
    log = LogWriter()
    log.spawn()
    log.finish(0, Verdict(success).success)
    tree = ExecutionTree.from_json(log.tree.to_json())
    assert tree.root.success == float(success)
    assert type(tree.root.success) is float


# By chance ------------------------------------------------------------------------------------------------------------

NUMBERS = st.sampled_from([0, 1, -1, 2, 0.5, -0.5, 1e300, 1e308, 2**53, 2**63, 10**30, 10**400, NAN, INF, -INF, True])
WORDS = st.sampled_from(["", "x", "\ud800", "\x00", "finished", "agent", "0", "Acted", "type"])
SCALARS = st.none() | NUMBERS | WORDS | st.integers() | st.floats() | st.text(max_size=3)
KEYS = st.sampled_from(["type", "seq", "node", "id", "rollout", "success", "incoming_graph_data", "self", "\udfff"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths(item, (*path, key))


def tamper(data, tree):
    """Replace, remove or add a value somewhere, or put one from elsewhere in its place."""
    tree = copy.deepcopy(tree)
    everywhere = [path for path in paths(tree) if path]
    path = data.draw(st.sampled_from(everywhere))
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    how = data.draw(st.sampled_from(["replace", "replace", "remove", "add", "copy"]))
    if how == "replace":
        inner[path[-1]] = data.draw(JSON)
    elif how == "remove":
        del inner[path[-1]]
    elif how == "add":
        if isinstance(inner, dict):
            inner[data.draw(KEYS)] = data.draw(JSON)
        else:
            inner.insert(path[-1], data.draw(JSON))
    else:
        value = tree
        for key in data.draw(st.sampled_from(everywhere)):
            value = value[key]
        inner[path[-1]] = copy.deepcopy(value)
    return tree


def use(tree):
    """Do with a tree whatever can be done with one."""
    assert ExecutionTree.from_json(tree.to_json()) == tree
    assert pickle.loads(pickle.dumps(tree)) == tree
    json.dumps(metrics.summary([tree], price_per_prompt_token=0.1), allow_nan=False)
    json.dumps(metrics.summary_by([tree], "id")) if "id" in {**tree.meta, **tree.task} else None
    assert len(list(tree.walk())) == len(tree.nodes) == len(tree)
    assert repr(tree) + tree.group + str(tree.makespan)
    for node in tree.nodes:
        assert len(list(node.messages)) == len(node.messages)
        assert repr(node) + repr(node.messages) + node.address
    assert len(tree.to_networkx()) == len(tree)
    if tree.invalid is None and tree.nodes and all(node.status for node in tree.nodes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a lone rollout has nothing to be compared with
            for baseline in ("root_loo", "goal_loo"):
                assert len(credit.assign([tree, tree], baseline=baseline).rows()) == 2 * len(tree)


TREES = execution_trees(valid=False, finished=False) | execution_trees() | st.builds(one_of_each)


@settings(max_examples=500, deadline=None)
@given(TREES, st.data())
def test_a_tampered_tree_is_refused_or_sound(tree, data):
    stored = tamper(data, json.loads(tree.to_json()))
    if data.draw(st.booleans()):
        stored = tamper(data, stored)
    try:
        read = ExecutionTree.from_json(json.dumps(stored))
    except CorruptTree:
        return
    use(read)


@given(TREES)
def test_an_untouched_tree_is_sound(tree):
    use(ExecutionTree.from_json(tree.to_json()))
