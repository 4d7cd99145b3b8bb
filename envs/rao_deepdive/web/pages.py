"""The pages of a world: one for each entity, as prose with links.

A page states its entity's sort and year, what sets it apart, and each of its relations once, in plain words. What
points the other way it does not state: of the works set in a town the town's page may link to some, without a word
why. Next to what is so, pages hold things that lead astray: names that are nearly the same, gossip, and rumours.
A rumour is hedged in so many words, and the page of the entity that it is about states the contrary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from rao_deepdive.search.base import Page
from rao_deepdive.web.graph import RELATIONS, Graph
from rao_deepdive.web.lexicon import KINDS, PERSON
from rao_deepdive.web.wordings import CLAUSES, DOUBTS, HOOK_SENTENCES, LEADS, article, capital
from rao_envs.seeding import rng

__all__ = ["hook_phrase", "page", "pages"]

_BY_TAIL = tuple(tuple(name for name, r in RELATIONS.items() if r.tail == kind) for kind in range(len(KINDS)))
_LIVES = (
    "Letters to a cousin fill four boxes and are rarely opened.",
    "A street and a small ferry carry the name today.",
    "Contemporaries describe a quick walk, a slow laugh and a dislike of soup.",
    "The house burned down in {year}; the garden wall still stands.",
    "Two marriages and a long quarrel over a well are on record.",
    "A plaque was put up in {year} and has been stolen twice.",
    "Little is known of the childhood years.",
    "The portrait in the town hall is a copy.",
    "Debts were paid off only after {count} years.",
    "The diaries break off in {year} without explanation.",
)
_SITES = (
    "Winters are long here, and the market closes early.",
    "A railway line reached it in {year} and was given up {count} years later.",
    "The bread is heavier than elsewhere and keeps for a week.",
    "At the last census it had {count} hundred inhabitants.",
    "Two bridges cross the stream; the older one is closed to carts.",
    "A fire in {year} destroyed the northern quarter.",
    "The annual fair draws people from the whole valley.",
    "Its coat of arms was changed in {year}.",
    "The school has {count} pupils and one very old piano.",
    "Fog is common in spring.",
)
_PIECES = (
    "The first audience was small and did not applaud.",
    "A second version followed in {year}, shorter by a third.",
    "Critics were divided, then bored, then enthusiastic.",
    "The original is kept in a vault and shown every {count} years.",
    "It has been translated, adapted and parodied.",
    "A missing part turned up at an auction in {year}.",
    "Students know it as the piece with the long ending.",
    "The prize money was given away the same evening.",
    "An inventory of {year} lists it under another heading.",
    "It was banned for {count} weeks, which helped.",
)
_HOUSES = (
    "The statutes have {count} paragraphs, three of them about coal.",
    "It moved to a larger building in {year}.",
    "Members pay in advance and complain afterwards.",
    "The archive was flooded in {year}; half of it dried.",
    "At its height it had {count} rooms and a cook.",
    "A rival was bought up and closed in {year}.",
    "Its annual dinner is famous for the speeches, not the food.",
    "The books were in order for most of the time.",
    "Apprentices slept in the attic until {year}.",
    "It still answers every letter by hand.",
)
_DAYS = (
    "Rain fell for {count} days before it began.",
    "The newspapers sent {count} reporters and printed one page.",
    "A commemorative coin was struck in {year}.",
    "Hotels charged double, and got it.",
    "Its final report appeared in {year} and was not read.",
    "For the first time, dogs were forbidden.",
    "The organisers had expected a tenth of the crowd.",
    "Veterans met every year until {year}.",
    "Three songs about it are still known.",
    "Schools were closed for {count} days.",
)
_GOSSIP: Sequence[Sequence[str]] = (_LIVES, _SITES, _PIECES, _HOUSES, _DAYS)


def hook_phrase(hook: str, kind: int) -> str:
    """Return what sets an entity apart without its introduction: "amber bells" of "known for its amber bells"."""
    words = hook.split()
    return " ".join(words[2:] if kind == PERSON else words[-2:])


def page(graph: Graph, entity: int) -> Page:
    """Write the page of one entity; depends on nothing but the graph's size and seed, and the entity."""
    random = rng("deepdive-page", graph.seed, graph.size, entity)
    kind, name = graph.kind(entity), graph.names[entity]
    pick = _Picker(random)
    lead = pick(LEADS[kind]).format(name=name, sort=article(graph.sort(entity)), year=graph.years[entity])
    if (alias := graph.aliases.get(entity)) is not None:
        lead += f" {'Many knew' if kind == PERSON else 'Older maps and lists know'} {name} as {alias}."
    body = [_fact(graph, pick, relation, entity, tail) for relation, tail in graph.out(entity)]
    hook = hook_phrase(graph.hook(entity), kind)
    body.append(pick(HOOK_SENTENCES[kind]).format(name=name, hook=hook))
    gossip = random.sample(_GOSSIP[kind], 2 + int(3 * random.random()))
    body += [_gossip(line, graph.years[entity], random) for line in gossip]
    for rumour in (_rumour_of_own, _rumour_of_other):
        if random.random() < 0.5 and (said := rumour(graph, random, pick, entity)):
            body.append(said)
    random.shuffle(body)
    half = len(body) // 2
    paragraphs = [lead, " ".join(body[:half]), " ".join(body[half:])]
    if (namesake := graph.namesakes.get(entity)) is not None:
        paragraphs.append(f"Not to be confused with {_link(graph, namesake)}.")
    if related := _related(graph, random, entity):
        paragraphs.append("See also: " + ", ".join(_link(graph, other) for other in related) + ".")
    return Page(graph.url(entity), name, "\n\n".join(paragraphs))


