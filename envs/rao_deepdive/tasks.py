"""Tasks over a generated web: drawn from its graph, pure in their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path

from rao_deepdive.questions.generator import HOPS, QUESTION_KINDS, SPLITS, Question, ask
from rao_deepdive.search import INDEX_VERSION, FullTextSearch, build_index, cached
from rao_deepdive.web import graph as graphs
from rao_deepdive.web import lexicon, names, wordings
from rao_deepdive.web import pages as texts
from rao_envs import Task
from rao_envs.errors import OptionError
from rao_envs.seeding import rng
from rao_envs.world import TaskSource

__all__ = ["DEFAULT_SIZE", "DIFFICULTIES", "generated_tasks", "open_web"]

DIFFICULTIES: Mapping[str, tuple[int, int]] = {"easy": (2, 2), "medium": (3, 4), "hard": (5, 6), "extreme": (7, 8)}
"""Fewest and most hops, by the name of the difficulty."""

DEFAULT_SIZE = 5_000


@lru_cache(maxsize=8)
def open_web(size: int, seed: int = 0) -> FullTextSearch:
    """Return the search engine over a generated web, which is made on first use and kept on disk.

    Raises:
        OptionError: the size is out of range.
    """
    graph = graphs.generate(size, seed)
    key = f"deepdive-{_edition()}-{INDEX_VERSION}-{size}-{seed}.db"
    return FullTextSearch(cached(key, lambda path: build_index(texts.pages(graph), path)))


@cache
def _edition() -> str:
    """Return what changes with the code that makes the pages, so that no page of an older edition is ever served."""
    digest = blake2b(digest_size=6)
    for module in (graphs, lexicon, names, texts, wordings):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def generated_tasks(
    *,
    hops: int | None,
    kind: str | None,
    size: int,
    difficulty: str | None,
    split: str,
    world_seed: int,
    task_seed: int,
) -> TaskSource:
    """Return where the tasks over a generated web come from.

    A task's payload holds "world" (size and seed of the graph), "query" (the question without words), "answer" and
    "aliases", "kind", "hops", and "steps": the gold path with names and addresses.

    Raises:
        OptionError: an argument out of range.
    """
    choices, name = _hops(hops, difficulty)
    if kind is not None and kind not in QUESTION_KINDS:
        raise OptionError("kind", kind, f"choose from {', '.join(QUESTION_KINDS)}, or None for both")
    if split not in SPLITS:
        raise OptionError("split", split, f"choose from {', '.join(SPLITS)}")
    kinds = QUESTION_KINDS if kind is None else (kind,)
    graph = graphs.generate(size, world_seed)
    label = f"deepdive-{size}-{world_seed}-{split}-{kind or 'mixed'}-{name}-{task_seed}"

    def tasks(index: int) -> Task:
        drawn = rng("deepdive-task", task_seed, split, kind or "mixed", name, index)
        question = ask(graph, drawn.choice(kinds), drawn.choice(choices), split, task_seed, index)
        return _task(graph, question, f"{label}-{index}", name, split, index)

    return tasks


def _hops(hops: int | None, difficulty: str | None) -> tuple[Sequence[int], str]:
    if hops is not None:
        if difficulty is not None:
            raise OptionError("difficulty", difficulty, "give hops or a difficulty, not both")
        if type(hops) is not int or hops not in HOPS:
            raise OptionError("hops", hops, f"must be from {HOPS[0]} to {HOPS[-1]}")
        return (hops,), f"{hops} hops"
    name = "medium" if difficulty is None else difficulty
    if name not in DIFFICULTIES:
        raise OptionError("difficulty", difficulty, f"choose from {', '.join(DIFFICULTIES)}")
    fewest, most = DIFFICULTIES[name]
    return range(fewest, most + 1), name


def _task(graph: graphs.Graph, question: Question, name: str, difficulty: str, split: str, index: int) -> Task:
    answer, *aliases = graph.names_of(question.answer)
    payload = {
        "world": {"size": graph.size, "seed": graph.seed},
        "query": question.query.to_dict(),
        "answer": answer,
        "aliases": aliases,
        "kind": question.kind,
        "hops": question.hops,
        "steps": question.steps(graph),
    }
    return Task(name.replace(" ", ""), question.text, payload, difficulty, split, index)
