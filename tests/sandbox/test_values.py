"""What hostile code made, brought down to plain JSON: complete, final, and bounded before it is expanded."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs.errors import ToolError
from rao_envs.values import TooLarge, clean_text, json_size, to_json

SLACK = 10.0  # seconds: what is not bounded takes minutes and more


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, "a", [2.5, None, True]), [1, "a", [2.5, None, True]]),
        ({2: {2, 1}, None: b"\xff", False: {}}, {"2": [1, 2], "null": "\ufffd", "false": {}}),
        (float("nan"), "nan"),
        (-float("inf"), "-inf"),
        ("a\ud800", "a?"),
        ({"\udfff": "\ud83d\ude00", "é": 1}, {"?": "??", "é": 1}),
        ({1.5: 1}, {"1.5": 1}),
    ],
)
def test_values_are_made_plain(value, plain):
    assert to_json(value) == plain
    assert json.loads(json.dumps(plain)) == plain


def test_deep_wide_and_cyclic_values_are_refused_in_words():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    cyclic: list = []
    cyclic.append(cyclic)
    for value in (deep, cyclic, [0] * 300_000, 10**1000, 10**4000, -(10**5000), len, object(), ..., 1j, {(1, 2): 3}):
        with pytest.raises(ToolError, match=r"deep|items|large|plain data|text as keys"):
            to_json(value)
    while deep:  # taken apart by hand: Python's own way down is recursive
        deep = deep.pop()


def shared(make, levels=40):
    value = "y"
    for _ in range(levels):
        value = make(value)
    return value


BIG = "y" * 10**6


@pytest.mark.parametrize(
    "value",
    [
        shared(lambda x: [x, x]),
        shared(lambda x: (x, x)),
        shared(lambda x: {"a": x, "b": x}),
        shared(lambda x: {"a": [x, (x, {"b": x})]}, 15),
        [BIG] * 3_000,
        {"a": [BIG] * 3_000},
        ["é" * 10**6] * 3_000,
        [b"y" * 10**6] * 3_000,
        [10**900] * 150_000,
        [["y" * 1_000] * 10_000] * 19,
        {BIG + "y": 1},
        dict.fromkeys(range(3_000), BIG),
        BIG * 3,
    ],
    ids=lambda value: type(value).__name__,
)
def test_large_values_are_refused_before_they_are_written_out(value):
    begin = time.monotonic()
    with pytest.raises(
        TooLarge, match=r"takes (at least )?[\d,]+ bytes as JSON, above limit = 1,000,000|200,000 items"
    ):
        to_json(value, 10**6, name="limit")
    assert time.monotonic() - begin < SLACK


def test_the_error_names_limit_and_size():
    with pytest.raises(TooLarge, match=r"at least 3,000,006,000 bytes as JSON, above max_value_bytes = 1,048,576"):
        to_json([BIG] * 3_000, 2**20, name="max_value_bytes")


_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_DATA)
def test_what_is_made_plain_is_json_and_final(value):
    plain = to_json(value)
    assert repr(to_json(plain)) == repr(plain)
    json.dumps(plain, allow_nan=False).encode()


@given(_DATA | st.lists(st.sampled_from(["\0" * 9, "é", '"', 1.5, None, [], {}, 10**30]), max_size=60))
def test_the_limit_is_met_to_the_byte(value):
    plain = to_json(value)
    size = len(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode())
    assert json_size(plain) == size
    assert to_json(value, size) == plain
    with pytest.raises(TooLarge):
        to_json(value, size - 1)


def test_clean_text_can_be_written_anywhere():
    assert clean_text("é\ud83d\ude00") == "é??"
    assert clean_text("\U0001f600") == "\U0001f600"
