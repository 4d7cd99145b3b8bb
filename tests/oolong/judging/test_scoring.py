import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs.errors import OptionError
from rao_oolong.judging.scoring import score
from rao_oolong.questions.answers import kind_of, parse, render


@pytest.mark.parametrize(
    ("gold", "text", "value"),
    [
        (10, r"\boxed{10}", 1.0),
        (10, r"\boxed{12}", 0.5625),  # 0.75 ** 2
        (10, r"\boxed{7}", 0.421875),  # 0.75 ** 3
        ("10", "12", 0.5625),
        (10, 9, 0.75),
        (10, r"\boxed{ten}", 0.0),
        (10, r"\boxed{10, 11}", 0.0),
        (10, r"\boxed{10.0}", 0.0),
        (10, "I think it is 10", 0.0),
        (0, r"\boxed{-1}", 0.75),
        ("Fire Bolt", r"\boxed{ fire bolt }", 1.0),
        ("Fire Bolt", r"\boxed{firebolt}", 0.0),
        ("Fire Bolt", r"\boxed{Fire Bolt, Hex}", 0.0),
        (["Hex", "Bless", "Fly"], r"\boxed{fly, hex}", 2 / 3),
        (["Hex", "Bless", "Fly"], r"\boxed{Fly, Hex, Bless, Haste}", 1.0),
        ("Hex, Bless", ["Bless", "Hex"], 1.0),
        (["Hex", "Bless"], r"\boxed{Hex}", 0.0),
        (["14", "7"], r"\boxed{7, 14}", 1.0),
        (["Hex"], r"\boxed{hex}", 1.0),
        # A repeated item counts as often as it is repeated.
        (["Hex", "Hex", "Fly"], r"\boxed{Hex, Hex, Fly}", 1.0),
        (["Hex", "Hex", "Fly"], r"\boxed{Hex, Fly}", 2 / 3),
        (10, "", 0.0),
        (10, None, 0.0),
        (10, r"\boxed{}", 0.0),
        (["a", "b"], ",", 0.0),
        (1, True, 0.0),
    ],
)
def test_scores(gold, text, value):
    assert score(gold, text).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("gold", "text", "why"),
    [
        (10, "10", "exact"),
        (10, "12", "answered 12, not 10"),
        ("Hex", "hex", "exact"),
        ("Hex", "Fly", "answered 'Fly', not 'Hex'"),
        (["Hex", "Fly"], "Fly, Bless", "1 of 2 items"),
        (10, r"\boxed{}", "no answer"),
        (["Hex", "Fly"], ",", "no answer"),
        (10, "Hex", "answered a string, not an integer"),
        ("Hex", "Hex, Fly", "answered a list, not a string"),
    ],
)
def test_reasons(gold, text, why):
    assert score(gold, text).why == why


@pytest.mark.parametrize("digits", [400, 5_000, 100_000])
def test_huge_numbers_score_nothing(digits):
    huge = "9" * digits
    assert score(3, rf"\boxed{{{huge}}}").value == 0
    assert len(score(3, huge).why) < 200
    assert score(3, 10**digits).value == 0


def test_nothing_but_braces_is_quick():
    assert score(3, r"\boxed" + "{" * 50_000 + "}" * 50_000).value == 0


@pytest.mark.parametrize("gold", [None, "", "  ", [], ",", ()])
def test_a_question_without_a_gold_is_an_error(gold):
    with pytest.raises(OptionError, match="no gold answer"):
        score(gold, r"\boxed{1}")


def test_a_kind_overrides_the_looks_of_the_gold():
    assert score("17", r"\boxed{17}", "str").value == 0  # the answer looks like an integer
    assert score("Hex", r"\boxed{Hex, Fly}", "list").value == 1
    assert score("Hex", r"\boxed{Hex}", "list").value == 0
    with pytest.raises(OptionError, match="not an integer"):
        score("Hex", "1", "int")


words = st.text(st.characters(codec="utf-8", exclude_characters=",{}\\"), min_size=1).map(str.strip).filter(bool)
golds = st.one_of(
    st.integers(-(10**6), 10**6),
    words.filter(lambda word: kind_of(parse(word)) == "str"),
    st.lists(words, min_size=2),
)


@given(golds)
def test_the_gold_answer_scores_one_boxed_dressed_and_bare(gold):
    written = render(gold)
    for text in (written, rf"\boxed{{{written}}}", rf"Well. \boxed{{0}} or rather \boxed{{\text{{{written}}}}}!"):
        assert score(gold, text).value == 1


@given(golds, st.text())
def test_any_text_scores_between_zero_and_one_with_a_reason(gold, text):
    value, why = score(gold, text)
    assert 0 <= value <= 1
    assert why
    assert "\n" not in why or "\n" in text


@given(st.integers(), st.integers())
def test_integers_score_by_distance_alone(gold, answer):
    assert score(gold, str(answer)).value == score(-gold, str(-answer)).value
    assert score(gold, answer).value == pytest.approx(0.75 ** min(abs(gold - answer), 5_000))


@given(st.lists(words, min_size=2), st.lists(words, min_size=2), st.randoms())
def test_lists_do_not_depend_on_order(gold, answer, random):
    shuffled = random.sample(answer, len(answer))
    assert score(gold, answer).value == score(random.sample(gold, len(gold)), shuffled).value
