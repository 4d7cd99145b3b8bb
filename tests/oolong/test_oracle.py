"""The scripted agents: one that delegates, one that reads alone, one that counts keywords."""

import gymnasium as gym
import pytest

from rao_envs.policies import QuittingPolicy, views

FORMATS = pytest.mark.parametrize("action_format", ["calls", "code"])


def play(policy, task=0, act=None, **options):
    env = gym.make("OolongReal-v0", recursive=policy == "recursive", **options).unwrapped
    act = act or env.oracles[policy]
    env.reset(seed=0, options={"task": task})
    while env.ready:
        env.step(act(views(env)[0]))
    env.close()
    return env.tree


@FORMATS
@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_the_recursive_oracle_is_right_and_so_is_every_child(action_format, difficulty):
    for task in range(5):
        tree = play("recursive", task, action_format=action_format, difficulty=difficulty)
        assert [node.success for node in tree.nodes] == [1.0] * len(tree)
        assert {node.verdict.source for node in tree.nodes} == {"exact"}
        assert len(tree) >= 3


@FORMATS
def test_no_window_is_ever_full(action_format):
    tree = play("recursive", action_format=action_format, difficulty="extreme")
    assert max(turn.prompt_tokens for node in tree.nodes for turn in node.turns) < 24_000


def test_the_root_delegates_without_having_read_a_line():
    tree = play("recursive", action_format="calls")
    assert [turn.calls for turn in tree.root.turns] == [len(tree) - 1, 1]
    assert not [turn for turn in tree.root.turns if "read_lines" in turn.action]


def test_a_very_long_session_is_delegated_in_two_steps():
    tree = play("recursive", action_format="calls", tokens=700_000, episodes=12)
    assert tree.root.success == 1.0
    assert max(node.depth for node in tree.nodes) == 2
    assert {node.success for node in tree.nodes} == {1.0}


@FORMATS
def test_a_lone_reader_reads_all_of_a_short_session(action_format):
    for task in range(3):
        assert play("single", task, action_format=action_format, difficulty="easy").root.success == 1.0


@FORMATS
def test_a_lone_reader_runs_out_on_a_long_one(action_format):
    root = play("single", action_format=action_format).root
    assert (root.status, root.success) == ("context", 0.0)


def test_the_shortcut_sees_nothing_of_the_text_and_is_mostly_wrong():
    trees = [play("shortcut", task, action_format="code", difficulty="medium") for task in range(12)]
    assert sum(tree.root.success for tree in trees) / len(trees) < 0.5
    assert max(len(tree.root.turns) for tree in trees) == 2
    assert all("[START" not in (turn.observation or "") for tree in trees for turn in tree.root.turns)


def test_without_a_program_the_shortcut_has_nothing():
    tree = play("shortcut", action_format="calls", difficulty="easy")
    assert len(tree.root.turns) == 1


@FORMATS
def test_children_that_quit_cost_the_answer_not_the_rollout(action_format):
    env = gym.make("OolongReal-v0", action_format=action_format).unwrapped
    quitting = QuittingPolicy(env.oracles["recursive"], 1.0)
    tree = play("recursive", act=lambda view: quitting([view])[0], action_format=action_format)
    assert tree.root.status == "finished"
    assert tree.root.success < 1


@FORMATS
def test_a_question_of_no_known_family_is_declined(action_format, tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('{"context_window_text": "Ann: hi\\nBob: ho", "question": "Who is glad?", "answer": "Ann"}\n')
    for policy in ("recursive", "single", "shortcut"):
        tree = play(policy, action_format=action_format, data=path)
        assert (tree.root.status, tree.root.success) == ("finished", 0.0)
