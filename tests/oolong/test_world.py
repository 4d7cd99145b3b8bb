"""Oolong through the engine: reading, delegation without copies, and verdicts on root and children."""

import json

import gymnasium as gym
import pytest

from rao_envs import RecursiveEnv, Task
from rao_envs.errors import OptionError
from rao_envs.events import Verdict
from rao_oolong import FAMILIES, ask, generate
from rao_oolong.questions.answers import render
from rao_oolong.questions.families import parse_goal
from rao_oolong.world import OolongWorld, open_session, text_session

PAYLOAD = {"seed": 5, "episodes": 2, "tokens": 20_000, "question": {"family": "rolls_total"}}
GOAL = "Total number of rolls across all episodes?"
SESSION = generate(5, episodes=2, tokens=20_000)
GOLD = len(SESSION.log.rolls)


def begin(payload=PAYLOAD, goal=GOAL, action_format="calls", judge=None, **options):
    task = Task("t", goal, payload)
    limits = {"context_tokens": 100_000, "max_observation_chars": 200_000, "max_depth": 2}
    env = RecursiveEnv(
        lambda i: task, lambda t: OolongWorld(t, judge), action_format=action_format, limits=limits, **options
    )
    env.reset(seed=0)
    return env


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def launch(goal=GOAL, **arguments):
    return call("launch_subagent", goal=goal, **arguments)


def finish(message):
    return call("finish", message=message)


def act(env, node, *calls):
    env.advance({node: json.dumps(calls)})
    seen = env.tree.nodes[node].turns[-1].observation
    return json.loads(seen) if seen else None


def child(env, result, goal=GOAL, **arguments):
    """Launch one subagent that finishes with `result`; return it."""
    act(env, 0, launch(goal, **arguments))
    act(env, 1, finish(result))
    return env.tree.nodes[1]


OFFSET = SESSION.preamble.count("\n") + 2  # the root's line of the transcript's line 0


# Reading --------------------------------------------------------------------------------------------------------------


def test_the_root_reads_the_preamble_and_the_transcript_line_by_line():
    env = begin()
    (entry,) = act(env, 0, call("read_lines", first=OFFSET, count=2))
    total = len(SESSION) + OFFSET
    head, first, second = entry["result"].split("\n")
    assert head == f"[lines {OFFSET} to {OFFSET + 1} of {total}; {len(SESSION.context)} characters in all]"
    assert [first, second] == SESSION.text.split("\n")[:2]
    (entry,) = act(env, 0, call("read_lines", first=0, count=10**6))
    assert entry["result"].partition("\n")[2] == SESSION.context
    assert "plays the character DM." in entry["result"]
    assert "\\boxed{}" in entry["result"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"first": -1, "count": 1}, "first=-1"),
        ({"first": 10**6, "count": 1}, "lines 0 to"),
        ({"first": 0, "count": 0}, "count=0"),
    ],
)
def test_a_wrong_range_is_explained(wrong, why):
    (entry,) = act(begin(), 0, call("read_lines", **wrong))
    assert why in entry["error"]


def test_code_finds_the_text_in_a_variable():
    env = begin(action_format="code")
    env.step("print(len(context), context == read_lines(0, 10**6).split('\\n', 1)[1])")
    assert env.tree.root.turns[0].observation == f"{len(SESSION.context)} True"


def test_the_prompt_says_how_long_the_text_is_and_nothing_of_the_engine():
    root = begin().tree.root
    assert f"Your context has {len(SESSION) + OFFSET} lines, {len(SESSION.context)} characters." in root.opening
    assert "node" not in root.system
    assert SESSION.text[:200] not in root.opening


# Delegation -----------------------------------------------------------------------------------------------------------


def test_a_range_of_lines_is_kept_as_numbers_and_shown_with_preamble_heading_and_margin():
    env = begin()
    act(env, 0, launch(lines=[OFFSET + 50, OFFSET + 99], margin=5))
    node = env.tree.nodes[1]
    assert node.payload == {"place": ["lines", 50, 99, 5]}
    assert node.budget == 25
    text = env.world.book.text(node.payload["place"])
    assert text.startswith(SESSION.preamble)
    assert text.endswith(SESSION.lines(45, 104))
    assert (
        f"[Lines 50 to 99 of the transcript ({len(SESSION)} lines, from 0). Line 45 comes next, in episode 1." in text
    )
    found = node.opening.split("asked about lines ")[1].split(" of it")[0]
    first, last = map(int, found.split(" to "))
    assert text.split("\n")[first : last + 1] == SESSION.text.split("\n")[50:100]
    assert env.world.state() == {"texts": []}


