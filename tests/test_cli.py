"""The command line, as its users call it."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rao_envs.cli import app, main
from rao_envs.storage import read_trees

RUN = CliRunner()


def run(*words):
    result = RUN.invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def test_help_names_every_command_and_each_has_seed_or_json():
    text = run("--help")
    for command in ("list", "rollout", "eval", "train", "bench"):
        assert command in text
        own = re.sub(r"\x1b\[[0-9;]*m", "", run(command, "--help"))
        assert "--json" in own
        if command in ("rollout", "eval"):
            assert "--seed" in own


def test_list_shows_every_id():
    rows = json.loads(run("list", "--json"))
    assert [row["id"] for row in rows] == ["DeepDive-v0", "OolongReal-v0", "TextCraft-v0", "TextCraftSynth-v0"]
    assert "TextCraftSynth-v0" in run("list")


def test_rollout_draws_each_node_with_its_credit():
    text = run("rollout", "TextCraftSynth-v0", "--depth", "3", "--quit-rate", "0.5", "--format", "calls", "--seed", "1")
    assert "rollout 1 of 4" in text
    assert re.search(r"0\.0 +success \d\.\d\d +reward \d\.\d\d +advantage [+-]\d\.\d\d", text)


def test_rollout_counts_the_nodes_that_it_does_not_draw():
    words = ("rollout", "TextCraftSynth-v0", "--depth", "5", "--format", "calls", "--group", "2")
    text = run(*words, "--nodes", "3", "--trees", "1")
    drawn = len(re.findall(r"success \d", text))
    hidden = sum(int(count.replace(",", "")) for count in re.findall(r"and ([\d,]+) more nodes", text))
    first = [row for row in json.loads(run(*words, "--json"))["nodes"] if row["tree"] == 0]
    assert drawn == 3
    assert drawn + hidden == len(first)


def test_rollout_as_json_has_a_row_for_each_node_and_the_same_words_give_the_same_rows():
    words = ("rollout", "TextCraftSynth-v0", "--depth", "3", "--format", "calls", "--json", "--seed", "3")
    first, second = json.loads(run(*words)), json.loads(run(*words))
    assert first == second
    assert len(first["nodes"]) == first["summary"]["nodes"] * first["summary"]["rollouts"]


def test_rollout_keeps_the_trees_and_does_not_do_them_again(tmp_path):
    out = tmp_path / "trees.jsonl"
    words = ("rollout", "TextCraftSynth-v0", "--depth", "2", "--format", "calls", "--out", str(out))
    run(*words)
    before = out.read_bytes()
    run(*words)
    assert out.read_bytes() == before
    assert len(list(read_trees(out))) == 4


def test_rollout_prints_the_chat_of_a_node():
    text = run("rollout", "TextCraftSynth-v0", "--depth", "2", "--format", "calls", "--transcript", "0", "--trees", "0")
    assert "You act by calling tools" in text
    assert "get_info" in text


def test_eval_shows_where_one_window_ends_and_recursion_does_not():
    words = ("eval", "TextCraftSynth-v0", "--context", "1024", "--episodes", "5", "--difficulty", "easy,hard", "--json")
    rows = {(row["difficulty"], row["policy"]): row for row in json.loads(run(*words))}
    assert rows["hard", "single"]["success"] == "0%"
    assert rows["hard", "single"]["outgrew"] == 5
    assert rows["hard", "recursive"]["success"] == rows["easy", "recursive"]["success"] == "100%"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["rollout", "Nonsense-v0"], "Nonsense"),
        (["rollout", "CartPole-v1"], "CartPole-v1"),
        (["rollout", "TextCraftSynth-v0", "--depth", "40"], "depth"),
        (["rollout", "TextCraftSynth-v0", "--policy", "clever"], "policy='clever'"),
        (["rollout", "TextCraftSynth-v0", "--transcript", "999", "--format", "calls"], "transcript=999"),
        (["rollout", "TextCraftSynth-v0", "--context", "10"], "context_tokens=10"),
        (["eval", "TextCraftSynth-v0", "--difficulty", "impossible"], "difficulty='impossible': choose from easy, m"),
        (["eval", "TextCraftSynth-v0", "--policies", "solo"], "--policies='solo': choose from recursive, single, "),
        (["eval", "TextCraftSinth-v0"], "did you mean TextCraftSynth-v0?"),
        (["eval", "no_such_module:Id-v0"], "ENV_ID='no_such_module:Id-v0': there is no module 'no_such_module' here"),
        (["list", "no_such_module"], "MODULE='no_such_module'"),
        (["rollout", "TextCraft-v0", "--option", "world"], "--option='world': must be NAME=VALUE"),
        (
            ["rollout", "TextCraft-v0", "-o", "recipe=3"],
            "recipe=3: TextCraftEnv has no such option; did you mean 'recipes'",
        ),
        (["rollout", "TextCraft-v0", "--group", "0"], "--group='0': "),
        (["rollout", "TextCraft-v0", "--group=x"], "--group='x': "),
        (["rollout", "TextCraft-v0", "--format", "xml"], "--format='xml': 'xml' is not one of 'code', 'calls'"),
        (["rollout", "TextCraft-v0", "--grup", "1"], "--group"),
        (["rolout", "TextCraft-v0"], "rollout"),
        (["rollout"], "ENV_ID"),
        (["train", "TextCraft-v0"], "--out"),
    ],
)
def test_a_mistake_of_the_caller_is_one_line_that_names_it(words, names, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rao-envs", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert names in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_the_module_starts_as_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "rao_envs", "list", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)


def test_a_warning_is_one_line(monkeypatch, capsys):
    words = ["rollout", "TextCraft-v0", "--group", "1", "--format", "calls"]
    monkeypatch.setattr(sys, "argv", ["rao-envs", *words])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as stop:
            main()
    assert stop.value.code == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: 1 of 1 rollouts have nothing in their group")
    assert error.count("\n") == 1


def test_no_words_at_all_print_the_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rao-envs"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "Commands" in "".join(capsys.readouterr())


def test_options_of_the_environment_reach_it():
    words = ("rollout", "TextCraftSynth-v0", "--format", "calls", "--group", "2", "--json", "--depth", "2")
    alone = json.loads(run(*words, "-o", "recursive=false", "-o", 'limits={"max_turns": 1}'))
    assert (alone["summary"]["nodes"], alone["summary"]["turns"]) == (1, 1)
    goals = [
        run(*(word for word in words if word != "--json"), "-o", f"world_seed={seed}").splitlines()[1]
        for seed in (0, 7)
    ]
    assert goals[0] != goals[1]


def test_only_the_agent_called_single_works_alone():
    words = ("rollout", "DeepDive-v0", "--difficulty", "easy", "--format", "calls", "--group", "2", "--json")
    nodes = {name: json.loads(run(*words, "--policy", name))["summary"]["nodes"] for name in ("single", "sequential")}
    assert nodes["single"] == 1 < nodes["sequential"]


@pytest.mark.parametrize("name", ["explore", "random"])
def test_two_agents_play_every_environment(name):
    words = ("eval", "TextCraft-v0", "--policies", name, "--difficulty", "easy", "--episodes", "4", "--json")
    (row,) = json.loads(run(*words))
    assert row["success"] == "0%"
    assert (row["nodes"] > 1) == (name == "explore")


# Environments of third parties ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the environment of the documentation, and nothing else."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copy(Path(__file__).parents[1] / "docs" / "examples" / "box_sum.py", folder)
    return folder


def there(folder, *words):
    """Run the command line in a folder, as its console script does: without the folder on the path."""
    code = "import sys; sys.path = [p for p in sys.path if p]; from rao_envs.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False)


def test_modules_of_the_current_folder_are_listed(folder):
    done = there(folder, "list", "box_sum", "--json")
    rows = {row["id"]: row for row in json.loads(done.stdout)}
    assert list(rows)[:4] == ["DeepDive-v0", "OolongReal-v0", "TextCraft-v0", "TextCraftSynth-v0"]
    assert rows["box_sum:BoxSum-v0"] == {
        "id": "box_sum:BoxSum-v0",
        "what": "Tools, delegation and verdicts; one instance serves one rollout.",
        "difficulties": "-",
        "policies": "-",
    }
    assert len(rows) == 5


def test_an_environment_that_was_imported_is_listed():
    code = (
        "import gymnasium as gym, rao_envs\n"
        "from rao_envs.testing.toy import ToyWorld, toy_task\n"
        "class Mine(rao_envs.RecursiveEnv):\n"
        "    'My own.'\n"
        "    difficulties = ('one', 'two')\n"
        "gym.register('Mine-v0', entry_point=Mine)\n"
        "gym.register('Broken-v0', entry_point=lambda: 1 / 0)\n"
        "from rao_envs.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "list", "--json"], capture_output=True, text=True, check=True)
    last = json.loads(done.stdout)[4:]
    assert last == [{"id": "Mine-v0", "what": "My own.", "difficulties": "one, two", "policies": "-"}]


@pytest.mark.parametrize("action_format", ["code", "calls"])
def test_an_environment_without_agents_difficulties_and_splits_is_rolled_out_and_scored(folder, action_format):
    words = ("box_sum:BoxSum-v0", "--format", action_format, "--json")
    done = there(folder, "rollout", *words, "--out", "trees.jsonl", "--seed", "1")
    assert done.stderr == ""
    assert json.loads(done.stdout)["summary"]["rollouts"] == 4
    done = there(folder, "eval", *words, "--episodes", "8", "--out", action_format)
    (row,) = json.loads(done.stdout)
    assert (row["difficulty"], row["policy"]) == (None, "explore")
    assert row["nodes"] > 1
    assert [file.name for file in (folder / action_format).iterdir()] == ["box_sum.BoxSum-v0-explore.jsonl"]
    (folder / "trees.jsonl").unlink()


def test_what_it_does_not_know_is_named(folder):
    done = there(folder, "eval", "box_sum:BoxSum-v0", "--split", "test")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: split='test': RecursiveEnv has no such option")


@pytest.mark.slow
def test_it_can_be_trained_on(folder):
    pytest.importorskip("torch")
    words = ("--steps", "1", "--tasks", "2", "--group", "2", "--play", "6", "--width", "16", "--layers", "1")
    done = there(folder, "train", "box_sum:BoxSum-v0", "--out", "run", *words, "--no-tensorboard", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in json.loads(done.stdout)] == [1]
