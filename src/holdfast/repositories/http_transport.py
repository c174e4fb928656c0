"""Single HTTP requests to a cloud's store, for the few that obstore does not support well.

It uses the standard library alone. The requests are rare, so each has its own connection, through
the proxy of the environment like obstore's. Answers are XML: flat, without entities, never long.
"""

from __future__ import annotations

import http.client
import ssl
from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import SplitResult, quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

from holdfast.runtime.cleanup import afterwards

TIMEOUT_SECONDS = 30.0
# A number with more digits is not a size.
_DIGITS = 20
# A thousand names of 1024 bytes, each byte written as %XX, and the XML around them.
MOST_BYTES = 8 << 20
DEPTH = 8


class StoreRefused(Exception):
    """The store answered with an error; `code` is the store's own error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        text = f"{code or status}: {message}" if message else f"{code or status}"
        super().__init__(printable(text))
        self.status = status
        self.code = code


class Transport:
    """Requests to the store at `endpoint`; the caller signs them."""

    def __init__(
        self,
        endpoint: str,
        *,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = urlsplit(endpoint)
        self._tls = tls
        self._timeout_seconds = timeout_seconds

    @property
    def host(self) -> str:
        """The value of the Host header."""
        return self._url.netloc

    @property
    def path(self) -> str:
        """The path of the endpoint, without a trailing slash."""
        return self._url.path.rstrip("/")

    def ask(
        self, method: str, target: str, headers: Mapping[str, str], *, content: bytes = b""
    ) -> ElementTree.Element:
        """Send one request; the XML of the answer, or an empty element.

        Raises `StoreRefused`, and `OSError` or `http.client.HTTPException` if nothing answers.
        """
        connection = self._connection()
        with afterwards(connection.close):
            connection.request(
                method, self._whole(target), body=content or None, headers=dict(headers)
            )
            answer = connection.getresponse()
            text = answer.read(MOST_BYTES + 1)
        if answer.status >= http.client.MULTIPLE_CHOICES:
            raise _refused(answer.status, text)
        try:
            return parsed(text) if text else ElementTree.Element("none")
        except Unreadable as error:
            raise StoreRefused(http.client.BAD_GATEWAY, "", str(error)) from error

    def _connection(self) -> http.client.HTTPConnection:
        host, port, seconds = self._url.hostname or "", self._url.port, self._timeout_seconds
        there = (self._proxy.hostname or "", self._proxy.port) if self._proxy else (host, port)
        if self._url.scheme == "http":
            return http.client.HTTPConnection(*there, timeout=seconds)
        context = self._tls or ssl.create_default_context()
        connection = http.client.HTTPSConnection(*there, timeout=seconds, context=context)
        if self._proxy:
            connection.set_tunnel(host, port, headers=self._proxy_login)
        return connection

    @cached_property
    def _proxy(self) -> SplitResult | None:
        return proxy_to(self._url)

    @property
    def _proxy_login(self) -> dict[str, str]:
        if self._proxy is None or not self._proxy.username:
            return {}
        login = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"proxy-authorization": f"Basic {b64encode(login.encode()).decode()}"}

    def _whole(self, target: str) -> str:
        """The request target; a proxy for plain HTTP needs the whole address."""
        is_plain = self._url.scheme == "http" and self._proxy is not None
        return f"http://{self._url.netloc}{target}" if is_plain else target


def proxy_to(url: SplitResult) -> SplitResult | None:
    """The proxy of the environment for `url`, the same that obstore uses."""
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found or proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(found if "//" in found else f"http://{found}")


def encoded(query: Mapping[str, str]) -> str:
    """The encoded query, sorted by name as signatures require."""
    return "&".join(f"{_plain(name)}={_plain(query[name])}" for name in sorted(query))


def size_of(text: str) -> int:
    """The size in `text`; -1, which no object has, if it is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else -1


def printable(text: str) -> str:
    """`text` without control characters: a store's answer must not steer the terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def _plain(text: str) -> str:
    return quote(text, safe="-_.~")


def _refused(status: int, text: bytes) -> StoreRefused:
    try:
        document = parsed(text)
    except Unreadable:
        return StoreRefused(status, "", "")
    code, message = document.findtext("{*}Code", ""), document.findtext("{*}Message", "")
    return StoreRefused(status, code, message)


class Unreadable(ValueError):
    """The answer is not one of a store; the message says why."""


class _Flat(ElementTree.TreeBuilder):
    """Builds a tree of limited depth; refuses declarations of types and entities."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        if self._depth > DEPTH:
            raise Unreadable(f"its answer is nested deeper than {DEPTH}")
        return super().start(tag, attrs)

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_: object) -> None:
        raise Unreadable("its answer declares a type")


def parsed(text: bytes) -> ElementTree.Element:
    """The document in `text`; raises `Unreadable`."""
    if len(text) > MOST_BYTES:
        raise Unreadable(f"its answer is longer than {MOST_BYTES} bytes")
    parser = ElementTree.XMLParser(target=_Flat())  # noqa: S314 - a target that takes no entities
    try:
        parser.feed(text)
        document: ElementTree.Element = parser.close()
    except ElementTree.ParseError as error:
        raise Unreadable("its answer is not XML") from error
    return document