def test_a_child_s_own_numbers_lead_to_the_same_lines():
    env = begin()
    act(env, 0, launch(lines=[OFFSET + 50, OFFSET + 99], margin=5))
    asked = env.tree.nodes[1].opening.split("asked about lines ")[1].split(" of it")[0]
    first, last = map(int, asked.split(" to "))
    act(env, 1, launch(lines=[first + 10, last]))
    assert env.tree.nodes[2].payload == {"place": ["lines", 60, 99, 0]}
    size = env.world.book.size(env.tree.nodes[2].payload["place"])
    text = env.world.book.text(env.tree.nodes[2].payload["place"])
    assert size == (text.count("\n") + 1, len(text))


def test_a_text_cut_out_of_the_context_is_kept_as_a_span():
    env = begin(action_format="code")
    env.step("await launch_subagent('What?', context[5000:9000])")
    assert env.tree.nodes[1].payload == {"place": ["chars", -1, 5000, 9000]}
    env.step("await launch_subagent('What?', context[100:200])")
    assert env.tree.nodes[2].payload == {"place": ["chars", -1, 5100, 5200]}
    assert env.world.state() == {"texts": []}


def test_a_text_of_the_parent_s_own_is_kept_once():
    env = begin()
    act(env, 0, launch("Sum?", context="3\n4\n5"), launch("Product?", context="3\n4\n5"))
    assert env.world.state() == {"texts": ["3\n4\n5"]}
    (entry,) = act(env, 2, call("read_lines", first=1, count=1))
    assert entry["result"].endswith("\n4")
    act(env, 2, launch("Last?", lines=[1, 2]))
    assert env.world.book.text(env.tree.nodes[3].payload["place"]) == "4\n5"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (launch(" ", lines=[0, 9]), "goal is empty"),
        (launch("x" * 30_000, lines=[0, 9]), "30,000 characters"),
        (launch(), "either"),
        (launch(context="a", lines=[0, 1]), "either"),
        (launch(context="  "), "context is empty"),
        (launch(lines=[5, 4]), "first <= last"),
        (launch(lines=[0, 10**9]), "your context has lines"),
        (launch(lines=[0, 2]), "nothing of the transcript"),
        (launch(lines=[0, 50], margin=-1), "margin=-1"),
        (launch(lines=[0, 50], margin=10**6), "margin=1000000"),
        (launch(lines=["a", "b"]), "lines"),
        (launch(7, lines=[0, 50]), "goal"),
    ],
)
def test_a_wrong_launch_is_refused(wrong, why):
    env = begin()
    (entry,) = act(env, 0, wrong)
    assert why in entry["error"]
    assert len(env.tree) == 1


# Verdicts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "success"),
    [
        (GOLD, 1.0),
        (str(GOLD), 1.0),
        (f"So it is \\boxed{{{GOLD}}}.", 1.0),
        ({"answer": GOLD, "partial": [1, 2]}, 1.0),
        (GOLD + 1, 0.75),
        ("many", 0.0),
        (None, 0.0),
        ([], 0.0),
        ({}, 0.0),
        (True, 0.0),
        (1.5, 0.0),
        ({"answer": {"deep": [None]}}, 0.0),
        pytest.param(10**6000, 0.0, id="huge"),
        pytest.param([10**6000], 0.0, id="huge-in-list"),
        pytest.param({"total": 10**6000}, 0.0, id="huge-in-dict"),
    ],
)
def test_the_root_is_scored_whatever_it_returns(result, success):
    env = begin()
    world = env.world
    verdict = world.verify(env.tree.root, result)
    assert verdict.success == pytest.approx(success)
    assert verdict.source == "exact"


def test_a_child_with_a_known_question_over_lines_is_judged_exactly():
    gold = len(SESSION.log.between(50, 250).rolls)
    assert gold > 0
    lines = [OFFSET + 50, OFFSET + 250]
    assert child(begin(), gold, lines=lines).verdict == Verdict(1.0, "exact", "exact")
    assert child(begin(), {"answer": gold + 1}, lines=lines).success == 0.75
    text = SESSION.lines(50, 250)
    assert child(begin(), gold, context=text).verdict == Verdict(1.0, "exact", "exact")
    assert child(begin(), gold, context=f"Here is a part:\n{text}").success == 1.0


def test_a_child_that_finds_nothing_where_there_is_nothing_is_right():
    goal = "What is the most common spell across all episodes? Return a comma separated list."
    empty = next(at for at in range(len(SESSION) - 5) if not SESSION.log.between(at, at + 4).casts)
    lines = [OFFSET + empty, OFFSET + empty + 4]
    assert child(begin(), [], goal, lines=lines).success == 1.0
    assert child(begin(), {"answer": "none"}, goal, lines=lines).success == 1.0
    assert child(begin(), "Fireball", goal, lines=lines).success == 0.0


def test_every_family_s_question_over_a_chunk_has_a_verdict():
    for index in range(40):
        question = ask(SESSION.log, 3, index)
        part = SESSION.log.between(20, len(SESSION) - 20)
        gold = render(FAMILIES[question.family].answer(part, **question.params))
        lines = [OFFSET + 20, OFFSET + len(SESSION) - 20]
        assert parse_goal(question.text) is not None
        assert child(begin(), gold, question.text, lines=lines).success == 1.0


