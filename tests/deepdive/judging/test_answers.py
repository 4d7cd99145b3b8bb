import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rao_deepdive.judging.answers import matches, normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Beatles", "beatles!"),
        ("  an\tApple ", "apple"),
        ("A. A. Milne", "AA Milne"),
        ("U.S.A.", "usa"),
        ("Spider-Man", "spider man"),
        ("1,000 km", "1000 km"),
        ("Élan", "elan"),
        ("Straße", "STRASSE"),
        ('Eddie "The Eagle" Edwards', "Eddie the Eagle Edwards"),
        ("1914\u20131918", "1914-1918"),
        ("O'Hara", "O\u2019Hara"),
        ("\u22125", "-5"),
        ("\uff13\uff15", "35"),
    ],
)
def test_answers_that_are_the_same(one, other):
    assert matches(one, other)
    assert matches(other, one)
    assert matches(one, "something else", ["nothing", other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.5", "35"),
        ("-5", "5"),
        ("1914-18", "191418"),
        ("10 12", "1012"),
        ("Vitamin A", "Vitamin"),
        ("A. A. Milne", "Milne"),
        ("1,00", "100"),
        ("हिन्दी", "हन्द"),
        ("が", "か"),
        ("yes", "no"),
        ("", ""),
        ("!?", "!?"),
        ("", "the"),
    ],
)
def test_answers_that_differ(one, other):
    assert not matches(one, other)
    assert not matches(other, one)


@pytest.mark.parametrize("answer", [None, True, [], ["1902"], {"answer": "1902"}, object()])
def test_only_texts_and_numbers_are_answers(answer):
    assert not matches(answer, "1902", ["None", "True", "[]"])
    assert matches(1902, "1902")
    assert matches(3.5, "3.5")


@given(st.text())
@example("\0")
@example("The the")
def test_an_answer_is_itself_unless_it_says_nothing(text):
    once = normalise(text)
    assert once == " ".join(once.split())
    assert matches(text, text) == matches(text, "", [f" {text}\n"]) == bool(once)


@given(st.lists(st.sampled_from(["Ada", "Lovelace", "1843", "Note G", "of"]), min_size=1))
def test_case_punctuation_and_articles_do_not_matter(words):
    plain = " ".join(words)
    assert matches(f" the {plain.upper()}... ", plain)
    assert matches("; ".join(words), plain)
