"""Variance and bias of the policy gradient under every baseline of `rao_envs.credit`, with and without depth weights.

    OMP_NUM_THREADS=1 python baselines/baseline_variance.py            # everything, about ten minutes on one core
    OMP_NUM_THREADS=1 python baselines/baseline_variance.py --quick    # a few hundred rollouts

Needs the extra ``plot``. Seed 0. Writes ``results/baseline_variance.json`` and, from it, a table (``.md``) and a plot
(``.svg``). An interrupted run resumes where it stopped.

One fixed policy of four parameters chooses between the moves that make sense in `rao_textcraft.numeric`; the gradient
of its log-probability is exact. Many rollouts of it are dealt into batches of 8 rollouts of each task, and every batch
gives one estimate ``(1 / rollouts) Σ_i w_i A_i Σ_t ∇ log π`` under each baseline. Variance is the spread of the
estimates. Bias is the distance of their mean from a reference: the estimate without a baseline over a larger sample of
other rollouts, taken as one batch, or, where all possible rollouts of a task can be listed, its exact expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer
from _study import HERE, RESULTS, Row, draw, measured, write_tables
from numpy.typing import NDArray

from rao_envs import credit
from rao_envs.seeding import derive
from rao_textcraft.numeric import CRAFT, FINISH, LOOK_UP, NumericTextCraft

SEED = 0
PARAMETERS = np.array([3.0, 2.0, 2.5, -0.3])
"""Preference for looking up, delegating, crafting over finishing; and for delegating, for each level of depth."""
BASELINES = ("none", "root_loo", "depth_loo", "goal_loo")
GROUP = 8
RESAMPLES = 400
SETTINGS: dict[str, dict[str, Any]] = {
    "exact": {"env": {"depth": 2, "limits": {"max_turns": 6}}, "tasks": [0], "rollouts": 16_384, "reference": 0},
    "easy": {"env": {"difficulty": "easy"}, "tasks": [0, 1, 2, 3], "rollouts": 4_096, "reference": 8_192},
    "medium": {"env": {"depth": 4}, "tasks": [0, 1], "rollouts": 2_048, "reference": 4_096},
}
"""What is played: tasks, rollouts of each task that are dealt into batches, and rollouts of each for the reference."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rollout:
    """What credit and gradient need of one rollout.

    Attributes:
        success: float [nodes].
        parent: int [nodes].
        depth: int [nodes].
        goal: of each node, in words.
        score: float [nodes, 4], gradient of the log-probability of all that the node chose.
        probability: of this very rollout.
    """

    success: Floats
    parent: NDArray[np.int64]
    depth: NDArray[np.int64]
    goal: list[str]
    score: Floats
    probability: float


def options(env: NumericTextCraft) -> tuple[list[int], Floats, Floats]:
    """Return the moves that make sense, their features [moves, 4], and their probabilities."""
    moves = np.flatnonzero(env.action_masks()).tolist()
    depth = env.tree.nodes[env.text.ready[0]].depth
    kinds = {LOOK_UP: (1, 0, 0, 0), CRAFT: (0, 0, 1, 0), FINISH: (0, 0, 0, 0)}
    features = np.array([kinds.get(move, (0, 1, 0, depth)) for move in moves], dtype=np.float64)
    weight = np.exp(features @ PARAMETERS)
    return moves, features, weight / weight.sum()


def play(env: NumericTextCraft, task: int, pick: Callable[[Floats], int]) -> Rollout:
    """Play one rollout; `pick` chooses among moves of these probabilities."""
    _, info = env.reset(seed=SEED, options={"task": task})
    scores: dict[int, Floats] = {}
    probability, over = 1.0, False
    while not over:
        moves, features, chances = options(env)
        move = pick(chances) if len(moves) > 1 else 0
        probability *= float(chances[move])
        node = info["node"]
        scores[node] = scores.get(node, 0.0) + features[move] - chances @ features
        _, _, terminated, truncated, info = env.step(moves[move])
        over = terminated or truncated
    nodes = env.tree.nodes
    return Rollout(
        np.array([node.success for node in nodes], dtype=np.float64),
        np.array([-1 if node.parent is None else node.parent for node in nodes]),
        np.array([node.depth for node in nodes]),
        [node.goal for node in nodes],
        np.array([scores[node.id] for node in nodes]),
        probability,
    )


def sample(setting: Row, task: int, count: int, stream: str) -> list[Rollout]:
    """Play a task many times; another stream gives independent rollouts."""
    env = NumericTextCraft(**setting["env"])
    random = np.random.default_rng(derive(SEED, stream, task))
    return [
        play(env, task, lambda p: int(np.searchsorted(p.cumsum(), random.random() * p.sum()))) for _ in range(count)
    ]


def enumerate_rollouts(setting: Row, task: int) -> Iterator[Rollout]:
    """Yield every possible rollout of a task: play on from each choice that was not the last of its options."""
    env = NumericTextCraft(**setting["env"])
    path: list[int] = []
    while True:
        taken: list[tuple[int, int]] = []
        yield play(env, task, partial(_follow, path, taken))
        while taken and taken[-1][0] == taken[-1][1] - 1:
            taken.pop()
        if not taken:
            return
        path = [branch for branch, _ in taken]
        path[-1] += 1


