"""The log is the truth: exact round trips, order restored, and impossible logs refused."""

import copy
import json
import pickle
from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rao_envs.errors import CallerError, CorruptTree
from rao_envs.events import (
    EVENT_TYPES,
    Aborted,
    Acted,
    Blocked,
    Observed,
    Resumed,
    Returned,
    Sample,
    Spawned,
    Verdict,
    event_from_dict,
    event_to_dict,
)
from rao_envs.testing.strategies import LogWriter, execution_trees, grow_tree
from rao_envs.tree import ExecutionTree

any_tree = execution_trees(finished=False, valid=False)

ONE_OF_EACH = [
    Spawned(0, 0, 0.0, None, "do it", "Goal: do it", "rules", 9, {"deep": [1, None]}, {"id": "t", "split": "val"}),
    Acted(1, 0, 0.0, "åct\n\u2028", 1.5, 7, 3, Sample((1, 2), (3, 4), (-0.5, -1e-300))),
    Spawned(2, 1, 1.5, 0, "part", "Goal: part", None, 4),
    Blocked(3, 0, 1.5, (1,)),
    Acted(4, 1, 1.5, "done", 0.1, 5, 1),
    Observed(5, 1, 1.6, "", 1, "agent"),
    Returned(6, 1, 1.6, "finished", {"answer": 1.0}, Verdict(None, "none", "no judge")),
    Resumed(7, 0, 1.6, 1),
    Observed(8, 0, 1.6, "seen", 2),
    Returned(9, 0, 1.6, "turns", None, Verdict(0.0, "engine", "ran out")),
    Aborted(10, 0, 1.6, "the server died"),
]


def spawned(seq, node, parent):
    return Spawned(seq, node, 0.0, parent, "goal", "opening", "rules" if parent is None else None, 9)


def acted(seq, node):
    return Acted(seq, node, 0.0, "act", 0.0, 0, 0)


def state(tree):
    """Return everything that a tree derives from its log."""
    names = [name for name in type(tree.nodes[0]).__slots__ if name != "turns"] if tree.nodes else []
    nodes = [{name: getattr(node, name) for name in names} for node in tree.nodes]
    return nodes, [node.turns for node in tree.nodes], tree.task, tree.invalid, tree.meta


# Events -----------------------------------------------------------------------------------------------------


def test_every_event_type_is_covered():
    assert {type(event) for event in ONE_OF_EACH} == set(EVENT_TYPES.values())
    ExecutionTree.from_events(ONE_OF_EACH)


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: f"{event.seq}-{type(event).__name__}")
def test_event_round_trip(event):
    data = event_to_dict(event)
    assert data["type"] == type(event).__name__
    again = event_from_dict(json.loads(json.dumps(data, allow_nan=False)))
    assert again == event
    assert type(again) is type(event)
    # as frozen, down to the containers that a trainer may keep
    for field in fields(event):
        assert type(getattr(again, field.name)) is type(getattr(event, field.name))


def test_events_are_frozen():
    with pytest.raises(FrozenInstanceError):
        ONE_OF_EACH[0].time = 1.0


def test_defaults_are_left_out():
    assert "sample" not in event_to_dict(ONE_OF_EACH[4])
    assert "fault" not in event_to_dict(ONE_OF_EACH[8])


@pytest.mark.parametrize("success", [-0.1, 1.1, float("nan")])
def test_verdict_refuses_what_is_no_success(success):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        Verdict(success)


def test_sample_refuses_stray_logprobs():
    with pytest.raises(ValueError, match="2 output_ids but 1 logprobs"):
        Sample((), (1, 2), (-0.1,))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "unknown event type None; known: Spawned"),
        ({"type": "Exploded"}, "unknown event type 'Exploded'"),
        ({"type": "Blocked", "seq": 0}, "not a Blocked event: .*missing"),
        ({"type": "Resumed", "seq": 0, "node": 0, "time": 0, "child": 1, "x": 1}, "not a Resumed event: .*'x'"),
        ({"type": "Returned", "verdict": {"success": 2}}, "must lie in"),
        ({"type": "Returned", "verdict": None}, "not a Returned event"),
        ({"type": "Acted", "sample": [1]}, "not a Acted event"),
        ({"type": "Acted", "sample": {"output_ids": [1]}}, "not a Acted event"),
        ({"type": "Blocked", "on": 3}, "not a Blocked event"),
    ],
)
def test_what_is_no_event_is_refused(data, message):
    with pytest.raises(CorruptTree, match=message):
        event_from_dict(data)


