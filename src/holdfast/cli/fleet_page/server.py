"""A small web server for the page of the fleet: few paths, few connections, strict headers.

It is meant for one machine, or for a network that is trusted. A browser may be led to it under a
foreign name (DNS rebinding), so it answers to its own names only.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

from holdfast.cli.fleet_page.render import policy
from holdfast.cli.fleet_page.state import FleetState, Shown
from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime import events

PORT = 8044
LOOPBACK = "127.0.0.1"
# At a time; a browser opens six.
MOST_CONNECTIONS = 32
# Between two pieces, and for a whole request with its answer.
SILENCE_SECONDS, WHOLE_SECONDS = 10.0, 60.0
PIECE_BYTES = 64 << 10
HEADERS = {
    "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTML, JSON, TEXT = "text/html", "application/json", "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`127.0.0.1:8044`, `[::1]:8044`, `localhost` or `8044`; raises `ValueError`."""
        if text.isdecimal():
            return cls(host=LOOPBACK, port=_port(text))
        host, _, port = text.rpartition(":")
        if not port.isdecimal():
            host, port = text, str(PORT)
        bare = host.removeprefix("[").removesuffix("]")
        if ":" in bare and not host.startswith("["):
            raise ValueError(f"'{text}' is no address: write [::1]:{PORT} for IPv6")
        return cls(host=bare or LOOPBACK, port=_port(port))

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or _is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _port(text: str) -> int:
    # Longer digits are no port either, and Python refuses to read thousands of them.
    if len(text) > 5 or int(text) > 65535:
        raise ValueError(f"'{text[:20]}' is no port: they end at 65535")
    return int(text)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class PageServer(ThreadingHTTPServer):
    """Serves `state`; raises `ConfigInvalid` if it cannot listen. One thread a connection."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, address: Address, state: FleetState, *, names: Iterable[str] = ()) -> None:
        self.state = state
        own = ("localhost", address.host, socket.gethostname(), *names)
        self.names = frozenset(each.lower() for each in own)
        self._begun: dict[Any, float] = {}
        self._guard = threading.Lock()
        try:
            family, _, _, _, place = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self.address_family = family
            super().__init__((str(place[0]), int(place[1])), _Handler)
        except (OSError, UnicodeError) as error:
            # What cannot be a name of a host at all is a `UnicodeError`.
            cause = error.strerror if isinstance(error, OSError) else ""
            raise ConfigInvalid(
                f"cannot serve the fleet on '{address}': {cause or error}",
                hint="another program may use the port, or the address is of no interface;"
                f" --serve {LOOPBACK}:0 takes a free port",
            ) from error

    def server_bind(self) -> None:
        """Without the lookup of the machine's name, which may wait for a server of names."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = place = self.socket.getsockname()
        self.server_name, self.server_port = str(place[0]), int(place[1])

    @property
    def url(self) -> str:
        return f"http://{Address(host=str(self.server_name), port=self.server_port)}/"

    def knows(self, host: str) -> bool:
        """Whether the name in a request is ours; an address cannot be bound to another name."""
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        bare = name.removeprefix("[").removesuffix("]").lower()
        try:
            ip_address(bare)
        except ValueError:
            return bare in self.names
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for the connection, or close it if there are too many."""
        with self._guard:
            is_full = len(self._begun) >= MOST_CONNECTIONS
            if not is_full:
                self._begun[request] = time.monotonic()
        if is_full:
            events.debug("connection_refused", reason="too many connections")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self._guard:
            self._begun.pop(request, None)
        super().close_request(request)

    def service_actions(self) -> None:
        """End connections that take too long: a client may send a byte now and then for ever."""
        before = time.monotonic() - WHOLE_SECONDS
        with self._guard:
            late = [each for each, begun in self._begun.items() if begun < before]
        for each in late:
            _shut(each)

    def handle_error(self, *_: Any) -> None:
        """A client that went away is no event; a bug ends its own request only."""
        error = sys.exception()
        if not isinstance(error, OSError):
            events.warning("request_failed", error=repr(error))


def _shut(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        events.debug("connection_gone", error=str(error))


def _path_in(target: str) -> str:
    """The path of a request; empty if it is none."""
    try:
        return urlsplit(target).path
    except ValueError:
        return ""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of one connection."""

    server: PageServer
    timeout = SILENCE_SECONDS

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1:
            self._refuse(HTTPStatus.BAD_REQUEST, "one Host header is needed")
        elif not self.server.knows(hosts[0].strip()):
            self._refuse(HTTPStatus.FORBIDDEN, "this name is not served: see --serve-as")
        else:
            self._answer_path(_path_in(self.path))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer_path(self, path: str) -> None:
        if path not in ("/", "/fleet.json", "/healthz"):
            self._refuse(HTTPStatus.NOT_FOUND, "there are /, /fleet.json and /healthz")
            return
        shown = self.server.state.current()
        if path == "/":
            self._answer_page(shown)
        elif path == "/fleet.json":
            self._answer(HTTPStatus.OK, JSON, shown.document())
        else:
            status = HTTPStatus.SERVICE_UNAVAILABLE if shown.problem else HTTPStatus.OK
            self._answer(status, TEXT, f"{shown.problem or 'ok'}\n".encode(errors="replace"))

    def _answer_page(self, shown: Shown) -> None:
        accepted = self.headers.get("Accept-Encoding", "")
        if "gzip" in {each.partition(";")[0].strip() for each in accepted.split(",")}:
            self._answer(HTTPStatus.OK, HTML, shown.compressed_page(), encoding="gzip")
        else:
            self._answer(HTTPStatus.OK, HTML, shown.page())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._answer(status, TEXT, f"{why}\n".encode())

    def _answer(self, status: HTTPStatus, kind: str, content: bytes, *, encoding: str = "") -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Vary", "Accept-Encoding")
        if encoding:
            self.send_header("Content-Encoding", encoding)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            # The timeout of a socket holds for all that one call sends, also to a slow client.
            for start in range(0, len(content), PIECE_BYTES):
                self.wfile.write(content[start : start + PIECE_BYTES])

    def send_error(self, code: int, *_: Any, **__: Any) -> None:
        """What http.server refuses: no part of the request is repeated."""
        is_method = code == HTTPStatus.NOT_IMPLEMENTED
        status = HTTPStatus.METHOD_NOT_ALLOWED if is_method else HTTPStatus(code)
        self.request_version = self.request_version or "HTTP/1.0"
        self._refuse(status, status.phrase.lower())

    def version_string(self) -> str:
        return "holdfast"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the base
        events.debug("request", line=(format % arguments)[:200])
