"""What a subagent's goal asks, where its words make that clear: a program then knows the right answer.

A goal is understood if it is a question in the words of `rao_deepdive.questions.phrasing`, or if it names exactly one
entity and one relation: "Who founded Halder Line?", "Which novel of the 1920s is set in Ulverwick?". Everything else is
left to a judge: a goal that names two entities may name the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from rao_deepdive.questions.phrasing import parse
from rao_deepdive.questions.query import answers, check
from rao_deepdive.web.graph import RELATIONS, Graph
from rao_deepdive.web.lexicon import SORTS, VERBS
from rao_deepdive.web.names import name_key

__all__ = ["accepted", "mentioned"]

_CUES: Mapping[str, re.Pattern[str]] = {
    relation: re.compile(cues, re.IGNORECASE)
    for relation, cues in {
        "born_in": r"\bborn\b|birthplace|place of birth|\bnatives?\b|home ?town|came into the world",
        "studied_under": r"\bstud(y|ied)\b|\b(pupil|student|teacher|mentor)s?\b|\b(taught|teach|learned(?! societ))\b",
        "worked_for": r"\bwork(s|ed)? for\b|\bemploy|\bsalary\b|\bstaff\b",
        "governed_from": r"\bgovern|\bcouncil\b|\btaxes\b|\bmagistrates\b",
        "planned_by": r"\bmain square\b",
        "created_by": r"\bcreat(e|ed|or)\b|\bauthor\b|\bwr(ote|itten|iter)\b|\b(work|hand) of\b|\bmade by\b"
        r"|\bcomposed\b|\bpainted\b",
        "set_in": r"\bset in\b|\btakes? place\b|\bsetting\b|\bscene of\b|\bunfolds\b|\bis .* set\b",
        "commissioned_by": r"\bcommission|\brequest of\b|\bordered\b",
        "recalls": r"\bcommemorat|\binspir|\blooks? back\b|\bsubject of\b",
        "founded_by": r"\bfound(ed|er|ers)\b|\bset up\b|\bowes its existence\b|\binto being\b",
        "based_in": r"\bbased\b|\bheadquarter|\bseat\b|\bhome to\b",
        "grew_from": r"\bgr[eo]w out\b|\bsplit off\b|\bbranch of\b|\bparent\b",
        "held_in": r"\bhappen(ed)?\b|\bheld\b|\bt(ook|ake) place\b|\bwitnessed\b|\bsite of\b|\bsaw\b",
        "led_by": r"\bled\b|\bleader\b|\bdirected\b|\bin charge\b|\bpresided\b",
        "paid_by": r"\bfinanced?\b|\bpaid for\b|\bcosts of\b|\bsponsor|\bfunded\b",
    }.items()
}
_NAME = "\0"
_WAYS: Mapping[str, tuple[re.Pattern[str], re.Pattern[str]]] = {
    relation: (re.compile(forwards, re.IGNORECASE), re.compile(backwards, re.IGNORECASE))
    for relation, (forwards, backwards) in {
        "studied_under": (
            "\0 (studied|learned|was a pupil)|did \0 (study|learn)|was \0 a (pupil|student)|(teacher|mentor) of \0|"
            "\0's (teacher|mentor)|taught \0",
            "(studied under|pupils? of|students? of|taught by|learned (the trade )?from) \0|\0's (pupil|student)|"
            "\0 (taught|was the teacher)|did \0 teach",
        ),
        "governed_from": (
            "\0 (was|is) governed|was \0 governed|\0 (answered|paid)|did \0 (answer|pay)|magistrates of \0|governed \0",
            "governed from \0|council of \0|taxes to \0|\0 appointed|(?<!was )(?<!is )\0 governed|"
            "did \0 (appoint|govern)",
        ),
        "grew_from": (
            "\0 (grew|split|began)|did \0 (grow|split|begin)|parent( organisation)? of \0|\0's parent",
            "(grew out of|split off from|branch of) \0|\0 was the parent",
        ),
    }.items()
}
_YEAR = re.compile(r"\b(what|which) year\b|\bwhen (was|did)\b|\byear (of|in which)\b", re.IGNORECASE)
_BEGUN = re.compile(
    r"\b(born|birth|found\w*|finish\w*|complet\w*|establish\w*|open\w*|held|happen\w*|take place)\b", re.IGNORECASE
)
_DESCRIBED = re.compile(rf"\b(?:{'|'.join(VERBS)}) (in the \d{{3}}0s)\b", re.IGNORECASE)
_DECADE = re.compile(r"\b(\d{3}0)s\b")
_WORD = re.compile(r"\S+")
_TRIM = ' \t\n.,;:!?"()[]{}<>*_`\u201c\u201d\u2018\u2019'
_LONGEST_NAME = 8


def accepted(graph: Graph, goal: str) -> tuple[str, ...] | None:
    """Return every name of the right answer to a goal, the first being the usual one; None if nobody can tell."""
    query = parse(goal)
    if query is not None:
        found = answers(graph, query) if check(query) else set()
        return graph.names_of(found.pop()) if len(found) == 1 else None
    named = list(mentioned(graph, goal))
    entities = {entity for entity, _, _ in named}
    if len(entities) != 1:
        return None
    (entity,) = entities
    # "born in the 1870s" describes; it asks for no birthplace.
    said = _DESCRIBED.sub(r"\1", _marked(goal, named))
    if _YEAR.search(said) and _BEGUN.search(said):
        year = str(graph.years[entity])
        return None if year in said else (year,)
    golds = _related(graph, entity, said)
    return graph.names_of(golds[0]) if len(golds) == 1 and golds[0] != entity else None


def mentioned(graph: Graph, text: str) -> Iterator[tuple[int, int, int]]:
    """Yield the entities that a text names, by name, alias or address: entity, and from where to where in the text."""
    words = list(_WORD.finditer(text))
    place = 0
    while place < len(words):
        for length in range(min(_LONGEST_NAME, len(words) - place), 0, -1):
            start, end = words[place].start(), words[place + length - 1].end()
            entity = _entity(graph, text[start:end])
            if entity is not None:
                yield entity, start, end
                place += length - 1
                break
        place += 1


def _entity(graph: Graph, words: str) -> int | None:
    bare = words.strip(_TRIM)
    # Without its ending first: "Halder's" is Halder's, and not a namesake called Halders.
    name = bare.removesuffix("'s").removesuffix("\u2019s")
    if name.endswith((" a", " an", " the")):  # which belongs to what comes next
        return None
    return graph.find(name) if name.startswith("http") or name_key(name) else None


def _marked(goal: str, named: Sequence[tuple[int, int, int]]) -> str:
    """Put a mark in place of every name, so that words in it are not taken for the goal's own."""
    pieces, last = [], 0
    for _, start, end in named:
        own = goal[start:end]
        possessive = "'s" if own.rstrip(_TRIM).endswith(("'s", "\u2019s")) else ""
        pieces += [goal[last:start], _NAME + possessive]
        last = end
    return "".join([*pieces, goal[last:]])


