"""Queries in words, and back: the only language of the questions, and the one in which scripted agents delegate.

    There is a spa town founded in the 1640s, known for its amber bells. A novel finished in the 1920s is set in that
    spa town. That novel was created by a weaver. What is the name of that weaver?

Where trails meet:

    Trail A: ... Trail B: ... A novel was created by the weaver of trail A. The same novel is set in the spa town of
    trail B. What is the name of that novel?
"""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random

from rao_deepdive.questions.query import Blur, Edge, Query
from rao_deepdive.web.graph import RELATIONS, hook_text
from rao_deepdive.web.lexicon import HOOK_DEEDS, HOOK_QUALITIES, HOOK_THINGS, HOOKS, KINDS, NOUNS, PERSON, SORTS, VERBS
from rao_deepdive.web.wordings import CLAUSES, article, capital, pattern

__all__ = ["noun", "parse", "phrase"]

_LETTERS = "ABC"

# Writing --------------------------------------------------------------------------------------------------------------


def noun(blur: Blur) -> str:
    """Return what an entity is called: its sort, or else its kind."""
    return NOUNS[blur.kind] if blur.sort is None else SORTS[blur.kind][blur.sort]


def phrase(query: Query, random: Random | None = None) -> str:
    """Put a query in words.

    Args:
        query: what to ask; `parse` returns the same query, but for what `given` entities are.
        random: chooses among wordings; None takes the first of each.
    """
    trails = query.trails()
    many = len(trails) > 1
    lines: list[str] = []
    told = 0
    for letter, trail in zip(_LETTERS, trails, strict=False):
        told += len(trail)
        sentences = [sentence for part in trail for sentence in _sentences(query, part, random)]
        if sentences:
            lines.append((f"Trail {letter}: " if many else "") + " ".join(sentences))
    rest = [sentence for part in range(told, len(query.parts)) for sentence in _sentences(query, part, random)]
    question = f"What is the name of that {noun(query.parts[query.answer])}?"
    lines.append(" ".join([*rest, question]))
    return ("\n" if many else " ").join(lines)


def _sentences(query: Query, part: int, random: Random | None) -> list[str]:
    blur = query.parts[part]
    known = query.before(part)
    if not known:
        return (
            [] if blur.given is not None else [f"There is {_described(blur)}, {hook_text(blur.kind, blur.hook or 0)}."]
        )
    written = []
    for place, (edge, other) in enumerate(known):
        new = _described(blur) if place == 0 else f"the same {noun(blur)}"
        old = _recalled(query, other, many=len(known) > 1)
        clauses = CLAUSES[edge.relation]
        clause = clauses[int(len(clauses) * random.random())] if random else clauses[0]
        said = clause.format(h=new, t=old) if edge.head == part else clause.format(h=old, t=new)
        written.append(capital(said) + ".")
    return written


def _described(blur: Blur) -> str:
    said = article(noun(blur))
    return said if blur.decade is None else f"{said} {VERBS[blur.kind]} in the {blur.decade}s"


def _recalled(query: Query, part: int, *, many: bool) -> str:
    blur = query.parts[part]
    if blur.given is not None:
        return blur.given if blur.url is None else f"{blur.given} ({blur.url})"
    if many:
        letter = next(letter for letter, trail in zip(_LETTERS, query.trails(), strict=False) if trail[-1] == part)
        return f"the {noun(blur)} of trail {letter}"
    return f"that {noun(blur)}"


# Reading --------------------------------------------------------------------------------------------------------------

_SORT_OF = {name: (kind, place) for kind, names in enumerate(SORTS) for place, name in enumerate(names)}
_KIND_OF = {name: kind for kind, name in enumerate(KINDS)}
_NAMES = "|".join(sorted((*_SORT_OF, *_KIND_OF), key=len, reverse=True))
_NEW = rf"(?:(?:an?|the (?P<same>same)) (?P<new>{_NAMES})(?: (?:{'|'.join(VERBS)}) in the (?P<decade>\d{{3,4}})s)?)"
_OLD = (
    rf"(?:that (?P<old>{_NAMES})|the (?P<last>{_NAMES}) of trail (?P<trail>[{_LETTERS}])|"
    r"(?P<given>.{1,120}?)(?: \((?P<url>\S+)\))?)"
)
_HOOK_SLOTS = {
    "deed": rf"(?P<deed>{'|'.join(HOOK_DEEDS)})",
    "quality": rf"(?P<quality>{'|'.join(HOOK_QUALITIES)})",
    "thing": rf"(?P<thing>{'|'.join(HOOK_THINGS)})",
}
_START = tuple(re.compile(rf"There is {_NEW}, {pattern(hook, **_HOOK_SLOTS)}", re.IGNORECASE) for hook in HOOKS)
_STEPS = tuple(
    (relation, role, re.compile(pattern(clause, **{role: _NEW, other: _OLD}), re.IGNORECASE))
    for relation, clauses in CLAUSES.items()
    for clause in clauses
    for role, other in (("h", "t"), ("t", "h"))
)
_QUESTION = re.compile(rf"What is the name of that ({_NAMES})\?", re.IGNORECASE)
_TRAIL = re.compile(rf"Trail [{_LETTERS}]: ")
_MEETING = re.compile(rf"\bof trail [{_LETTERS}]\b")
_END = re.compile(r"\.\s+(?=There is |Trail |What is the name|[A-Z])")
_LONGEST = 5_000


