"""OolongReal-v0: its options, its splits, and the data of others."""

import json
import sys
import types

import gymnasium as gym
import pytest

from rao_envs.errors import OptionError
from rao_envs.policies import views
from rao_envs.testing import check_env
from rao_oolong import OolongRealEnv
from rao_oolong.envs import DIFFICULTIES
from rao_oolong.questions.families import ROLL_FAMILIES


def make(**options):
    return OolongRealEnv(action_format="calls", **options)


def test_the_environment_obeys_every_rule():
    check_env("OolongReal-v0")


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_a_difficulty_is_a_length(difficulty):
    env = make(difficulty=difficulty)
    env.reset(seed=0, options={"task": 3})
    tokens, episodes = DIFFICULTIES[difficulty]
    session = env.world.book.session
    assert session.log.episodes == episodes
    assert len(session.text) == pytest.approx(4 * tokens, rel=0.1)
    assert env.world.task.difficulty == difficulty


def test_tokens_episodes_knobs_and_families_are_taken_at_their_word():
    env = make(tokens=9_000, episodes=3, knobs={"speakers": 2}, families=["crits", "nat1s"])
    for task in range(6):
        env.reset(options={"task": task})
        assert env.world.task.payload["question"]["family"] in ("crits", "nat1s")
        assert len(env.world.book.session.log.cast_table) == 3
        assert env.world.book.session.log.episodes == 3


def test_the_same_arguments_give_the_same_task_and_no_split_shares_a_session():
    tasks = {
        (split, n): make(split=split, difficulty="easy").tasks(n)
        for split in ("train", "val", "test")
        for n in range(20)
    }
    assert make(split="val", difficulty="easy").tasks(7).to_dict() == tasks["val", 7].to_dict()
    seeds = [task.payload["seed"] for task in tasks.values()]
    assert len(set(seeds)) == len(seeds)
    assert len({task.id for task in tasks.values()}) == len(tasks)
    assert make(difficulty="easy", task_seed=1).tasks(0).payload["seed"] not in seeds


def test_the_defaults_of_the_limits_can_be_changed_one_by_one():
    limits = make(limits={"max_turns": 9}).limits
    assert (limits.max_turns, limits.max_depth, limits.context_tokens) == (9, 2, 32_768)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tokens": 0}, "tokens=0"),
        ({"tokens": -5}, "tokens=-5"),
        ({"tokens": 100}, "from 500 an episode"),
        ({"episodes": 0}, "episodes=0"),
        ({"episodes": 99}, "episodes=99"),
        ({"split": "dev"}, "split='dev'"),
        ({"difficulty": "trivial"}, "difficulty='trivial'"),
        ({"tokens": 9_000, "difficulty": "easy"}, "not both"),
        ({"families": ["jokes"]}, "jokes"),
        ({"families": []}, "families"),
        ({"families": ["spell_nth"]}, "none of them suits this log"),
        ({"knobs": {"loudness": 1}}, "unknown knob"),
        ({"knobs": {"noise": 2}}, "noise=2"),
        ({"data": "/no/such/file.jsonl"}, "is no file and no folder"),
        ({"data": __file__}, r"\.jsonl or \.parquet"),
        ({"limits": 5}, "limits=5"),
        ({"data": ".", "tokens": 9_000}, "excludes tokens"),
    ],
)
def test_an_impossible_option_is_refused_at_once(options, why):
    with pytest.raises(OptionError, match=why):
        make(**options)


# The published set ----------------------------------------------------------------------------------------------------


def rows(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ROW = {
    "context_window_text": "Ann plays the character Ash.\n\n[START OF EPISODE]\nAnn: Natural 20!\n[END OF EPISODE]",
    "question": "Total number of rolls in this episode?",
    "answer": "1",
    "question_type": "singledoc_rolls",
    "id": "q1",
}


def test_published_questions_are_asked_as_they_are(tmp_path):
    path = rows(tmp_path / "set.jsonl", ROW, {**ROW, "id": "q2", "question": "Who?", "answer": "Ann, Bob"})
    env = make(data=path, split="test")
    env.reset(options={"task": 0})
    assert env.world.book.context == ROW["context_window_text"]
    env.step(json.dumps([{"name": "finish", "arguments": {"message": "\\boxed{1}"}}]))
    assert env.tree.root.success == 1.0
    env.reset(options={"task": 3})
    assert (env.world.task.goal, env.world.gold) == ("Who?", ["Ann", "Bob"])
    assert env.world.task.id == "oolong-published-q2"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({**ROW, "answer": ""}, "no answer"),
        ({**ROW, "answer": " , "}, "gold"),
        ({**ROW, "context_window_text": ""}, "context_window_text"),
        ({**ROW, "context_window_text": "  \n "}, "empty"),
        ({"text": "x"}, "row 0"),
    ],
)
def test_a_row_that_cannot_be_asked_is_named(tmp_path, row, why):
    with pytest.raises(OptionError, match=why):
        make(data=rows(tmp_path / "set.jsonl", row))