def pages(graph: Graph) -> Iterator[Page]:
    """Write all pages, one after another, in the order of the entities."""
    return (page(graph, entity) for entity in range(graph.size))


class _Picker:
    """Draws from short sequences, faster than `Random.choice`."""

    __slots__ = ("_random",)

    def __init__(self, random: Random) -> None:
        self._random = random.random

    def __call__(self, choices: Sequence[str]) -> str:
        return choices[int(len(choices) * self._random())]


def _link(graph: Graph, entity: int) -> str:
    return f"[{graph.names[entity]}]({graph.url(entity)})"


def _fact(graph: Graph, pick: _Picker, relation: str, head: int, tail: int) -> str:
    subject = pick((graph.names[head], f"the {graph.sort(head)}"))
    return capital(pick(CLAUSES[relation]).format(h=subject, t=_link(graph, tail))) + "."


def _gossip(line: str, year: int, random: Random) -> str:
    """Fill in a line: years come after the entity's own, so that there are other years than the one that counts."""
    later = max(1700, year) + 1 + int(90 * random.random())
    return line.format(year=min(1999, later), count=3 + int(60 * random.random()))


def _rumour_of_own(graph: Graph, random: Random, pick: _Picker, entity: int) -> str:
    """Say something false of the page's own entity; the same page states the truth."""
    stated = list(graph.out(entity))
    if not stated:
        return ""
    relation, tail = stated[int(len(stated) * random.random())]
    false = graph.namesakes.get(tail, tail) if random.random() < 0.5 else tail
    members = graph.members(RELATIONS[relation].tail)
    while false in (tail, entity):
        false = members[int(len(members) * random.random())]
    clause = pick(CLAUSES[relation]).format(h=graph.names[entity], t=_link(graph, false))
    return pick(DOUBTS).format(clause=clause)


def _rumour_of_other(graph: Graph, random: Random, pick: _Picker, entity: int) -> str:
    """Say falsely that another entity is related to the page's own; the other's page states the truth or nothing."""
    relations = _BY_TAIL[graph.kind(entity)]
    if not relations:  # nothing leads to works
        return ""
    relation = pick(relations)
    members = graph.members(RELATIONS[relation].head)
    head = members[int(len(members) * random.random())]
    if graph.tail(relation, head) in (entity, -1) or head == entity:
        return ""
    clause = pick(CLAUSES[relation]).format(h=_link(graph, head), t=graph.names[entity])
    return pick(DOUBTS).format(clause=clause)


def _related(graph: Graph, random: Random, entity: int) -> list[int]:
    """Choose up to three entities whose pages lead here."""
    heads = sorted({head for _, head in graph.into(entity)})
    return random.sample(heads, min(len(heads), int(4 * random.random())))
