import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_oolong.questions.answers import extract


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"\boxed{17}", "17"),
        (r"So it is \boxed{ 17 }.", "17"),
        (r"\boxed{\text{Fire Bolt}}", "Fire Bolt"),
        (r"\boxed{\textbf{\text{Hex}}}", "Hex"),
        (r"\boxed{{17}}", "17"),
        (r"\boxed{a {nested {deeply}} b}", "a {nested {deeply}} b"),
        (r"\boxed{\text{Hex}, \text{Bless}}", r"\text{Hex}, \text{Bless}"),
        (r"First \boxed{3}, no, \boxed{4}", "4"),
        (r"$\boxed {9}$", "9"),
        (r"\boxed{never closed", "never closed"),
        (r"\boxed{}", ""),
        ("  just 17  ", "just 17"),
        ("", ""),
    ],
)
def test_the_answer_is_in_the_last_box(text, inside):
    assert extract(text) == inside


@given(st.text(), st.text(st.characters(codec="utf-8", exclude_characters="\\{}")))
def test_the_box_wins_over_any_text_before_it(before, inside):
    assert extract(rf"{before}\boxed{{{inside}}}") == inside.strip()