def _follow(path: Sequence[int], taken: list[tuple[int, int]], chances: Floats) -> int:
    """Choose as the path says, and the first option beyond its end; note (choice, number of options)."""
    branch = path[len(taken)] if len(taken) < len(path) else 0
    taken.append((branch, len(chances)))
    return branch


def exact_gradient(rollouts: Sequence[Rollout]) -> Floats:
    """Return ``E[Σ_i r_i ∇ log π]`` from all possible rollouts."""
    total = sum(rollout.probability for rollout in rollouts)
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"rollouts: their probabilities add up to {total}; list all of them")
    return sum(
        rollout.probability * credit.node_rewards(rollout.success, rollout.parent) @ rollout.score
        for rollout in rollouts
    )


def estimates(batch: Sequence[Sequence[Rollout]]) -> dict[tuple[str, bool], Floats]:
    """Return the gradient estimate of one batch, a group for each task, by baseline and whether depths are weighted."""
    flat = [rollout for group in batch for rollout in group]
    sizes = np.array([len(rollout.success) for rollout in flat])
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    parent = np.concatenate([rollout.parent for rollout in flat])
    forest = (
        np.concatenate([rollout.success for rollout in flat]),
        np.where(parent < 0, -1, parent + start),
        np.repeat(np.arange(len(flat)), sizes),
        [task for task, group in enumerate(batch) for _ in group],
    )
    goal = [goal for rollout in flat for goal in rollout.goal]
    score = np.concatenate([rollout.score for rollout in flat])
    gradients = {}
    for name in BASELINES:
        table = credit.assign_forest(*forest, goal=goal, baseline=name)
        gradients[name, False] = table.advantage @ score / len(flat)
        gradients[name, True] = (table.weight * table.advantage) @ score / len(flat)
    return gradients


def reference_resamples(rollouts: Sequence[Rollout], weighted: bool, random: np.random.Generator) -> Floats:
    """Return the gradient without baseline over all rollouts as one batch, and over resamples: [1 + RESAMPLES, 4]."""
    deepest = 1 + max(int(rollout.depth.max()) for rollout in rollouts)
    sums, counts = np.zeros((len(rollouts), deepest, 4)), np.zeros((len(rollouts), deepest))
    for i, rollout in enumerate(rollouts):
        reward = credit.node_rewards(rollout.success, rollout.parent)
        np.add.at(sums[i], rollout.depth, reward[:, None] * rollout.score)
        np.add.at(counts[i], rollout.depth, 1.0)
    drawn = random.multinomial(len(rollouts), np.full(len(rollouts), 1 / len(rollouts)), size=RESAMPLES)
    drawn = np.concatenate([np.ones((1, len(rollouts))), drawn])
    by_depth = np.einsum("br,rdp->bdp", drawn, sums)
    if weighted:
        n = drawn @ counts
        share = np.divide(n.sum(1, keepdims=True) / (n > 0).sum(1, keepdims=True), n, out=np.zeros_like(n), where=n > 0)
        by_depth *= share[:, :, None]
    return by_depth.sum(1) / len(rollouts)


def compare(gradients: Floats, reference: Floats, random: np.random.Generator) -> Row:
    """Compare estimates [batches, 4] with a reference and its resamples [1 + RESAMPLES, 4]; intervals are of 95%."""
    n = len(gradients)
    drawn = random.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n
    drawn = np.concatenate([np.full((1, n), 1 / n), drawn])
    mean = drawn @ gradients
    variance = (drawn @ gradients**2 - mean**2).sum(1) * n / (n - 1)
    size = np.linalg.norm(reference[0])
    bias = (mean - reference) / size
    along = bias @ (reference[0] / size)
    noise = np.linalg.norm(bias[1:] - bias[0], axis=1)
    return {
        "std": _interval(np.sqrt(variance) / size),
        "variance": _interval(variance / size**2),
        "bias_along": _interval(along),
        "bias": float(np.linalg.norm(bias[0])),
        "noise": float(np.quantile(noise, 0.95)),
    }


def _interval(values: Floats) -> list[float]:
    """Return [value, low, high] from a value and its resamples."""
    return [float(values[0]), *np.quantile(values[1:], (0.025, 0.975)).tolist()]


