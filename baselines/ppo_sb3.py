"""Classical PPO on TextCraft: plain, with action masks, and with masks and RAO's credit for every node.

    OMP_NUM_THREADS=1 python baselines/ppo_sb3.py            # everything, a quarter of an hour on one core
    OMP_NUM_THREADS=1 python baselines/ppo_sb3.py --quick    # one short run of each kind

Needs the extras ``sb3`` and ``plot``. Seeds 0, 1 and 2. Writes ``results/ppo_sb3.json`` and, from it, a table (``.md``)
and learning curves (``.svg``). An interrupted run resumes where it stopped.

All three learn from eight copies of `rao_textcraft.numeric.NumericTextCraft`, which roll the same training task in the
same episode. The first two get what the environment pays: 0 until the root returns, then its success (GAE, γ = 1). The
third gets the advantage of the node that took the step, times its depth weight. Tested greedily on the test split.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import typer
from _study import HERE, RESULTS, Row, draw, measured, write_tables

from rao_envs.extras import extra
from rao_envs.interop.sb3 import RAOCallback, RAOMaskableRolloutBuffer
from rao_textcraft.numeric import NumericTextCraft, Schedule

with extra("sb3", "baselines/ppo_sb3.py"):
    import torch
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

SEEDS = (0, 1, 2)
ALGORITHMS = {"ppo": "PPO", "masked": "MaskablePPO", "rao": "MaskablePPO, RAO credit"}
COPIES = 8
TRAINING = {"easy": {"steps": 40_960, "n_steps": 256}, "medium": {"steps": 40_960, "n_steps": 512}}
"""Steps of all copies together, and steps of one copy between two updates."""
TEST = {"easy": 100, "medium": 20, "hard": 10}
MOST_NODES = 200
"""Nodes of one tree while learning; the largest tree of a scripted agent on medium tasks has 92."""
MOST_STEPS = {"easy": 500, "medium": 2_000, "hard": 8_000}
"""A test that takes longer is given up, and not solved. Scripted play takes 21, 130 and 1,200 steps on average."""
SHARED: dict[str, Any] = {
    "policy": "MlpPolicy",
    "batch_size": 512,
    "n_epochs": 4,
    "learning_rate": 1e-3,
    "ent_coef": 0.01,
    "policy_kwargs": {"net_arch": [64, 64]},
    "device": "cpu",
}


def plan(quick: bool) -> Iterator[Row]:
    """Yield what is to be measured."""
    for difficulty, training in TRAINING.items():
        for algorithm in ALGORITHMS:
            for seed in SEEDS[:1] if quick else SEEDS:
                steps = 2 * COPIES * training["n_steps"] if quick else training["steps"]
                yield {"algorithm": algorithm, "difficulty": difficulty, "seed": seed, **training, "steps": steps}


def measure(row: Row, test: dict[str, int] = TEST) -> Row:
    """Train one policy, and test it."""
    torch.set_num_threads(1)
    began = time.process_time()
    model, curve = train(row["algorithm"], row["difficulty"], row["seed"], row["steps"], row["n_steps"])
    seconds = time.process_time() - began
    figures = {difficulty: evaluate(model, difficulty, tasks) for difficulty, tasks in test.items()}
    return {**row, "test": figures, "curve": curve, "train_cpu_seconds": round(seconds, 1)}


def train(algorithm: str, difficulty: str, seed: int, steps: int, n_steps: int) -> tuple[PPO | MaskablePPO, list[Any]]:
    """Train one policy; return it with its learning curve: (steps, share of finished rollouts that were solved)."""

    def make() -> NumericTextCraft:
        return NumericTextCraft(difficulty, schedule=Schedule(), limits={"max_nodes": MOST_NODES})

    options: dict[str, Any] = {**SHARED, "env": make_vec_env(make, COPIES), "n_steps": n_steps, "seed": seed}
    callbacks: list[BaseCallback] = [Curve()]
    if algorithm == "rao":
        callbacks.append(RAOCallback())
        rao = {"rollout_buffer_class": RAOMaskableRolloutBuffer, "normalize_advantage": False, "vf_coef": 0.0}
        model: PPO | MaskablePPO = MaskablePPO(**options, **rao)
    else:
        model = (PPO if algorithm == "ppo" else MaskablePPO)(**options, gamma=1.0, gae_lambda=0.95)
    model.learn(steps, callback=callbacks)
    return model, callbacks[0].curve


class Curve(BaseCallback):
    """Keeps what share of the rollouts that finished between two updates was solved."""

    def __init__(self) -> None:
        """Start with an empty curve."""
        super().__init__()
        self.curve: list[tuple[int, float | None]] = []
        self._ended: list[float] = []

    def _on_step(self) -> bool:
        self._ended += [float(r) for r, done in zip(self.locals["rewards"], self.locals["dones"], strict=True) if done]
        return True

    def _on_rollout_end(self) -> None:
        solved = round(float(np.mean(self._ended)), 4) if self._ended else None
        self.curve.append((self.num_timesteps, solved))
        self._ended = []


def evaluate(model: PPO | MaskablePPO, difficulty: str, tasks: int) -> Row:
    """Play test tasks greedily; return the share solved, the mean number of steps, and how many were given up."""
    env = NumericTextCraft(difficulty, split="test")
    solved, steps, given_up = 0.0, 0, 0
    for task in range(tasks):
        observation, _ = env.reset(seed=0, options={"task": task})
        for _ in range(MOST_STEPS[difficulty]):
            masks = {"action_masks": env.action_masks()} if isinstance(model, MaskablePPO) else {}
            action, _ = model.predict(observation, deterministic=True, **masks)
            observation, reward, terminated, truncated, _ = env.step(action)
            steps += 1
            if terminated or truncated:
                break
        else:
            given_up += 1
        solved += reward
    return {"tasks": tasks, "solved": solved / tasks, "steps": steps / tasks, "given_up": given_up}


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the results as Markdown, line by line."""
    yield (
        "Generated by `OMP_NUM_THREADS=1 python baselines/ppo_sb3.py`. Test tasks solved by greedy play: mean over "
        f"{len(SEEDS)} seeds (lowest–highest)."
    )
    yield ""
    yield f"| trained on | steps | algorithm | {' | '.join(f'{name}, {tasks} tasks' for name, tasks in TEST.items())} |"
    yield "|---|--:|---|" + "--:|" * len(TEST)
    for difficulty in TRAINING:
        for algorithm, name in ALGORITHMS.items():
            own = [row for row in rows if (row["difficulty"], row["algorithm"]) == (difficulty, algorithm)]
            cells = []
            for tested in TEST:
                shares = [row["test"][tested]["solved"] for row in own]
                cells.append(f"{np.mean(shares):.0%} ({min(shares):.0%}–{max(shares):.0%})")
            yield f"| {difficulty} | {own[0]['steps']:,} | {name} | {' | '.join(cells)} |"


