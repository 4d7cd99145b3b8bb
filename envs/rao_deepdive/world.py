"""DeepDive as the engine sees it: a search engine, pages to read, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rao_deepdive.judging.verify import GoalVerifier, judge_root
from rao_deepdive.search import MAX_RESULTS, SearchBackend
from rao_deepdive.web import graph as graphs
from rao_envs import Node, Subtask, Task, ToolError, Verdict, World, tool
from rao_envs.errors import OptionError
from rao_envs.judges import Case, FirstOf, Judge

__all__ = ["PART", "DeepDiveWorld"]

PART = 8_000
"""Characters of a page that one view shows; longer pages are read part by part."""

_LONGEST_GOAL = 5_000


class DeepDiveWorld(World):
    """One rollout's view of a web. Nothing in it changes.

    The task's payload says what is right:

    | key | is |
    |---|---|
    | "answer" | the gold answer |
    | "aliases" | other names for it; may be left out |
    | "world" | {"size", "seed"} of the graph behind the web, if it is a generated one |
    """

    instructions = """\
You answer a question by research: search_web finds pages, view_webpage_content reads one. What is asked is described \
rather than named, so find out first what each description stands for. Names can be nearly the same, and pages also \
repeat rumours: what counts is what the page about a thing states of it. The answer is a name.
"""
    finish_doc = "End your work. `message` is the answer and nothing else; it goes to whoever asked you."

    def __init__(self, task: Task, search: SearchBackend, judge: Judge | None = None) -> None:
        """Set up the research of `task`.

        Args:
            task: the question and its gold answer.
            search: where searches go.
            judge: asked where no program knows whether an answer is right; None leaves those subagents unjudged.

        Raises:
            OptionError: the task has no gold answer.
        """
        super().__init__(task)
        gold = task.payload.get("answer")
        if not isinstance(gold, str) or not gold.strip():
            raise OptionError("answer", gold, 'the question has no gold answer: give payload["answer"], a text')
        self._search = search
        self._judge = judge
        web = task.payload.get("world")
        self._graph = None if web is None else graphs.generate(web["size"], web["seed"])

    def root(self) -> Subtask:
        """Return the question, without its answer."""
        return Subtask(self.task.goal)

    @tool
    def search_web(self, node: Node, query: str, max_results: int = 5) -> list[dict[str, Any]]:
        """Search for pages: a list of dicts with url, title, content (a snippet) and score, best first.

        `max_results` is 1 to 20.
        """
        if not 1 <= max_results <= MAX_RESULTS:
            raise ToolError(f"max_results={max_results}: ask for 1 to {MAX_RESULTS} results")
        hits = self._search.search(query, max_results)
        return [
            {"url": hit.url, "title": hit.title, "content": hit.content, "score": round(hit.score, 3)} for hit in hits
        ]

    @tool
    def view_webpage_content(self, node: Node, url: str, part: int = 1) -> str:
        """Read the page at `url`: its title, its address and its text. Long pages come in parts, numbered from 1."""
        page = self._search.view(url)
        parts = max(1, -(-len(page.text) // PART))
        if not 1 <= part <= parts:
            raise ToolError(f"part={part}: the page has parts 1 to {parts}")
        note = f"[part {part} of {parts}]\n" if parts > 1 else ""
        return f"{page.title}\n{page.url}\n{note}\n{page.text[(part - 1) * PART : part * PART]}"

    def delegate(self, node: Node, goal: str) -> Subtask:
        """Have a subagent find out what `goal` asks for. It knows nothing but the goal: ask in full, with names."""
        if not any(character.isalnum() for character in goal):
            raise ToolError("goal is empty: ask for something")
        if len(goal) > _LONGEST_GOAL:
            raise ToolError(f"goal has {len(goal):,} characters: {_LONGEST_GOAL:,} at most")
        return Subtask(goal)

    def verify(self, node: Node, result: Any) -> Verdict:
        """Compare the root's answer with the gold one; judge a subagent by its own goal."""
        if node.parent is None:
            gold, aliases = self.task.payload["answer"], tuple(self.task.payload.get("aliases", ()))
            return judge_root(Case(node.goal, result, gold, node.messages), gold, aliases, self._judge)
        exact = None if self._graph is None else GoalVerifier(self._graph)
        return FirstOf(exact, self._judge)(Case(node.goal, result, transcript=node.messages))

    def state(self) -> Mapping[str, Any]:
        """Return nothing: research changes nothing."""
        return {}
