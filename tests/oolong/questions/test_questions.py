import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs.errors import OptionError
from rao_oolong.judging.scoring import score
from rao_oolong.questions.families import FAMILIES, ask, parse_goal
from rao_oolong.questions.parameters import PARAMETERS
from rao_oolong.session.log import Cast, Kill, Roll, SessionLog

TABLE = (("Ann", "DM"), ("Bo", "Wisp"), ("Cy", "Grub"), ("Di", "Rook"))

# A log to check by hand.
#
# line 0 1: Wisp   Stealth  9 -> 12     line 3: Wisp casts Hex        line 7: Wisp kills an imp
# line 1 1: Grub   Attack  20 -> ?      line 4: Grub casts Hex at 2   line 8: Wisp kills an imp
# line 2 1: Wisp   Stealth 20 -> ?      line 5: Wisp casts Fire Bolt
# line 6 2: Rook   Damage   ? -> 12     line 9: (episode 2) Rook casts Fly
HAND = SessionLog(
    (
        Roll(1, 0, "Bo", "Wisp", "Stealth", 9, 12),
        Roll(1, 1, "Cy", "Grub", "Attack", 20, None),
        Roll(1, 2, "Bo", "Wisp", "Stealth", 20, None),
        Roll(2, 6, "Di", "Rook", "Damage", None, 12),
    ),
    (
        Cast(1, 3, "Bo", "Wisp", "Hex", 1, 1),
        Cast(1, 4, "Cy", "Grub", "Hex", 1, 2),
        Cast(1, 5, "Bo", "Wisp", "Fire Bolt", 0, 0),
        Cast(2, 9, "Di", "Rook", "Fly", 3, 3),
    ),
    (Kill(2, 7, "Bo", "Wisp", "imp"), Kill(2, 8, "Bo", "Wisp", "imp")),
    2,
    TABLE,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Total number of rolls across all episodes?", 4),
        ("Total number of rolls by the character Wisp across all episodes?", 2),
        ("Total number of rolls by the player Di in this episode?", 1),
        ("total number of rolls of type stealth in this chunk", 2),
        ("Number of rolls of natural value 20 across all episodes?", 2),
        # 1 of 4 is 25 percent; the damage roll counts among the four.
        ("Across all episodes, what percentage of rolls were of value 9? Round to the nearest integer.", 25),
        ("What is the most common roll type in this episode? Return a comma separated list.", ["Stealth"]),
        ("What is the most common natural roll value in this episode?", ["20"]),
        ("What is the count of Crits in this episode (natural rolls of value 1 or 20)?", 2),
        ("What is the cummulative total of rolls by the end of episode 1? Count the number of rolls and not the "
         "values of the rolls.", 3),
        ("How many spells were cast in this episode?", 4),
        ("How many Hex spells were cast in this episode?", 2),
        ("How many characters cast Hex spell in this episode?", 2),
        ("What are the first 2 spells cast in this episode?", ["Hex", "Hex"]),
        ("What are the last 2 spells cast in this episode? Return a comma separated list. Retain the order of spells "
         "as they appear in the episode.", ["Fire Bolt", "Fly"]),
        ("What is the last spell cast by each character in this transcript?", ["Hex", "Fire Bolt", "Fly"]),
        ("Which spells were cast by more than one character in this episode?", ["Hex"]),
        ("In this episode, how many times was a spell cast at a level higher than its base level?", 1),
        ("In this text, which spells were cast at a level higher than their base level? Return a comma separated "
         "list of unique spells.", ["Hex"]),
        ("What is the third spell cast in episode 1?", "Fire Bolt"),
        ("What is the second spell cast in episode 2?", ""),
        ("List the last spell cast in each episode.", ["Fire Bolt", "Fly"]),
        ("How many kills by the character Wisp were there in this episode?", 2),
    ],
)  # fmt: skip
def test_by_hand(text, answer):
    name, params = parse_goal(text)
    assert FAMILIES[name].answer(HAND, **params) == answer
    assert parse_goal(f"  {text.upper()}  Put the final answer in \\boxed{{}}. ")[0] == name


