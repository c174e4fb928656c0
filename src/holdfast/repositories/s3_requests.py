"""The few requests of S3 that obstore does not know: unfinished uploads, listed and aborted.

Signed as AWS describes it (Signature Version 4), with nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from holdfast.cleanup import afterwards

TIMEOUT_SECONDS = 30.0
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
    ) -> None:
        self._url = urlsplit(endpoint)
        self._path = f"{self._url.path.rstrip('/')}/{quote(bucket, safe='')}"
        self._region = region
        self._keys = keys
        self._clock = clock
        self._tls = tls

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Every unfinished upload whose key begins with `prefix`, page by page."""
        markers: dict[str, str] = {}
        while True:
            page = self.ask("GET", "", {"uploads": "", "prefix": prefix, **markers})
            for upload in page.iterfind("{*}Upload"):
                yield UnfinishedUpload(
                    key=upload.findtext("{*}Key", ""), upload_id=upload.findtext("{*}UploadId", "")
                )
            if page.findtext("{*}IsTruncated") != "true":
                return
            markers = {
                "key-marker": page.findtext("{*}NextKeyMarker", ""),
                "upload-id-marker": page.findtext("{*}NextUploadIdMarker", ""),
            }

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
                f"{path}?{line}" if line else path,
                body=content or None,
                headers=self._signed(method, path, line, content),
            )
            answer = connection.getresponse()
            text = answer.read()
        if answer.status >= http.client.MULTIPLE_CHOICES:
            raise _refused(answer.status, text)
        return ElementTree.fromstring(text) if text else ElementTree.Element("none")  # noqa: S314 - expat refuses entity bombs since 2.4.1, and the store is the one we trust with the backups

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        context = self._tls or ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)

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


def _plain(text: str) -> str:
    return quote(text, safe="-_.~")


def _refused(status: int, text: bytes) -> S3Refused:
    try:
        document = ElementTree.fromstring(text)  # noqa: S314 - as above
    except ElementTree.ParseError:
        return S3Refused(status, "", "")
    return S3Refused(status, document.findtext("{*}Code", ""), document.findtext("{*}Message", ""))
