"""An OpenAI-compatible chat endpoint over the standard library: patient with a busy server, loud with a wrong one."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPErrorProcessor, Request, build_opener

from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.seeding import rng

__all__ = ["KEY_VARIABLE", "Endpoint"]

KEY_VARIABLE = "RAO_JUDGE_API_KEY"

_MAX_BYTES = 4 << 20
_MAX_WAIT = 120.0
_BUSY = (408, 425, 429)


class _Trouble(Exception):
    """This attempt failed, and the next may not; `wait` is how long the server asked us to stay away."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class _AsItIs(HTTPErrorProcessor):
    """Take every response as it comes. A followed redirect would hand the key to another host."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


@dataclass(frozen=True)
class Endpoint:
    """Where chat completions come from.

    Attributes:
        base_url: what comes before ``/chat/completions``, such as ``http://localhost:8000/v1``.
        api_key: the key; None reads `KEY_VARIABLE` at each request, so that it is not stored with the judge.
        timeout: seconds for one attempt.
        retries: further attempts after the first.
        sleep: how to wait.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    retries: int = 4
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Refuse settings with which no request can succeed."""
        try:
            url = urlsplit(self.base_url)
            host = (url.hostname or "").encode("idna")
            sound = url.scheme in ("http", "https") and host and url.port != 0 and not url.query and not url.fragment
        except ValueError:
            sound = False
        if not sound or not self.base_url.isprintable() or " " in self.base_url:
            raise OptionError("base_url", self.base_url, "must be an http(s) address such as http://localhost:8000/v1")
        if not 0 < self.timeout < math.inf:
            raise OptionError("timeout", self.timeout, "must be a number of seconds above 0")
        if self.retries < 0:
            raise OptionError("retries", self.retries, "must be at least 0")
        self._key()

    def complete(self, request: Mapping[str, Any]) -> str:
        """Return the text of the reply to a chat completion request; "" if the model said nothing.

        Raises:
            OptionError: the endpoint refuses the key, or there is nothing at the address.
            InfrastructureError: it refuses the request for another reason, or still fails after the last retry.
        """
        data = json.dumps(request).encode()
        for attempt in range(self.retries + 1):
            try:
                return self._attempt(data)
            except _Trouble as trouble:
                why = self._tell(str(trouble))
                # Doubling waits, spread by a hash of the request so that many at once do not come back at once.
                jitter = rng(data.decode(), "backoff", attempt).uniform(0.5, 1.0)
                wait = min(_MAX_WAIT, 2.0**attempt) * jitter if trouble.wait is None else trouble.wait
            if wait > _MAX_WAIT:
                raise InfrastructureError(f"{self.base_url} asks to be left alone for {wait:.0f} s: {why}")
            if attempt < self.retries:
                self.sleep(wait)
        raise InfrastructureError(f"{self.base_url} failed {self.retries + 1} times, last: {why}")

    def _attempt(self, data: bytes) -> str:
        deadline = time.monotonic() + self.timeout
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        request = Request(f"{self.base_url.rstrip('/')}/chat/completions", data, headers)
        try:
            with build_opener(_AsItIs).open(request, timeout=self.timeout) as response:
                body = _read(response, deadline)
                status, asked = response.status, _retry_after(response)
        except (OSError, HTTPException) as error:
            raise _Trouble(f"{type(error).__name__}: {error}") from error
        said = f"HTTP {status}: {body[:300].decode('utf-8', 'replace')}"
        if status == 200:
            return _content(body)
        if status in _BUSY or status >= 500:
            raise _Trouble(said, asked)
        if status == 401:
            raise OptionError("api_key", "***", f"refused by {self.base_url}; give it, or set {KEY_VARIABLE}")
        if status == 404:
            raise OptionError(
                "base_url", self.base_url, f"has no /chat/completions or not this model ({self._tell(said)})"
            )
        raise InfrastructureError(f"{self.base_url} refuses the request: {self._tell(said)}")

    def _key(self) -> str:
        key = (os.environ.get(KEY_VARIABLE, "") if self.api_key is None else self.api_key).strip()
        # Checked here, since the message of http.client would print it.
        if not key.isascii() or not key.isprintable():
            raise OptionError("api_key", "***", "holds characters that no header can carry")
        return key

    def _tell(self, text: str) -> str:
        key = self._key()
        return repr(text.replace(key, "***") if key else text)


def _read(response: HTTPResponse, deadline: float) -> bytes:
    """Read a body of bounded size in bounded time: a socket's own timeout starts anew with every byte."""
    body = bytearray()
    while chunk := response.read1(1 << 16):
        body += chunk
        if len(body) > _MAX_BYTES:
            raise _Trouble(f"the reply is longer than {_MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise _Trouble("the reply took too long")
    return bytes(body)


def _retry_after(response: HTTPResponse) -> float | None:
    """Return the seconds that Retry-After asks for, in either of its forms; None if it asks for nothing."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            # A date is compared with the server's own, which needs no clock of ours to be right.
            now = parsedate_to_datetime(response.headers.get("Date", ""))
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _content(body: bytes) -> str:
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _Trouble(f"not a chat completion: {body[:300].decode('utf-8', 'replace')}") from error
    if not isinstance(content, str | None):
        raise _Trouble(f"the reply's content is a {type(content).__name__}, not text")
    return content or ""