# Round trips ------------------------------------------------------------------------------------------------


@given(any_tree)
def test_json_is_exact(tree):
    text = tree.to_json()
    again = ExecutionTree.from_json(text)
    assert again == tree
    assert state(again) == state(tree)
    assert again.to_json() == text
    assert ExecutionTree.from_json(text.encode()) == tree
    assert "\n" not in text


@given(any_tree, st.randoms(use_true_random=False))
def test_shuffled_events_are_put_back_in_order(tree, random):
    events = list(tree.events)
    random.shuffle(events)
    again = ExecutionTree.from_events(iter(events), tree.meta)
    assert again.events == tree.events
    assert state(again) == state(tree)


@given(any_tree)
def test_pickles_and_copies_are_equal_and_independent(tree):
    for again in (pickle.loads(pickle.dumps(tree)), copy.deepcopy(tree)):
        assert again == tree
        assert state(again) == state(tree)
        again.meta["x"] = 1
        assert "x" not in tree.meta


@given(any_tree)
def test_any_prefix_is_a_tree_and_grows_into_the_whole(tree):
    half = len(tree.events) // 2
    grown = ExecutionTree.from_events(tree.events[:half], tree.meta)
    assert len(grown.events) == half
    for event in tree.events[half:]:
        grown.apply(event)
    assert state(grown) == state(tree)


@given(execution_trees())
def test_finished_trees_are_whole(tree):
    assert tree.finished
    assert all(node.status is not None and node.returned_at >= node.spawned_at for node in tree.nodes)
    assert tree.makespan == tree.root.returned_at
    assert [event.seq for event in tree.events] == list(range(len(tree.events)))
    launched = [child for node in tree.nodes for turn in node.turns for child in turn.children]
    assert sorted(launched) == list(range(1, len(tree)))


@given(any_tree)
def test_derived_shape(tree):
    for node in tree.nodes[1:]:
        parent = tree.nodes[node.parent]
        assert parent.children[node.path[-1]] == node.id
        assert node.path[:-1] == parent.path
        assert node.depth == parent.depth + 1 == len(node.path)
        assert node.system == parent.system
    walk = [node.path for node in tree.walk()]
    assert walk == sorted(walk)
    assert len(walk) == len(tree)


# Impossible logs --------------------------------------------------------------------------------------------


@given(execution_trees(), st.data())
def test_a_missing_event_is_noticed(tree, data):
    assume(len(tree.events) > 1)
    place = data.draw(st.integers(0, len(tree.events) - 2))
    with pytest.raises(CorruptTree, match=f"seq={place + 1}, expected {place}:"):
        ExecutionTree.from_events(tree.events[:place] + tree.events[place + 1 :])


@given(execution_trees(), st.data())
def test_a_doubled_event_is_noticed(tree, data):
    event = data.draw(st.sampled_from(tree.events))
    with pytest.raises(CorruptTree, match=f"seq={event.seq}, expected {event.seq + 1}:"):
        ExecutionTree.from_events([*tree.events, event])