def test_other_questions_go_to_the_judge_and_without_one_nobody_judges():
    goal = "Who is in the best mood?"
    node = child(begin(), "Wisp", goal, lines=[OFFSET, OFFSET + 40])
    assert (node.verdict.success, node.verdict.source) == (None, "none")
    seen = []

    def judge(case):
        seen.append(case)
        return Verdict(0.5, "judge", "so so")

    node = child(begin(judge=judge), "Wisp", goal, lines=[OFFSET, OFFSET + 40])
    assert node.verdict == Verdict(0.5, "judge", "so so")
    assert (seen[0].goal, seen[0].result) == (goal, "Wisp")
    assert seen[0].transcript
    # A text that is not the session's is no business of the verifier.
    node = child(begin(judge=judge), 1, context="Mei: I rolled a 3.")
    assert node.verdict.source == "judge"


def test_an_episode_by_number_over_a_cut_out_text_is_not_judged_exactly():
    goal = "What is the cumulative total of rolls by the end of episode 2?"
    second = next(line for line in range(1, len(SESSION)) if SESSION.lines(line, line) == "[START OF EPISODE]")
    assert child(begin(), 1, goal, context=SESSION.lines(second + 5, second + 99)).verdict.source == "none"
    assert child(begin(), 1, goal, lines=[OFFSET + second + 5, OFFSET + second + 99]).verdict.source == "exact"


# Where the text comes from --------------------------------------------------------------------------------------------


def test_any_text_with_a_gold_answer_will_do():
    payload = {"text": "Ann: I rolled a 7.\nBob: Me too.", "question": "How many?", "gold": "2"}
    env = begin(payload, "How many?")
    act(env, 0, launch("How many?", lines=[1, 1]))
    assert env.world.book.text(env.tree.nodes[1].payload["place"]).endswith("Bob: Me too.")
    act(env, 1, finish(1))
    assert env.tree.nodes[1].verdict.source == "none"
    act(env, 0, finish("\\boxed{2}"))
    assert env.tree.root.success == 1.0


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"text": " ", "question": "How many?", "gold": 1}, "empty"),
        ({"text": "a: b", "question": "How many?"}, "no gold answer"),
        ({"text": "a: b", "question": "How many?", "gold": ""}, "no gold answer"),
        ({**PAYLOAD, "question": {"family": "jokes"}}, "family='jokes'"),
        ({**PAYLOAD, "question": {"family": "rolls_total", "character": "X"}}, "takes exactly"),
        ({**PAYLOAD, "tokens": 0}, "tokens=0"),
        ({"question": {"family": "rolls_total"}}, "must have"),
    ],
)
def test_a_task_that_cannot_be_played_is_refused(payload, why):
    with pytest.raises(OptionError, match=why):
        begin(payload)


def test_a_session_is_made_once_for_the_same_payload():
    assert open_session(PAYLOAD) is open_session(dict(PAYLOAD))
    assert open_session(PAYLOAD).text == SESSION.text


def test_a_text_keeps_what_stands_before_the_first_episode_as_its_preamble():
    head = "Each stands between [START OF EPISODE] and [END OF EPISODE].\nAnn plays the character Ash."
    session = text_session(f"{head}\n\n[START OF EPISODE]\nAnn: Hi.\n[END OF EPISODE]")
    assert session.preamble == head
    assert session.text == "[START OF EPISODE]\nAnn: Hi.\n[END OF EPISODE]"
    assert session.context.count("\n") == 5
    assert session.log.episodes == 1


# Checkpoints ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action_format", ["calls", "code"])
def test_a_rollout_is_taken_up_where_it_was_saved(action_format):
    env = begin(action_format=action_format)
    if action_format == "calls":
        act(env, 0, launch("Sum?", context="3\n4"), launch(lines=[OFFSET, OFFSET + 60]))
    else:
        env.step(
            "import asyncio\nawait asyncio.gather(launch_subagent('Sum?', '3\\n4'), "
            f"launch_subagent({GOAL!r}, lines=({OFFSET}, {OFFSET + 60})))"
        )
    again = begin(action_format=action_format)
    again.load(env.save())
    assert again.world.state() == {"texts": ["3\n4"]}
    for one in (env, again):
        for node in (1, 2):
            said = json.dumps([finish(7)]) if action_format == "calls" else "finish(7)"
            one.advance({node: said})
    assert env.tree.to_json() == again.tree.to_json()


def test_the_id_opens_a_long_task_quickly():
    env = gym.make("OolongReal-v0", tokens=220_000, episodes=4, action_format="calls").unwrapped
    env.reset(seed=0, options={"task": 1})
    assert len(json.dumps(env.world.task.to_dict())) < 1_000
    assert len(env.world.book.context) > 800_000