def _related(graph: Graph, entity: int, said: str) -> list[int]:
    """Return what the one relation that is spoken of leads to; nothing if there is not exactly one."""
    kind = graph.kind(entity)
    ways = []
    for name, cue in _CUES.items():
        relation = RELATIONS[name]
        if kind in (relation.head, relation.tail) and cue.search(said):
            if relation.head != relation.tail:
                ways.append((name, relation.head == kind))
                continue
            forwards, backwards = (bool(way.search(said)) for way in _WAYS[name])
            if forwards == backwards:
                return []
            ways.append((name, forwards))
    if len(ways) != 1:
        return []
    name, forwards = ways[0]
    if forwards:
        tail = graph.tail(name, entity)
        return [tail] if tail >= 0 else []
    return _narrowed(graph, graph.heads(name, entity), RELATIONS[name].head, said)


def _narrowed(graph: Graph, entities: Sequence[int], kind: int, said: str) -> list[int]:
    """Keep the entities of the sort and the decade that the goal speaks of."""
    told = said.lower()
    sorts = {place for place, sort in enumerate(SORTS[kind]) if re.search(rf"\b{sort}s?\b", told)}
    decades = {int(found) for found in _DECADE.findall(said)}
    return [
        entity
        for entity in entities
        if (not sorts or graph.sorts[entity] in sorts) and (not decades or graph.years[entity] // 10 * 10 in decades)
    ]