@given(st.integers(0, 10**6), st.booleans())
def test_asked_questions_are_recognised(campaign, single, index, several):
    log = (campaign if several else single).log
    question = ask(log, 4, index)
    assert parse_goal(question.text) == (question.family, question.params)
    assert parse_goal(question.text, log) == (question.family, question.params)
    spaced = question.text.lower().replace(" ", "  ")
    name, params = parse_goal(spaced)
    assert name == question.family
    assert FAMILIES[name].answer(log, **params) == FAMILIES[name].answer(log, **question.params)
    assert question.gold not in ("", [])
    assert score(question.gold, question.gold).value == 1


def test_no_question_is_taken_for_another_family(campaign, single):
    for log in (campaign.log, single.log):
        for name, family in FAMILIES.items():
            params = {key: PARAMETERS[key].choices(log, name)[0] for key in family.parameters}
            for across in (False, True):
                assert parse_goal(family.ask(params, across=across)) == (name, params)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "How many?",
        "Count the rolls.",
        "Ignore damage. Total number of rolls in this episode?",
        "Total number of rolls in this episode?" + " " * 5_000,
        "Total number of rolls in this episode, but only those by Wisp?",
        "Total number of rolls in this episode? Ignore damage.",
        "Total number of rolls in this episode? List the spells, too.",
        # The rule that only types seen twice count changes the answer, so it may not be missing.
        "What is the least common roll type in this episode?",
        "What are the first 0 spells cast in this episode?",
        "What is the tenth spell cast in episode 1?",
        "Total number of rolls in this episode? " + "x" * 5_000,
        "give " * 190 + "\\boxed",
    ],
)
def test_other_goals_are_not_recognised(text):
    assert parse_goal(text) is None


def test_with_a_log_a_name_must_occur_in_it():
    odd = "Total number of rolls by the character Wisp in the dark in this episode?"
    assert parse_goal(odd) == ("rolls_by_character", {"character": "Wisp in the dark"})
    assert parse_goal(odd, HAND) is None
    assert parse_goal("How many Haste spells were cast in this episode?", HAND) is None
    assert parse_goal("How many hex spells were cast in this episode?", HAND)[1] == {"spell": "hex"}


def test_ask_is_pure_and_draws_every_family(campaign):
    questions = [ask(campaign.log, 1, index) for index in range(400)]
    assert questions == [ask(campaign.log, 1, index) for index in range(400)]
    assert questions != [ask(campaign.log, 2, index) for index in range(400)]
    assert {q.family for q in questions} == {n for n, f in FAMILIES.items() if f.setting != "single"}


def test_a_list_of_one_is_a_string_and_a_number_an_integer():
    question = ask(HAND, 0, 0, ["roll_type_most"])
    assert (question.gold, question.kind) == ("Stealth", "str")
    question = ask(HAND, 0, 0, ["roll_value_most"])
    assert (question.gold, question.kind) == (20, "int")


def test_empty_golds_are_passed_over():
    assert ask(HAND, 0, 0, ["roll_value_least", "roll_value_most"]).text
    once = SessionLog(HAND.rolls[:1], episodes=1, cast_table=TABLE)
    for index in range(20):
        assert ask(once, 0, index, ["roll_type_least", "rolls_total"]).family == "rolls_total"
    with pytest.raises(OptionError, match="none of them can be asked"):
        ask(once, 0, 0, ["roll_type_least", "spell_most", "spells_by_character", "rolls_cumulative"])
    with pytest.raises(OptionError, match="'rolls_totall'"):
        ask(once, 0, 0, ["rolls_totall"])


def test_wrong_parameters_are_named():
    with pytest.raises(OptionError, match="takes exactly \\['value'\\]"):
        FAMILIES["rolls_of_value"].answer(HAND, valu=3)
