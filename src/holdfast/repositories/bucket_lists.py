"""Lists of a bucket without obstore: objects of any name, and unfinished uploads.

obstore cannot list unfinished uploads, and refuses a whole list for one name that it considers
invalid (`a//b`). S3 and Google answer with the same XML.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from holdfast.model.errors import RepositoryRefused, RepositoryUnreachable
from holdfast.model.lazy_dataclass import dataclass
from holdfast.repositories.http_transport import StoreRefused, Transport, encoded, size_of
from holdfast.repositories.object_errors import REMEDIES, RIGHTS, tls_fault_of

if TYPE_CHECKING:
    from holdfast.repositories.object_keys import Listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The signed content of a request; `query` is sorted by name."""

    method: str
    path: str
    query: str
    content: bytes


Sign = Callable[[Request], dict[str, str]]
"""Returns the headers of a request, with its signature."""

# Stores use a digest, with quotes and a number of parts.
LONGEST_ETAG = 200
_REFUSALS = (400, 401, 403, 404)
_LATER = ("RequestTimeout", "SlowDown")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedUpload:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    upload_id: str


class BucketRequests:
    """Requests to one bucket, with path-style addresses."""

    def __init__(self, transport: Transport, bucket: str, *, sign: Sign) -> None:
        self._transport = transport
        self._path = f"{transport.path}/{quote(bucket, safe='')}"
        self._sign = sign

    def objects(self, prefix: str) -> Iterator[Listed]:
        """Every object whose name begins with `prefix`, page by page; its version is its ETag."""
        asked = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        for page in self._pages(asked, {"continuation-token": "NextContinuationToken"}):
            is_encoded = page.findtext("{*}EncodingType") == "url"
            for found in page.iterfind("{*}Contents"):
                key = found.findtext("{*}Key", "")
                size_bytes = size_of(found.findtext("{*}Size", ""))
                version = found.findtext("{*}ETag", "")[:LONGEST_ETAG]
                yield unquote_plus(key) if is_encoded else key, size_bytes, version

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
        """Delete the parts of `upload`; an upload that is already gone is not an error."""
        try:
            self.ask("DELETE", upload.key, {"uploadId": upload.upload_id})
        except StoreRefused as error:
            if error.code != "NoSuchUpload":
                raise

    def ask(
        self, method: str, key: str, query: dict[str, str], *, content: bytes = b""
    ) -> ElementTree.Element:
        """Send one request; raises what `Transport.ask` raises."""
        path = f"{self._path}/{quote(key, safe='/')}" if key else self._path
        line = encoded(query)
        asked = Request(method=method, path=path, query=line, content=content)
        target = f"{path}?{line}" if line else path
        return self._transport.ask(method, target, self._sign(asked), content=content)

    def _pages(
        self, asked: dict[str, str], following: dict[str, str]
    ) -> Iterator[ElementTree.Element]:
        """The pages of a list; `following` maps query names to the elements with the next values.

        Raises what `ask` raises, and `StoreRefused` if a page leads to itself.
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
                raise StoreRefused(http.client.BAD_GATEWAY, "", "its list never ends")


class Requests(Protocol):
    """The requests that lists need; names and keys include the repository's prefix."""

    def objects(self, prefix: str) -> Iterator[Listed]: ...

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]: ...

    def abort(self, upload: UnfinishedUpload) -> None: ...


class BucketLists:
    """Objects and uploads of a repository, with keys that lack the repository's prefix."""

    def __init__(self, requests: Requests, *, prefix: str, name: str) -> None:
        self._requests = requests
        self._prefix = prefix.strip("/")
        self._name = name

    def objects_below(self, prefix: str) -> Iterator[Listed]:
        """The objects as the store reports them, unverified."""
        beginning = f"{self._prefix}/" if self._prefix else ""
        found = self._requests.objects(self._below(prefix))
        while True:
            with self._told(f"list '{prefix}'"):
                each = next(found, None)
            if each is None:
                return
            key, size_bytes, version = each
            is_ours = key.startswith(beginning)
            # A name outside the prefix gets a leading slash, which no valid key has.
            yield key.removeprefix(beginning) if is_ours else f"/{key}", size_bytes, version

    def abort_below(self, prefix: str) -> int:
        """Abort the unfinished multipart uploads below `prefix`; how many."""
        with self._told("end unfinished uploads"):
            found = list(self._requests.unfinished(self._below(prefix)))
            for upload in found:
                self._requests.abort(upload)
        return len(found)

    def _below(self, prefix: str) -> str:
        return "".join(f"{part}/" for part in (self._prefix, prefix) if part)

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except StoreRefused as error:
            what = f"cannot {verb} in '{self._name}': {error}"
            if error.code not in _LATER and (error.status in _REFUSALS or error.code in REMEDIES):
                raise RepositoryRefused(what, hint=REMEDIES.get(error.code, RIGHTS)) from error
            raise RepositoryUnreachable(what, hint="trying later may work") from error
        except (OSError, http.client.HTTPException) as error:
            if (fault := tls_fault_of(error)) is not None:
                what = f"cannot {verb} in '{self._name}': {fault.cause}"
                raise RepositoryRefused(what, hint=fault.hint) from error
            raise RepositoryUnreachable(
                f"cannot {verb} in '{self._name}': {error}",
                hint="check the endpoint, and whether it answers",
            ) from error
