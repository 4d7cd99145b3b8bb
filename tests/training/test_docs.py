"""docs/training.md explains every figure that a run writes down."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def test_the_page_explains_every_figure_of_a_row():
    from rao_envs.testing.toy import toy_env
    from rao_envs.training import CollectConfig, RAOTrainer

    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("### Reading a row") : text.index("## Batches")]
    explained = set(re.findall(r"`([\w/*]+)`", table))
    policy = text[text.index("```python\nimport torch") :].partition("\n")[2].partition("```")[0]
    space: dict[str, object] = {}
    exec(compile(policy, str(PAGE), "exec"), space)
    trainer = RAOTrainer(space["Row"](), toy_env, steps=1, collect=CollectConfig(tasks_per_step=1, group_size=2))
    figures = {name for name in trainer.run()[0] if "/" not in name} - {"step"}
    assert figures - explained == set()
