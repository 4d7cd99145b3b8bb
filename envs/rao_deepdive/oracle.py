"""Scripted researchers: they read what any agent can read, and nothing of the graph.

| oracle | does |
|---|---|
| `recursive_oracle` | hands every hop to a subagent, one after another; where there are trails, all of them at once |
| `branching_oracle` | hands trails to subagents, all of them at once, and does the rest alone; a chain it walks alone |
| `sequential_oracle` | hands every hop to a subagent, and never has two at work: what concurrency is measured against |
| `single_oracle` | walks hop by hop, alone |

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

_SEARCHES = (8, 20)  # hits asked for: few at first
_AT_ONCE = 4  # pages read in one message

Call = tuple[str, Any]
Place = tuple[str, str]  # name and address


def recursive_oracle(view: View) -> str:
    """Delegate every hop to a subagent, and all trails at once; a single hop is researched."""
    return _act(view, _delegate_hops)


def branching_oracle(view: View) -> str:
    """Delegate trails, all at once, and walk on alone from where they meet."""
    return _act(view, _delegate_trails)


def sequential_oracle(view: View) -> str:
    """Delegate every hop to a subagent, one at a time."""
    return _act(view, _delegate_one_by_one)


def single_oracle(view: View) -> str:
    """Walk hop by hop, alone."""
    return _act(view, _walk)


class _Need(Exception):
    """The plan cannot go on without the results of these calls."""

    def __init__(self, *calls: Call) -> None:
        super().__init__(calls)
        self.calls = calls


class _Lost(Exception):
    """Nothing was found that fits; the agent gives up."""


class _Desk:
    """What a node has found out so far; asking for more raises `_Need`."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known

    def ask(self, *calls: Call) -> list[Any]:
        """Return the results of calls, all of which are to be made in one message."""
        missing = [call for call in calls if _key(call) not in self._known]
        if missing:
            raise _Need(*missing)
        return [self._known[_key(call)] for call in calls]

    def read(self, *urls: str) -> list[Facts]:
        """Read pages."""
        shown = self.ask(*(("view_webpage_content", {"url": url}) for url in urls))
        facts = (read_page(*_taken_apart(text)) for text in shown)
        return [page for page in facts if page is not None]

    def find(self, queries: Sequence[str], fits: Callable[[Facts], bool]) -> Facts:
        """Search, ask for more hits, search in other words, and read on until a page fits."""
        seen: list[str] = []
        for query in queries:
            for count in _SEARCHES:
                (hits,) = self.ask(("search_web", {"query": query, "max_results": count}))
                new = [hit["url"] for hit in hits if hit["url"] not in seen]
                for place in range(0, len(new), _AT_ONCE):
                    for page in self.read(*new[place : place + _AT_ONCE]):
                        if fits(page):
                            return page
                seen += new
        raise _Lost

    def delegate(self, *queries: Query) -> list[Place]:
        """Have subagents answer queries, all at once."""
        results = self.ask(*(("launch_subagent", {"goal": phrase(query)}) for query in queries))
        places = []
        for result in results:
            if not (isinstance(result, Mapping) and "url" in result):
                raise _Lost
            places.append((str(result["answer"]), str(result["url"])))
        return places


Plan = Callable[[_Desk, Query], Place]


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
    # Whoever delegated goes on from the page; the root is asked for a name.
    return say.finish({"answer": name, "url": url} if node.depth else name)


# Plans ----------------------------------------------------------------------------------------------------------------


def _walk(desk: _Desk, query: Query) -> Place:
    """Fill the parts of a query one after another."""
    places: list[Place] = []
    for part, blur in enumerate(query.parts):
        known = query.before(part)
        if blur.given is not None:
            places.append((blur.given, blur.url or _located(desk, blur.given)))
        elif not known:
            places.append(_begin(desk, blur))
        else:
            places.append(_step(desk, part, blur, known, places))
    return places[query.answer]


def _located(desk: _Desk, name: str) -> str:
    return desk.find([name], lambda page: page.name == name).url


def _begin(desk: _Desk, blur: Blur) -> Place:
    hook = hook_text(blur.kind, blur.hook or 0)
    words = " ".join(hook.split()[-3:])
    page = desk.find([words, f"{noun(blur)} {hook}"], lambda page: _fits(page, blur) and page.set_apart_by(hook))
    return page.name, page.url


