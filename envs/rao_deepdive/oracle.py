"""Scripted researchers. They read only what any agent can read, never the graph.

| oracle | does |
|---|---|
| `recursive_oracle` | delegates every hop to a subagent, one after another, but all trails of an intersection at once |
| `branching_oracle` | delegates the trails of an intersection, all at once, and does the rest, or a chain, alone |
| `sequential_oracle` | delegates every hop to a subagent, never two at once: the baseline for concurrency |
| `single_oracle` | follows the question hop by hop, alone |

They understand questions by `rao_deepdive.questions.phrasing.parse` and pages by `rao_deepdive.web.reader.read_page`.
All are functions of the node's view: they re-read what a node knows from its turns, so they survive checkpoints and
forks.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rao_deepdive.questions.phrasing import noun, parse, phrase
from rao_deepdive.questions.query import Blur, Edge, Query
from rao_deepdive.web.graph import hook_text
from rao_deepdive.web.reader import Facts, read_page
from rao_envs import Node
from rao_envs.policies import View

__all__ = ["branching_oracle", "recursive_oracle", "sequential_oracle", "single_oracle"]

_SEARCHES = (8, 20)  # hits requested: few at first
_AT_ONCE = 4  # pages read in one message

Call = tuple[str, Any]
Entity = tuple[str, str]  # name and address


def recursive_oracle(view: View) -> str:
    """Delegate every hop to a subagent, and all trails at once; research a single hop."""
    return _act(view, _delegate_hops)


def branching_oracle(view: View) -> str:
    """Delegate trails, all at once, and continue alone from where they meet."""
    return _act(view, _delegate_trails)


def sequential_oracle(view: View) -> str:
    """Delegate every hop to a subagent, one at a time."""
    return _act(view, _delegate_one_by_one)


def single_oracle(view: View) -> str:
    """Follow the question hop by hop, alone."""
    return _act(view, _walk)


class _Need(Exception):
    """The plan needs the results of these calls to continue."""

    def __init__(self, *calls: Call) -> None:
        super().__init__(calls)
        self.calls = calls


class _Lost(Exception):
    """Nothing that fits was found; the agent gives up."""


class _Desk:
    """What a node has found out so far; a request for more raises `_Need`."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def ask(self, *calls: Call) -> list[Any]:
        """Return the results of calls, all made in one message."""
        missing = [call for call in calls if _key(call) not in self._known]
        if missing:
            raise _Need(*missing)
        return [self._known[_key(call)] for call in calls]

    def read(self, *urls: str) -> list[Facts]:
        """Read pages."""
        shown = self.ask(*(("view_webpage_content", {"url": url}) for url in urls))
        facts = (read_page(*_split_page(text)) for text in shown)
        return [page for page in facts if page is not None]

    def find(self, queries: Sequence[str], fits: Callable[[Facts], bool]) -> Facts:
        """Search, ask for more hits, rephrase the query, and read pages until one fits."""
        seen: list[str] = []
        for query in queries:
            for count in _SEARCHES:
                (hits,) = self.ask(("search_web", {"query": query, "max_results": count}))
                new = [hit["url"] for hit in hits if hit["url"] not in seen]
                for start in range(0, len(new), _AT_ONCE):
                    for page in self.read(*new[start : start + _AT_ONCE]):
                        if fits(page):
                            return page
                seen += new
        raise _Lost

    def delegate(self, *queries: Query) -> list[Entity]:
        """Have subagents answer queries, all at once."""
        results = self.ask(*(("launch_subagent", {"goal": phrase(query)}) for query in queries))
        entities = []
        for result in results:
            if not (isinstance(result, Mapping) and "url" in result):
                raise _Lost
            entities.append((str(result["answer"]), str(result["url"])))
        return entities


Plan = Callable[[_Desk, Query], Entity]


def _act(view: View, plan: Plan) -> str:
    node = view.node
    say = _SPEAKERS[view.format]
    query = parse(node.goal)
    if query is None:
        return say.finish("I do not understand the question")
    if node.turns and node.turns[-1].fault:
        return say.finish("My tools failed")
    if not node.may_delegate or len(_hops(query)) == 1:
        plan = _walk
    try:
        name, url = plan(_Desk(dict(say.known(node))), query)
    except _Need as need:
        return say.call(need.calls)
    except _Lost:
        return say.finish("I did not find it")
    # A parent continues from the page; the root is asked for a name.
    return say.finish({"answer": name, "url": url} if node.depth else name)


# Plans ----------------------------------------------------------------------------------------------------------------


def _walk(desk: _Desk, query: Query) -> Entity:
    """Resolve the parts of a query one after another."""
    entities: list[Entity] = []
    for part, blur in enumerate(query.parts):
        known = query.before(part)
        if blur.given is not None:
            entities.append((blur.given, blur.url or _located(desk, blur.given)))
        elif not known:
            entities.append(_begin(desk, blur))
        else:
            entities.append(_step(desk, part, blur, known, entities))
    return entities[query.answer]


def _located(desk: _Desk, name: str) -> str:
    return desk.find([name], lambda page: page.name == name).url


def _begin(desk: _Desk, blur: Blur) -> Entity:
    hook = hook_text(blur.kind, blur.hook or 0)
    words = " ".join(hook.split()[-3:])
    page = desk.find([words, f"{noun(blur)} {hook}"], lambda page: _fits(page, blur) and page.set_apart_by(hook))
    return page.name, page.url


