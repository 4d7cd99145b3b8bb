"""`DeepDiveEnv`: research over a generated web, a user's corpus, or the live web."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from rao_deepdive.oracle import branching_oracle, recursive_oracle, sequential_oracle, single_oracle
from rao_deepdive.questions.generator import SPLITS
from rao_deepdive.real import RealWorld, real_tasks
from rao_deepdive.search import SearchBackend, Tavily, open_corpus
from rao_deepdive.tasks import DEFAULT_SIZE, DIFFICULTIES, generated_tasks, open_web
from rao_deepdive.world import DeepDiveWorld
from rao_envs import Limits, RecursiveEnv, Task
from rao_envs.errors import OptionError
from rao_envs.judges import Judge

__all__ = ["DeepDiveEnv"]

_DEFAULTS = {"max_depth": 6, "max_turns": 25, "context_tokens": 32_768, "max_observation_chars": 16_000}


class DeepDiveEnv(RecursiveEnv):
    """DeepDive: answer a question by research in which each hop needs the one before.

    ## Description
    A fictional web of thousands of pages about people, places, works, organisations and events, with a search engine.
    A question describes where to begin ("a spa town founded in the 1640s, known for its amber bells") and leads from
    there over 2 to 8 relations to its answer; nothing on the way is named. A chain must be walked hop by hop, and
    nothing is gained by working on two hops at once. An intersection has two or three trails that meet, and can be
    walked in parallel. Pages mislead with namesakes and rumours. Questions about a user's own corpus can be asked
    instead.

    ## Action Space
    `TextSpace`: Python (``action_format="code"``) or a JSON list of tool calls (``"calls"``). Tools:
    ``search_web(query, max_results=5)``, ``view_webpage_content(url, part=1)``, ``finish(message)`` and
    ``launch_subagent(goal)``.

    ## Observation Space
    `TextSpace`: what the next acting agent sees.

    ## Rewards
    0 until the root returns; then 1 if its answer is the gold answer or an alias of it, normalised, else what the
    judge says, if there is one, else 0.

    ## Starting State
    One root with the question.

    ## Episode End
    Terminated when the root finishes; truncated when it runs out of turns or of its context window.

    ## Arguments
    See `__init__`.

    ## Version History
    * v0: initial version.
    """

    oracles: ClassVar = {
        "recursive": recursive_oracle,
        "single": single_oracle,
        "branching": branching_oracle,
        "sequential": sequential_oracle,
    }
    difficulties: ClassVar = tuple(DIFFICULTIES)

    def __init__(
        self,
        hops: int | None = None,
        difficulty: str | None = None,
        split: str = "train",
        *,
        kind: str | None = None,
        size: int = DEFAULT_SIZE,
        world_seed: int = 0,
        task_seed: int = 0,
        search: SearchBackend | str | None = None,
        corpus: str | os.PathLike[str] | None = None,
        questions: str | os.PathLike[str] | None = None,
        judge: Judge | None = None,
        recursive: bool = True,
        limits: Limits | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Make the environment.

        Args:
            hops: relations that the question takes, 2 to 8; where trails meet, those of all trails together.
            difficulty: instead of hops: "easy" (2), "medium" (3 or 4, the default), "hard" (5 or 6) or "extreme" (7
                or 8).
            split: "train", "val" or "test"; no answer occurs in two of them.
            kind: "chain", "intersection", or None for both.
            size: pages of the generated web, 100 to 1,000,000. It is made on first use (a second for the default)
                and kept on disk.
            world_seed: another seed gives another web.
            task_seed: another seed gives other tasks in the same web.
            search: where searches go instead of the embedded engine: a `SearchBackend`, or "tavily" for the live web
                (the key comes from the environment).
            corpus: a JSONL file of passages to search, with "title", "text" and perhaps "url".
            questions: a file of questions about it, or about the live web, as `rao_deepdive.real` reads them. The
                file is one split, whatever its name here.
            judge: judges what no program can: answers of the root that are not the gold answer, and subagents whose
                goal is not understood. None leaves the former wrong and the latter unjudged.
            recursive: False makes the single-agent environment.
            limits: what differs from the defaults: 25 turns and 32,768 tokens a node, trees of depth 6.
            options: the rest of `RecursiveEnv`: action_format, latency, token_counter, sandbox, render_mode.

        Raises:
            OptionError: an option has an impossible value.
        """
        engine = _engine(search, corpus)
        if questions is None:
            if corpus is not None:
                raise OptionError("corpus", os.fspath(corpus), "goes with questions=: those made here are not about it")
            tasks = generated_tasks(
                hops=hops,
                kind=kind,
                size=size,
                difficulty=difficulty,
                split=split,
                world_seed=world_seed,
                task_seed=task_seed,
            )
        else:
            if any(option is not None for option in (hops, kind, difficulty)):
                raise OptionError("questions", os.fspath(questions), "goes without hops, kind and difficulty")
            if split not in SPLITS:
                raise OptionError("split", split, f"choose from {', '.join(SPLITS)}")
            if engine is None:
                raise OptionError("questions", os.fspath(questions), "needs a corpus= or a search= to look for answers")
            tasks = real_tasks(questions, engine, split)

        def world(task: Task) -> DeepDiveWorld:
            if questions is not None and engine is not None:
                return RealWorld(task, engine, judge)
            return DeepDiveWorld(task, engine or open_web(size, world_seed), judge)

        # Refuse what cannot be asked here, not at the first reset.
        tasks(0)
        if isinstance(limits, Mapping | None):
            limits = {**_DEFAULTS, **(limits or {})}
        super().__init__(tasks, world, recursive=recursive, limits=limits, **options)


def _engine(search: SearchBackend | str | None, corpus: str | os.PathLike[str] | None) -> SearchBackend | None:
    if corpus is not None:
        if search is not None:
            raise OptionError("search", search, "give a corpus or a search, not both")
        return open_corpus(corpus)
    if not isinstance(search, str):
        return search
    if search != "tavily":
        raise OptionError("search", search, 'must be a SearchBackend, "tavily", or None')
    return Tavily()
