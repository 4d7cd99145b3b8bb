"""The embedded search engine of DeepDive: does it find what it should, and how fast is it with many agents?

    python baselines/deepdive_search.py --data FOLDER     # everything, a few minutes
    python baselines/deepdive_search.py --pages 10000     # a smaller web, and recall as it was measured last

`FOLDER` holds ``corpus.jsonl`` and ``questions.jsonl`` as `rao_deepdive.real` reads them; recall is compared with the
``bm25s`` library where that is installed. Writes ``results/deepdive_search.json`` and, from it, the tables in
``results/deepdive_search.md``; ``--json`` prints the former.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from rao_deepdive import ask, generate
from rao_deepdive import pages as pages_of
from rao_deepdive.real import load_questions
from rao_deepdive.search import FullTextSearch, Page, build_index, read_corpus, words
from rao_envs.seeding import derive, rng

RESULTS = Path(__file__).parent / "results" / "deepdive_search.json"
DEPTHS = (5, 10, 20)
AGENTS, PROCESSES = 50, 5
SECONDS = 15.0
THINKING = 1.0
"""Mean seconds that an agent's model takes between two searches, exponentially distributed."""
LIMITS = ("MAX_ALONE", "MAX_PAIRED", "MAX_READ", "MAX_RANKED")
Row = dict[str, Any]


# Recall


def recall(folder: Path) -> list[Row]:
    """Search a real corpus for its questions' own words, with several engines."""
    corpus = list(read_corpus(folder / "corpus.jsonl"))
    asked = [q for q in load_questions(folder / "questions.jsonl") if q.titles]
    with tempfile.TemporaryDirectory() as temporary:
        build_index(corpus, Path(temporary) / "index")
        ours = FullTextSearch(Path(temporary) / "index")
        rows = [{"engine": "ours", **shares(asked, [titles(ours, q.question) for q in asked])}]
        kept = {name: getattr(words, name) for name in LIMITS}
        for name in LIMITS:
            setattr(words, name, 10**9)
        every = FullTextSearch(Path(temporary) / "index")
        rows.append({"engine": "ours, every page ranked", **shares(asked, [titles(every, q.question) for q in asked])})
        for name, value in kept.items():
            setattr(words, name, value)
        ours.close()
        every.close()
    return rows + list(second_opinions(corpus, asked))


def titles(search: FullTextSearch, question: str) -> list[str]:
    """Return the titles found, best first."""
    return [hit.title for hit in search.search(question, max(DEPTHS))]


def shares(asked: Sequence[Any], found: Sequence[Sequence[str]]) -> Row:
    """Return the mean share of the gold titles among the first so many."""

    def share(question: Any, ranking: Sequence[str], depth: int) -> float:
        return len(set(ranking[:depth]) & set(question.titles)) / len(question.titles)

    return {
        f"recall@{depth}": statistics.mean(share(q, r, depth) for q, r in zip(asked, found, strict=True))
        for depth in DEPTHS
    }


def second_opinions(corpus: Sequence[Page], asked: Sequence[Any]) -> Iterator[Row]:
    """Ask bm25s, with and without English stop words, and with titles as part of the text."""
    try:
        import bm25s
    except ImportError:
        return
    for stopwords in (None, "en"):
        for repeated in (1, 2):
            texts = [" ".join([page.title] * repeated + [page.text]) for page in corpus]
            engine = bm25s.BM25(method="lucene")
            engine.index(bm25s.tokenize(texts, stopwords=stopwords, show_progress=False), show_progress=False)
            queries = bm25s.tokenize([q.question for q in asked], stopwords=stopwords, show_progress=False)
            found, _ = engine.retrieve(queries, k=max(DEPTHS), show_progress=False)
            name = f"bm25s, {'no' if stopwords is None else 'English'} stop words, title x{repeated}"
            yield {"engine": name, **shares(asked, [[corpus[page].title for page in row] for row in found])}


# Webs


