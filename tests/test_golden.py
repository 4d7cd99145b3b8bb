"""What environments do today is what they did when the golden episodes were kept."""

import importlib.util
from pathlib import Path

import pytest

from rao_envs import ExecutionTree

SCRIPT = Path(__file__).parent / "regenerate_golden.py"
SPEC = importlib.util.spec_from_file_location("regenerate_golden", SCRIPT)
golden = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(golden)


def test_every_id_and_format_has_a_golden_episode_and_nothing_else_has():
    assert {path.stem for path in golden.FOLDER.iterdir()} == set(golden.EPISODES)


@pytest.mark.parametrize("name", list(golden.EPISODES))
def test_an_episode_goes_as_it_went(name):
    kept = (golden.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    tree = golden.play(*golden.EPISODES[name])
    assert golden.pretty(tree).splitlines() == kept.splitlines(), "see tests/regenerate_golden.py"


@pytest.mark.parametrize("name", list(golden.EPISODES))
def test_a_golden_episode_is_worth_keeping(name):
    tree = ExecutionTree.from_json((golden.FOLDER / f"{name}.json").read_bytes())
    assert tree.root.success == 1.0
    assert len(tree.nodes) > 1
    assert golden.pretty(tree) == (golden.FOLDER / f"{name}.json").read_text(encoding="utf-8")
