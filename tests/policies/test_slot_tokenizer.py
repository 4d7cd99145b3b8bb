"""The tokenizer of small models: exact, indifferent to names, safe with any text."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs.errors import OptionError
from rao_envs.policies import SlotTokenizer

TEXTS = ['[{"name":"get_info","result":[{"item":"m9_i4","depth":4},{"item":"c2_shard","depth":0}]}]', "Craft 12 m9_i4."]
TOKENIZER = SlotTokenizer.train(TEXTS, slots=8, at_least=1)
ROOMY = SlotTokenizer.train(TEXTS, slots=1_000, at_least=1)
anything = st.lists(
    st.one_of(st.text(), st.sampled_from(TEXTS), st.from_regex(r"[a-z]\d{1,3}_i\d", fullmatch=True)), max_size=50
)


@given(anything)
def test_what_is_encoded_is_decoded_exactly(texts):
    reading, writing = ROOMY.names(), ROOMY.names()
    for text in texts:
        ids = ROOMY.encode(text, reading)
        assert all(0 <= token < ROOMY.vocab_size for token in ids)
        writing.read(text)
        assert ROOMY.decode(ids, writing) == text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


@pytest.mark.parametrize(
    "text", ["007", "00", "100", "1_000", "3.14", "a1 a1_ 1a", "unknown3", "{}},", "\ud800", "\x00"]
)
def test_odd_texts_survive(text):
    names = TOKENIZER.names()
    ids = TOKENIZER.encode(text, names)
    assert TOKENIZER.decode(ids, names).encode("utf-8", "surrogatepass") in (
        text.encode("utf-8", "surrogatepass"),
        "\ufffd\ufffd\ufffd".encode(),
    )


def test_familiar_text_is_short():
    assert len(TOKENIZER.encode(TEXTS[0], TOKENIZER.names())) == 9
    assert len(TOKENIZER.encode(TEXTS[1], TOKENIZER.names())) == 5


def test_renaming_everything_changes_only_the_slots():
    renamed = TEXTS[0].replace("m9_i4", "x1_i12").replace("c2_shard", "t7_scrap")
    one, two = (TOKENIZER.encode(text, TOKENIZER.names()) for text in (TEXTS[0], renamed))
    assert len(one) == len(two)
    changed = {(a, b) for a, b in zip(one, two, strict=True) if a != b}
    assert changed <= {(one[1], two[1]), (one[5], two[5])}


def test_the_same_name_keeps_its_slot_and_another_never_gets_it():
    names = TOKENIZER.names()
    first = TOKENIZER.encode("a1 b2 c3 d4 e5 f6 g7 h8", names)
    assert TOKENIZER.encode("a1 b2 c3 d4 e5 f6 g7 h8", names) == first
    slots = list(names.slot_of.values())
    assert sorted(slots) == list(range(8))


def test_a_name_too_many_is_one_token_that_names_nobody():
    names = TOKENIZER.names()
    ids = TOKENIZER.encode(" ".join(f"n{k}" for k in range(12)), names)
    assert len(names.slot_of) == 8
    assert TOKENIZER.decode(ids, names) == "n0 n1 n2 n3 n4 n5 n6 n7 ? ? ? ?"


@given(anything)
def test_a_text_is_as_long_wherever_it_stands(texts):
    """So an environment that counts message by message knows how full the window is."""
    crowded = SlotTokenizer.train(TEXTS, slots=2, at_least=1)
    names = crowded.names()
    for text in texts:
        assert len(crowded.encode(text, names)) == len(crowded.encode(text, crowded.names()))


def test_another_salt_deals_other_slots():
    dealt = {tuple(TOKENIZER.encode("m9_i4 c2_shard", TOKENIZER.names(salt))) for salt in range(20)}
    assert len(dealt) > 5  # of 8


def test_slots_depend_on_nothing_but_the_text():
    names = [f"{letter}{number}_i3" for letter in "mcoat" for number in range(25)]
    wide = SlotTokenizer((), slots=64)
    slots = [wide.encode(name, wide.names())[0] for name in names]
    random.Random(0).shuffle(names)
    assert len(set(slots)) > 40  # spread over the table
    assert {wide.encode(name, wide.names())[0] for name in names} == set(slots)


def test_an_unbound_slot_reads_as_an_unknown_name():
    slot = TOKENIZER.encode("m9_i4", TOKENIZER.names())
    assert TOKENIZER.decode(slot, TOKENIZER.names()).startswith("unknown")
    assert TOKENIZER.decode([TOKENIZER.pad, TOKENIZER.act, TOKENIZER.end], TOKENIZER.names()) == ""


def test_what_is_ignored_is_not_read():
    blind = SlotTokenizer.train(TEXTS, ignore=r'"depth":\d+', at_least=1)
    names = blind.names()
    read = blind.decode(blind.encode(TEXTS[0], names), names)
    assert read == TEXTS[0].replace('"depth":4', "").replace('"depth":0', "")


def test_a_tokenizer_survives_json():
    again = SlotTokenizer.from_dict(json.loads(json.dumps(TOKENIZER.to_dict())))
    assert again.encode(TEXTS[0], again.names()) == TOKENIZER.encode(TEXTS[0], TOKENIZER.names())
    assert "pieces" in repr(again)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"pieces": ["a", "a"]}, "pieces"),
        ({"pieces": [""]}, "pieces"),
        ({"pieces": [], "slots": 0}, "slots"),
        ({"pieces": [], "ignore": "("}, "ignore"),
    ],
)
def test_impossible_options_are_refused(options, argument):
    with pytest.raises(OptionError, match=f"^{argument}"):
        SlotTokenizer(**options)