def own_web(size: int) -> tuple[Iterator[Page], Callable[[int], str]]:
    """Return DeepDive's generated pages, and whole questions about them as queries by number."""
    graph = generate(size, 0)
    kinds = ("chain", "intersection")
    return pages_of(graph), lambda n: ask(graph, kinds[n % 2], 2 + n % 4, "train", 0, n).text


def prose_web(size: int) -> tuple[Iterator[Page], Callable[[int], str]]:
    """Return pages of about 1.5 kB with words as frequent as in English (Zipf), and 40 to 60 words of one as query."""
    draw = np.random.Generator(np.random.PCG64(derive("prose")))
    vocabulary = np.array([invented(n) for n in range(200_000)], dtype=object)
    share = 1.0 / (np.arange(len(vocabulary)) + 3.7) ** 1.05
    edges = np.cumsum(share / share.sum())
    lengths = draw.integers(200, 290, size)

    def text(number: int) -> str:
        own = np.random.Generator(np.random.PCG64(derive("prose page", number)))
        spoken = vocabulary[np.minimum(np.searchsorted(edges, own.random(lengths[number])), len(vocabulary) - 1)]
        return ". ".join(" ".join(spoken[start : start + 15]).capitalize() for start in range(0, len(spoken), 15)) + "."

    def query(number: int) -> str:
        own = rng("prose query", number)
        spoken = text(own.randrange(size)).replace(".", "").lower().split()
        start = own.randrange(len(spoken) - 60)
        return " ".join(spoken[start : start + own.randint(40, 60)])

    web = (Page(f"https://prose.example/{n}", f"Page {invented(n)} {n}", text(n)) for n in range(size))
    return web, query


