"""Regenerate the golden episodes: python tests/regenerate_golden.py

One small rollout of each id in each action format, played by the recursive oracle, is kept in tests/golden/. When
test_golden.py fails, either a change was not meant to change what environments do, or it was: then run this, read
the difference, and say in CHANGELOG.md what is new.
"""

import json
from pathlib import Path

import gymnasium as gym

from rao_envs import ExecutionTree
from rao_envs.policies import views
from rao_envs.registration import ENVIRONMENTS

FOLDER = Path(__file__).parent / "golden"
EPISODES = {f"{env_id}.{fmt}": (env_id, fmt) for env_id in ENVIRONMENTS for fmt in ("calls", "code")}
TASK = 4


def play(env_id: str, action_format: str) -> ExecutionTree:
    """Play one easy task, depth first."""
    env = gym.make(env_id, difficulty="easy", action_format=action_format).unwrapped
    env.reset(seed=0, options={"task": TASK})
    while env.ready:
        env.step(env.oracles["recursive"](views(env)[0]))
    env.close()
    return env.tree


def pretty(tree: ExecutionTree) -> str:
    """Write a tree as JSON with one event a line, so that differences can be read."""
    data = json.loads(tree.to_json())
    events = ",\n".join(json.dumps(event, ensure_ascii=False) for event in data["events"])
    return f'{{"meta": {json.dumps(data["meta"])}, "events": [\n{events}\n]}}\n'


def main() -> None:
    """Write all episodes, and remove those of ids that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, (env_id, action_format) in EPISODES.items():
        text = pretty(play(env_id, action_format))
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name}: {len(text):,} bytes")


if __name__ == "__main__":
    main()
