"""A bucket of S3, Google Cloud Storage or Azure, through obstore.

An object of up to 16 MiB is one request that refuses to replace. A longer one is sent in parts and
appears when the last request completes it. Its fingerprint is stored with it whenever it is known
before the first byte is sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import md5
from itertools import chain
from typing import TYPE_CHECKING

import obstore

from holdfast.model.errors import (
    AlreadyStored,
    BackupFailed,
    HoldfastError,
    ObjectMissing,
    RepositoryReadOnly,
    RepositoryRefused,
    RepositoryUnreachable,
)
from holdfast.model.fingerprints import CRYPTOGRAPHIC, fingerprint_in, fingerprint_of
from holdfast.model.stored_json import Unreadable
from holdfast.ports.repository import Content, Stored
from holdfast.repositories.bucket_lists import LONGEST_ETAG, BucketLists
from holdfast.repositories.object_errors import TlsFault, errors_of, no_fault
from holdfast.repositories.object_keys import Listed, believed, is_content, require_plain
from holdfast.runtime import events
from holdfast.runtime.cleanup import on_failure

if TYPE_CHECKING:
    from obstore import Attributes, GetResult
    from obstore.store import ObjectStore

    from holdfast.model.backup import Buffer

CHUNK_BYTES = 1 << 20
MIB = 1 << 20
# S3 and Google take 10,000 parts of 5 MiB or more, Azure 50,000 blocks: keep the strictest limits.
MOST_PARTS = 10_000
SMALLEST_PART_BYTES = 5 * MIB
PART_BYTES = 8 * MIB
PARTS_AT_ONCE = 2
SINGLE_BYTES = 16 << 20
PAGE = 1000
# Names of metadata are lower-case words: Azure takes identifiers only, and some proxies drop
# headers with an underscore.
PUT_ID = "putid"
_MD5_DIGITS = 32


class ObjectStoreRepository:
    """Objects of a bucket, called `name` in messages; `lists`, if given, replaces obstore's lists.

    `tunnel` returns the last TLS fault of our relay, if obstore's connections go through one.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        name: str,
        lists: BucketLists | None = None,
        tunnel: Callable[[], TlsFault | None] = no_fault,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._store = store
        self._name = name
        self._lists = lists
        self._part_bytes = part_bytes
        self._tunnel = tunnel
        self._etag_is_md5 = True

    def _errors_of(self, verb: str, key: str) -> AbstractContextManager[None]:
        return errors_of(verb, key, self._name, tunnel=self._tunnel)

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        require_plain(key)
        known = chunks if isinstance(chunks, Content) else None
        source = (bytes(chunk) for chunk in chunks)
        head: list[bytes] = []
        size_bytes = 0
        if known is None or known.size_bytes < SINGLE_BYTES:
            for chunk in source:
                head.append(chunk)
                size_bytes += len(chunk)
                if size_bytes >= SINGLE_BYTES:
                    break
            else:
                content = head[0] if len(head) == 1 else b"".join(head)
                fingerprint = known.fingerprint if known else fingerprint_of(content)
                return self._put_whole(key, content, fingerprint)
        return self._put_parts(key, chain(_freeing(head), source), known)

    def _put_whole(self, key: str, content: bytes, fingerprint: str) -> Stored:
        """One request, signed over the content, so that the store refuses damaged content."""
        put_id = secrets.token_hex(8)
        attributes: Attributes = _attributes(fingerprint) | {PUT_ID: put_id}
        stored = Stored(key=key, size_bytes=len(content))
        try:
            with self._errors_of("store", key):
                answer = obstore.put(
                    self._store,
                    key,
                    content,
                    mode="create",
                    use_multipart=False,
                    attributes=attributes,
                )
        except (AlreadyStored, RepositoryRefused) as error:
            # obstore repeats a request without an answer, and may then collide with its own object.
            found = self._put_id_of(key)
            if found == put_id:
                return stored
            if found is None or isinstance(error, AlreadyStored):
                raise
            # The store may check an append-only login's permission before it looks at the name.
            raise self._exists(key) from error
        self._require_arrived(key, content, answer["e_tag"] or "")
        return stored

    def _require_arrived(self, key: str, content: bytes, etag: str) -> None:
        """If the ETag looks like an MD5 but is not the content's, read the object back.

        Stores that encrypt give other ETags. Once the content is right in spite of its ETag, the
        ETags of this store are ignored.
        """
        tag = etag.strip('"')
        if not self._etag_is_md5 or len(tag) != _MD5_DIGITS:
            return
        if tag == md5(content, usedforsecurity=False).hexdigest():
            return
        with self.open(key) as chunks:
            is_there = is_content(chunks, content)
        if is_there:
            self._etag_is_md5 = False
            events.debug("etags_ignored", store=self._name)
            return
        self._take_back(key)
        raise RepositoryUnreachable(
            f"cannot store '{key}' in '{self._name}': it stored other bytes than were sent",
            hint="a device on the way to the store damages data: check the proxies",
        )

    def _put_parts(self, key: str, chunks: Iterator[bytes], known: Content | None) -> Stored:
        """Stores differ in whether completing an upload may replace: so look before and after."""
        if self._size_of(key) is not None:
            raise self._exists(key)
        part_bytes = part_bytes_for(known.size_bytes, self._part_bytes) if known else None
        counted = Counted(chunks, part_bytes or self._part_bytes, key=key)
        with self._errors_of("store", key):
            obstore.put(
                self._store,
                key,
                counted,
                use_multipart=True,
                chunk_size=part_bytes or self._part_bytes,
                max_concurrency=PARTS_AT_ONCE,
                attributes=_attributes(known.fingerprint) if known else None,
            )
        found = self._size_of(key)
        if found != counted.size_bytes:
            self._take_back(key)
            raise RepositoryUnreachable(
                f"cannot store '{key}' in '{self._name}': {counted.size_bytes} bytes were sent,"
                f" it stored {found}",
                hint="check whether another program writes to this repository",
            )
        return Stored(key=key, size_bytes=counted.size_bytes)

    def _exists(self, key: str) -> AlreadyStored:
        return AlreadyStored(
            f"cannot store '{key}' in '{self._name}': the key exists",
            hint="stored objects are never overwritten",
        )

    def _put_id_of(self, key: str) -> str | None:
        """The put id of the stored object; None if there is none, or if we may not read it."""
        try:
            return self._head(key).attributes.get(PUT_ID, "")
        except (ObjectMissing, RepositoryRefused):
            return None

    def _size_of(self, key: str) -> int | None:
        try:
            return self.stat(key).size_bytes
        except ObjectMissing:
            return None

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        require_plain(key)
        with self._errors_of("read", key):
            answer = obstore.get(self._store, key)
        yield self._chunks(key, answer)

    def _chunks(self, key: str, answer: GetResult) -> Iterator[bytes]:
        expected, seen = answer.meta["size"], 0
        stream = iter(answer.stream(min_chunk_size=CHUNK_BYTES))
        while True:
            with self._errors_of("read", key):
                chunk = bytes(next(stream, b""))
            if not chunk:
                break
            seen += len(chunk)
            yield chunk
        if seen != expected:
            raise RepositoryUnreachable(
                f"cannot read '{key}' in '{self._name}': {seen} of {expected} bytes arrived",
                hint="trying again may work",
            )

    def stat(self, key: str) -> Stored:
        require_plain(key)
        found = self._head(key)
        return Stored(
            key=key, size_bytes=found.meta["size"], fingerprint=_fingerprint(found.attributes)
        )

    def _head(self, key: str) -> GetResult:
        with self._errors_of("look up", key):
            return obstore.get(self._store, key, options={"head": True})

    def list(self, prefix: str) -> Iterator[Stored]:
        found = self._lists.objects_below(prefix) if self._lists else self._listed(prefix)
        yield from believed(found, prefix, store=self._name)

    def _listed(self, prefix: str) -> Iterator[Listed]:
        pages = iter(obstore.list(self._store, prefix or None, chunk_size=PAGE))
        while True:
            with self._errors_of("list", prefix):
                page = next(pages, None)
            if page is None:
                return
            for each in page:
                yield each["path"], each["size"], (each["e_tag"] or "")[:LONGEST_ETAG]

    def delete(self, key: str) -> None:
        require_plain(key)
        try:
            with self._errors_of("delete", key):
                obstore.delete(self._store, key)
        except ObjectMissing:
            return

    def sweep(self, prefix: str) -> int:
        return self._lists.abort_below(prefix) if self._lists else 0

    def free_bytes(self) -> int | None:
        return None

    def check(self) -> str:
        key = f"check-{secrets.token_hex(8)}/object"
        folder = key.partition("/")[0]
        with on_failure(self.delete, key):
            self.put(key, [b"holdfast"])
            self._require_no_replacing(key)
            with self.open(key) as chunks:
                is_there = is_content(chunks, b"holdfast")
            if not is_there or [each.key for each in self.list(folder)] != [key]:
                raise RepositoryUnreachable(
                    f"cannot trust '{self._name}': it does not return what was just stored",
                    hint="backups need a store with read-after-write consistency",
                )
        refused = ""
        for tidy in (lambda: self.sweep(folder), lambda: self.delete(key)):
            try:
                tidy()
            except (RepositoryReadOnly, RepositoryRefused) as error:
                refused = refused or error.message
        return refused

    def _take_back(self, key: str) -> None:
        """Try to delete a bad object; a failure is ignored in favour of the error that follows."""
        with suppress(HoldfastError):
            self.delete(key)

    def _require_no_replacing(self, key: str) -> None:
        try:
            self.put(key, [b"another"])
        except AlreadyStored:
            return
        raise RepositoryRefused(
            f"cannot trust '{self._name}': it replaces objects although it was told not to",
            hint="the store must support conditional writes (If-None-Match): update it",
        )