WITH_TURN = [spawned(0, 0, None), acted(1, 0)]
RETURNED = Returned(1, 0, 0.0, "finished", None, Verdict(1.0))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([spawned(0, 1, None)], "spawns node 1, expected 0"),
        ([spawned(0, 0, 0)], "node 0 cannot have parent 0"),
        ([*WITH_TURN, spawned(2, 1, None)], "node 1 cannot have parent None"),
        ([*WITH_TURN, spawned(2, 1, 2)], "node 1 cannot have parent 2"),
        pytest.param([*WITH_TURN, spawned(2, 1, 1)], "node 1 cannot have parent 1"),
        pytest.param([*WITH_TURN, spawned(2, 1, -1)], "node 1 cannot have parent -1"),
        ([spawned(0, 0, None), spawned(1, 1, 0)], "node 0 launches a node outside a turn"),
        ([*WITH_TURN, Observed(2, 0, 0.0, "", 0), spawned(3, 1, 0)], "launches a node outside a turn"),
        ([spawned(0, 0, None), RETURNED, spawned(2, 1, 0)], "launches a node outside a turn"),
        ([acted(0, 0)], "node 0, which was never spawned"),
        ([spawned(0, 0, None), acted(1, -1)], "node -1, which was never spawned"),
        ([*WITH_TURN, acted(2, 0)], "node 0 acts while its turn is open"),
        ([spawned(0, 0, None), Observed(1, 0, 0.0, "", 0)], "node 0 has no open turn"),
        ([spawned(0, 0, None), Blocked(1, 0, 0.0, (1,))], "node 0 has no open turn"),
        ([spawned(0, 0, None), Resumed(1, 0, 0.0, 1)], "node 0 has no open turn"),
        ([spawned(0, 0, None), RETURNED, replace(RETURNED, seq=2)], "already returned"),
        ([spawned(0, 0, None), RETURNED, acted(2, 0)], "already returned"),
        pytest.param([*WITH_TURN, Blocked(2, 0, 0.0, (7,))], "7"),
        pytest.param([*WITH_TURN, Resumed(2, 0, 0.0, 7)], "7"),
        pytest.param([*WITH_TURN, spawned(2, 1, 0), replace(RETURNED, seq=3)], "returns before its children"),
    ],
)
def test_an_impossible_event_is_refused_and_changes_nothing(log, message):
    tree = ExecutionTree.from_events(log[:-1])
    before = copy.deepcopy(state(tree))
    with pytest.raises(CorruptTree, match=message):
        tree.apply(log[-1])
    assert state(tree) == before
    assert tree.events == log[:-1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "3",
        "[]",
        "{}",
        '{"meta": {}}',
        '{"meta": {}, "events": [{}]}',
        "[" * 100_000,
        pytest.param('{"meta": {}, "events": 3}'),
        pytest.param('{"meta": {}, "events": [null]}'),
        pytest.param('{"meta": {}, "events": ["ab"]}'),
        pytest.param('{"meta": {}, "events": [{"type": []}]}'),
        pytest.param('{"meta": 3, "events": []}'),
        pytest.param('{"meta": {}, "events": [{"type": "Resumed", "seq": 0, "node": "0", "time": 0, "child": 1}]}'),
    ],
    ids=lambda text: text[:60],
)
def test_what_is_no_tree_is_refused(text):
    with pytest.raises(CorruptTree) as caught:
        ExecutionTree.from_json(text)
    assert isinstance(caught.value, CallerError)
    assert len(str(caught.value)) < 500


# The tree ---------------------------------------------------------------------------------------------------


def test_what_a_log_says():
    tree = ExecutionTree.from_events(ONE_OF_EACH, {"seed": 1})
    root, child = tree.nodes
    assert tree.root is root
    assert (tree.group, tree.task["split"], tree.invalid) == ("t", "val", "the server died")
    assert (root.address, child.address, child.path, child.depth) == ("0", "0.0", (0,), 1)
    assert (root.success, root.status, child.success, child.result) == (0.0, "turns", None, {"answer": 1.0})
    assert child.system == "rules"
    assert root.turns[0].children == [1]
    assert (root.turns[0].start, root.turns[0].end, root.turns[0].calls) == (0.0, 1.6, 2)
    assert child.turns[0].fault == "agent"
    assert root.turns[0].sample.output_ids == (3, 4)
    assert len(tree) == 2
    assert "invalid nodes=2" in repr(tree)
    assert repr(child).startswith("<Node 0.0 finished success=None turns=1")


def test_waiting():
    tree = ExecutionTree.from_events(ONE_OF_EACH[:4])
    assert tree.root.waits_for == (1,)
    assert "waiting" in repr(tree.root)
    assert not tree.finished
    assert tree.makespan == 0.0
    for event in ONE_OF_EACH[4:8]:
        tree.apply(event)
    assert tree.root.waits_for == ()
    assert "running" in repr(tree.root)


