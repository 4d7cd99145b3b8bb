"""One client: a single deadline for the whole request, proxies and TLS, and silence about the key."""

import base64
import html
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rao_envs import http
from rao_envs.errors import InfrastructureError, OptionError
from rao_envs.http import MIN_SECRET, Service, Trouble, post, redact

TIMEOUT = 0.3
PATIENCE = 2.5
"""A request with `TIMEOUT` must be over by then, on a busy machine too; the servers below drip for longer."""

# A throw-away certificate for localhost, 2020 to 2120, and its key.
KEY = """\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOedjRXFe3Loor3VP1l8XCF8qxcfBPGRZgSO6/OI2/BGhRANCAATvTNH/0kVlEY12WMEQ
2yoJ3ch/XQAD0OGf9/sfzPbirPc9MbODcS9RMcCZuHAmxWe2J28nwxffS6kVf0clCGYC"""
CERTIFICATE = """\
MIIBeDCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQx
EjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABO9M0f/SRWURjXZYwRDbKgndyH9dAAPQ4Z/3+x/M9uKs9z0xs4NxL1Ex
wJm4cCbFZ7YnbyfDF99LqRV/RyUIZgKjXjBcMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgKEMB0GA1UdDgQWBBTWUhnaNhl2PDArqSRLL/4X
dcpZszAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZIzj0EAwIDSQAwRgIhAL5M/qiKpRMnPpXXhi0vUGgZsVTsmz1bN2ROmI+mqpJJAiEA
kdDt+J2AWRyxQI+Uw7Oh+CxE0bZFXHbAszJv9kE7FOU="""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def listening(serve, backlog=16):
    """Hand every connection to `serve(connection, closing)` in a thread of its own; yield the port."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:

        def one(connection):
            with connection, suppress(OSError):
                serve(connection, closing)

        def accept():
            while not closing.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            closing.set()
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()


def hear(connection):
    """Read a request and return it."""
    heard = b""
    while b"\r\n\r\n" not in heard and (more := connection.recv(65536)):
        heard += more
    head, _, body = heard.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            while len(body) < int(value) and (more := connection.recv(65536)):
                body += more
    return head + b"\r\n\r\n" + body


def reply(connection, body, status=b"200 OK"):
    connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


def answers(body, status=b"200 OK"):
    def serve(connection, closing):
        hear(connection)
        reply(connection, body, status)

    return serve


def drip(start, more, gap=0.01):
    """Send `start` and then `more`, for ever."""

    def serve(connection, closing):
        hear(connection)
        connection.sendall(start)
        while not closing.wait(gap):
            connection.sendall(more)

    return serve


def silence(connection, closing):
    closing.wait(10)


def deaf(connection, closing):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    closing.wait(10)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = {
    "accepts and never answers": silence,
    "never reads": deaf,
    "drips the status line": drip(b"HTTP/1.1 200 ", b"x"),
    "drips one header": drip(OK + b"X: ", b"y"),
    "drips headers": drip(OK, b"X: y\r\n", 0.05),
    "100 Continue": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue at full speed": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99, 0.0),
    "100 Continue with dripping headers": drip(b"HTTP/1.1 100 Continue\r\nX: ", b"y"),
    "drips the body": drip(OK + b"\r\n", b" "),
    "drips a body of known length": drip(OK + b"Content-Length: 100000\r\n\r\n", b" "),
    "drips chunks": drip(CHUNKED, b"1\r\n \r\n"),
    "drips within a chunk": drip(CHUNKED + b"ffff\r\n", b" "),
    "drips the size of a chunk": drip(CHUNKED, b"0"),
    "drips the extension of a chunk": drip(CHUNKED + b"1;x=", b"y"),
    "drips trailers": drip(CHUNKED + b"0\r\n", b"X: y\r\n"),
    "drips the body of an error": drip(b"HTTP/1.1 500 Oops\r\n\r\n", b" "),
}


def in_time(url, data=b"{}", timeout=TIMEOUT, match="TimeoutError: no complete reply within 0.3 s"):
    began = time.monotonic()
    with pytest.raises(Trouble, match=match):
        post(url, data, timeout=timeout, max_bytes=1 << 20)
    took = time.monotonic() - began
    assert timeout * 0.9 <= took < PATIENCE, "the deadline did not hold"


@pytest.mark.parametrize("serve", SLOW.values(), ids=SLOW)
def test_one_deadline_for_the_whole_request(serve):
    with listening(serve) as port:
        in_time(f"http://127.0.0.1:{port}/", b" " * (32 << 20) if serve is deaf else b"{}")


def test_a_server_that_never_accepts():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = []
        try:
            for _ in range(8):  # fill its queue
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(server.getsockname())
                waiting.append(sock)
            in_time(f"http://127.0.0.1:{server.getsockname()[1]}/")
        finally:
            for sock in waiting:
                sock.close()


def test_a_resolver_that_does_not_answer(monkeypatch):
    real, over = socket.getaddrinfo, threading.Event()

    def slow(host, *args, **options):
        if host == "slow.example" and options.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        if host == "slow.example":
            over.wait(10)
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        in_time("http://slow.example/")
    finally:
        over.set()


def test_a_name_that_does_not_resolve():
    with pytest.raises(Trouble, match=r"\[Errno"):
        post("http://name.invalid/", b"{}", timeout=5, max_bytes=9)


def test_an_address_that_does_not_answer_leaves_time_for_the_next(monkeypatch):
    with listening(answers(b"here")) as port, socket.create_server(("127.0.0.1", 0), backlog=0) as dead:
        waiting = [socket.socket() for _ in range(8)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(dead.getsockname())
        inet = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [(*inet, dead.getsockname()), (*inet, ("127.0.0.1", port))]
        monkeypatch.setattr(http, "_look_up", lambda *_: found)
        assert post("http://two.example/", b"{}", timeout=1.0, max_bytes=9).body == b"here"
        for sock in waiting:
            sock.close()


def test_the_retries_of_a_service_have_a_deadline_each():
    naps = []
    with listening(SLOW["drips headers"]) as port:
        service = Service(f"http://127.0.0.1:{port}", str, TIMEOUT, 2, naps.append)
        began = time.monotonic()
        with pytest.raises(InfrastructureError, match=r"failed 3 times, last: .*no complete reply within"):
            service.ask("/x", b"{}", lambda reply: reply)
        assert 3 * TIMEOUT * 0.9 <= time.monotonic() - began < 2 * PATIENCE
    assert len(naps) == 2


def test_threads_share_a_service():
    def serve(connection, closing):
        heard = hear(connection)
        if b"slow" in heard:
            closing.wait(10)
        reply(connection, heard.partition(b"\r\n\r\n")[2])

    with listening(serve, backlog=64) as port, ThreadPoolExecutor(16) as pool:
        service = Service(f"http://127.0.0.1:{port}", str, 5.0, 0)
        slow = Service(f"http://127.0.0.1:{port}", str, TIMEOUT, 0)
        late = pool.submit(slow.ask, "/", b'"slow"', lambda reply: reply.body)
        said = list(pool.map(lambda n: service.ask("/", b"%d" % n, lambda reply: reply.body), range(64)))
        assert said == [b"%d" % n for n in range(64)]
        with pytest.raises(InfrastructureError, match="TimeoutError"):
            late.result()


def test_an_interim_reply_is_passed_over():
    def serve(connection, closing):
        hear(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        reply(connection, b"done")

    with listening(serve) as port:
        assert post(f"http://127.0.0.1:{port}/", b"{}", timeout=5, max_bytes=9).body == b"done"


@pytest.mark.parametrize(("size", "cut"), [(8, False), (9, False), (10, True), (1 << 20, True)])
def test_a_body_is_read_up_to_its_limit(size, cut):
    with listening(answers(b"x" * size)) as port:
        reply = post(f"http://127.0.0.1:{port}/", b"{}", timeout=5, max_bytes=9)
        assert (reply.body, reply.cut) == (b"x" * min(size, 9), cut)


# TLS and proxies


def pem(kind, text):
    return f"-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n"


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """Wrap what serves in TLS, with a certificate that the client trusts."""
    path = tmp_path / "both.pem"
    path.write_text(pem("PRIVATE " + "KEY", KEY) + pem("CERTIFICATE", CERTIFICATE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    def wrap(serve):
        def shaken(connection, closing):
            with context.wrap_socket(connection, server_side=True) as secured:
                serve(secured, closing)

        return shaken

    return wrap


def test_https(secure):
    with listening(secure(answers(b"secret"))) as port:
        assert post(f"https://localhost:{port}/", b"{}", timeout=5, max_bytes=99).body == b"secret"


def test_a_certificate_is_checked(secure, monkeypatch):
    with listening(secure(answers(b"secret"))) as port:
        here = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]
        monkeypatch.setattr(http, "_look_up", lambda *_: here)
        with pytest.raises(Trouble, match="certificate"):
            post(f"https://other.example:{port}/", b"{}", timeout=5, max_bytes=99)
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(Trouble, match="certificate"):
            post(f"https://localhost:{port}/", b"{}", timeout=5, max_bytes=99)


@pytest.mark.parametrize("name", ["accepts and never answers", "never reads", "drips one header", "drips chunks"])
def test_one_deadline_over_tls(secure, name):
    serve = SLOW[name]
    with listening(secure(serve)) as port:
        in_time(f"https://localhost:{port}/", b" " * (32 << 20) if serve is deaf else b"{}")


def test_a_handshake_that_never_ends():
    def serve(connection, closing):  # a record of 16 KB, byte by byte
        connection.recv(65536)
        connection.sendall(b"\x16\x03\x03\x40\x00")
        while not closing.wait(0.01):
            connection.sendall(b"\x02")

    for hostile in (silence, serve):
        with listening(hostile) as port:
            in_time(f"https://localhost:{port}/")


def tunnels(seen):
    """Be a proxy: connect what asks for it with CONNECT, answer the rest."""

    def serve(connection, closing):
        head = hear(connection).decode()
        seen.append(head)
        if not head.startswith("CONNECT"):
            reply(connection, b"by proxy")
            return
        host, _, port = head.split()[1].rpartition(":")
        with socket.create_connection((host, int(port))) as onward:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

            def pump(source, sink):
                with suppress(OSError):
                    while data := source.recv(65536):
                        sink.sendall(data)
                    sink.shutdown(socket.SHUT_WR)

            back = threading.Thread(target=pump, args=(onward, connection))
            back.start()
            pump(connection, onward)
            back.join()

    return serve


def test_proxies_are_used(secure, monkeypatch):
    seen = []
    with listening(secure(answers(b"through"))) as port, listening(tunnels(seen)) as proxy:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://user:word@127.0.0.1:{proxy}")
        assert post("http://far.example/x", b"{}", key="sesame", timeout=5, max_bytes=99).body == b"by proxy"
        assert post(f"https://localhost:{port}/", b"{}", key="sesame", timeout=5, max_bytes=99).body == b"through"
        monkeypatch.setenv("no_proxy", "localhost")
        assert post(f"https://localhost:{port}/", b"{}", timeout=5, max_bytes=99).body == b"through"
    plain, tunnel = seen
    assert plain.startswith("POST http://far.example/x HTTP/1.1\r\n")
    assert tunnel.startswith(f"CONNECT localhost:{port} HTTP/1.")
    login = base64.b64encode(b"user:word").decode()
    assert all(f"proxy-authorization: basic {login}".lower() in head.lower() for head in seen)
    assert "sesame" not in tunnel, "the key is the server's, not the proxy's"


@pytest.mark.parametrize(
    "serve",
    [silence, drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), drip(b"HTTP/1.1 200 OK\r\n\r\n", b"")],
    ids=["silent", "drips", "establishes and is silent"],
)
def test_one_deadline_through_a_proxy(monkeypatch, serve):
    with listening(serve) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy}")
        in_time("https://far.example/")


# The key

SECRET = "sk-Ab/9+\"q'\\<&>z_~ 0%"


def escaped(text, escape):
    return "".join(map(escape, text))


ECHOES = {
    "as it is": SECRET,
    "quoted": quote(SECRET, safe=""),
    "percent-encoded": escaped(SECRET, lambda char: f"%{ord(char):02x}"),
    "percent-encoded twice": escaped(SECRET, lambda char: f"%25{ord(char):02X}"),
    "json": json.dumps(SECRET)[1:-1],
    "json with slashes": json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    "json in json": json.dumps(json.dumps(SECRET))[3:-3],
    "unicode": escaped(SECRET, lambda char: f"\\u{ord(char):04x}"),
    "UNICODE": escaped(SECRET, lambda char: f"\\u{ord(char):04X}"),
    "unicode twice": escaped(SECRET, lambda char: f"\\\\u{ord(char):04x}"),
    "hexadecimal": escaped(SECRET, lambda char: f"\\x{ord(char):02x}"),
    "repr": repr(SECRET)[1:-1],
    "html": html.escape(SECRET),
    "html numbers": escaped(SECRET, lambda char: f"&#{ord(char)};&#x{ord(char):X};"[: 5 + (ord(char) > 99)]),
    "html twice": html.escape(html.escape(SECRET)),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_an_echo_of_the_key_is_found(echo):
    assert redact(f"bad key {echo}, sorry", SECRET) == "bad key ***, sorry"


FORMS = [
    str,
    lambda char: f"%{ord(char):02X}",
    lambda char: f"\\u{ord(char):04x}",
    lambda char: f"&#{ord(char)};",
]
ASCII = st.characters(min_codepoint=33, max_codepoint=126)


@given(st.text(ASCII, min_size=1, max_size=20), st.data(), st.text(), st.text())
def test_any_mixture_of_escapes_is_found(key, data, before, after):
    echo = "".join(data.draw(st.sampled_from(FORMS))(char) for char in key)
    left = redact(before + echo + after, key)
    assert echo not in left or echo in "***"
    assert key not in left or key in "***"


@given(st.text(), st.text(ASCII, min_size=8))
def test_the_rest_is_left_alone(text, key):
    if not any(char in text for char in "%\\&") and key not in text:
        assert redact(text, key) == text
    assert redact(text, "") == text


def test_no_text_makes_the_search_slow():
    for text in ("\\" * 200_000, "%25" * 70_000, "&amp;" * 40_000, SECRET[:-1] * 10_000, "\\u000000" * 25_000):
        began = time.monotonic()
        redact(text, SECRET)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad", b"503 Busy"])
def test_a_reply_loses_the_key_before_it_is_cut(echo, status):
    for offset in range(280, 301, 4):  # errors show 300 characters
        with listening(answers(b"." * offset + echo.encode() + b"!", status)) as port:
            try:
                said = post(f"http://127.0.0.1:{port}/", b"{}", key=SECRET, timeout=5, max_bytes=10_000)
                assert said.body == b"." * offset + b"***!"
                shown = str(said)
            except Trouble as trouble:
                shown = str(trouble)
            assert shown.partition(": ")[2].strip(".") in "***!"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 %s\r\n\r\n",
        b"bad key %s\r\n\r\n",
        b"HTTP/1.1 503 %s\r\nContent-Length: %s\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n%s\r\n",
        OK + b"Content-Length: 1000\r\n\r\n%s",
        b"HTTP/1.1 429 No\r\nRetry-After: %s\r\nDate: %s\r\n\r\n",
    ],
)
def test_errors_of_a_broken_reply_are_silent_about_the_key(raw):
    key = "sk-sesame-0123456789"

    def serve(connection, closing):
        hear(connection)
        connection.sendall(raw.replace(b"%s", key.encode()))

    with listening(serve) as port:
        service = Service(f"http://127.0.0.1:{port}", lambda: key, 5.0, 0)
        with pytest.raises(InfrastructureError) as caught:
            service.ask("/", b"{}", lambda reply: reply)
        error = caught.value
        while error is not None:
            assert "sesame" not in repr(error) + str(vars(error))
            error = error.__cause__ or error.__context__


def test_a_placeholder_is_not_taken_for_a_secret():
    word = "EMPTY"
    assert len(word) < MIN_SECRET
    with listening(answers(b"EMPTY it is")) as port:
        ask = partial(post, f"http://127.0.0.1:{port}/", b"{}", timeout=5, max_bytes=99)
        assert ask(key=word).body == b"EMPTY it is"
        assert ask(key="EMPTY it").body == b"*** is"
        service = Service(f"http://127.0.0.1:{port}", lambda: word, 5.0, 0)
    assert service.tell("bad key EMPTY") == "'bad key ***'"


def test_impossible_settings():
    for wrong in ({"base_url": "host"}, {"timeout": 0}, {"timeout": float("inf")}, {"retries": -1}):
        options = {"base_url": "http://h/v1", "key": str, "timeout": 1.0, "retries": 0, **wrong}
        with pytest.raises(OptionError, match=f"^{next(iter(wrong))}="):
            Service(**options)
