"""The command line, as its users call it."""

import json
import re
import subprocess
import sys

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
        (["eval", "TextCraftSynth-v0", "--difficulty", "impossible"], "impossible"),
    ],
)
def test_a_mistake_of_the_caller_is_one_line_that_names_it(words, names, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rao-envs", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert names in error
    assert "Traceback" not in error


def test_the_module_starts_as_a_process():
    code = "from rao_envs.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "list", "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)
