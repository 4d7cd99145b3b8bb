"""JSON over HTTP, with the standard library: one client for policies, judges and search.

No server is trusted. One deadline covers the whole request: the name lookup, the connection, the TLS handshake,
sending, every header and every byte of the body. A body is read up to a maximum size. Redirects are not followed,
since the key would go with them. If a reply echoes the key, the key is removed before any part of the reply is cut,
shown or returned.

Proxies and certificates are configured as for `urllib`: ``http_proxy``, ``https_proxy``, ``no_proxy``,
``SSL_CERT_FILE`` and ``SSL_CERT_DIR``. No connection outlives its request and nothing is shared, so several threads
may use one `Service` at once.
"""

from __future__ import annotations

import math
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import AbstractHTTPHandler, HTTPErrorProcessor, OpenerDirector, ProxyHandler, Request

from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.seeding import rng

__all__ = ["MIN_SECRET", "Reply", "Service", "Trouble", "is_address", "post", "redact"]

MIN_SECRET = 6
"""A shorter key ("x", "none", "EMPTY") is a placeholder: errors still hide it, but replies keep the word."""

_HIDDEN = "***"
_MAX_WAIT = 120.0
_BUSY = (408, 425, 429)

Result = TypeVar("Result")


class Trouble(Exception):
    """This attempt failed, but a retry may succeed; `wait` is how long the server asked us to wait."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        """Give the reason, and the wait that the server asked for (seconds)."""
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said, without the key.

    Attributes:
        status: the HTTP status code.
        body: the body's bytes, up to the limit.
        cut: whether the body was longer than the limit.
    """

    status: int
    body: bytes
    cut: bool = False

    def __str__(self) -> str:
        """Show the code and the beginning of the body."""
        return f"HTTP {self.status}: {self.body[:300].decode('utf-8', 'replace')}"


@dataclass(frozen=True)
class Service:
    """A server that takes many requests. Threads may share it.

    Attributes:
        base_url: its address, without a query.
        key: returns the key to send, "" for none. Called for each request, so that the key need not be stored.
        timeout: seconds for one attempt, from the name lookup to the last byte of the reply.
        retries: further attempts after the first.
        sleep: function that waits the given seconds.
    """

    base_url: str
    key: Callable[[], str]
    timeout: float
    retries: int
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Reject settings with which no request can succeed."""
        if not is_address(self.base_url) or urlsplit(self.base_url).query or urlsplit(self.base_url).fragment:
            raise OptionError("base_url", self.base_url, "must be an http(s) address such as http://localhost:8000/v1")
        if not 0 < self.timeout < math.inf:
            raise OptionError("timeout", self.timeout, "must be a number of seconds above 0")
        if self.retries < 0:
            raise OptionError("retries", self.retries, "must be at least 0")
        self._sound_key()

    def ask(self, path: str, data: bytes, read: Callable[[Reply], Result], *, max_bytes: int = 4 << 20) -> Result:
        """Post JSON and return what `read` makes of the reply; retry on `Trouble`.

        Args:
            path: what follows the base address, such as "/search".
            data: the request's body.
            read: gets every reply except those of a busy or broken server; raises `Trouble` for one that makes no
                sense.
            max_bytes: longest body to read; a reply with a longer one is marked as cut.

        Raises:
            InfrastructureError: the last retry failed too, or the server asks for a wait of more than two minutes.
        """
        url = f"{self.base_url.rstrip('/')}{path}"
        for attempt in range(self.retries + 1):
            try:
                return read(post(url, data, key=self._sound_key(), timeout=self.timeout, max_bytes=max_bytes))
            except Trouble as trouble:
                why = self.tell(str(trouble))
                # Doubling waits, with jitter from a hash of the request, so that many failures don't retry in step.
                jitter = rng(data.decode(), "backoff", attempt).uniform(0.5, 1.0)
                wait = min(_MAX_WAIT, 2.0**attempt) * jitter if trouble.wait is None else trouble.wait
            if wait > _MAX_WAIT:
                raise InfrastructureError(f"{self.base_url} asks for a wait of {wait:.0f} s: {why}")
            if attempt < self.retries:
                self.sleep(wait)
        raise InfrastructureError(f"{self.base_url} failed {self.retries + 1} times, last: {why}")

    def tell(self, text: str) -> str:
        """Quote a text without the key."""
        return repr(redact(text, self._sound_key()))

    def _sound_key(self) -> str:
        key = self.key().strip()
        # Checked here, because the error message of http.client would print the key.
        if not key.isascii() or not key.isprintable():
            raise OptionError("api_key", _HIDDEN, "contains characters not allowed in a header; use printable ASCII")
        return key


def post(url: str, data: bytes, *, key: str = "", timeout: float, max_bytes: int) -> Reply:
    """Post JSON once.

    Args:
        url: the address.
        data: the body.
        key: a bearer token; "" sends none. It is removed from the reply and from all errors: see `redact`.
        timeout: seconds for everything, from the name lookup to the last byte of the reply.
        max_bytes: longest body to read; a reply with a longer one is marked as cut.

    Raises:
        Trouble: there is no complete reply in time, or the server says that it is busy or broken.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    deadline = time.monotonic() + timeout
    opener = OpenerDirector()
    for handler in (ProxyHandler(), _Handler(deadline), _AsItIs()):
        opener.add_handler(handler)
    try:
        with opener.open(Request(url, data, headers), timeout=timeout) as response:
            status, body = response.status, _read(response, max_bytes)
            asked = _retry_after(response)
    except (OSError, HTTPException) as error:
        why = _why(error, timeout)
    else:
        if len(key) >= MIN_SECRET:
            body = _echo(key).sub(_HIDDEN.encode(), body)
        reply = Reply(status, body[:max_bytes], len(body) > max_bytes)
        if status not in _BUSY and status < 500:
            return reply
        raise Trouble(str(reply), asked)
    # Not chained to the error itself, whose text may contain the key and would be shown as the cause.
    raise Trouble(redact(why, key))


