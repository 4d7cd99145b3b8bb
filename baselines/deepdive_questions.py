"""Whether DeepDive's questions are what they claim: one answer each, solvable with the tools, and no shortcut.

    python baselines/deepdive_questions.py            # everything, about half an hour on one core
    python baselines/deepdive_questions.py --quick    # a few questions of each kind

For each kind and length of question: an independent query over a graph read back from the pages' text finds the gold
answer and no other; scripted agents answer it with the tools alone; and a search for the question's own text does not
show the answer's page. Then, for webs of several sizes, the time and the space that they take.

Writes ``results/deepdive_questions.json`` and, from it, the tables in ``results/deepdive_questions.md``. An interrupted
run resumes where it stopped.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from _study import RESULTS, Row, measured, write_tables

from rao_deepdive import DeepDiveEnv, Query, generate, pages
from rao_deepdive.questions.generator import HOPS, QUESTION_KINDS
from rao_deepdive.questions.proof import prove
from rao_deepdive.search import FullTextSearch, build_index
from rao_deepdive.tasks import DEFAULT_SIZE, open_web
from rao_deepdive.web.graph import Graph
from rao_deepdive.web.reader import read_web
from rao_envs.policies import ScriptedPolicy
from rao_envs.rollout import stream

SEED = 0
QUESTIONS = 1_000
SIZES = (1_000, 5_000, 20_000, 100_000)
ORACLES = {"recursive": QUESTIONS, "branching": 200, "single": 200}
"""Scripted agents, and how many questions each is asked at most."""


def plan(quick: bool) -> Iterator[Row]:
    """Yield what is to be measured."""
    for kind in QUESTION_KINDS:
        for hops in HOPS:
            yield {"part": "questions", "kind": kind, "hops": hops, "questions": 20 if quick else QUESTIONS}
    for pages_ in SIZES[:2] if quick else SIZES:
        yield {"part": "sizes", "pages": pages_}


def measure(row: Row) -> Row:
    """Measure one row."""
    return measure_questions(row) if row["part"] == "questions" else measure_size(row)


@cache
def web() -> Any:
    """Return the default web, read back from the text of its pages."""
    return read_web(pages(generate(DEFAULT_SIZE, SEED)))


def measure_questions(row: Row) -> Row:
    """Ask the questions of one row."""
    search = open_web(DEFAULT_SIZE, SEED)
    tasks = DeepDiveEnv(hops=row["hops"], kind=row["kind"], world_seed=SEED).tasks
    proved = shortcut = begun = longest = 0
    answers = set()
    for index in range(row["questions"]):
        task = tasks(index)
        gold = task.payload["steps"][-1]["url"]
        proved += prove(web(), Query.from_dict(task.payload["query"])) == {gold}
        shown = [hit.url for hit in search.search(task.goal, 5)]
        shortcut += gold in shown
        begun += task.payload["steps"][0]["url"] in shown
        longest = max(longest, len(task.goal))
        answers.add(gold)
    figures: Row = {
        "answers": len(answers),
        "proved": proved / row["questions"],
        "shortcut": shortcut / row["questions"],
        "begun": begun / row["questions"],
        "longest": longest,
    }
    for oracle, limit in ORACLES.items():
        figures[oracle] = _solved(row, oracle, min(limit, row["questions"]))
    return {**row, "seed": SEED, **figures}


def _solved(row: Row, oracle: str, questions: int) -> float:
    options = {"hops": row["hops"], "kind": row["kind"], "action_format": "calls", "recursive": oracle != "single"}
    policy = ScriptedPolicy(DeepDiveEnv.oracles[oracle])
    # One environment at a time: there is no model to wait for.
    runs = stream(lambda: DeepDiveEnv(**options), policy, tasks=questions, seed=SEED, concurrency=1, progress=False)
    return sum(tree.root.success or 0.0 for _, tree in runs) / questions


def measure_size(row: Row) -> Row:
    """Make a web of one size."""
    generate.cache_clear()
    start = time.perf_counter()
    graph = generate(row["pages"], SEED)
    made = time.perf_counter()
    characters = sum(len(page.text) for page in pages(graph))
    told = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "web.db"
        build_index(pages(graph), path)
        built = time.perf_counter()
        size = os.path.getsize(path)
        times = _query_times(graph, FullTextSearch(path))
    return {
        **row,
        "seed": SEED,
        "graph_seconds": made - start,
        "pages_seconds": told - made,
        "build_seconds": built - told + made - start,
        "megabytes": size / 1e6,
        "characters": characters / row["pages"],
        "query_median": times[len(times) // 2],
        "query_95": times[len(times) * 95 // 100],
    }


def _query_times(graph: Graph, search: FullTextSearch) -> list[float]:
    """Return the seconds that searches take in order: a name and a sort, as an agent looks for what leads somewhere."""
    times = []
    for entity in range(0, graph.size, max(1, graph.size // 500)):
        start = time.perf_counter()
        search.search(f"{graph.names[entity]} {graph.sort(entity)}", 10)
        times.append(time.perf_counter() - start)
    search.close()
    return sorted(times)


def tables(rows: Sequence[Row]) -> list[str]:
    """Return the results as Markdown."""
    solved = [f"solved, {oracle}" for oracle in ORACLES]
    text = [
        f"Generated by `python baselines/deepdive_questions.py`; {DEFAULT_SIZE:,} pages, world 0, split train, task "
        "numbers from 0. Proved: an independent query over what the pages state finds the gold answer alone. "
        f"Solved: by scripted agents with the tools; {', '.join(f'{o} {n:,}' for o, n in ORACLES.items())} questions. "
        "Shown: among the first 5 hits for the question's own text.",
        "",
        f"| kind | hops | questions | answers | proved | {' | '.join(solved)} | answer shown | start shown |",
        "|---|--:|--:|--:|--:|" + "--:|" * len(ORACLES) + "--:|--:|",
    ]
    for row in rows:
        if row["part"] == "questions":
            shares = [row["proved"], *(row[oracle] for oracle in ORACLES), row["shortcut"], row["begun"]]
            counts = f"| {row['kind']} | {row['hops']} | {row['questions']:,} | {row['answers']:,} | "
            text.append(counts + " | ".join(f"{share:.1%}" for share in shares) + " |")
    text += ["", "Webs by size, one core; a query is a name and a sort, 10 hits:", ""]
    text += ["| pages | graph | texts | graph, texts and index | database | characters a page | query, median | 95% |"]
    text += ["|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        if row["part"] == "sizes":
            text.append(
                f"| {row['pages']:,} | {row['graph_seconds']:.2f} s | {row['pages_seconds']:.1f} s "
                f"| {row['build_seconds']:.1f} s | {row['megabytes']:.0f} MB | {row['characters']:.0f} "
                f"| {row['query_median'] * 1000:.1f} ms | {row['query_95'] * 1000:.1f} ms |"
            )
    return text


def main(quick: Annotated[bool, typer.Option(help="A few questions of each kind.")] = False) -> None:
    """Measure what is missing, and write the tables."""
    path = RESULTS / f"deepdive_questions{'_quick' if quick else ''}.json"
    write_tables(path, tables(measured(path, plan(quick), measure)))


if __name__ == "__main__":
    typer.run(main)