def plan(quick: bool) -> Iterator[Row]:
    """Yield what is to be measured."""
    for name, setting in SETTINGS.items():
        fewer = 16 if quick else 1
        counts = {key: setting[key] // fewer for key in ("rollouts", "reference")}
        yield {"setting": name, **setting, **counts, "group": GROUP, "seed": SEED, "parameters": PARAMETERS.tolist()}


def measure(row: Row) -> Row:
    """Play the rollouts of one setting, and compare all estimators on them."""
    pools = [sample(row, task, row["rollouts"], "batches") for task in row["tasks"]]
    size = row["group"]
    batches = [
        estimates([pool[start : start + size] for pool in pools])
        for start in range(0, row["rollouts"] - size + 1, size)
    ]
    random = np.random.default_rng(derive(SEED, "bootstrap", row["setting"]))
    references: dict[bool, Floats] = {}
    if row["reference"]:
        others = [rollout for task in row["tasks"] for rollout in sample(row, task, row["reference"], "reference")]
        references = {weighted: reference_resamples(others, weighted, random) for weighted in (False, True)}
        listed = None
    else:
        possible = [rollout for task in row["tasks"] for rollout in enumerate_rollouts(row, task)]
        listed = len(possible)
        references = {False: exact_gradient(possible)[None].repeat(RESAMPLES + 1, 0)}
    figures = [
        {"baseline": name, "weighted": weighted, **compare(gradients, references[weighted], random)}
        for weighted in references
        for name in BASELINES
        for gradients in [np.array([batch[name, weighted] for batch in batches])]
    ]
    nodes = [len(rollout.success) for pool in pools for rollout in pool]
    return {
        **row,
        "possible": listed,
        "success": float(np.mean([rollout.success[0] for pool in pools for rollout in pool])),
        "nodes": float(np.mean(nodes)),
        "nodes_max": max(nodes),
        "batches": len(batches),
        "gradient": {str(weighted): reference[0].tolist() for weighted, reference in references.items()},
        "figures": figures,
    }


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the results as Markdown, line by line."""
    yield (
        "Generated by `OMP_NUM_THREADS=1 python baselines/baseline_variance.py`; seed 0. Everything is relative to the "
        "length of the reference gradient; brackets hold 95% bootstrap intervals. *Spread* is the root of the trace of "
        "the covariance of one batch's estimate, *variance* that trace over `root_loo`'s. *Bias along* is the bias in "
        "the direction of the gradient, *bias* the length of the whole vector, to be held against *noise*: the length "
        "that chance alone exceeds once in 20 times."
    )
    for row in rows:
        tasks, batch = len(row["tasks"]), len(row["tasks"]) * row["group"]
        reference = (
            f"the exact gradient, from all {row['possible']:,} possible rollouts"
            if row["possible"]
            else f"{row['reference'] * tasks:,} other rollouts"
        )
        yield ""
        yield (
            f"**{row['setting'].capitalize()}**: {tasks} task{'s' if tasks > 1 else ''}, {row['batches']:,} batches of "
            f"{batch} rollouts, {row['nodes']:.1f} nodes a rollout (at most {row['nodes_max']}), {row['success']:.0%} "
            f"solved; reference: {reference}."
        )
        yield ""
        yield "| baseline | depth weights | spread | variance | bias along | bias | noise |"
        yield "|---|---|--:|--:|--:|--:|--:|"
        usual = {f["weighted"]: f["variance"][0] for f in row["figures"] if f["baseline"] == "root_loo"}
        for f in row["figures"]:
            ratio = f["variance"][0] / usual[f["weighted"]]
            spread = "{:.2f} ({:.2f} to {:.2f})".format(*f["std"])
            along = "{:+.1%} ({:+.1%} to {:+.1%})".format(*f["bias_along"])
            yield (
                f"| `{f['baseline']}` | {'yes' if f['weighted'] else 'no'} | {spread} | {ratio:.2f} | {along} "
                f"| {f['bias']:.1%} | {f['noise']:.1%} |"
            )


def plot(rows: Sequence[Row], panels: Sequence[Any]) -> None:
    """Draw spread and bias of each baseline, by setting."""
    series = [(row["setting"], weighted) for row in rows for weighted in (False, True) if row["possible"] is None]
    for axes, key, label in zip(panels, ("std", "bias_along"), ("spread of one batch", "bias along"), strict=True):
        for i, (name, weighted) in enumerate(series):
            figures = next(row["figures"] for row in rows if row["setting"] == name)
            values = np.array([f[key] for f in figures if f["weighted"] == weighted]).T
            x = np.arange(len(BASELINES)) + 0.18 * (i - (len(series) - 1) / 2)
            error = np.abs(values[1:] - values[0])
            text = f"{name}{', depth weights' if weighted else ''}"
            axes.errorbar(x, values[0], error, fmt="os^v"[i], capsize=3, label=text)
        axes.set_xticks(range(len(BASELINES)), BASELINES)
        axes.set(ylabel=f"{label}, relative to the gradient")
        axes.axhline(0.0, color="gray", linewidth=0.8)
    panels[0].set_ylim(bottom=0.0)
    panels[0].legend(fontsize="small")


def main(quick: Annotated[bool, typer.Option(help="A few hundred rollouts.")] = False) -> None:
    """Measure what is missing; write table and plot."""
    results = RESULTS / f"baseline_variance{'_quick' if quick else ''}.json"
    rows = measured(results, plan(quick), measure)
    write_tables(results, table(rows))
    with draw(results, docs=None if quick else HERE.parent / "docs", panels=2, width=9.6) as panels:
        plot(rows, panels)


if __name__ == "__main__":
    typer.run(main)
