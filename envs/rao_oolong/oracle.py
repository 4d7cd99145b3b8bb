"""Scripted policies: they read what any agent can read, and nothing of the log.

| oracle | does |
|---|---|
| `recursive_oracle` | cuts its text by line numbers without reading it, has subagents read the pieces, merges |
| `single_oracle` | reads alone, piece after piece, until it has read everything or its window is full |
| `shortcut_oracle` | reads nothing: counts by pattern in a program (code format only) |

All are functions of the node's view: they keep no state, and so survive checkpoints and forks.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

from rao_envs import Node
from rao_envs.policies import View
from rao_oolong.questions.answers import render
from rao_oolong.questions.families import FAMILIES, Family, Params, parse_goal
from rao_oolong.reading.grammar import read
from rao_oolong.reading.patterns import PROGRAM, finish_tally
from rao_oolong.session.log import SessionLog
from rao_oolong.session.passages import read_heading

__all__ = ["recursive_oracle", "shortcut_oracle", "single_oracle"]

_CHUNK = 64_000  # characters: about 16,000 tokens, half a window of 32,768
_MOST_CHUNKS = 32  # of one node; more are delegated in two steps
_MARGIN = 40  # lines: an exchange at the table is over sooner
_PIECE = 24_000  # characters that the lone reader asks for at a time

_SIZE = re.compile(r"Your context has (\d+) lines, (\d+) characters\.")
_ASKED = re.compile(r"You are asked about lines (\d+) to (\d+) of it\.")
_HEAD = re.compile(r"\[lines (\d+) to (\d+) of (\d+); (\d+) characters in all\]\n")
_PLAYS = re.compile(r"^(.+?) plays the character (.+?)\.$", re.MULTILINE)
_BELOW = re.compile(r"^\[START OF EPISODE\]$", re.MULTILINE)

Known = tuple[Family, Params]


def recursive_oracle(view: View) -> str:
    """Split, delegate the question as it is, merge what comes back.

    The root always delegates; a subagent whose text fits its window reads it whole and finishes with its answer and
    its partial result, another splits again. A node that may not delegate works as `single_oracle` does.
    """
    node = view.node
    say = _SPEAKERS[view.format]
    lines, characters = _size(node)
    if not node.may_delegate or (node.depth and characters <= _CHUNK * 5 // 4):
        return single_oracle(view)
    known = _known(node)
    if known is None:
        return say.finish("I do not know how to answer this")
    if not node.turns:
        return say.delegate(node.goal, _cuts(node, lines, characters))
    return say.finish(_merged(known, say.returned(node), boxed=node.depth == 0))


def single_oracle(view: View) -> str:
    """Read line by line, piece after piece, then answer; what fits into one window is read at once."""
    node = view.node
    say = _SPEAKERS[view.format]
    known = _known(node)
    if known is None:
        return say.finish("I do not know how to answer this")
    lines, characters = _size(node)
    pieces = [piece for turn in node.turns for piece in say.pieces(turn.observation or "")]
    done = pieces[-1][1] + 1 if pieces else 0
    if done < lines:
        # A subagent was given a piece that fits; a lone reader pays for each message with the whole chat so far.
        wanted = lines if node.depth else max(1, lines * _PIECE // characters)
        return say.read(done, min(wanted, lines - done))
    log = _heard("\n".join(text for _, _, text in pieces))
    family, params = known
    partial = family.partial(log, **params)
    answer = family.finish(partial, **params)
    if node.depth == 0:
        return say.finish(_box(answer))
    return say.finish({"answer": answer, "partial": partial})


def shortcut_oracle(view: View) -> str:
    """Count keywords with a program that prints a tally and none of the text, then answer from the tally.

    The patterns are those of `rao_oolong.reading.shortcut`, without its memory of roll types. The tool-call format has
    no program to run, and every piece of the text would have to be read: there it answers 0 at once.
    """
    node = view.node
    say = _SPEAKERS[view.format]
    known = _known(node)
    if known is None or view.format != "code":
        return say.finish(_box(0))
    if not node.turns:
        return f"<python>{PROGRAM}</python>"
    tally = next(say.literals(node.turns[0].observation or ""), None)
    return say.finish(_box(finish_tally(tally, *known)))


def _known(node: Node) -> Known | None:
    found = parse_goal(node.goal)
    return None if found is None else (FAMILIES[found[0]], found[1])


def _size(node: Node) -> tuple[int, int]:
    """Return lines and characters of the node's text, which its first message tells."""
    found = _SIZE.findall(node.opening)[-1]
    return int(found[0]), int(found[1])


