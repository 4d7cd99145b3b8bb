"""Scripted policies. They read only what any agent can read, never the log.

| oracle | does |
|---|---|
| `recursive_oracle` | splits its text by line numbers without reading it, lets subagents read the parts, merges |
| `single_oracle` | reads alone, piece by piece, until it has read everything or its window is full |
| `shortcut_oracle` | reads nothing: counts keywords with a program (code format only) |

All are functions of the node's view: they keep no state, so they survive checkpoints and forks.
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
_MAX_CHUNKS = 32  # per node; more are delegated in two steps
_MARGIN = 40  # lines: longer than any exchange at the table
_PIECE = 24_000  # characters that the lone reader requests at a time

_SIZE = re.compile(r"Your context has (\d+) lines, (\d+) characters\.")
_ASKED = re.compile(r"You are asked about lines (\d+) to (\d+) of it\.")
_HEAD = re.compile(r"\[lines (\d+) to (\d+) of (\d+); (\d+) characters in all\]\n")
_PLAYS = re.compile(r"^(.+?) plays the character (.+?)\.$", re.MULTILINE)
_BELOW = re.compile(r"^\[START OF EPISODE\]$", re.MULTILINE)

Known = tuple[Family, Params]


def recursive_oracle(view: View) -> str:
    """Split the text, delegate the question unchanged, merge the results.

    The root always delegates. A subagent whose text fits its window reads all of it and returns its answer and its
    partial result; any other subagent splits again. A node that may not delegate works like `single_oracle`.
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
    """Read the lines piece by piece, then answer; a subagent reads its whole text at once."""
    node = view.node
    say = _SPEAKERS[view.format]
    known = _known(node)
    if known is None:
        return say.finish("I do not know how to answer this")
    lines, characters = _size(node)
    pieces = [piece for turn in node.turns for piece in say.pieces(turn.observation or "")]
    done = pieces[-1][1] + 1 if pieces else 0
    if done < lines:
        # A subagent's text fits its window; a lone reader's every message costs the whole chat so far.
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
    known = parse_goal(node.goal)
    return None if known is None else (FAMILIES[known[0]], known[1])


def _size(node: Node) -> tuple[int, int]:
    """Return the number of lines and characters of the node's text, which its first message states."""
    lines, characters = _SIZE.findall(node.opening)[-1]
    return int(lines), int(characters)


def _cuts(node: Node, lines: int, characters: int) -> list[tuple[int, int]]:
    """Split the lines into equal ranges of about one chunk of text; in two steps if there are too many."""
    chunks = max(2, -(-characters // _CHUNK))
    if chunks > _MAX_CHUNKS:
        chunks = max(2, -(-chunks // _MAX_CHUNKS), round(chunks**0.5))
    asked = _ASKED.search(node.opening, len(node.goal))
    first, last = (int(asked[1]), int(asked[2])) if asked else (0, lines - 1)
    edges = [first + (last + 1 - first) * i // chunks for i in range(chunks + 1)]
    return [(low, high - 1) for low, high in pairwise(edges) if high > low]


def _heard(text: str) -> SessionLog:
    """Read a text, and return the events on the lines that the question is about."""
    table = tuple((match[1], match[2]) for match in _PLAYS.finditer(text))
    if headed := read_heading(text):
        heading, below = headed
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
    """Write and read the code format."""

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
        """Yield the output of `read_lines`: first line, last line, text."""
        if match := _HEAD.match(observation):
            yield int(match[1]), int(match[2]), observation[match.end() :]

    def literals(self, observation: str) -> Iterator[Any]:
        for line in observation.splitlines():
            if line.startswith(("{", "[")):
                with suppress(ValueError, SyntaxError):
                    yield ast.literal_eval(line)

    def returned(self, node: Node) -> Iterator[Any]:
        """Yield what subagents returned."""
        yield from self.literals(node.turns[0].observation or "")


class _Calls(_Code):
    """Write and read the tool-call format."""

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
        with suppress(ValueError):  # a long observation may be truncated
            yield from (entry["result"] for entry in json.loads(observation or "[]") if "result" in entry)


def _dumps(name: str, *arguments: Mapping[str, Any]) -> str:
    return json.dumps([{"name": name, "arguments": given} for given in arguments], separators=(",", ":"))


_SPEAKERS: Mapping[str, _Code] = {"code": _Code(), "calls": _Calls()}
