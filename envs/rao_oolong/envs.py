"""`OolongRealEnv`: questions about long transcripts, generated, real, or published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from rao_envs import Limits, RecursiveEnv, Task
from rao_envs.errors import OptionError
from rao_envs.judges import Judge
from rao_envs.seeding import derive
from rao_envs.world import TaskSource
from rao_oolong.oracle import recursive_oracle, shortcut_oracle, single_oracle
from rao_oolong.questions.answers import parse
from rao_oolong.questions.families import FAMILIES, ROLL_FAMILIES, Question, ask
from rao_oolong.real.episodes import load_episodes
from rao_oolong.real.published import PUBLISHED_SET, load_published
from rao_oolong.table.generator import generate
from rao_oolong.table.scenes import Knobs
from rao_oolong.world import OolongWorld, open_session

__all__ = ["DIFFICULTIES", "SPLITS", "OolongRealEnv"]

DIFFICULTIES: Mapping[str, tuple[int, int]] = {
    "easy": (8_000, 1),
    "medium": (55_000, 1),
    "hard": (118_000, 2),
    "extreme": (175_000, 3),
}
"""Tokens and episodes of a session, by the name of the difficulty."""

SPLITS = ("train", "val", "test")

_DEFAULTS = {"max_depth": 2, "max_turns": 50, "context_tokens": 32_768, "max_observation_chars": 100_000}


class OolongRealEnv(RecursiveEnv):
    """Oolong-Real: answer a question that needs every line of a long Dungeons & Dragons transcript.

    ## Description
    A transcript of 55,000 tokens and more, with "Name: utterance" a line, and one question: how many rolls, which
    spell last, what percentage. Nobody can answer it from a sample. The agent's window holds 32,768 tokens, so that
    a lone agent cannot read it all. Sessions are generated with their exact log; real transcripts and the published
    set can be read instead.

    ## Action Space
    `TextSpace`: Python (``action_format="code"``) or a JSON list of tool calls (``"calls"``). Tools:
    ``read_lines(first, count)``, ``finish(message)`` and ``launch_subagent(goal, context=None, lines=None,
    margin=0)``. In Python, `context` is the text.

    ## Observation Space
    `TextSpace`: what the next acting agent sees.

    ## Rewards
    0 until the root returns; then its answer's score by the published rule: ``0.75 ** abs(gold - answer)`` for
    integers, equality for strings, the share of the gold's items for lists.

    ## Starting State
    One root, with the question and the whole text as its context.

    ## Episode End
    Terminated when the root finishes; truncated when it runs out of turns or of its context window.

    ## Arguments
    See `__init__`.

    ## Version History
    * v0: initial version.
    """

    oracles: ClassVar = {"recursive": recursive_oracle, "single": single_oracle, "shortcut": shortcut_oracle}
    difficulties: ClassVar = tuple(DIFFICULTIES)

    def __init__(
        self,
        tokens: int | None = None,
        difficulty: str | None = None,
        split: str = "train",
        *,
        episodes: int | None = None,
        knobs: Knobs | Mapping[str, Any] | None = None,
        families: Iterable[str] | None = None,
        data: str | os.PathLike[str] | None = None,
        judge: Judge | None = None,
        task_seed: int = 0,
        recursive: bool = True,
        limits: Limits | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Make the environment.

        Args:
            tokens: length of a generated session, at least 500 an episode.
            difficulty: instead of a length: "easy" (8,000 tokens), "medium" (55,000, the default), "hard" (118,000
                in 2 episodes) or "extreme" (175,000 in 3).
            split: "train", "val" or "test"; no session occurs in two of them. A published file is one split,
                whatever its name here.
            episodes: of a session; None takes the difficulty's, or 1.
            knobs: how hard generated sessions are to read: a `Knobs`, or a dict of what differs from its defaults.
            families: names of the families of questions to draw from; None draws from all.
            data: None generates sessions. A folder in the layout that `load_episodes` reads gives real episodes; a
                .jsonl or .parquet file the published set, and its name, "oolongbench/oolong-real", the same through
                the `datasets` package (extra ``oolong``).
            judge: judges subagents whose answer no program knows, such as
                ``LLMJudge(..., rubric=PAPER_RUBRIC)``; None leaves them unjudged.
            task_seed: another seed gives other tasks.
            recursive: False makes the single-agent environment.
            limits: what differs from the defaults: trees of depth 2, 50 turns (25 for subagents), 32,768 tokens a
                node, observations of 100,000 characters.
            options: the rest of `RecursiveEnv`: action_format, latency, token_counter, sandbox, render_mode.

        Raises:
            OptionError: an option has an impossible value, or the data cannot be read.
        """
        if split not in SPLITS:
            raise OptionError("split", split, f"choose from {', '.join(SPLITS)}")
        chosen = None if families is None else list(families)
        if chosen is not None and (not chosen or (unknown := [name for name in chosen if name not in tuple(FAMILIES)])):
            raise OptionError("families", unknown if chosen else chosen, f"choose from {', '.join(FAMILIES)}")
        if data is None:
            tasks = _generated(tokens, difficulty, split, episodes, _knobs(knobs), chosen, task_seed)
        elif tokens is not None or difficulty is not None or knobs is not None:
            raise OptionError("data", os.fspath(data), "goes without tokens, difficulty and knobs: data is as it is")
        elif data == PUBLISHED_SET:
            tasks = _published(None, split)
        elif Path(data).is_dir():
            tasks = _real(Path(data), split, episodes or 1, chosen, task_seed)
        elif Path(data).exists():
            tasks = _published(Path(data), split)
        else:
            raise OptionError("data", os.fspath(data), f"is no file and no folder, and not {PUBLISHED_SET!r}")

        def world(task: Task) -> OolongWorld:
            return OolongWorld(task, judge)

        # Refuse what cannot be asked here, not at the first reset.
        world(tasks(0))
        chosen_limits = {**_DEFAULTS, **(limits or {})} if isinstance(limits, Mapping | None) else limits
        super().__init__(tasks, world, recursive=recursive, limits=chosen_limits, **options)


