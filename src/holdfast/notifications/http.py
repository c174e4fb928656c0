"""One small HTTP request: TLS verified, the answer bounded, no redirect to another host."""

from __future__ import annotations

import base64
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from holdfast.model.errors import NotificationFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.redaction import sanitized
from holdfast.runtime.cleanup import afterwards

MOST_ANSWER_BYTES = 64 << 10
# Nobody needs the body of an answer.
BODY_SECONDS = 0.25
MOST_REDIRECTS = 3
REDIRECTS = (301, 302, 307, 308)
ATTEMPTS = 2
PAUSE_SECONDS = 0.5
SERVER_ERRORS, TOO_MANY = range(500, 600), 429
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """How requests get out: within which time, and who vouches for the other side."""

    timeout_seconds: float
    ca_file: Path | None = None
    plain_http: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A POST; its URL may be a secret."""

    url: str
    body: bytes
    headers: Mapping[str, str]


class _Transient(Exception):
    """The request may succeed if it is sent again."""


def post(request: Request, door: Door) -> None:
    """Send the request until the answer is 2xx, at most twice.

    Raises `NotificationFailed`, which names the host and nothing else of the URL.
    """
    ends = time.monotonic() + door.timeout_seconds
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _followed(request, door, ends=ends)
        except _Transient as error:
            if attempt == ATTEMPTS or time.monotonic() + PAUSE_SECONDS >= ends:
                raise failed(request.url, str(error)) from error
            time.sleep(PAUSE_SECONDS)
    return None


def failed(url: str, cause: str) -> NotificationFailed:
    return NotificationFailed(
        f"cannot notify '{_host(url)}': {sanitized(cause)}",
        hint="holdfast notify test sends a message to each receiver",
    )


def _host(url: str) -> str:
    """The host of a URL for messages; its path and login may be the secret."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def _followed(request: Request, door: Door, *, ends: float) -> None:
    for _ in range(MOST_REDIRECTS + 1):
        target = require_address(request.url, door)
        status, location = _answer(target, request, door=door, ends=ends)
        if 200 <= status < 300:
            return
        if status not in REDIRECTS or not location:
            if status in SERVER_ERRORS or status == TOO_MANY:
                raise _Transient(f"it answered {status}")
            raise failed(request.url, f"it answered {status}")
        request = replace(request, url=_redirected(request.url, location))
    raise failed(request.url, f"it redirected more than {MOST_REDIRECTS} times")


def _redirected(url: str, location: str) -> str:
    """The new URL; raises `NotificationFailed` unless host, port and scheme stay the same.

    Another host would get the message, and what the URL holds, without ever being configured.
    """
    try:
        old, new = urlsplit(url), urlsplit(urljoin(url, location))
        same = (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port)
    except ValueError:
        same = False
    if not same:
        raise failed(url, "it redirects to another address, which is not followed")
    return new._replace(netloc=old.netloc).geturl()


def require_address(url: str, door: Door) -> SplitResult:
    """The URL in its pieces; raises `NotificationFailed` if a message may not go there."""
    try:
        found = urlsplit(url)
        usable = found.scheme in ("http", "https") and bool(found.hostname) and found.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise failed("", "its URL is not an address: write https://HOST/PATH")
    if found.scheme == "http" and found.hostname not in LOOPBACK and not door.plain_http:
        raise failed(url, "http sends it in the clear: write https://, or add plain_http: true")
    return found


def _answer(target: SplitResult, request: Request, *, door: Door, ends: float) -> tuple[int, str]:
    """The status of the answer, and the location that it names."""
    connection = _connection(target, door, ends=ends)
    path = f"{target.path or '/'}{f'?{target.query}' if target.query else ''}"
    headers = {"User-Agent": "holdfast", **_login(target), **request.headers}
    with afterwards(connection.close), _translated(request.url, door):
        connection.connect()
        timed = _Timed(connection.sock, ends)
        connection.response_class = _read_through(timed)
        connection.request("POST", path, body=request.body, headers=headers)
        answer = connection.getresponse()
        # Read, so that the other side sees a whole exchange; the status alone is the answer.
        timed.ends = min(ends, time.monotonic() + BODY_SECONDS)
        with suppress(OSError, http.client.HTTPException):
            answer.read(MOST_ANSWER_BYTES)
        return answer.status, answer.getheader("Location", "") or ""


def _read_through(timed: _Timed) -> type[http.client.HTTPResponse]:
    """The class of answers that are read through `timed`."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            self.fp.close()
            self.fp = io.BufferedReader(timed)

    return Response


class _Timed(io.RawIOBase):
    """What a socket receives until `ends`, however slowly; raises `TimeoutError` then.

    The timeout of the socket itself begins again with each byte.
    """

    def __init__(self, sock: socket.socket, ends: float) -> None:
        self._sock = sock
        # Keeps the socket open after its connection was closed, as http.client expects it.
        self._held = sock.makefile("rb", buffering=0)
        self.ends = ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._held.close()
        super().close()


@contextmanager
def _translated(url: str, door: Door) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise failed(url, f"its certificate is not valid: {error.verify_message}") from error
    except TimeoutError as error:
        raise failed(url, f"no answer within {door.timeout_seconds:g} s") from error
    except socket.gaierror as error:
        raise failed(url, f"its name does not resolve: {error.strerror}") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.strerror if isinstance(error, OSError) else ""
        raise _Transient(cause or type(error).__name__) from error


def _connection(target: SplitResult, door: Door, *, ends: float) -> http.client.HTTPConnection:
    host, seconds = target.hostname or "", _left(ends)
    if target.scheme == "http":
        return http.client.HTTPConnection(host, target.port, timeout=seconds)
    try:
        context = ssl.create_default_context(cafile=str(door.ca_file) if door.ca_file else None)
    except OSError as error:
        raise failed(target.geturl(), f"cannot read ca_file: {error.strerror}") from error
    return http.client.HTTPSConnection(host, target.port, timeout=seconds, context=context)


def _left(ends: float) -> float:
    return max(0.05, ends - time.monotonic())


def _login(target: SplitResult) -> dict[str, str]:
    if target.username is None:
        return {}
    pair = f"{unquote(target.username)}:{unquote(target.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
