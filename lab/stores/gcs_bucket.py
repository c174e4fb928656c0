"""A bucket of Google Cloud Storage: objects, generations, checksums and multipart uploads.

It follows the reference of the XML API: PUT Object, GET and HEAD Object, DELETE Object, GET Bucket
(list objects, version 2), and POST and PUT Object for multipart uploads.
"""

import base64
import hashlib
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import google_crc32c

META = "x-goog-meta-"
SMALLEST_PART_BYTES = 5 << 20
MOST_PARTS = 10_000
MOST_NAME_BYTES = 1024
PAGE = 1000


class Refused(Exception):
    """A refused request: HTTP status, Google's error code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Stored:
    """One generation of an object; one uploaded in parts has no MD5, and an ETag that is none."""

    content: bytes
    generation: int
    etag: str
    headers: Mapping[str, str]
    updated: datetime
    md5: bytes | None

    @property
    def checksums(self) -> str:
        """The checksums in the format of `x-goog-hash`."""
        crc = f"crc32c={_text(_crc32c(self.content))}"
        return f"{crc},md5={_text(self.md5)}" if self.md5 is not None else crc


@dataclass
class Upload:
    """An unfinished multipart upload: its object's name and headers, and the parts so far."""

    name: str
    headers: Mapping[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """Some names in order; `token` requests the next page, and is empty on the last one."""

    found: list[tuple[str, Stored]]
    token: str


class Bucket:
    """Objects in memory, for several threads; a page has `names_a_page` names at most."""

    def __init__(self, *, names_a_page: int = PAGE) -> None:
        self._names_a_page = names_a_page
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1_700_000_000_000_000)

    def put(
        self, name: str, content: bytes, headers: Mapping[str, str], *, may_replace: bool
    ) -> Stored:
        """Store the object atomically, if its checksums and preconditions hold."""
        _require_name(name)
        _require_checksums(content, headers)
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        with self._lock:
            self._require_generation(name, headers)
            self._require_right(name, may_replace=may_replace)
            return self._keep(name, content, headers, etag=digest.hex(), md5=digest)

    def get(self, name: str) -> Stored:
        with self._lock:
            return self._found(name)

    def delete(self, name: str, headers: Mapping[str, str]) -> None:
        with self._lock:
            self._found(name)
            self._require_generation(name, headers)
            del self.objects[name]

    def page(self, prefix: str, *, after: str, token: str, most: int) -> Page:
        """A page of names with `prefix`; a token is the last name of the page before."""
        begin = max(after, _untokened(token))
        with self._lock:
            names = sorted(
                (name for name in self.objects if name.startswith(prefix) and name > begin),
                key=str.encode,
            )
            found = [(name, self.objects[name]) for name in names[: min(most, self._names_a_page)]]
        return Page(found, _text(found[-1][0].encode()) if len(found) < len(names) else "")

    def begin_upload(self, name: str, headers: Mapping[str, str]) -> str:
        _require_name(name)
        with self._lock:
            upload_id = f"upload-{next(self._numbers)}"
            self.uploads[upload_id] = Upload(name, headers)
            return upload_id

    def put_part(
        self, upload_id: str, number: int, content: bytes, headers: Mapping[str, str]
    ) -> str:
        """Store a part; returns its ETag, which `complete` must name."""
        if not 1 <= number <= MOST_PARTS:
            raise Refused(400, "InvalidArgument", f"Invalid part number {number}.")
        _require_checksums(content, headers)
        with self._lock:
            self._upload(upload_id).parts[number] = content
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    def complete(
        self, upload_id: str, named: list[tuple[int, str]], *, may_replace: bool
    ) -> Stored:
        """Join the named parts in their order; the object replaces an earlier one."""
        with self._lock:
            upload = self._upload(upload_id)
            parts = [_named_part(upload, number, etag) for number, etag in named]
            if not parts or [number for number, _ in named] != sorted({n for n, _ in named}):
                raise Refused(400, "InvalidPartOrder", "The list of parts was not in order.")
            if any(len(part) < SMALLEST_PART_BYTES for part in parts[:-1]):
                raise Refused(400, "EntityTooSmall", "A part is below the minimum size.")
            self._require_right(upload.name, may_replace=may_replace)
            del self.uploads[upload_id]
            content = b"".join(parts)
            etag = f"-{_text(_crc32c(content))}"
            return self._keep(upload.name, content, upload.headers, etag=etag, md5=None)

    def abort(self, upload_id: str) -> None:
        with self._lock:
            self._upload(upload_id)
            del self.uploads[upload_id]

    def _keep(
        self,
        name: str,
        content: bytes,
        headers: Mapping[str, str],
        *,
        etag: str,
        md5: bytes | None,
    ) -> Stored:
        kept = {key: value for key, value in headers.items() if key.startswith(META)}
        kept["content-type"] = headers.get("content-type", "application/octet-stream")
        stored = Stored(content, next(self._numbers), etag, kept, datetime.now(UTC), md5)
        self.objects[name] = stored
        return stored

    def _found(self, name: str) -> Stored:
        if name not in self.objects:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        return self.objects[name]

    def _upload(self, upload_id: str) -> Upload:
        if upload_id not in self.uploads:
            raise Refused(404, "NoSuchUpload", "The requested upload was not found.")
        return self.uploads[upload_id]

    def _require_generation(self, name: str, headers: Mapping[str, str]) -> None:
        wanted = headers.get("x-goog-if-generation-match")
        found = self.objects[name].generation if name in self.objects else 0
        if wanted is not None and int(wanted) != found:
            raise Refused(412, "PreconditionFailed", "A precondition you specified did not hold.")

    def _require_right(self, name: str, *, may_replace: bool) -> None:
        if name in self.objects and not may_replace:
            raise Refused(403, "AccessDenied", "No storage.objects.delete access to the object.")


def _named_part(upload: Upload, number: int, etag: str) -> bytes:
    part = upload.parts.get(number)
    if part is None or hashlib.md5(part, usedforsecurity=False).hexdigest() != etag.strip('"'):
        raise Refused(400, "InvalidPart", f"Part {number} is not there, or not with that ETag.")
    return part


def _require_name(name: str) -> None:
    is_relative = name in (".", "..") or name.startswith(".well-known/acme-challenge/")
    if is_relative or not 1 <= len(name.encode()) <= MOST_NAME_BYTES or {"\r", "\n"} & set(name):
        raise Refused(400, "InvalidObjectName", "The specified object name is not valid.")


def _require_checksums(content: bytes, headers: Mapping[str, str]) -> None:
    """Check every checksum that the sender states: `Content-MD5` and `x-goog-hash`."""
    told = [("md5", headers["content-md5"])] if "content-md5" in headers else []
    for each in filter(None, headers.get("x-goog-hash", "").replace(" ", "").split(",")):
        kind, _, value = each.partition("=")
        told.append((kind, value))
    for kind, value in told:
        found = (
            _crc32c(content)
            if kind == "crc32c"
            else hashlib.md5(content, usedforsecurity=False).digest()
        )
        if _text(found) != value:
            message = f"The {kind} you specified did not match what we computed."
            raise Refused(400, "BadDigest", message)


def _crc32c(content: bytes) -> bytes:
    value: int = google_crc32c.value(content)
    return value.to_bytes(4, "big")


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _untokened(token: str) -> str:
    return base64.b64decode(token).decode() if token else ""