@lru_cache(maxsize=1024)
def parse(text: str) -> Query | None:
    """Read a query from its words; None if they are anything else."""
    if len(text) > _LONGEST:
        return None
    body, asked, rest = _cut_question(text.strip())
    if not asked or rest:
        return None
    parts: list[Blur] = []
    edges: list[Edge] = []
    ends: dict[str, int] = {}
    letter = ""
    for sentence in body:
        if found := _TRAIL.match(sentence):
            letter = sentence[6]
            sentence = sentence[found.end() :]
        elif _MEETING.search(sentence):
            letter = ""
        if not _read(sentence, parts, edges, ends):
            return None
        if letter:
            ends[letter] = len(parts) - 1
    query = _ordered(parts, edges)
    # Another noun asks for another part, or for nothing that was told.
    return query if query and noun(query.parts[query.answer]) == asked else None


def _ordered(parts: list[Blur], edges: list[Edge]) -> Query | None:
    """Put what is given by name before what must be found, as in a query made by hand."""
    order = sorted(range(len(parts)), key=lambda part: parts[part].given is None)
    if not order or parts[order[-1]].given is not None:
        return None
    place = {part: number for number, part in enumerate(order)}
    moved = (Edge(edge.relation, place[edge.head], place[edge.tail]) for edge in edges)
    return Query(tuple(parts[part] for part in order), tuple(moved))


def _cut_question(text: str) -> tuple[list[str], str, str]:
    """Split a text into its sentences, the noun that is asked for, and what comes after the question."""
    found = _QUESTION.search(text)
    if found is None:
        return [], "", text
    body = text[: found.start()].strip()
    return _split(body), found[1].lower(), text[found.end() :].strip()


def _split(body: str) -> list[str]:
    """Split into sentences. A stop within a name ("Ada K. Halder") ends none: only one after which one can begin."""
    pieces = _END.split(body.removesuffix("."))
    sentences: list[str] = []
    for piece in pieces:
        if sentences and not _whole(sentences[-1]):
            sentences[-1] += f". {piece}"
        else:
            sentences.append(piece)
    return sentences


def _whole(sentence: str) -> bool:
    bare = _TRAIL.sub("", sentence, count=1)
    if re.search(r"\b[A-Z]$", bare) and not bare.endswith(tuple(f"trail {letter}" for letter in _LETTERS)):
        return False  # an initial
    return any(start.fullmatch(bare) for start in _START) or any(step.fullmatch(bare) for _, _, step in _STEPS)


def _read(sentence: str, parts: list[Blur], edges: list[Edge], ends: dict[str, int]) -> bool:
    for kind, start in enumerate(_START):
        if (found := start.fullmatch(sentence)) and (blur := _blur(found, kind)):
            deed = HOOK_DEEDS.index(found["deed"]) if kind == PERSON else 0
            quality, thing = HOOK_QUALITIES.index(found["quality"]), HOOK_THINGS.index(found["thing"])
            hook = (deed * len(HOOK_QUALITIES) + quality) * len(HOOK_THINGS) + thing
            parts.append(Blur(blur.kind, blur.sort, blur.decade, hook))
            return True
    for relation, role, step in _STEPS:
        if found := step.fullmatch(sentence):
            kinds = RELATIONS[relation].head, RELATIONS[relation].tail
            own, other = kinds if role == "h" else kinds[::-1]
            blur = _blur(found, own)
            if blur and (old := _old(found, other, parts, ends)) is not None:
                if found["same"]:
                    new = max((part for part in range(len(parts)) if parts[part].given is None), default=old)
                    if new == old or blur != Blur(parts[new].kind, parts[new].sort):
                        return False
                else:
                    parts.append(blur)
                    new = len(parts) - 1
                edges.append(Edge(relation, new, old) if role == "h" else Edge(relation, old, new))
                return True
    return False


def _blur(found: re.Match[str], kind: int) -> Blur | None:
    name = found["new"].lower()
    own, sort = _SORT_OF.get(name, (_KIND_OF.get(name), None))
    return Blur(kind, sort, int(found["decade"]) if found["decade"] else None) if own == kind else None


def _old(found: re.Match[str], kind: int, parts: list[Blur], ends: dict[str, int]) -> int | None:
    """Return the number of the part that a sentence refers back to; a name makes a part of its own."""
    if found["old"] or found["trail"]:
        place = len(parts) - 1 if found["old"] else ends.get(found["trail"].upper(), -1)
        fits = place >= 0 and parts[place].kind == kind
        return place if fits and noun(parts[place]) == (found["old"] or found["last"]).lower() else None
    parts.append(Blur(kind, given=found["given"], url=found["url"]))
    return len(parts) - 1
