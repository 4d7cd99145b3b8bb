"""The protocol of a search engine: a query returns ranked hits, an address returns a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rao_envs.errors import ToolError

__all__ = ["MAX_QUERY", "MAX_RESULTS", "Hit", "Page", "SearchBackend", "check_query", "check_url"]

MAX_RESULTS = 20
"""Maximum number of hits per search."""

MAX_QUERY = 1_000
"""Maximum length of a query, in characters."""

MAX_URL = 2_000
"""Maximum length of an address, in characters."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a web.

    Attributes:
        url: its address, unique in its web.
        title: its title.
        text: its content, as plain text.
    """

    url: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result.

    Attributes:
        url: the page's address.
        title: the page's title.
        content: a snippet: the part of the page that matches the query best.
        score: how well the page matches; higher is better, comparable only within one search.
    """

    url: str
    title: str
    content: str
    score: float


class SearchBackend(Protocol):
    """A search engine.

    An agent's mistake raises a `ToolError`, which the agent reads; a failing service raises an
    `InfrastructureError`, which invalidates the rollout. Instances can be pickled, and used by several threads.
    """

    def search(self, query: str, max_results: int) -> list[Hit]:
        """Return the best hits, best first; none if nothing matches.

        Args:
            query: words; no character has a special meaning.
            max_results: maximum number of hits, 1 to `MAX_RESULTS`.

        Raises:
            ToolError: the query is empty or too long, or the count is out of range.
            InfrastructureError: the service failed.
        """
        ...

    def view(self, url: str) -> Page:
        """Return the page at an address.

        Raises:
            ToolError: there is no such page; the message names similar addresses if there are any.
            InfrastructureError: the service failed.
        """
        ...

    def close(self) -> None:
        """Release files and connections; a later call reopens them."""
        ...


def check_query(query: str, max_results: int) -> str:
    """Return the query with its white space normalised.

    Raises:
        ToolError: it is empty or too long, or the count is not from 1 to `MAX_RESULTS`.
    """
    if not isinstance(query, str):
        raise ToolError("query must be text")
    if isinstance(max_results, bool) or not isinstance(max_results, int) or not 1 <= max_results <= MAX_RESULTS:
        raise ToolError(f"max_results={max_results!r:.40}: ask for 1 to {MAX_RESULTS} results")
    if len(query) > MAX_QUERY:
        raise ToolError(f"the query has {len(query):,} characters: {MAX_QUERY:,} at most")
    words = " ".join(query.split())
    if not words:
        raise ToolError("the query is empty: name what you look for")
    return words


def check_url(url: str) -> str:
    """Return the address without surrounding white space.

    Raises:
        ToolError: it is empty, too long, or contains white space or control characters.
    """
    if not isinstance(url, str) or not url.strip():
        raise ToolError("the url is empty: give the url of a search result")
    if len(url) > MAX_URL:
        raise ToolError(f"the url has {len(url):,} characters: {MAX_URL:,} at most")
    address = url.strip()
    if not address.isprintable() or " " in address:
        raise ToolError(f"{address[:200]!r} is no url: give the url of a search result")
    return address