def _step(desk: _Desk, part: int, blur: Blur, known: Sequence[tuple[Edge, int]], entities: Sequence[Entity]) -> Entity:
    edge, other = known[0]
    name, url = entities[other]
    if edge.tail == part:
        for page in desk.read(url):
            if edge.relation in page.tails:
                return page.tails[edge.relation]
        raise _Lost

    def leads_here(page: Facts) -> bool:
        return _fits(page, blur) and all(page.tails.get(e.relation, ("", ""))[1] == entities[o][1] for e, o in known)

    everything = " ".join(entities[o][0] for _, o in known)
    page = desk.find(list(dict.fromkeys([f"{everything} {noun(blur)}", everything, name])), leads_here)
    return page.name, page.url


def _fits(page: Facts, blur: Blur) -> bool:
    return page.kind == blur.kind and blur.sort in (None, page.sort) and blur.decade in (None, page.year // 10 * 10)


def _delegate_hops(desk: _Desk, query: Query) -> Entity:
    return _delegated(desk, query, at_once=True)


def _delegate_one_by_one(desk: _Desk, query: Query) -> Entity:
    return _delegated(desk, query, at_once=False)


def _delegate_trails(desk: _Desk, query: Query) -> Entity:
    trails = query.trails()
    if len(trails) == 1:
        return _walk(desk, query)
    ends = desk.delegate(*(query.only(trail) for trail in trails))
    return _walk(desk, _from_here(query, {trail[-1]: end for trail, end in zip(trails, ends, strict=True)}))


def _delegated(desk: _Desk, query: Query, *, at_once: bool) -> Entity:
    trails = query.trails()
    ends: dict[int, Entity] = {}
    if len(trails) > 1 and at_once:
        ends = dict(zip((trail[-1] for trail in trails), desk.delegate(*map(query.only, trails)), strict=True))
        query, ends = _from_here(query, ends), {}
    for hop in _hops(query):
        part = hop[-1]
        asked = query.only(hop)
        given = (_given(blur, ends.get(old)) for blur, old in zip(asked.parts, hop, strict=True))
        (ends[part],) = desk.delegate(replace(asked, parts=tuple(given)))
    return ends[query.answer]


def _hops(query: Query) -> list[list[int]]:
    """Return what can be asked separately: each part that must be found, with the parts that it is found from."""
    return [
        [*sorted(known for _, known in query.before(part)), part]
        for part, blur in enumerate(query.parts)
        if blur.given is None
    ]


def _from_here(query: Query, ends: Mapping[int, Entity]) -> Query:
    """Return what remains of a query when the ends of its trails are known."""
    done = {part for trail in query.trails() for part in trail}
    left = [part for part in range(len(query.parts)) if part in ends or part not in done]
    rest = query.only(left)
    given = (_given(blur, ends.get(part)) for blur, part in zip(rest.parts, left, strict=True))
    return replace(rest, parts=tuple(given))


def _given(blur: Blur, entity: Entity | None) -> Blur:
    return blur if entity is None else Blur(blur.kind, given=entity[0], url=entity[1])


# Speech ---------------------------------------------------------------------------------------------------------------


def _key(call: Call) -> str:
    name, arguments = call
    return json.dumps([name, arguments], sort_keys=True)


def _split_page(shown: str) -> tuple[str, str, str]:
    """Return title, address and text from the output of `view_webpage_content`."""
    title, _, rest = shown.partition("\n")
    url, _, text = rest.partition("\n")
    return title, url, text.lstrip("\n")


class _Code:
    """Write and read the code format: every result is printed with the call that it answers."""

    def call(self, calls: Sequence[Call]) -> str:
        if calls[0][0] == "launch_subagent":
            goals = [arguments["goal"] for _, arguments in calls]
            return (
                f"<python>import asyncio\ngoals = {goals!r}\n"
                "for goal, result in zip(goals, await asyncio.gather(*[launch_subagent(goal) for goal in goals])):\n"
                '    print(["launch_subagent", {"goal": goal}, result])</python>'
            )
        lines = (f"print([{name!r}, {arguments!r}, {name}(**{arguments!r})])" for name, arguments in calls)
        return "<python>" + "\n".join(lines) + "</python>"

    def finish(self, result: Any) -> str:
        return f"<python>finish({result!r})</python>"

    def known(self, node: Node) -> Iterator[tuple[str, Any]]:
        for turn in node.turns:
            for line in (turn.observation or "").splitlines():
                with suppress(ValueError, SyntaxError, TypeError):  # a long line may be truncated
                    name, arguments, result = ast.literal_eval(line)
                    yield _key((name, arguments)), result


class _Calls(_Code):
    """Write and read the tool-call format."""

    def call(self, calls: Sequence[Call]) -> str:
        return _dumps([{"name": name, "arguments": arguments} for name, arguments in calls])

    def finish(self, result: Any) -> str:
        return _dumps([{"name": "finish", "arguments": {"message": result}}])

    def known(self, node: Node) -> Iterator[tuple[str, Any]]:
        for turn in node.turns:
            with suppress(ValueError, KeyError):  # a long observation may be truncated
                results = json.loads(turn.observation or "[]")
                for call, result in zip(json.loads(turn.action), results, strict=True):
                    yield _key((call["name"], call["arguments"])), result["result"]


def _dumps(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


_SPEAKERS: Mapping[str, _Code] = {"code": _Code(), "calls": _Calls()}
