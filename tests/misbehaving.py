"""A server that does what a script says, for tests of clients: it sends rubbish, hangs, drips and hangs up."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Does what its script says, one entry a request, then `usual` for ever."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, usual):
        super().__init__(("127.0.0.1", 0), Handler)
        self.usual = usual
        self.script, self.requests, self.headers = [], [], []
        self.closing, self.lock = threading.Event(), threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """Say nothing: clients that hang up are what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(self.body)
            self.server.headers.append({"path": self.path, **self.headers})
            act = self.server.script.pop(0) if self.server.script else self.server.usual
        act(self)

    def do_GET(self):
        raise AssertionError("a redirect was followed")  # it arrives with the key, and no body

    def log_message(self, *args):
        pass


def sends(body, status=200, **headers):
    """Make a server that sends this body; a Content-Length among the headers overrides the true one."""
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()

    def act(handler):
        handler.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": len(raw), **given}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(raw)

    return act


def hangs(handler):
    handler.server.closing.wait(5)


def drips(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(500):
        handler.server.closing.wait(0.01)
        handler.wfile.write(b" ")


def hangs_up(handler):
    handler.connection.close()


@contextmanager
def serving(usual) -> Iterator[Server]:
    """Serve until the end of the block."""
    server = Server(usual)
    thread = threading.Thread(target=server.serve_forever, args=(0.005,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
