"""A small GPT, trained from scratch, learns when and how to delegate, and goes deeper than it was trained.

    python baselines/rao_gpt.py train --seed 0     # once for each of the seeds 0, 1, 2
    python baselines/rao_gpt.py report             # table and plots from what the seeds left behind

Each seed does the following, and resumes where it was interrupted:

1. *Warm start.* Scripted agents play EASY tasks of other worlds, with mistakes: they forget a subtask or the factor of
   a recipe, delegate the same work twice or a base material, ask for the wrong number, look too late, give up. The
   model imitates all of this.
2. *RAO.* The model plays MEDIUM tasks and learns from every node's own advantage. Trees may be 6 deep.
3. *Alone.* The same model, warm-started on similar play of a lone agent, and trained by the same trainer for at least
   as many sampled tokens, without subagents: on easy tasks, since at first it solves no medium ones.
4. *Test.* Easy to extreme tasks of the test split, whose targets occur in no training task. Every agent has 512 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from _study import HERE, RESULTS, draw, write_tables

import rao_envs
from rao_envs import ExecutionTree, RecursiveEnv, Task, metrics
from rao_envs.extras import extra
from rao_envs.policies import GPTPolicy, ScriptedPolicy, View
from rao_envs.policies.gpt import save_gpt
from rao_envs.rollout import stream
from rao_envs.seeding import derive, rng
from rao_envs.training import CollectConfig, LossConfig, OptimConfig, RAOTrainer, RunConfig
from rao_envs.training.imitation import start_gpt
from rao_textcraft import generator
from rao_textcraft.cookbook import Cookbook, Ingredient, Recipe
from rao_textcraft.tasks import Difficulty, assign_splits, draw_task
from rao_textcraft.world import TextCraftWorld, describe

with extra("train", "baselines/rao_gpt.py"):
    import torch

ENV = "TextCraftSynth-v0"
CONTEXT = 512
SHAPE = {"width": 96, "layers": 3, "heads": 3}
SLOTS = 48
LONGEST = 48
"""Maximum tokens of a message."""
IGNORE = r'"(depth|held)":\d+,'
"""Parts of `get_info` that the model does not read: numbers that grow with the depth of the task, so training would
show only small ones. The recipe tells it whether an item can be crafted."""
STEPS = 40
WORLDS = 40
WARM_TASKS = 60
"""Easy tasks from each of the worlds that the warm start is taken from; twice as many for a lone agent, who
writes one transcript where a tree has five."""
WARM_EPOCHS = 5
GROUP = 8
"""Rollouts of each task."""
DEPTH_CAP = 6
TESTS = {"easy": 100, "medium": 100, "hard": 50, "extreme": 4}
WARM_TESTS = {"easy": 100, "medium": 100, "hard": 10}
SAMPLED = ("easy", "medium")
FIGURES = ("success", "nodes", "depth_max", "concurrent_share", "speedup", "transcript_max")
MAX_NODES = {"easy": 100, "medium": 500, "hard": 5_000, "extreme": 50_000}
"""Maximum nodes of one tree in tests: several times what a scripted agent needs."""

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)


# Scripted play with mistakes ---------------------------------------------------------------------------------


class Student:
    """Plays correctly except for its slips. What it does, including its slips, depends on the view alone.

    Attributes:
        slips: probability of each mistake where it is possible.
    """

    slips: Mapping[str, float] = {
        "give up": 0.02,
        "look too late": 0.06,
        "one at a time": 0.2,
        "forget one": 0.2,
        "delegate twice": 0.1,
        "delegate base material": 0.1,
        "ask for the wrong number": 0.06,
        "wrong ingredients": 0.06,
        "forget the factor": 0.6,
        "despair": 0.6,
    }

    def __call__(self, view: View) -> str:
        """Return the next message."""
        play = _Play(view, self.slips)
        return play.together() if view.node.depth or view.node.may_delegate else play.alone()


class _Play:
    """One node's situation, read from its transcript."""

    def __init__(self, view: View, slips: Mapping[str, float]) -> None:
        self.node = view.node
        self.random = rng(view.seed, "student")
        self.habit = rng(derive(view.rollout, view.node.address), "student").random()  # the same in all turns of a node
        self.slips = slips
        ((self.item, self.units),) = view.node.payload["targets"].items()
        self.results = [entry for turn in self.node.turns for entry in json.loads(turn.observation or "[]")]
        found = (e["result"] for e in self.results if e["name"] == "get_info" and "result" in e)
        self.info: dict[str, Any] = {entry["item"]: entry for entries in found for entry in entries}
        self.last = json.loads(self.node.turns[-1].observation or "[]") if self.node.turns else []
        self.crafts = sum('"craft"' in turn.action for turn in self.node.turns)
        self.launches = sum('"launch_subagent"' in turn.action for turn in self.node.turns)

    def slip(self, what: str) -> bool:
        return self.random.random() < self.slips[what]

    def together(self) -> str:
        """Look up the target and its ingredients, delegate what can be crafted, craft, finish; correct mistakes."""
        if self.slip("give up"):
            return finish("failed")
        if self.item not in self.info:
            return look([self.item])
        needs, total = self.recipe(self.item, self.units)
        if not needs.keys() <= self.info.keys():
            if not self.slip("look too late"):
                return look(needs)
            return launch(needs) if self.random.random() < 0.5 else craft(needs, self.item, total)
        if any(entry["name"] == "craft" for entry in self.last):
            return self.after(needs, total)
        calls = [call for turn in self.node.turns for call in json.loads(turn.action)]
        asked = {item for call in calls if call["name"] == "launch_subagent" for item in call["arguments"]["targets"]}
        todo = {item: n for item, n in needs.items() if self.info[item]["depth"] and item not in asked}
        if todo and (not asked or self.habitually("one at a time")):
            if not asked and self.habitually("delegate base material"):
                return launch(needs)
            if not asked and self.habitually("forget one"):
                todo.pop(self.random.choice(list(todo)))
            elif self.habitually("one at a time"):
                todo = dict([next(iter(todo.items()))])
            if todo and self.slip("ask for the wrong number"):
                item = self.random.choice(list(todo))
                todo[item] = max(1, todo[item] + self.random.choice((-1, 1)))
            if todo:
                return launch(todo)
        if asked and self.launches == 1 and self.habitually("delegate twice"):
            return launch({item: n for item, n in needs.items() if item in asked})
        return craft(self.slipped(needs, self.item), self.item, total)

    def alone(self) -> str:
        """Look everything up, level by level; craft from the bottom up, one item a message; finish."""
        if self.slip("give up"):
            return finish("failed")
        if self.item not in self.info:
            return look([self.item])
        named = (name for entry in self.info.values() for recipe in entry["recipes"][:1] for name in recipe["needs"])
        unknown = [name for name in dict.fromkeys(named) if name not in self.info]
        if unknown and not self.slip("look too late"):
            return look(unknown)
        made = {entry["result"].split()[2] for entry in self.results if entry["name"] == "craft" and "result" in entry}
        if self.item in made:
            return finish("done")
        if any("error" in entry for entry in self.last if entry["name"] == "craft") and (
            self.crafts > 12 or self.slip("despair")
        ):
            return finish("failed")
        need = {self.item: self.units}
        plan = []
        for item in sorted(self.info, key=lambda item: -int(self.info[item]["depth"])):
            if need.get(item) and self.info[item]["recipes"]:
                needs, total = self.recipe(item, need[item])
                for name, units in needs.items():
                    need[name] = need.get(name, 0) + units
                if item not in made:
                    plan.append((needs, item, total))
        if len(plan) > 1 and self.slip("forget one"):
            plan.pop()
        needs, item, total = plan[-1]
        return craft(self.slipped(needs, item), item, total)

    def habitually(self, what: str) -> bool:
        """Whether the node has this habit; one draw decides about all, so that the shares add up."""
        left = self.habit
        for name in ("one at a time", "forget one", "delegate twice", "delegate base material"):
            if left < self.slips[name]:
                return name == what
            left -= self.slips[name]
        return False

    def recipe(self, item: str, units: int) -> tuple[dict[str, int], int]:
        """Return what `units` of an item take, and how many come out."""
        recipe = self.info[item]["recipes"][0]
        times = -(-units // recipe["makes"])
        return {name: count * times for name, count in recipe["needs"].items()}, times * recipe["makes"]

    def slipped(self, needs: dict[str, int], item: str) -> dict[str, int]:
        """Return the ingredients with or without a mistake."""
        if self.slip("wrong ingredients"):
            name = self.random.choice(list(needs))
            return {**needs, name: max(1, needs[name] + self.random.choice((-1, 1, 2)))}
        return dict(self.info[item]["recipes"][0]["needs"]) if self.slip("forget the factor") else needs

    def after(self, needs: dict[str, int], total: int) -> str:
        """Go on from the outcome of a craft: have made what was missing, and try again, or despair."""
        wrong = " ".join(entry.get("error", "") for entry in self.last)
        if not wrong:
            return finish("done")
        words = (part.split() for part in wrong.split("; ") if part.startswith("missing "))
        missing = {part[3].rstrip(":"): int(part[1]) for part in words}
        craftable = {name: n for name, n in missing.items() if self.info.get(name, {}).get("depth")}
        if self.crafts < 3 and (craftable or not missing) and not self.slip("despair"):
            return launch(craftable) if craftable else craft(needs, self.item, total)
        return finish("failed")


def look(items: Sequence[str] | Mapping[str, int]) -> str:
    """Return the message that looks items up."""
    return _calls([("get_info", {"items": list(items)})])


def launch(parts: Mapping[str, int]) -> str:
    """Return the message that delegates each of the parts."""
    return _calls([("launch_subagent", {"targets": {item: n}, "num_steps": 25}) for item, n in parts.items()])


def craft(needs: Mapping[str, int], item: str, total: int) -> str:
    """Return the message that crafts an item."""
    return _calls([("craft", {"ingredients": dict(needs), "target": [item, total]})])


def finish(message: str) -> str:
    """Return the message that ends a node."""
    return _calls([("finish", {"message": message})])


def _calls(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    return json.dumps([{"name": name, "arguments": args} for name, args in calls], separators=(",", ":"))


# Warm start --------------------------------------------------------------------------------------------------


def warm_start(seed: int, *, recursive: bool, tasks: int, epochs: int, path: Path, device: str) -> GPTPolicy:
    """Return a policy that imitates the students' play of easy tasks; kept in `path` once it is done."""

    def play() -> list[ExecutionTree]:
        trees: list[ExecutionTree] = []
        many = tasks if recursive else 2 * tasks
        for world in range(1, WORLDS + 1):  # not world 0, in which the model will learn and be tested
            make = partial(easy_env, world, recursive=recursive)
            trees += rao_envs.collect(
                make, ScriptedPolicy(Student()), tasks=many, seed=derive(seed, "warm", world), concurrency=4
            )
        return trees

    def note(epoch: int, loss: float) -> None:
        print(f"warm start, epoch {epoch + 1} of {epochs}: {loss:.4f} nats a token", flush=True)

    return start_gpt(
        path,
        play,
        seed=seed,
        max_new_tokens=LONGEST,
        device=device,
        epochs=epochs,
        lr=4e-3,
        tokens_per_step=3_000,
        note=note,
        context=CONTEXT,
        slots=SLOTS,
        ignore=IGNORE,
        **SHAPE,
    )


def easy_env(world: int, *, recursive: bool) -> RecursiveEnv:
    """Make an environment of easy tasks that ask for up to 6 units: deeper tasks ask for such amounts further down.

    For recursive agents, recipes are as long as deep ones usually are: a policy that has only seen lists of two and
    three learns to count instead of reading to the end. With such recipes, a lone agent's play would exceed its window.
    """
    book = easy_cookbook(world) if recursive else generator.world(world).cookbook
    splits = assign_splits(book, "rao-gpt", world)
    difficulty = Difficulty(generator.DIFFICULTIES["easy"].depths, (1, 6))

    def task(index: int) -> Task:
        drawn = draw_task(
            book,
            splits,
            {"easy": difficulty},
            family=f"rao-gpt@{world}",
            seed=0,
            split="train",
            index=index,
            difficulty="easy",
            depth=None,
        )
        payload = {"targets": drawn.targets, "inventory": drawn.inventory}
        return Task(drawn.id, describe(drawn.targets), payload, drawn.difficulty, drawn.split, drawn.index)

    limits = {} if recursive else {"max_turns": 75}
    return RecursiveEnv(
        task, lambda it: TextCraftWorld(it, book), action_format="calls", recursive=recursive, limits=limits
    )


@lru_cache(maxsize=1)
def easy_cookbook(world: int) -> Cookbook:
    """Take the lowest tiers of a world, and add up to 3 ingredients from lower tiers to their recipes."""
    book = generator.world(world).cookbook
    random = rng("rao-gpt-recipes", world)
    depth = {item: book.depth(item) for item in book.items}
    recipes = []
    for item in book.items:
        if 0 < depth[item] <= generator.DIFFICULTIES["easy"].depths[1]:
            (recipe,) = book.recipes(item)
            taken = [each.name for each in recipe.ingredients]
            below = [name for name in book.items if depth[name] < depth[item] and name not in taken]
            more = random.sample(below, random.randint(0, 3))
            added = [Ingredient(name, random.randint(1, 2), (name,)) for name in more]
            ingredients = sorted([*recipe.ingredients, *added], key=lambda each: each.name)
            recipes.append(Recipe(item, recipe.yields, tuple(ingredients)))
    return Cookbook(recipes)


# Training and testing ----------------------------------------------------------------------------------------


def options(policy: GPTPolicy, difficulty: str, split: str, *, recursive: bool, **limits: Any) -> dict[str, Any]:
    """Return the options of an environment that counts tokens as the policy does."""
    return {
        "difficulty": difficulty,
        "split": split,
        "action_format": "calls",
        "recursive": recursive,
        "limits": {"context_tokens": CONTEXT, **limits},
        "token_counter": policy.count_tokens,
    }


def examine(
    policy: GPTPolicy, seed: int, *, recursive: bool, split: str = "test", tests: Mapping[str, int] = TESTS
) -> Any:
    """Play test tasks of every difficulty; return the figures by difficulty.

    All figures are of play that takes the likeliest token, except `sampled`: the success of play as in training, on the
    difficulties in `SAMPLED`. An agent has its window, 25 messages (a lone one 75) and the depth of the task.
    """
    figures: dict[str, dict[str, float | None]] = {}
    for difficulty, tasks in tests.items():
        figures[difficulty] = {"tasks": tasks}
        for temperature in (0.0, 1.0) if difficulty in SAMPLED else (0.0,):
            judge = GPTPolicy(policy.model, policy.tokenizer, temperature=temperature, max_new_tokens=LONGEST)
            given = options(judge, difficulty, split, recursive=recursive, max_nodes=MAX_NODES[difficulty])
            runs = stream(ENV, judge, tasks=tasks, seed=derive(seed, "test"), env_options=given, concurrency=64)
            trees = [metrics.summary([tree]) for _, tree in runs]
            if temperature:
                figures[difficulty]["sampled"] = float(np.mean([tree["success"] for tree in trees]))
            else:
                known = {name: [tree[name] for tree in trees if tree[name] is not None] for name in FIGURES}
                figures[difficulty] |= {name: float(np.mean(each)) if each else None for name, each in known.items()}
        print(f"  {difficulty}: {figures[difficulty]}", flush=True)
    return figures


def learn(
    policy: GPTPolicy, seed: int, folder: Path, *, recursive: bool, steps: int, budget: float | None
) -> RAOTrainer:
    """Train for some steps, or until `budget` tokens have been sampled; resume where an earlier call stopped.

    A recursive agent trains on medium tasks. A lone one solves none of those at first, so all its advantages would be
    0: it trains on easy tasks, and on more of them at a time, since it has one node where the other has thirty.
    """
    difficulty = "medium" if recursive else "easy"
    limits = {"max_depth": DEPTH_CAP, "max_nodes": 100} if recursive else {"max_depth": 0, "max_turns": 75}
    given = options(policy, difficulty, "train", recursive=recursive, **limits)
    trainer: RAOTrainer

    def schedule(step: int) -> float:
        """Warm up over 5 steps, then fall to a tenth."""
        share = step / steps if budget is None else trainer.tokens / budget
        return min(1.0, (step + 1) / 5) * max(0.1, 1 - share)

    trainer = RAOTrainer(
        policy,
        ENV,
        steps=steps,
        seed=seed,
        collect=CollectConfig(
            tasks_per_step=8 if recursive else 32, group_size=GROUP, env_options=given, concurrency=128
        ),
        loss=LossConfig(kind="cispo"),
        optim=OptimConfig(lr=5e-4, schedule=schedule, minibatches=8, max_sequences=2_000, max_tokens=4_096),
        run=RunConfig(folder=folder, checkpoint_every=5),
    )
    while trainer.done < steps and (budget is None or trainer.tokens < budget):
        row = trainer.step()
        shown = (
            "success",
            "node_success",
            "nodes",
            "depth",
            "entropy",
            "grad_norm",
            "tokens_seen",
            "time/step",
            "time/outside_share",
        )
        print(f"step {row['step']}: " + ", ".join(f"{name} {row[name] or 0:.3g}" for name in shown), flush=True)
    trainer.save()
    return trainer


# Command line ------------------------------------------------------------------------------------------------


@app.command()
def train(
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    folder: Annotated[Path, typer.Option(help="Where checkpoints are kept.")] = Path("runs/rao_gpt"),
    device: Annotated[str, typer.Option(help="Of the model; rollouts are played on the CPU.")] = "cpu",
    quick: Annotated[bool, typer.Option(help="A few minutes, to see that it runs; the results mean nothing.")] = False,
) -> None:
    """Run everything for one seed, and write results/rao_gpt/seed-N.json."""
    torch.set_num_threads(1)  # the model is so small that a second thread only slows it down
    here = folder / f"seed-{seed}{'-quick' if quick else ''}"
    tests = {"easy": 5, "medium": 2} if quick else TESTS
    tasks, epochs, steps = (2, 1, 2) if quick else (WARM_TASKS, WARM_EPOCHS, STEPS)
    result: dict[str, Any] = {"seed": seed, "arms": {}}
    budget: float | None = None
    for arm, recursive in (("recursive", True), ("alone", False)):
        path = here / f"{arm}.json"
        if not path.exists():
            warm = here / f"{arm}-warm.pt"
            policy = warm_start(seed, recursive=recursive, tasks=tasks, epochs=epochs, path=warm, device=device)
            before = examine(policy, seed, recursive=recursive, tests=tests if quick else WARM_TESTS)
            trainer = learn(
                policy, seed, here / arm, recursive=recursive, steps=steps if recursive else 10_000, budget=budget
            )
            after = examine(policy, seed, recursive=recursive, tests=tests)
            save_gpt(policy, here / f"{arm}.pt")
            parameters = sum(parameter.numel() for parameter in policy.parameters())
            found = {
                "parameters": parameters,
                "tokens": trainer.tokens,
                "steps": trainer.done,
                "curve": curve(trainer.rows),
            }
            found |= {"warm": before, "trained": after}
            path.write_text(json.dumps(found))
        result["arms"][arm] = json.loads(path.read_text())
        budget = result["arms"]["recursive"]["tokens"]
    target = here / "result.json" if quick else RESULTS / "rao_gpt" / f"seed-{seed}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n")


def curve(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return what the plots and the table need of each step."""
    names = (
        "step",
        "tokens_seen",
        "success",
        "node_success",
        "nodes",
        "depth",
        "entropy",
        "time/step",
        "time/outside_share",
    )
    return [{name: row[name] for name in names} for row in rows]


@app.command()
def report() -> None:
    """Write results/rao_gpt.md and the plot from the seeds that are done."""
    seeds = [json.loads(path.read_text()) for path in sorted((RESULTS / "rao_gpt").glob("seed-*.json"))]
    if not seeds:
        raise typer.BadParameter("no seed is done yet; run `train` first")
    results = RESULTS / "rao_gpt.json"
    write_tables(results, table(seeds))
    plot(results, seeds)


NAMES = {"recursive": "recursive, RAO", "alone": "one agent"}
TRAINED_ON = {"recursive": "recursive, RAO: medium tasks", "alone": "one agent: easy tasks"}


def table(seeds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the results as Markdown, line by line."""
    arms = [seed["arms"] for seed in seeds]
    numbers = ", ".join(str(seed["seed"]) for seed in seeds)
    first = arms[0]["recursive"]
    yield "Generated by `python baselines/rao_gpt.py report` from what `train --seed N` left"
    yield f"for the seeds {numbers}; {first['parameters']:,} parameters, {CONTEXT} tokens of context."
    yield "Share of test tasks solved, taking the likeliest token, and, where tried, sampling as in training."
    yield "Mean over seeds, and the range where they differ."
    yield ""
    yield "| agent | difficulty | tasks | warm start | trained | warm start, sampled | trained, sampled |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for arm, name in NAMES.items():
        for level, figures in first["trained"].items():
            cells = [
                _range([seed[arm][stage].get(level, {}).get(key) for seed in arms], "{:.0%}")
                for key in ("success", "sampled")
                for stage in ("warm", "trained")
            ]
            yield f"| {name} | {level} | {figures['tasks']} | {' | '.join(cells)} |"
    yield ""
    yield "The trees of the trained agent, taking the likeliest token: nodes, depth, share of delegations"
    yield "awaited together with a sibling's, virtual time of doing it one node after the other over the time it takes,"
    yield "tokens of the fullest transcript. Means over trees."
    yield ""
    yield "| agent | difficulty | nodes | depth | concurrent | speed-up | fullest transcript |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    forms = dict(zip(FIGURES[1:], ("{:,.1f}", "{:.1f}", "{:.0%}", "{:,.1f}", "{:,.0f}"), strict=True))
    for arm, name in NAMES.items():
        for level in first["trained"]:
            cells = [_range([seed[arm]["trained"][level][key] for seed in arms], form) for key, form in forms.items()]
            yield f"| {name} | {level} | {' | '.join(cells)} |"
    yield ""
    yield "Training after the warm start:"
    yield ""
    yield "| agent | steps | sampled tokens | minutes | share of a step outside the model |"
    yield "|---|--:|--:|--:|--:|"
    for arm, name in NAMES.items():
        runs = [seed[arm] for seed in arms]
        outside = [float(np.mean([row["time/outside_share"] for row in run["curve"]])) for run in runs]
        cells = [
            _range([run["steps"] for run in runs], "{:.0f}"),
            _range([run["tokens"] / 1e6 for run in runs], "{:.2f} M"),
            _range([sum(row["time/step"] for row in run["curve"]) / 60 for run in runs], "{:.0f}"),
            _range(outside, "{:.0%}"),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def _range(values: Sequence[float | None], form: str) -> str:
    """Write a mean, and the range around it where that shows."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    texts = [form.format(value) for value in (float(np.mean(known)), min(known), max(known))]
    return texts[0] if texts[1] == texts[2] else f"{texts[0]} ({texts[1]} to {texts[2]})"


def plot(results: Path, seeds: Sequence[Mapping[str, Any]]) -> None:
    """Draw success while training, success by difficulty, and depth of the trees by difficulty."""
    colours = {"recursive": "tab:blue", "alone": "tab:orange"}
    with draw(results, docs=HERE.parent / "docs", panels=3, width=12.0) as (during, success, depth):
        for seed in seeds:
            for arm in NAMES:
                rows = seed["arms"][arm]["curve"]
                tokens = [row["tokens_seen"] / 1e6 for row in rows]
                solved = [row["success"] for row in rows]
                during.plot(tokens, solved, color=colours[arm], linewidth=0.5, alpha=0.3)
                smooth = [np.mean(solved[max(0, step - 9) : step + 1]) for step in range(len(solved))]
                during.plot(tokens, smooth, color=colours[arm], label=TRAINED_ON[arm] if seed is seeds[0] else None)
        during.set(
            xlabel="sampled tokens (millions)",
            ylabel="success of the root",
            title="Training (lines: mean of 10 steps)",
            ylim=(-0.02, 1.02),
        )
        during.legend()
        levels = list(seeds[0]["arms"]["recursive"]["trained"])
        for arm, name in NAMES.items():
            for stage, style in (("warm", ":"), ("trained", "-")):
                shown = [level for level in levels if level in seeds[0]["arms"][arm][stage]]
                means = [np.mean([seed["arms"][arm][stage][level]["success"] for seed in seeds]) for level in shown]
                success.plot(shown, means, style, marker="o", color=colours[arm], label=f"{name}, {stage}")
        success.set(ylabel="success of the root", title="Test tasks", ylim=(-0.02, 1.02))
        success.legend(loc=(0.02, 0.52), fontsize="small")
        for seed in seeds:
            depths = [seed["arms"]["recursive"]["trained"][level]["depth_max"] for level in levels]
            depth.plot(levels, depths, marker="o", color=colours["recursive"], alpha=0.8)
        depth.axhline(DEPTH_CAP, color="grey", linestyle="--", label="depth cap in training")
        depth.set(ylabel="depth of the tree", title="How deep the trees get")
        depth.legend()


if __name__ == "__main__":
    app()