def test_a_later_row_without_a_gold_answer_is_named_at_once(tmp_path):
    with pytest.raises(OptionError, match="row 1"):
        make(data=rows(tmp_path / "set.jsonl", ROW, {**ROW, "answer": ","}))


def test_an_empty_set_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no questions"):
        make(data=rows(tmp_path / "set.jsonl"))


# Real episodes --------------------------------------------------------------------------------------------------------


def folder(path, episodes=10, header="Episode\tCharacter\tType of Roll\tTotal Value\tNatural Value"):
    (path / "episodes").mkdir()
    for number in range(episodes):
        (path / "episodes" / f"E{number:02}.txt").write_text("Ann: Hello.\nBob: I rolled 7.\n" * 40)
    (path / "characters.tsv").write_text("Player\tCharacter\nAnn\tDM\nBob\tBram\n")
    log = "".join(f"E{number:02}\tBram\tPerception\t{v}\t{v}\n" for number in range(episodes) for v in (7, 20, 7))
    (path / "rolls.tsv").write_text(f"{header}\n{log}")
    return path


def test_real_episodes_are_dealt_out_to_the_splits(tmp_path):
    data = folder(tmp_path)
    used = {}
    for split in ("train", "val", "test"):
        env = make(data=data, split=split)
        used[split] = {name for n in range(12) for name in env.tasks(n).payload["real"]["ids"]}
        assert all(env.tasks(n).payload["question"]["family"] in ROLL_FAMILIES for n in range(12))
    assert [len(ids) for ids in used.values()] == [7, 1, 2]
    assert len(set.union(*used.values())) == 10
    with pytest.raises(OptionError, match="has 1 of them"):
        make(data=data, split="val", episodes=2)


def test_children_over_whole_real_episodes_are_judged_and_others_not(tmp_path):
    env = make(data=folder(tmp_path), episodes=2, families=["rolls_total"])
    env.reset(options={"task": 0})
    offset = env.world.book.session.preamble.count("\n") + 2
    goal = env.tree.root.goal
    cuts = ((offset, offset + 81), (offset, offset + 50))
    launches = [{"name": "launch_subagent", "arguments": {"goal": goal, "lines": cut}} for cut in cuts]
    env.step(json.dumps(launches))
    for node in (1, 2):
        env.advance({node: json.dumps([{"name": "finish", "arguments": {"message": 3}}])})
    assert [node.verdict.source for node in env.tree.nodes[1:]] == ["exact", "none"]
    assert env.tree.nodes[1].success == 1.0


@pytest.mark.parametrize(
    ("header", "why"),
    [("Episode\tWho\tType of Roll\tTotal Value\tNatural Value", "has no columns"), (None, "rolls.tsv")],
)
def test_a_broken_folder_is_named(tmp_path, header, why):
    data = folder(tmp_path, header=header or "x")
    if header is None:
        (data / "rolls.tsv").unlink()
    with pytest.raises(OptionError, match=why):
        make(data=data)


def test_a_folder_without_transcripts_or_with_spells_only_is_refused(tmp_path):
    with pytest.raises(OptionError, match="episodes"):
        make(data=tmp_path)
    with pytest.raises(OptionError, match="rolls only"):
        make(data=folder(tmp_path), families=["spells_total"])


def test_the_real_data_can_be_played(real_folder):
    env = gym.make("OolongReal-v0", data=real_folder, action_format="calls").unwrapped
    for task in range(3):
        env.reset(seed=0, options={"task": task})
        assert len(env.world.book.context) > 50_000
        while env.ready:
            env.step(env.oracles["recursive"](views(env)[0]))
        assert env.tree.root.status == "finished"


def test_the_published_set_is_asked_through_datasets_by_its_name(monkeypatch):
    asked = []
    row = {
        "context_window_text": "A plays the character B.\n[START OF EPISODE]\nA: hello\n[END OF EPISODE]",
        "question": "What did A say?",
        "answer": "hello",
        "id": "q1",
    }

    def load_dataset(*names, split):
        asked.append((names[0], split))
        return [row]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    env = OolongRealEnv(data="oolongbench/oolong-real", split="val", action_format="calls")
    env.reset(seed=0)
    *_, reward, terminated, _, _ = env.step('[{"name": "finish", "arguments": {"message": "\\\\boxed{Hello}"}}]')
    assert (reward, terminated) == (1.0, True)
    assert set(asked) == {("oolongbench/oolong-real", "validation")}