def test_an_empty_tree():
    tree = ExecutionTree()
    assert (len(tree), tree.group, tree.finished, tree.makespan, list(tree.walk())) == (0, "", False, 0.0, [])
    assert ExecutionTree.from_json(tree.to_json()) == tree
    assert "running nodes=0" in repr(tree)


def test_trees_differ_by_log_or_meta():
    one = grow_tree([-1], [1.0])
    assert one == grow_tree([-1], [1.0])
    assert one != grow_tree([-1], [0.0])
    assert one != grow_tree([-1], [1.0], meta={"rollout": 1})
    assert one != "a tree"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_numbers_that_json_lacks_are_refused():
    tree = ExecutionTree.from_events([spawned(0, 0, None), replace(RETURNED, result=float("nan"))])
    with pytest.raises(ValueError, match="JSON compliant"):
        tree.to_json()


def test_networkx():
    networkx = pytest.importorskip("networkx")
    tree = grow_tree([-1, 0, 0, 1], [1.0, None, 0.0, 0.5], "t", meta={"seed": 3})
    graph = tree.to_networkx()
    assert networkx.is_arborescence(graph)
    assert sorted(graph.edges) == [(0, 1), (0, 2), (1, 3)]
    assert graph.graph["task"]["id"] == "t"
    assert graph.graph["seed"] == 3
    assert graph.nodes[3]["path"] == "0.0.0"
    assert [graph.nodes[node]["success"] for node in range(4)] == [1.0, None, 0.0, 0.5]


# Messages ---------------------------------------------------------------------------------------------------


def chat():
    log = LogWriter()
    log.spawn(goal="count")
    log.act(0, "one")
    log.observe(0, "1")
    log.act(0, "two")
    return log


def test_messages():
    log = chat()
    messages = log.tree.root.messages
    expected = [
        {"role": "system", "content": "rules"},
        {"role": "user", "content": "Goal: count"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "two"},
    ]
    assert list(messages) == expected
    assert messages == expected == list(messages[:])
    assert messages == tuple(expected)
    assert messages != expected[:-1]
    assert messages != "text"
    assert (messages[-1], messages[0], messages[-5]) == (expected[4], expected[0], expected[0])
    assert messages[1:4:2] == expected[1:4:2]
    assert messages[::-1] == expected[::-1]
    assert expected[2] in messages
    assert "5 messages of node 0" in repr(messages)
    for place in (5, -6):
        with pytest.raises(IndexError, match=f"message {place} of a chat of 5"):
            messages[place]


def test_messages_are_a_view_that_never_changes():
    log = chat()
    before, seen = log.tree.root.messages, list(log.tree.root.messages)
    log.observe(0, "2")
    log.act(0, "three")
    assert list(before) == seen
    assert before[-1] == seen[-1]
    assert len(log.tree.root.messages) == len(seen) + 2
    before[0]["content"] = "hacked"
    assert before[0]["content"] == "rules"
    with pytest.raises(TypeError):
        before[0] = {}
    with pytest.raises(TypeError, match="unhashable"):
        hash(before)


def test_messages_pickle_without_the_tree():
    messages = chat().tree.root.messages
    again = pickle.loads(pickle.dumps(messages))
    assert type(again) is list
    assert again == messages
    assert b"Node" not in pickle.dumps(messages)


@given(any_tree)
def test_messages_alternate(tree):
    for node in tree.nodes:
        roles = [message["role"] for message in node.messages]
        assert roles == ["system", *(["user", "assistant"] * len(roles))][: len(roles)]
        assert len(roles) == 2 + len(node.turns) + sum(turn.observation is not None for turn in node.turns)


def test_turns_of_a_large_tree_read_like_those_of_a_small_one(monkeypatch):
    small = grow_tree([-1, *[0] * 9], [1.0] * 10)
    monkeypatch.setattr("rao_envs.tree._MANY", 5)
    large = grow_tree([-1, *[0] * 9], [1.0] * 10)
    assert [type(node._turns) for node in large.nodes[1:]] == [list] * 4 + [tuple] * 5
    assert [list(node.turns) for node in large.nodes] == [list(node.turns) for node in small.nodes]
    assert [list(node.messages) for node in large.nodes] == [list(node.messages) for node in small.nodes]
