"""The live web through Tavily: no faster than allowed, patient when it is busy, and no request sent twice."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rao_deepdive.search.base import Hit, Page, SearchBackend, check_query, check_url
from rao_deepdive.search.replies import ReplyCache
from rao_envs.errors import InfrastructureError, OptionError, ToolError
from rao_envs.http import Reply, Service, Trouble, is_address

__all__ = ["KEY_VARIABLE", "Tavily"]

KEY_VARIABLE = "TAVILY_API_KEY"

_MAX_QUERY = 400  # more is refused by the service
_MAX_BYTES = 8 << 20
_MAX_PAGE = 2_000_000  # characters
_REFUSED = (400, 422)
_OWN = frozenset({"query", "max_results", "urls", "api_key"})


class Tavily(SearchBackend):
    """Searches and reads the live web with https://tavily.com.

    The key is read from $TAVILY_API_KEY at each request, unless it is given; no error, representation or cached file
    holds it. Instances travel to other processes, and are shared by threads; the rate limit is that of one process.

    What the service says of a query or an address ("invalid url", "cannot be fetched") is the agent's to read; what it
    says of the key or the plan, and silence, rubbish and errors after the last retry, spoil the rollout.

    Attributes:
        base_url: where the service is.
        cache: where replies are kept; None keeps none.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str = "https://api.tavily.com",
        depth: str = "basic",
        options: Mapping[str, Any] | None = None,
        per_minute: float = 100,
        cache: str | os.PathLike[str] | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set up the service; nothing is sent yet.

        Args:
            api_key: the key; None reads $TAVILY_API_KEY.
            base_url: another address with the same interface.
            depth: "basic" or "advanced" (dearer), for searches and pages alike.
            options: more fields of the search request, such as ``{"topic": "news", "include_domains": [...]}``.
            per_minute: most requests a minute in this process.
            cache: a folder for replies: the same request is sent once, and a rollout can be repeated. None keeps none.
            timeout: seconds for one attempt.
            retries: further attempts when the service is busy or broken, after waits that double or that it asks for.
            sleep: how to wait.

        Raises:
            OptionError: there is no key, or an option has an impossible value.
        """
        if depth not in ("basic", "advanced"):
            raise OptionError("depth", depth, "choose from basic, advanced")
        if not 0 < per_minute < math.inf:
            raise OptionError("per_minute", per_minute, "must be a number of requests above 0")
        self._options = dict(options or {})
        if taken := _OWN & set(self._options):
            raise OptionError("options", sorted(taken), "are set by each request")
        try:
            json.dumps(self._options, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise OptionError("options", sorted(self._options), f"must be JSON ({error})") from error
        self._api_key = api_key
        self._depth = depth
        self._per_minute = per_minute
        self._sleep = sleep
        self._service = Service(base_url, self._key, timeout, retries, self._nap)
        self.base_url = base_url
        self.cache = None if cache is None else ReplyCache(Path(cache))
        self._turn = threading.Lock()
        self._free_at = -math.inf
        if not self._key().strip():
            raise OptionError("api_key", None, f"there is no key: give one, or set {KEY_VARIABLE}")

    def search(self, query: str, max_results: int = 5) -> list[Hit]:
        """Search the web.

        Raises:
            ToolError: the query is empty, longer than 400 characters or refused; or the count is not from 1 to 20.
            OptionError: the service refuses the key, or is not at the address.
            InfrastructureError: the plan's limit is reached, or the service is out of order.
        """
        words = check_query(query, max_results)
        if len(words) > _MAX_QUERY:
            raise ToolError(f"the query has {len(words)} characters: {_MAX_QUERY} at most, so say it in fewer words")
        request = {"search_depth": self._depth, **self._options, "query": words, "max_results": max_results}

        def read(reply: Reply) -> list[dict[str, Any]]:
            rows = self._results(reply, "the search engine refuses the query")
            return [_hit(row) for row in rows[:max_results]]

        return [Hit(**hit) for hit in self._ask("/search", request, read)]

    def view(self, url: str) -> Page:
        """Fetch a page.

        Raises:
            ToolError: the address is none, or its page cannot be fetched.
            OptionError: the service refuses the key, or is not at the address.
            InfrastructureError: the plan's limit is reached, or the service is out of order.
        """
        address = check_url(url)
        if not is_address(address):
            raise ToolError(f"{address[:200]!r} is no http(s) url: give the url of a search result")
        request = {"urls": [address], "extract_depth": self._depth, "format": "text"}

        def read(reply: Reply) -> dict[str, Any]:
            if reply.cut:
                raise ToolError(f"the page at {address[:200]} is too long to be read")
            if reply.status == 403:
                raise ToolError(f"the page at {address[:200]} may not be read")
            rows = self._results(reply, f"{address[:200]} is refused")
            if not rows:
                raise ToolError(f"the page at {address[:200]} cannot be read")
            title, text = rows[0].get("title") or address, rows[0].get("raw_content")
            if not isinstance(title, str) or not isinstance(text, str):
                raise Trouble("a page without text")
            return {"url": address, "title": _clean(title), "text": _clean(text)[:_MAX_PAGE]}

        return Page(**self._ask("/extract", request, read))

    def close(self) -> None:
        """Do nothing: no connection outlives its request."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to this process."""
        return {name: value for name, value in vars(self).items() if name not in ("_turn", "_service")} | {
            "_limits": (self._service.timeout, self._service.retries)
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up again in another process."""
        timeout, retries = state.pop("_limits")
        vars(self).update(state)
        self._service = Service(self.base_url, self._key, timeout, retries, self._nap)
        self._turn = threading.Lock()
        self._free_at = -math.inf

    def __repr__(self) -> str:
        """Show the address, not the key."""
        return f"Tavily(base_url={self.base_url!r})"

    def _ask(self, path: str, request: Mapping[str, Any], read: Callable[[Reply], Any]) -> Any:
        data = json.dumps(request, sort_keys=True, allow_nan=False).encode()
        name = f"{self.base_url.rstrip('/')}{path}\n{data.decode()}"
        if self.cache is not None and (known := self.cache.get(name)) is not None:
            return known
        self._wait_for_turn()
        found = self._service.ask(path, data, read, max_bytes=_MAX_BYTES)
        return found if self.cache is None else self.cache.put(name, found)

    def _results(self, reply: Reply, refusal: str) -> list[dict[str, Any]]:
        """Return the results of a reply, objects all.

        Raises:
            Trouble: the reply makes no sense.
            ToolError: the request is refused for what the agent asked.
            OptionError, InfrastructureError: it is refused for another reason.
        """
        said = self._service.tell(str(reply))
        if reply.status in _REFUSED:
            raise ToolError(f"{refusal}: {said}")
        if reply.status == 401:
            raise OptionError("api_key", "***", f"refused by {self.base_url}; give it, or set {KEY_VARIABLE}")
        if reply.status == 404:
            raise OptionError("base_url", self.base_url, f"is no such service ({said})")
        if reply.status != 200:
            raise InfrastructureError(f"{self.base_url} refuses the request: {said}")
        if reply.cut:
            raise Trouble(f"the reply is longer than {_MAX_BYTES} bytes")
        try:
            rows = json.loads(reply.body)["results"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise Trouble(f"not a list of results: {reply}") from None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Trouble(f"not a list of results: {reply}")
        return rows

    def _nap(self, seconds: float) -> None:
        self._sleep(seconds)
        self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Wait until a request may be sent; requests of all threads are spread evenly."""
        with self._turn:
            now = time.monotonic()
            wait = max(0.0, self._free_at - now)
            self._free_at = max(now, self._free_at) + 60 / self._per_minute
        if wait:
            self._sleep(wait)

    def _key(self) -> str:
        return os.environ.get(KEY_VARIABLE, "") if self._api_key is None else self._api_key


def _hit(row: Mapping[str, Any]) -> dict[str, Any]:
    url, title, content, score = (row.get(name) for name in ("url", "title", "content", "score"))
    title, content, score = title or url, content or "", score or 0.0
    texts = isinstance(url, str) and url.strip() and isinstance(title, str) and isinstance(content, str)
    if not texts or isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise Trouble(f"not a search result: {json.dumps(row)[:300]}")
    return {"url": _clean(url), "title": _clean(title), "content": _clean(content), "score": float(score)}


def _clean(text: Any) -> str:
    """Return a text that UTF-8 can hold."""
    return str(text).encode("utf-8", "replace").decode()