def _attributes(fingerprint: str) -> dict[str, str]:
    """The fingerprint as metadata, by the name of its algorithm."""
    algorithm, _, digits = fingerprint.partition(":")
    return {algorithm: digits}


def _fingerprint(attributes: Attributes) -> str:
    """The cryptographic fingerprint in metadata; empty if there is none, or none of its form."""
    for algorithm in CRYPTOGRAPHIC:
        if algorithm in attributes:
            with suppress(Unreadable):
                return fingerprint_in(f"{algorithm}:{attributes[algorithm]}", is_proof=True)
    return ""


def _freeing(chunks: list[bytes]) -> Iterator[bytes]:
    """Each chunk once, freed as soon as it is returned: the upload keeps its own copy."""
    chunks.reverse()
    while chunks:
        yield chunks.pop()


def part_bytes_for(size_bytes: int, least: int = PART_BYTES) -> int:
    """The size of each part of an object: `least`, or more if there would be too many parts."""
    needed = -(-size_bytes // MOST_PARTS)
    return max(least, SMALLEST_PART_BYTES, -(-needed // MIB) * MIB)


class Counted:
    """Counts the bytes of a stream, and raises `BackupFailed` if it is too long for the store."""

    def __init__(self, chunks: Iterator[bytes], part_bytes: int, *, key: str) -> None:
        self._chunks = chunks
        self._most_bytes = part_bytes * MOST_PARTS
        self._key = key
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.size_bytes += len(chunk)
        if self.size_bytes > self._most_bytes:
            raise BackupFailed(
                f"cannot store '{self._key}': it is longer than {MOST_PARTS} parts of"
                f" {self._most_bytes // MOST_PARTS // MIB} MiB",
                hint="raise part_size of the repository, or split tables with chunk_size",
            )
        return chunk