def invented(number: int) -> str:
    """Return the word of a number: the commoner, the shorter."""
    parts = []
    while number >= 0:
        number, rest = divmod(number, 60)
        parts.append("bdfgklmnprst"[rest % 12] + "aeiou"[rest // 12])
        number -= 1
    return "".join(parts)


WEBS = {"DeepDive's own pages": own_web, "prose": prose_web}


def measure_web(name: str, size: int, folder: Path) -> Row:
    """Build a web and search it in several ways."""
    began, used = time.perf_counter(), time.process_time()
    web, query_of = WEBS[name](size)
    told = list(web)
    between, used_before = time.perf_counter(), time.process_time()
    build_index(told, folder / "index")
    built, used_after = time.perf_counter(), time.process_time()
    queries = [query_of(n) for n in range(4_000)]
    row: Row = {
        "web": name,
        "pages": size,
        "characters": statistics.mean(len(page.text) for page in told),
        "query_words": statistics.mean(len(query.split()) for query in queries),
        "telling_s": between - began,
        "telling_cpu_s": used_before - used,
        "indexing_s": built - between,
        "indexing_cpu_s": used_after - used_before,
        "megabytes": (folder / "index").stat().st_size / 1e6,
    }
    del told
    search = FullTextSearch(folder / "index")
    alone, cpu = [], []
    for query in queries[:600]:
        began, used = time.perf_counter(), time.thread_time()
        search.search(query, 5)
        cpu.append(1e3 * (time.thread_time() - used))
        alone.append(1e3 * (time.perf_counter() - began))
    search.close()
    row["alone"] = {**spread(alone[100:]), "cpu_ms": statistics.median(cpu[100:])}
    row["thinking"] = crowd(folder / "index", queries, THINKING)
    row["restless"] = crowd(folder / "index", queries, 0.0)
    return row


# Many agents


def crowd(path: Path, queries: Sequence[str], thinking: float) -> Row:
    """Let agents search for a while, as threads of several processes; no two of them ask the same."""
    context = multiprocessing.get_context("spawn")
    together, said = context.Barrier(PROCESSES), context.Queue()
    own = len(queries) // PROCESSES
    crew = [
        context.Process(
            target=work, args=(path, queries[n * own : (n + 1) * own], AGENTS // PROCESSES, thinking, n, together, said)
        )
        for n in range(PROCESSES)
    ]
    for process in crew:
        process.start()
    took = [latency for _ in crew for latency in said.get()]
    for process in crew:
        process.join()
    return {**spread(took), "searches": len(took), "searches_per_s": len(took) / SECONDS}


def work(
    path: Path, queries: Sequence[str], agents: int, thinking: float, number: int, together: Any, said: Any
) -> None:
    """Be one process: its agents share an engine."""
    search = FullTextSearch(path)
    took: list[float] = []
    share = len(queries) // agents

    def agent(index: int) -> None:
        draw = rng("agent", number, index)
        own = queries[index * share : (index + 1) * share]
        turn = 0
        while time.monotonic() < end:
            if thinking:
                time.sleep(draw.expovariate(1 / thinking))
            # A number makes each query a new one, so that no search is answered from memory.
            asked = f"{own[turn % len(own)]} {number}x{index}x{turn}"[-1_000:]
            began = time.perf_counter()
            search.search(asked, 5)
            took.append(1e3 * (time.perf_counter() - began))
            turn += 1

    together.wait()
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=agent, args=(index,)) for index in range(agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    search.close()
    said.put(took)


def spread(took: Sequence[float]) -> Row:
    """Return median and 95th percentile in milliseconds."""
    return {"median_ms": statistics.median(took), "p95_ms": statistics.quantiles(took, n=20)[-1]}


# Results


def tables(results: Row) -> str:
    """Return the results as Markdown."""
    text = ["Generated by `python baselines/deepdive_search.py`.", ""]
    if results["recall"]:
        text += ["Share of the gold titles among the first hits, the question being the query:", ""]
        text += [
            "| engine | " + " | ".join(f"first {depth}" for depth in DEPTHS) + " |",
            "|---|" + "--:|" * len(DEPTHS),
        ]
        for row in results["recall"]:
            cells = " | ".join(f"{row[f'recall@{depth}']:.1%}" for depth in DEPTHS)
            text.append(f"| {row['engine']} | {cells} |")
        text.append("")
    text += [
        "Building (seconds of the clock, and of one core):",
        "",
        "| web | pages | characters a page | telling s (core) | indexing s (core) | megabytes |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in results["webs"]:
        text.append(
            f"| {row['web']} | {row['pages']:,} | {row['characters']:,.0f} | {row['telling_s']:.1f} "
            f"({row['telling_cpu_s']:.1f}) | {row['indexing_s']:.1f} ({row['indexing_cpu_s']:.1f}) "
            f"| {row['megabytes']:.0f} |"
        )
    text += [
        "",
        f"Searching for 5 hits, in milliseconds. *Thinking*: {AGENTS} agents in {PROCESSES} processes, each of which "
        f"takes {THINKING:.0f} s on average between searches, as a model would. *Restless*: the same without a pause, "
        f"so that all wait for a core. The machine has {results['cores']} cores; its load from other programs was "
        f"{results['load']:.1f}. *Core*: how long one was busy with a search (median).",
        "",
        "| web | words a query | core | alone: median, 95% | thinking: median, 95% | restless: median, 95% | per s |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in results["webs"]:
        cells = [f"{row[way]['median_ms']:.1f}, {row[way]['p95_ms']:.1f}" for way in ("alone", "thinking", "restless")]
        text.append(
            f"| {row['web']} | {row['query_words']:.0f} | {row['alone']['cpu_ms']:.1f} | {' | '.join(cells)} "
            f"| {row['restless']['searches_per_s']:,.0f} |"
        )
    return "\n".join(text) + "\n"


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of a real corpus with questions; omit to keep.")] = None,
    pages: Annotated[int, typer.Option(help="Pages of each web.")] = 100_000,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = RESULTS,
    print_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure recall, building and searching; write the results and their tables."""
    before = json.loads(out.read_text()) if out.exists() else {}
    results: Row = {
        "recall": before.get("recall", []) if data is None else recall(data),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "webs": [],
    }
    for name in WEBS:
        with tempfile.TemporaryDirectory() as folder:
            results["webs"].append(measure_web(name, pages, Path(folder)))
    out.write_text(json.dumps(results, indent=1) + "\n")
    out.with_suffix(".md").write_text(tables(results))
    print(json.dumps(results, indent=1) if print_json else tables(results))


if __name__ == "__main__":
    typer.run(main)