def plot(rows: Sequence[Row], panels: Sequence[Any]) -> None:
    """Draw the learning curves: the mean over seeds, and every seed thinly."""
    for axes, difficulty in zip(panels, TRAINING, strict=True):
        for color, (algorithm, name) in zip(("C7", "C0", "C1"), ALGORITHMS.items(), strict=True):
            curves = [row["curve"] for row in rows if (row["difficulty"], row["algorithm"]) == (difficulty, algorithm)]
            steps = [step / 1_000 for step, _ in curves[0]]
            solved = np.array([[np.nan if share is None else share for _, share in curve] for curve in curves])
            axes.plot(steps, solved.T, color=color, linewidth=0.6, alpha=0.5)
            axes.plot(steps, solved.mean(0), color=color, linewidth=2, label=name)
        axes.set(title=f"{difficulty} tasks", xlabel="steps (thousands)", ylabel="rollouts solved", ylim=(-0.03, 1.05))
    panels[1].legend(loc=(0.48, 0.3), fontsize="small")


def main(quick: Annotated[bool, typer.Option(help="One short run of each kind.")] = False) -> None:
    """Train and test what is missing; write table and plot."""
    results = RESULTS / f"ppo_sb3{'_quick' if quick else ''}.json"
    rows = measured(results, plan(quick), measure)
    write_tables(results, table(rows))
    with draw(results, docs=None if quick else HERE.parent / "docs" / "interop", panels=2, width=9.0) as panels:
        plot(rows, panels)


if __name__ == "__main__":
    typer.run(main)
