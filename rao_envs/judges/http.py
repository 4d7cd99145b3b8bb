"""JSON over HTTP, with the standard library: bounded in time and size, patient with a server in trouble.

What a server sends is never trusted: a redirect is not followed (it would take the key along), a body is read up to a
size and until a deadline, and what is shown of it in an error has the key taken out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import HTTPErrorProcessor, Request, build_opener

from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.seeding import rng

__all__ = ["Reply", "Service", "Trouble", "is_address", "post"]

_MAX_WAIT = 120.0
_BUSY = (408, 425, 429)

Result = TypeVar("Result")


class Trouble(Exception):
    """This attempt failed, and the next may not; `wait` is how long the server asked us to stay away."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        """Say why, and what the server asked for (seconds)."""
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said.

    Attributes:
        status: HTTP's code.
        body: its bytes.
        cut: whether there was more than was to be read.
    """

    status: int
    body: bytes
    cut: bool = False

    def __str__(self) -> str:
        """Show the code and the beginning of the body."""
        return f"HTTP {self.status}: {self.body[:300].decode('utf-8', 'replace')}"


@dataclass(frozen=True)
class Service:
    """A server to be asked again and again.

    Attributes:
        base_url: its address, without a query.
        key: returns the key that requests carry, "" for none. Asked each time, so that it need not be stored.
        timeout: seconds for one attempt.
        retries: further attempts after the first.
        sleep: how to wait.
    """

    base_url: str
    key: Callable[[], str]
    timeout: float
    retries: int
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Refuse settings with which no request can succeed."""
        if not is_address(self.base_url) or urlsplit(self.base_url).query or urlsplit(self.base_url).fragment:
            raise OptionError("base_url", self.base_url, "must be an http(s) address such as http://localhost:8000/v1")
        if not 0 < self.timeout < math.inf:
            raise OptionError("timeout", self.timeout, "must be a number of seconds above 0")
        if self.retries < 0:
            raise OptionError("retries", self.retries, "must be at least 0")
        self._sound_key()

    def ask(self, path: str, data: bytes, read: Callable[[Reply], Result], *, max_bytes: int = 4 << 20) -> Result:
        """Post JSON and return what `read` makes of the reply; try again as long as there is `Trouble`.

        Args:
            path: what follows the base address, such as "/search".
            data: the request's body.
            read: gets every reply but those of a busy or broken server; raises `Trouble` for one that makes no sense.
            max_bytes: longest body to read; the reply is marked if it is longer.

        Raises:
            InfrastructureError: there is still trouble after the last retry, or the server asks for a longer wait than
                two minutes.
        """
        for attempt in range(self.retries + 1):
            try:
                return read(self._post(path, data, max_bytes))
            except Trouble as trouble:
                why = self.tell(str(trouble))
                # Doubling waits, spread by a hash of the request so that many at once do not come back at once.
                jitter = rng(data.decode(), "backoff", attempt).uniform(0.5, 1.0)
                wait = min(_MAX_WAIT, 2.0**attempt) * jitter if trouble.wait is None else trouble.wait
            if wait > _MAX_WAIT:
                raise InfrastructureError(f"{self.base_url} asks to be left alone for {wait:.0f} s: {why}")
            if attempt < self.retries:
                self.sleep(wait)
        raise InfrastructureError(f"{self.base_url} failed {self.retries + 1} times, last: {why}")

    def tell(self, text: str) -> str:
        """Quote a text without the key."""
        key = self._sound_key()
        return repr(text.replace(key, "***") if key else text)

    def _post(self, path: str, data: bytes, max_bytes: int) -> Reply:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := self._sound_key():
            headers["Authorization"] = f"Bearer {key}"
        return post(f"{self.base_url.rstrip('/')}{path}", data, headers, timeout=self.timeout, max_bytes=max_bytes)

    def _sound_key(self) -> str:
        key = self.key().strip()
        # Checked here, since the message of http.client would print it.
        if not key.isascii() or not key.isprintable():
            raise OptionError("api_key", "***", "holds characters that no header can carry")
        return key


def post(url: str, data: bytes, headers: Mapping[str, str], *, timeout: float, max_bytes: int) -> Reply:
    """Post once.

    Raises:
        Trouble: nobody answers, or too slowly, or the server says that it is busy or broken.
    """
    deadline = time.monotonic() + timeout
    try:
        with build_opener(_AsItIs).open(Request(url, data, dict(headers)), timeout=timeout) as response:
            body = _read(response, deadline, max_bytes)
            reply = Reply(response.status, body[:max_bytes], len(body) > max_bytes)
            asked = _retry_after(response)
    except (OSError, HTTPException) as error:
        raise Trouble(f"{type(error).__name__}: {error}") from error
    if reply.status in _BUSY or reply.status >= 500:
        raise Trouble(str(reply), asked)
    return reply


def is_address(url: str) -> bool:
    """Return whether an http(s) address names a host and holds nothing unprintable."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        sound = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:
        return False
    return bool(sound) and url.isprintable() and " " not in url


class _AsItIs(HTTPErrorProcessor):
    """Take every response as it comes. A followed redirect would hand the key to another host."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


def _read(response: HTTPResponse, deadline: float, max_bytes: int) -> bytes:
    """Read a body of bounded size in bounded time: a socket's own timeout starts anew with every byte."""
    body = bytearray()
    while len(body) <= max_bytes and (chunk := response.read1(1 << 16)):
        body += chunk
        if time.monotonic() > deadline:
            raise Trouble("the reply took too long")
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
