"""A second opinion on what answers a query: another algorithm, on what the pages state rather than on the graph.

`rao_deepdive.query.answers` goes forwards through the arrays of the graph; `prove` goes backwards from every entity
that could be the answer, through a NetworkX graph such as `rao_deepdive.web.reader.read_web` makes of the pages' text.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from rao_deepdive.questions.query import Blur, Query
from rao_deepdive.web.graph import hook_text
from rao_deepdive.web.pages import hook_phrase

if TYPE_CHECKING:
    import networkx

__all__ = ["prove"]


def prove(web: networkx.MultiDiGraph[str], query: Query) -> set[str]:
    """Return the addresses of all entities that answer a query.

    Args:
        web: a node for each page, by address, with "kind", "sort", "year" and "hook"; an edge for each relation.
        query: without names.
    """

    @cache
    def holds(part: int, url: str) -> bool:
        if not _fits(web.nodes[url], query.parts[part]):
            return False
        for edge, before in query.before(part):
            beside = web.successors(url) if edge.head == part else web.predecessors(url)
            ends = ((url, other) if edge.head == part else (other, url) for other in list(beside))
            if not any(web.has_edge(*end, key=edge.relation) and holds(before, end[edge.head == part]) for end in ends):
                return False
        return True

    return {url for url in web if holds(query.answer, url)}


def _fits(page: dict[str, object], blur: Blur) -> bool:
    if "kind" not in page or page["kind"] != blur.kind:  # an address that is linked to, but has no page
        return False
    hook = None if blur.hook is None else hook_phrase(hook_text(blur.kind, blur.hook), blur.kind)
    decade = None if blur.decade is None else str(blur.decade)[:-1]
    return (
        blur.sort in (None, page["sort"]) and hook in (None, page["hook"]) and decade in (None, str(page["year"])[:-1])
    )