def _cuts(node: Node, lines: int, characters: int) -> list[tuple[int, int]]:
    """Cut the lines into equal runs whose text is about a chunk; in two steps where they are too many."""
    chunks = max(2, -(-characters // _CHUNK))
    if chunks > _MOST_CHUNKS:
        chunks = max(2, -(-chunks // _MOST_CHUNKS), round(chunks**0.5))
    asked = _ASKED.search(node.opening, len(node.goal))
    first, last = (int(asked[1]), int(asked[2])) if asked else (0, lines - 1)
    edges = [first + (last + 1 - first) * place // chunks for place in range(chunks + 1)]
    return [(low, high - 1) for low, high in pairwise(edges) if high > low]


def _heard(text: str) -> SessionLog:
    """Read a text, and return what happened on the lines that are asked about."""
    table = tuple((found[1], found[2]) for found in _PLAYS.finditer(text))
    if found := read_heading(text):
        heading, below = found
        log = read(below, table or (("", "DM"),), first_line=heading.shown, episode=heading.episode)
        return log.between(heading.first, heading.last)
    start = _BELOW.search(text)
    return read(text[start.start() :] if start else text, table or (("", "DM"),))


def _merged(known: Known, returned: Iterable[Any], *, boxed: bool) -> Any:
    family, params = known
    partials = [result["partial"] for result in returned if isinstance(result, Mapping) and "partial" in result]
    partial = family.merge(partials)
    answer = family.finish(partial, **params)
    return _box(answer) if boxed else {"answer": answer, "partial": partial}


def _box(answer: object) -> str:
    return f"\\boxed{{{render(answer)}}}"


class _Code:
    """Speak and understand the code format."""

    def read(self, first: int, count: int) -> str:
        return f"<python>print(read_lines({first}, {count}))</python>"

    def delegate(self, goal: str, cuts: Iterable[tuple[int, int]]) -> str:
        return (
            "<python>import asyncio\n"
            f"question = {goal!r}\n"
            f"cuts = {list(cuts)!r}\n"
            f"parts = [launch_subagent(question, lines=cut, margin={_MARGIN}) for cut in cuts]\n"
            "for result in await asyncio.gather(*parts):\n    print(result)</python>"
        )

    def finish(self, result: Any) -> str:
        return f"<python>finish({result!r})</python>"

    def pieces(self, observation: str) -> Iterator[tuple[int, int, str]]:
        """Yield what `read_lines` showed: first line, last line, text."""
        if found := _HEAD.match(observation):
            yield int(found[1]), int(found[2]), observation[found.end() :]

    def literals(self, observation: str) -> Iterator[Any]:
        for line in observation.splitlines():
            if line.startswith(("{", "[")):
                with suppress(ValueError, SyntaxError):
                    yield ast.literal_eval(line)

    def returned(self, node: Node) -> Iterator[Any]:
        """Yield what subagents returned."""
        yield from self.literals(node.turns[0].observation or "")


class _Calls(_Code):
    """Speak and understand the tool-call format."""

    def read(self, first: int, count: int) -> str:
        return _dumps("read_lines", {"first": first, "count": count})

    def delegate(self, goal: str, cuts: Iterable[tuple[int, int]]) -> str:
        return _dumps("launch_subagent", *({"goal": goal, "lines": cut, "margin": _MARGIN} for cut in cuts))

    def finish(self, result: Any) -> str:
        return _dumps("finish", {"message": result})

    def pieces(self, observation: str) -> Iterator[tuple[int, int, str]]:
        for result in self.literals(observation):
            if isinstance(result, str):
                yield from super().pieces(result)

    def literals(self, observation: str) -> Iterator[Any]:
        with suppress(ValueError):  # a long observation may have been cut
            yield from (entry["result"] for entry in json.loads(observation or "[]") if "result" in entry)


def _dumps(name: str, *arguments: Mapping[str, Any]) -> str:
    return json.dumps([{"name": name, "arguments": given} for given in arguments], separators=(",", ":"))


_SPEAKERS: Mapping[str, _Code] = {"code": _Code(), "calls": _Calls()}
