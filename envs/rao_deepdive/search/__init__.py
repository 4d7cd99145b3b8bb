"""Search engines behind one protocol: an embedded one, also for a user's own corpus, and the live web."""

from rao_deepdive.search.base import MAX_QUERY, MAX_RESULTS, Hit, Page, SearchBackend
from rao_deepdive.search.cache import cached
from rao_deepdive.search.corpus import open_corpus, read_corpus
from rao_deepdive.search.fts import INDEX_VERSION, FullTextSearch, build_index
from rao_deepdive.search.tavily import Tavily

__all__ = [
    "INDEX_VERSION",
    "MAX_QUERY",
    "MAX_RESULTS",
    "FullTextSearch",
    "Hit",
    "Page",
    "SearchBackend",
    "Tavily",
    "build_index",
    "cached",
    "open_corpus",
    "read_corpus",
]