def redact(text: str, key: str) -> str:
    """Return a text without the key.

    The key is recognised verbatim and in the escapes in which servers echo what they were sent: those of URLs
    (``%2D``), of JSON and program text (backslash, "u002d", and backslash before a quote or slash) and of HTML
    (``&#45;``), for any of its characters, even if such text was escaped again.
    """
    if not key:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    return _echo(key).sub(_HIDDEN.encode(), raw).decode("utf-8", "surrogatepass")


def is_address(url: str) -> bool:
    """Return whether an http(s) address names a host and holds nothing unprintable."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        sound = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:
        return False
    return bool(sound) and url.isprintable() and " " not in url


# Reading a reply ----------------------------------------------------------------------------------------


def _read(response: HTTPResponse, max_bytes: int) -> bytes:
    body, promised = bytearray(), response.length or 0
    while len(body) <= max_bytes and (chunk := response.read1(1 << 16)):
        body += chunk
    if len(body) < min(promised, max_bytes):
        raise IncompleteRead(bytes(body), promised - len(body))
    return bytes(body)


def _why(error: OSError | HTTPException, timeout: float) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"TimeoutError: no complete reply within {timeout:g} s"
    return f"{type(error).__name__}: {error}"


def _retry_after(response: HTTPResponse) -> float | None:
    """Return the seconds that Retry-After asks for, in either of its forms; None if it asks for nothing."""
    text = response.headers.get("Retry-After", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            # Compared with the server's own date, so that our clock need not be right.
            now = parsedate_to_datetime(response.headers.get("Date", ""))
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


@lru_cache(maxsize=16)
def _echo(key: str) -> re.Pattern[bytes]:
    """Compile a pattern that finds the key. All repeats are bounded, so that no text makes the search slow."""
    return re.compile("".join(map(_forms, key)).encode())


def _forms(char: str) -> str:
    """Match one character of the key, verbatim or escaped."""
    code, itself = ord(char), re.escape(char)
    either_case = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{code:02x}")
    forms = [
        rf"%(?:25){{0,3}}{either_case}",
        rf"\\\\{{0,7}}(?:[uU]0{{0,6}}|[xX]|u\{{0{{0,4}}){either_case}\}}?",
        rf"&(?:amp;){{0,3}}#(?:0{{0,6}}{code}|[xX]0{{0,6}}{either_case});?",
    ]
    if char in _NAMED:
        forms.append(rf"&(?:amp;){{0,3}}{_NAMED[char]};")
    if char == " ":
        forms.append(r"\+")
    if not char.isalnum():
        forms.append(rf"\\\\{{0,7}}{itself}")
    # The plain character comes last, because an escape of it may begin with it.
    return f"(?:{'|'.join(forms)}|{itself})"


# The deadline -------------------------------------------------------------------------------------------

if TYPE_CHECKING:
    _Base = socket.socket
else:
    _Base = object


class _Hurried(_Base):
    """A socket with a deadline: a plain timeout would start over with every byte."""

    deadline = math.inf

    def recv_into(self, *args: Any, **options: Any) -> int:
        self.settimeout(_left(self.deadline))
        return super().recv_into(*args, **options)

    def send(self, *args: Any, **options: Any) -> int:
        self.settimeout(_left(self.deadline))
        return super().send(*args, **options)

    def sendall(self, *args: Any, **options: Any) -> None:
        # A plain socket's timeout covers the whole call; a TLS socket calls `send` for each part.
        self.settimeout(_left(self.deadline))
        super().sendall(*args, **options)


class _Socket(_Hurried, socket.socket):
    pass


class _TLSSocket(_Hurried, ssl.SSLSocket):
    pass


class _TLSContext(ssl.SSLContext):
    """What `ssl.create_default_context` sets up, for sockets with a deadline."""

    sslsocket_class = _TLSSocket

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> _TLSSocket:
        assert isinstance(sock, _Socket)
        wrapped = super().wrap_socket(sock, *args, **{**options, "do_handshake_on_connect": False})
        assert isinstance(wrapped, _TLSSocket)
        wrapped.deadline = sock.deadline
        try:
            wrapped.settimeout(_left(wrapped.deadline))
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@lru_cache(maxsize=4)
def _tls_context(*_environment: str | None) -> _TLSContext:
    """Return a context with the certificates named in the environment."""
    context = _TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _connect(deadline: float, address: tuple[str, int], *_: Any) -> _Socket:
    """Connect to the first of a host's addresses that answers."""
    answers = _look_up(*address, deadline)
    for number, (family, kind, protocol, _, peer) in enumerate(answers, start=1):
        sock = _Socket(family, kind, protocol)
        sock.deadline = deadline
        try:
            # An address that does not answer must leave time for the others.
            sock.settimeout(_left(deadline) / (len(answers) - number + 1))
            sock.connect(peer)
            return sock
        except OSError:
            sock.close()
            if number == len(answers):
                raise
    raise OSError(f"{address[0]} has no address")


def _look_up(host: str, port: int, deadline: float) -> list[tuple[Any, ...]]:
    """Resolve a name in a thread, since the system's resolver has no time-out."""
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except socket.gaierror:
        pass
    answers: SimpleQueue[list[tuple[Any, ...]] | OSError] = SimpleQueue()

    def resolve() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            answers.put(OSError(f"{host!r} is not a host name"))

    threading.Thread(target=resolve, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=_left(deadline))
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer


class _HTTPConnection(HTTPConnection):
    def __init__(self, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = partial(_connect, deadline)


class _HTTPSConnection(HTTPSConnection):
    def __init__(self, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = partial(_connect, deadline)


class _Handler(AbstractHTTPHandler):
    """Open http and https addresses before a deadline."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: Request) -> Any:
        return self.do_open(partial(_HTTPConnection, deadline=self._deadline), request)

    def https_open(self, request: Request) -> Any:
        # Only when needed: loading certificates takes time.
        context = _tls_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return self.do_open(partial(_HTTPSConnection, deadline=self._deadline), request, context=context)

    http_request = https_request = AbstractHTTPHandler.do_request_


class _AsItIs(HTTPErrorProcessor):
    """Return every response unchanged: following a redirect would send the key to another host."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response
