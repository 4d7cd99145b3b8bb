import pytest

from rao_deepdive import RELATIONS, generate
from rao_deepdive.judging.goals import accepted, mentioned


@pytest.fixture(scope="module")
def graph():
    return generate(1_000, 0)


FORWARDS = {
    "born_in": ["Where was {} born?", "Find the birthplace of {}, and return only its name.", "{}'s place of birth?"],
    "studied_under": ["Who taught {}?", "Under whom did {} study?", "Identify {}'s mentor.", "Who was {} a pupil of?"],
    "worked_for": ["Which organisation did {} work for?", "Who employed {}?"],
    "governed_from": ["From where was {} governed?", "To which council did {} answer?"],
    "planned_by": ["Who laid out the main square of {}?"],
    "created_by": ["Who created {}?", 'Who is the author of "{}"?'],
    "set_in": ["Where is {} set?", "In which place does {} take place?"],
    "commissioned_by": ["Who commissioned {}?"],
    "recalls": ["Which event does {} commemorate?"],
    "founded_by": ["Who founded {}?", "Find the founder of {}"],
    "based_in": ["Where is {} based?", "Where are the headquarters of {}?"],
    "grew_from": ["What did {} grow out of?", "What was the parent of {}?"],
    "held_in": ["Where did {} take place?", "Where was {} held?"],
    "led_by": ["Who led {}?", "Who was in charge of {}?"],
    "paid_by": ["Who financed {}?", "Who bore the costs of {}?"],
}
BACKWARDS = {
    "born_in": "Which {} born in the {}s was born in {}?",
    "studied_under": "Which {} of the {}s studied under {}?",
    "worked_for": "Which {} of the {}s worked for {}?",
    "governed_from": "Find the {} founded in the {}s that was governed from {}",
    "created_by": "Which {} finished in the {}s was created by {}?",
    "set_in": "A {} of the {}s is set in {}. Which?",
    "founded_by": "Name the {}, established in the {}s, that was founded by {}.",
    "grew_from": "Which {} of the {}s grew out of {}?",
    "held_in": "Which {} held in the {}s took place in {}?",
}


@pytest.mark.parametrize("name", list(RELATIONS))
def test_a_goal_that_names_one_entity_and_one_relation_has_a_known_answer(graph, name):
    for head in graph.members(RELATIONS[name].head):
        tail = graph.tail(name, head)
        if tail >= 0:
            for asked in (graph.names[head], graph.url(head), *graph.names_of(head)[1:]):
                for goal in FORWARDS[name]:
                    assert accepted(graph, goal.format(asked)) == graph.names_of(tail), goal.format(asked)
            if name in BACKWARDS:
                decade = graph.years[head] // 10 * 10
                goal = BACKWARDS[name].format(graph.sort(head), decade, graph.names[tail])
                fitting = [
                    other
                    for other in graph.heads(name, tail)
                    if graph.sort(other) == graph.sort(head) and graph.years[other] // 10 * 10 == decade
                ]
                assert accepted(graph, goal) == (graph.names_of(head) if fitting == [head] else None), goal


def test_a_year_can_be_asked_for(graph):
    person, place = 5, graph.members(1)[5]
    assert accepted(graph, f"When was {graph.names[person]} born?") == (str(graph.years[person]),)
    assert accepted(graph, f"In which year was {graph.names[place]} founded?") == (str(graph.years[place]),)
    assert accepted(graph, f"Was {graph.names[person]}, when was he born, born in {graph.years[person]}?") is None


def test_goals_that_a_program_cannot_answer(graph):
    one, two = graph.names[5], graph.names[6]
    place = graph.names[graph.tail("born_in", 5)]
    popular = graph.names[max(graph.members(1), key=lambda place: len(graph.heads("born_in", place)))]
    pupil = graph.names[next(head for head in graph.members(0) if graph.tail("studied_under", head) >= 0)]
    for goal in (
        "Find the answer.",
        "Who founded it?",
        f"Tell me about {one}.",
        f"Where was {one} born, and who taught {one}?",
        f"Where were {one} and {two} born?",
        f"Where was {one} born? I think it is {place}.",
        f"Who founded {one}?",
        f"When did {one} learn to swim?",
        f"Did {pupil} study under someone who studied under {pupil}?",
        f"A person was born in {popular}. What is the name of that person?",
        "A person was born in Nowhere at All. What is the name of that person?",
        f"Which of them was born in {place}, and who employed them?",
        "x" * 4_000,
    ):
        assert accepted(graph, goal) is None, goal


def test_names_are_found_whole_and_the_longest_first(graph):
    entity, other = next((e, o) for e, o in graph.namesakes.items() if graph.names[e].startswith(f"{graph.names[o]}s"))
    for mark in ("'", "\u2019"):
        text = f"Compare {graph.names[other]}{mark}s page, ({graph.names[entity]}), and {graph.url(other)}."
        assert [found for found, _, _ in mentioned(graph, text)] == [other, entity, other]
    entity = next(e for e, o in graph.namesakes.items() if graph.names[e].endswith(f" {graph.names[o]}"))
    assert [found for found, _, _ in mentioned(graph, f"Is {graph.names[entity]} old?")] == [entity]