def _step(desk: _Desk, part: int, blur: Blur, known: Sequence[tuple[Edge, int]], places: Sequence[Place]) -> Place:
    edge, other = known[0]
    name, url = places[other]
    if edge.tail == part:
        for page in desk.read(url):
            if edge.relation in page.tails:
                return page.tails[edge.relation]
        raise _Lost

    def leads_here(page: Facts) -> bool:
        return _fits(page, blur) and all(page.tails.get(e.relation, ("", ""))[1] == places[o][1] for e, o in known)

    everything = " ".join(places[o][0] for _, o in known)
    page = desk.find(list(dict.fromkeys([f"{everything} {noun(blur)}", everything, name])), leads_here)
    return page.name, page.url


def _fits(page: Facts, blur: Blur) -> bool:
    return page.kind == blur.kind and blur.sort in (None, page.sort) and blur.decade in (None, page.year // 10 * 10)


def _delegate_hops(desk: _Desk, query: Query) -> Place:
    return _delegated(desk, query, at_once=True)


def _delegate_one_by_one(desk: _Desk, query: Query) -> Place:
    return _delegated(desk, query, at_once=False)


def _delegate_trails(desk: _Desk, query: Query) -> Place:
    trails = query.trails()
    if len(trails) == 1:
        return _walk(desk, query)
    ends = desk.delegate(*(query.only(trail) for trail in trails))
    return _walk(desk, _from_here(query, {trail[-1]: end for trail, end in zip(trails, ends, strict=True)}))


def _delegated(desk: _Desk, query: Query, *, at_once: bool) -> Place:
    trails = query.trails()
    found: dict[int, Place] = {}
    if len(trails) > 1 and at_once:
        found = dict(zip((trail[-1] for trail in trails), desk.delegate(*map(query.only, trails)), strict=True))
        query, found = _from_here(query, found), {}
    for hop in _hops(query):
        part = hop[-1]
        asked = query.only(hop)
        given = (_given(blur, found.get(old)) for blur, old in zip(asked.parts, hop, strict=True))
        (found[part],) = desk.delegate(replace(asked, parts=tuple(given)))
    return found[query.answer]


def _hops(query: Query) -> list[list[int]]:
    """Return what can be asked by itself: each part that must be found, with the parts that it is found from."""
    return [
        [*sorted(known for _, known in query.before(part)), part]
        for part, blur in enumerate(query.parts)
        if blur.given is None
    ]


def _from_here(query: Query, ends: Mapping[int, Place]) -> Query:
    """Return what is left of a query when the ends of its trails are known."""
    done = {part for trail in query.trails() for part in trail}
    left = [part for part in range(len(query.parts)) if part in ends or part not in done]
    rest = query.only(left)
    given = (_given(blur, ends.get(part)) for blur, part in zip(rest.parts, left, strict=True))
    return replace(rest, parts=tuple(given))


def _given(blur: Blur, place: Place | None) -> Blur:
    return blur if place is None else Blur(blur.kind, given=place[0], url=place[1])


# Speech ---------------------------------------------------------------------------------------------------------------


def _key(call: Call) -> str:
    name, arguments = call
    return json.dumps([name, arguments], sort_keys=True)


def _taken_apart(shown: str) -> tuple[str, str, str]:
    """Return title, address and text of what `view_webpage_content` showed."""
    title, _, rest = shown.partition("\n")
    url, _, text = rest.partition("\n")
    return title, url, text.lstrip("\n")


class _Code:
    """Speak and understand the code format: every result is printed with the call that it answers."""

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
                with suppress(ValueError, SyntaxError, TypeError):  # a long line may have been cut
                    name, arguments, result = ast.literal_eval(line)
                    yield _key((name, arguments)), result


class _Calls(_Code):
    """Speak and understand the tool-call format."""

    def call(self, calls: Sequence[Call]) -> str:
        return _dumps([{"name": name, "arguments": arguments} for name, arguments in calls])

    def finish(self, result: Any) -> str:
        return _dumps([{"name": "finish", "arguments": {"message": result}}])

    def known(self, node: Node) -> Iterator[tuple[str, Any]]:
        for turn in node.turns:
            with suppress(ValueError, KeyError):  # a long observation may have been cut
                results = json.loads(turn.observation or "[]")
                for call, result in zip(json.loads(turn.action), results, strict=True):
                    yield _key((call["name"], call["arguments"])), result["result"]


def _dumps(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


_SPEAKERS: Mapping[str, _Code] = {"code": _Code(), "calls": _Calls()}
