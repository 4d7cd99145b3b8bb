"""Reading a page: what the scripted agents know of the language of the pages, and nothing of the graph.

Only sentences that state something plainly are taken as facts. A rumour says the same within a sentence that begins and
ends with a doubt, so that no clause of it begins a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rao_deepdive.web.graph import RELATIONS
from rao_deepdive.web.lexicon import HOOK_DEEDS, HOOK_QUALITIES, HOOK_THINGS, KINDS, PERSON, SORTS
from rao_deepdive.web.pages import hook_phrase
from rao_deepdive.web.wordings import CLAUSES, LEADS, capital, pattern

if TYPE_CHECKING:
    import networkx

    from rao_deepdive.search.base import Page

__all__ = ["Facts", "read_page", "read_web"]


@dataclass(frozen=True)
class Facts:
    """What a page states.

    Attributes:
        name: whom it is about.
        url: its address.
        kind: kind of the entity.
        sort: place in ``SORTS[kind]``.
        year: the entity's year.
        tails: relation -> (name, address) of the entity to which it leads.
        hook: what sets the entity apart, in the page's words, such as "amber bells"; "" if nothing does.
    """

    name: str
    url: str
    kind: int
    sort: int
    year: int
    tails: Mapping[str, tuple[str, str]]
    hook: str

    def set_apart_by(self, hook: str) -> bool:
        """Return whether this is what sets the entity apart, as questions put it."""
        return bool(self.hook) and hook_phrase(hook, self.kind) == self.hook


@lru_cache(maxsize=512)
def read_page(title: str, url: str, text: str) -> Facts | None:
    """Read a page; None if it is none of this world's."""
    # With a mark in place of the name the expressions are the same for every page.
    told = text.replace(title, _MARK)
    for kind, leads in enumerate(_LEADS):
        for lead in leads:
            if found := lead.match(told):
                sort = found["sort"]
                told = told.replace(f"the {sort}", _MARK).replace(f"The {sort}", _MARK)
                tails = {relation: tail for relation, said in _FACTS[kind] if (tail := _tail(said, told, title))}
                apart = _HOOKS[kind].search(text)
                year, hook = int(found["year"]), apart[0] if apart else ""
                return Facts(title, url, kind, SORTS[kind].index(sort), year, tails, hook)
    return None


def read_web(pages: Iterable[Page]) -> networkx.MultiDiGraph[str]:
    """Make a graph of all that some pages state: addresses with kind, sort, year and hook; edges keyed by relation."""
    import networkx

    graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
    for page in pages:
        if facts := read_page(page.title, page.url, page.text):
            graph.add_node(facts.url, kind=facts.kind, sort=facts.sort, year=facts.year, hook=facts.hook)
            for relation, (_, url) in facts.tails.items():
                graph.add_edge(facts.url, url, key=relation)
    return graph


def _tail(said: re.Pattern[str], told: str, title: str) -> tuple[str, str] | None:
    found = said.search(told)
    return (found["name"].replace(_MARK, title), found["url"]) if found else None


_APART = rf"(?:{'|'.join(HOOK_QUALITIES)}) (?:{'|'.join(HOOK_THINGS)})\b"
_HOOKS = tuple(
    re.compile(rf"\b(?:{'|'.join(HOOK_DEEDS)}) {_APART}" if kind == PERSON else rf"\b{_APART}")
    for kind in range(len(KINDS))
)
_MARK = "\N{SECTION SIGN}"
_LINK = r"\[(?P<name>[^\]]+)\]\((?P<url>[^)\s]+)\)"
_LEADS = tuple(
    tuple(
        re.compile(pattern(lead, name=_MARK, sort=rf"an? (?P<sort>{'|'.join(SORTS[kind])})", year=r"(?P<year>\d{3,4})"))
        for lead in LEADS[kind]
    )
    for kind in range(len(KINDS))
)


def _stated(clause: str) -> re.Pattern[str]:
    """Return what finds a clause that is a whole sentence, so that no doubt stands before it."""
    return re.compile(rf"(?:(?<=\. )|(?<=\n)){pattern(capital(clause), h=_MARK, t=_LINK)}\.(?=\s|\Z)")


_FACTS = tuple(
    tuple((name, _stated(clause)) for name, r in RELATIONS.items() if r.head == kind for clause in CLAUSES[name])
    for kind in range(len(KINDS))
)