def _knobs(knobs: Knobs | Mapping[str, Any] | None) -> Knobs:
    if isinstance(knobs, Knobs):
        return knobs
    try:
        return Knobs(**(knobs or {}))
    except TypeError:
        raise OptionError("knobs", knobs, f"unknown knob; known: {', '.join(asdict(Knobs()))}") from None


def _generated(
    tokens: int | None,
    difficulty: str | None,
    split: str,
    episodes: int | None,
    knobs: Knobs,
    families: list[str] | None,
    task_seed: int,
) -> TaskSource:
    if tokens is not None and difficulty is not None:
        raise OptionError("difficulty", difficulty, "give tokens or a difficulty, not both")
    if difficulty is not None and difficulty not in DIFFICULTIES:
        raise OptionError("difficulty", difficulty, f"choose from {', '.join(DIFFICULTIES)}")
    size, many = (tokens, 1) if tokens is not None else DIFFICULTIES[difficulty or "medium"]
    many = many if episodes is None else episodes
    generate(0, episodes=many, tokens=min(size, 600 * max(many, 1)), knobs=knobs)  # its own checks
    name = difficulty or ("medium" if tokens is None else f"{tokens} tokens")

    def tasks(index: int) -> Task:
        seed = derive("oolong-task", task_seed, split, index)
        payload = {"seed": seed, "episodes": many, "tokens": size, "knobs": asdict(knobs)}
        question = ask(open_session(payload).log, seed, 0, families)
        size_of = f"{size}-{many}-{derive(str(sorted(asdict(knobs).items())), str(families)) % 10**6}"
        return _task(f"oolong-{split}-{task_seed}-{size_of}-{index}", question, payload, name, split, index)

    return tasks


def _real(folder: Path, split: str, episodes: int, families: list[str] | None, task_seed: int) -> TaskSource:
    ids = load_episodes(folder).ids
    # Dealt out 70 / 15 / 15 in the order of play; whatever shares an episode shares a split.
    edges = [0, len(ids) * 70 // 100, len(ids) * 85 // 100, len(ids)]
    place = SPLITS.index(split)
    own = ids[edges[place] : edges[place + 1]]
    if not 1 <= episodes <= len(own):
        raise OptionError("episodes", episodes, f"the split {split} of {folder} has {len(own)} of them")
    asked = [name for name in families or ROLL_FAMILIES if name in ROLL_FAMILIES]
    if not asked:
        raise OptionError("families", families, f"the fans' log has rolls only; choose from {', '.join(ROLL_FAMILIES)}")
    windows = len(own) - episodes + 1

    def tasks(index: int) -> Task:
        start = index % windows
        payload = {"real": {"folder": str(folder), "ids": list(own[start : start + episodes])}}
        question = ask(open_session(payload).log, derive("oolong-real", task_seed, split), index, asked)
        return _task(f"oolong-real-{split}-{task_seed}-{episodes}-{index}", question, payload, "real", split, index)

    return tasks


def _published(path: Path | None, split: str) -> TaskSource:
    source = PUBLISHED_SET if path is None else str(path)
    theirs = "validation" if split == "val" else split
    # The questions are kept, not the transcripts, which come to gigabytes.
    rows = [(row.question, row.answer, row.id, row.question_type) for row in load_published(path, split=theirs)]
    if not rows:
        raise OptionError("data", source, "has no questions")
    for number, (_, answer, _, _) in enumerate(rows):
        if parse(answer) in ("", []):
            raise OptionError("data", source, f"row {number} (from 0) has no gold answer; leave it out")

    def tasks(index: int) -> Task:
        row = index % len(rows)
        question, answer, name, kind = rows[row]
        place = {"path": None if path is None else str(path), "split": theirs, "row": row}
        payload = {"published": place, "question": question, "gold": answer, "kind": kind}
        return Task(f"oolong-published-{name}", question, payload, "published", split, index)

    return tasks


def _task(name: str, question: Question, source: Mapping[str, Any], difficulty: str, split: str, index: int) -> Task:
    payload = {**source, "question": {"family": question.family, **question.params}}
    return Task(name, question.text, payload, difficulty, split, index)
