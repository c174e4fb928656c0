"""The few requests to a bucket of S3 or Google that obstore does not know, or not well enough.

Unfinished uploads, listed and aborted; and lists of objects that may hold any name: obstore refuses
the whole list for one that it takes for impossible (`a//b`). Both clouds answer with the same XML.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from holdfast.repositories.http_transport import StoreRefused, Transport, encoded, size_of

Sign = Callable[[str, str, str, bytes], dict[str, str]]
"""The headers of a request: by its method, its path, its query in order, and its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedUpload:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str


class BucketRequests:
    """Requests to one bucket, in path style."""

    def __init__(self, transport: Transport, bucket: str, *, sign: Sign) -> None:
        self._transport = transport
        self._path = f"{transport.path}/{quote(bucket, safe='')}"
        self._sign = sign

    def objects(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Every name that begins with `prefix`, whatever it is, and its size, page by page."""
        asked = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        for page in self._pages(asked, {"continuation-token": "NextContinuationToken"}):
            is_encoded = page.findtext("{*}EncodingType") == "url"
            for found in page.iterfind("{*}Contents"):
                key = found.findtext("{*}Key", "")
                size_bytes = size_of(found.findtext("{*}Size", ""))
                yield unquote_plus(key) if is_encoded else key, size_bytes

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

    def abort(self, upload: UnfinishedUpload) -> None:
        """Drop what was sent of `upload`; one that is gone already is no error."""
        try:
            self.ask("DELETE", upload.key, {"uploadId": upload.upload_id})
        except StoreRefused as error:
            if error.code != "NoSuchUpload":
                raise

    def ask(
        self, method: str, key: str, query: dict[str, str], content: bytes = b""
    ) -> ElementTree.Element:
        """Send one request; raises what `Transport.ask` raises."""
        path = f"{self._path}/{quote(key, safe='/')}" if key else self._path
        line = encoded(query)
        headers = self._sign(method, path, line, content)
        return self._transport.ask(method, f"{path}?{line}" if line else path, headers, content)

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
                raise StoreRefused(http.client.BAD_GATEWAY, "", "its list leads to itself")
