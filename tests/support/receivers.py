"""A real HTTP server that records what it is told, and fails in the ways of real ones."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHUNK = b"x" * (1 << 16)


@dataclass(frozen=True, kw_only=True)
class Told:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(kw_only=True)
class Listener:
    """The server: what it was told, and how it answers. A fault is one of `answers`, in turn."""

    told: list[Told] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    scheme: str = "http"

    def url(self, path: str = "/hunter2-in-the-path") -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        return [each.path.partition("?")[0] for each in self.told]

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [each.document for each in self.told]

    def always(self, answer: Answer) -> None:
        self.answers = [answer] * 100

    def hang(self, _request: BaseHTTPRequestHandler) -> None:
        """Answer nothing until the test ends."""
        self.released.wait(60)


def status(code: int, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def endless(request: BaseHTTPRequestHandler) -> None:
    """200, and a body that never ends."""
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(CHUNK)


def dripping(beginning: bytes, *, drop: bytes, seconds: float = 0.02) -> Answer:
    """`beginning`, and then one `drop` after the other as long as somebody reads."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(beginning)
        while True:
            request.wfile.write(drop)
            time.sleep(seconds)

    return answer


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[Listener]:
    """A server that answers 200 unless told otherwise; with `context` it speaks TLS."""
    listener = Listener(scheme="https" if context else "http")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            listener.told.append(Told(path=self.path, headers=dict(self.headers), body=body))
            answer = listener.answers.pop(0) if listener.answers else status(200)
            try:
                answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    listener.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        listener.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port of this host that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
