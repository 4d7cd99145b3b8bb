"""The log is a list of events to whoever reads it, however it is kept."""

import gc
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rao_envs.events import EVENT_TYPES, Acted, Sample, Spawned, Verdict
from rao_envs.log import EventLog
from rao_envs.testing.strategies import execution_trees

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SAMPLES = st.none() | st.builds(
    lambda ids: Sample((1, *ids), tuple(ids), tuple(-0.5 for _ in ids)), st.lists(st.integers(0, 99), max_size=4)
)
VALUES = {
    "verdict": st.builds(Verdict, st.none() | st.floats(0, 1)),
    "payload": JSON,
    "result": JSON,
    "task": st.none() | st.dictionaries(st.text(max_size=3), JSON, max_size=2),
    "sample": SAMPLES,
    "on": st.lists(st.integers(), max_size=3).map(tuple),
    "action": st.text(),
    "goal": st.text(),
}


@st.composite
def events(draw):
    kind = draw(st.sampled_from(list(EVENT_TYPES.values())))
    return kind(**{field.name: draw(VALUES.get(field.name, st.integers(0, 9))) for field in fields(kind)})


@settings(max_examples=30)
@given(st.lists(events(), min_size=1, max_size=8), st.integers(0, 9000), st.data())
def test_a_packed_log_reads_like_the_list_of_its_events(some, size, data):
    told = [some[i % len(some)] for i in range(size)]
    log = EventLog()
    for i, event in enumerate(told):
        log.append(event)
        if i % 3000 == 2999:
            log.pack()
    log.pack()
    assert (len(log), list(log), log == told) == (size, told, True)
    for _ in range(5):
        part = slice(
            *(data.draw(st.none() | st.integers(-9100, 9100)) for _ in range(2)),
            data.draw(st.sampled_from([None, 2, -1])),
        )
        assert log[part] == told[part]
        index = data.draw(st.integers(-9100, 9100))
        if -size <= index < size:
            assert log[index] == told[index]
        else:
            with pytest.raises(IndexError):
                log[index]
    assert log != [*told, some[0]]


def test_values_that_are_no_plain_data_survive_packing():
    thing = object()
    log = EventLog()
    for seq in range(9000):
        log.append(Spawned(seq, 0, 0.0, None, "", "", None, 1, thing))
    log.pack()
    assert log[0].payload is thing


def test_the_garbage_collector_passes_over_a_packed_log():
    log = EventLog()
    for seq in range(20_000):
        log.append(Spawned(seq, 0, 0.0, None, "goal", "opening", None, 1, {"deep": {"x": [1]}}))
        log.append(Acted(seq, 0, 0.0, "text", 0.5, 1, 2, Sample((1, 2), (3,), (-0.5,))))
    log.pack()
    for _ in range(3):  # one pass for each level of nesting
        gc.collect()
    tracked = sum(gc.is_tracked(block) for block in log._blocks)
    assert (len(log._blocks), tracked) == (155, 0)


@given(execution_trees())
def test_reading_a_tree_changes_nothing(tree):
    before = tree.to_json()
    for node in tree.nodes:
        assert list(node.turns) == list(node.turns)
    assert tree.to_json() == before
