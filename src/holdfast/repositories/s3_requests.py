"""The few requests of S3 that obstore does not know, or not well enough.

Unfinished uploads, listed and aborted; and lists of objects that may hold any name: obstore refuses
the whole list for one that it takes for impossible (`a//b`). Signed as AWS describes it (Signature
Version 4), with nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit
from urllib.request import getproxies, proxy_bypass
from xml.etree import ElementTree

from holdfast.cleanup import afterwards
from holdfast.repositories.xml_answers import MOST_BYTES, Unreadable, parsed

TIMEOUT_SECONDS = 30.0
# A longer number is no size.
_DIGITS = 20
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Keys:
    """What requests are signed with; never shown."""

    access_key: str
    secret_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "S3Keys(***)"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedUpload:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str


class S3Refused(Exception):
    """The store answered with an error; `code` is its own word for it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code or status}: {message}" if message else f"{code or status}")
        self.status = status
        self.code = code


class S3Requests:
    """Signed requests to one bucket, in path style; one connection each, for they are rare."""

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        region: str,
        keys: S3Keys,
        clock: Callable[[], datetime],
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = urlsplit(endpoint)
        self._path = f"{self._url.path.rstrip('/')}/{quote(bucket, safe='')}"
        self._region = region
        self._keys = keys
        self._clock = clock
        self._tls = tls
        self._timeout_seconds = timeout_seconds

    def objects(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Every name that begins with `prefix`, whatever it is, and its size, page by page."""
        asked = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        for page in self._pages(asked, {"continuation-token": "NextContinuationToken"}):
            is_encoded = page.findtext("{*}EncodingType") == "url"
            for found in page.iterfind("{*}Contents"):
                key = found.findtext("{*}Key", "")
                yield unquote_plus(key) if is_encoded else key, _size(found)

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Every unfinished upload whose key begins with `prefix`, page by page."""
        following = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
        for page in self._pages({"uploads": "", "prefix": prefix}, following):
            for upload in page.iterfind("{*}Upload"):
                found = UnfinishedUpload(
                    key=upload.findtext("{*}Key", ""), upload_id=upload.findtext("{*}UploadId", "")
                )
                if found.key.startswith(prefix):
                    yield found

    def _pages(
        self, asked: dict[str, str], following: dict[str, str]
    ) -> Iterator[ElementTree.Element]:
        """`following` are the questions for the next page, and where this one answers them.

        Raises what `ask` raises, also where a page leads to itself.
        """
        markers: dict[str, str] = {}
        while True:
            page = self.ask("GET", "", asked | markers)
            yield page
            if page.findtext("{*}IsTruncated") != "true":
                return
            before = markers
            markers = {name: page.findtext(f"{{*}}{told}", "") for name, told in following.items()}
            if markers == before or not any(markers.values()):
                raise S3Refused(http.client.BAD_GATEWAY, "", "its list leads to itself")

    def abort(self, upload: UnfinishedUpload) -> None:
        """Drop what was sent of `upload`; one that is gone already is no error."""
        try:
            self.ask("DELETE", upload.key, {"uploadId": upload.upload_id})
        except S3Refused as error:
            if error.code != "NoSuchUpload":
                raise

    def ask(
        self, method: str, key: str, query: dict[str, str], content: bytes = b""
    ) -> ElementTree.Element:
        """Send one request; the answer's document, empty where there is none.

        Raises `S3Refused`, and `OSError` or `http.client.HTTPException` where nobody answers.
        """
        path = f"{self._path}/{quote(key, safe='/')}" if key else self._path
        line = "&".join(f"{_plain(name)}={_plain(query[name])}" for name in sorted(query))
        connection = self._connection()
        with afterwards(connection.close):
            connection.request(
                method,
                self._target(f"{path}?{line}" if line else path),
                body=content or None,
                headers=self._signed(method, path, line, content),
            )
            answer = connection.getresponse()
            text = answer.read(MOST_BYTES + 1)
        if answer.status >= http.client.MULTIPLE_CHOICES:
            raise _refused(answer.status, text)
        try:
            return parsed(text) if text else ElementTree.Element("none")
        except Unreadable as error:
            raise S3Refused(http.client.BAD_GATEWAY, "", str(error)) from error

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
        """The one that obstore goes through too: that of the environment."""
        proxies = getproxies()
        found = proxies.get(self._url.scheme) or proxies.get("all")
        if not found or proxy_bypass(self._url.hostname or ""):
            return None
        return urlsplit(found if "//" in found else f"http://{found}")

    @property
    def _proxy_login(self) -> dict[str, str]:
        if self._proxy is None or not self._proxy.username:
            return {}
        login = f"{unquote(self._proxy.username)}:{unquote(self._proxy.password or '')}"
        return {"proxy-authorization": f"Basic {b64encode(login.encode()).decode()}"}

    def _target(self, path: str) -> str:
        """A proxy of plain HTTP wants to know the whole address."""
        is_plain = self._url.scheme == "http" and self._proxy is not None
        return f"http://{self._url.netloc}{path}" if is_plain else path

    def _signed(self, method: str, path: str, query: str, content: bytes) -> dict[str, str]:
        now = self._clock()
        content_digest = hashlib.sha256(content).hexdigest()
        headers = {
            "host": self._url.netloc,
            "x-amz-content-sha256": content_digest,
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        }
        if self._keys.session_token:
            headers["x-amz-security-token"] = self._keys.session_token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join((method, path, query, lines, names, content_digest))
        scope = f"{now:%Y%m%d}/{self._region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join((_ALGORITHM, headers["x-amz-date"], scope, digest))
        signature = hmac.new(self._signing_key(scope), text.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self._keys.access_key}/{scope}"
        return headers | {
            "authorization": f"{_ALGORITHM} {credential}, SignedHeaders={names},"
            f" Signature={signature}"
        }

    def _signing_key(self, scope: str) -> bytes:
        key = f"AWS4{self._keys.secret_key}".encode()
        for step in scope.split("/"):
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        return key


def _size(found: ElementTree.Element) -> int:
    """-1 where it is no number, which no object has."""
    text = found.findtext("{*}Size", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else -1


def _plain(text: str) -> str:
    return quote(text, safe="-_.~")


def _refused(status: int, text: bytes) -> S3Refused:
    try:
        document = parsed(text)
    except Unreadable:
        return S3Refused(status, "", "")
    return S3Refused(status, document.findtext("{*}Code", ""), document.findtext("{*}Message", ""))
