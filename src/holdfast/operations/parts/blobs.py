"""Blobs: long values stored once for all backups of a job, named after their content."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from holdfast.catalog.places import blob_key
from holdfast.model.backup import Blob, Buffer, Codec
from holdfast.model.errors import (
    AlreadyStored,
    BackupFailed,
    ObjectMissing,
    VerifyFailed,
)
from holdfast.model.fingerprints import (
    FAST,
    Algorithms,
    algorithm_of,
    digest,
    told,
)
from holdfast.operations.parts.blob_read import BlobNames, stored_fingerprint
from holdfast.operations.parts.mirrored import complete
from holdfast.operations.parts.read import (
    BlobRecords,
    stored_suffix,
)
from holdfast.pipeline.compression import COMPRESSORS
from holdfast.pipeline.encryption import encryption
from holdfast.pipeline.flow import Fingerprint, Stage, flow
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards

if TYPE_CHECKING:
    from holdfast.ports.repository import Repository


@dataclass(frozen=True, slots=True)
class KnownBlobs:
    """The blobs of finished backups by key.

    `is_all` is False if a manifest cannot be read. An unknown blob may be in use then.
    """

    by_key: Mapping[str, Blob] = field(default_factory=dict)
    is_all: bool = True


Known = Callable[[], KnownBlobs]
Read = Callable[[], Iterable[Buffer]]


class BlobWriter:
    """Obeys `ports.source.Blobs` for one run of a job.

    A sealed blob cannot be opened here. It is reused only if a finished backup (`known`) records
    it and its stored bytes have the recorded fingerprint.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        job: str,
        codec: Codec,
        level: int,
        advance: Callable[[int], None],
        names: BlobNames | None = None,
        known: Known = KnownBlobs,
        fingerprints: Algorithms = FAST,
        memory_bytes: int = 0,
    ) -> None:
        """Values that `take` reads are held in `memory_bytes`, of all workers together."""
        self._repository = repository
        self._job = job
        self._codec = codec
        self._level = level
        self._advance = advance
        self._names = names or BlobNames()
        self._records = BlobRecords(repository)
        self._fingerprints = fingerprints
        self._free_bytes = memory_bytes
        self._look_up = known
        self._known: KnownBlobs | None = None
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._kept: dict[str, Blob] = {}
        self.stored = 0
        self.healed = 0

    @property
    def kept(self) -> tuple[Blob, ...]:
        """Every blob that this run refers to."""
        with self._lock:
            return tuple(sorted(self._kept.values(), key=lambda blob: blob.key))

    @property
    def secret(self) -> str:
        """The sealed secret of the names, for the manifest; empty if this run has no blobs."""
        return self._names.sealed_secret() if self._kept else ""

    def keep(self, fingerprint: str, size_bytes: int, read: Read) -> None:
        # Two tables may hold the same value: the second worker waits and finds it stored.
        with self._turn(fingerprint):
            if fingerprint not in self._kept:
                blob = self._blob(fingerprint, size_bytes)
                self._kept[fingerprint] = self._found(blob) or self._store(blob, fingerprint, read)

    def take(self, read: Read) -> tuple[str, int]:
        algorithm = self._fingerprints.stored
        found, size_bytes = digest(algorithm), 0
        held = _Held(self._reserve, self._give_back)
        with afterwards(held.drop):
            for chunk in read():
                found.update(chunk)
                size_bytes += len(chunk)
                held.add(chunk)
            fingerprint = told(algorithm, found)
            self.keep(fingerprint, size_bytes, held.chunks if held.is_whole else read)
        return fingerprint, size_bytes

    def _reserve(self, size_bytes: int) -> bool:
        with self._lock:
            has_room = size_bytes <= self._free_bytes
            self._free_bytes -= size_bytes if has_room else 0
        return has_room

    def _give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._free_bytes += size_bytes

    @contextmanager
    def _turn(self, fingerprint: str) -> Iterator[None]:
        with self._lock:
            turn = self._turns.setdefault(fingerprint, threading.Lock())
        with turn:
            yield
        with self._lock:
            self._turns.pop(fingerprint, None)

    def _blob(self, fingerprint: str, size_bytes: int) -> Blob:
        is_sealed = bool(self._names.recipients)
        suffix = stored_suffix(self._codec, "age" if is_sealed else "none")
        return Blob(
            key=blob_key(self._job, self._names.name_of(fingerprint), suffix),
            plain_fingerprint="" if is_sealed else fingerprint,
            plain_bytes=size_bytes,
            encryption="age" if is_sealed else "none",
        )

    def _found(self, blob: Blob) -> Blob | None:
        """The stored blob, verified; None if it must be stored. A damaged one is removed."""
        known = self._known_as(blob) if blob.encryption != "none" else {blob.key: blob}
        if not known and self._all_known.is_all:
            # A failed run left it, and no manifest says whether it is complete.
            self._repository.delete(blob.key)
        with suppress(ObjectMissing):
            # If a store refused to delete a damaged blob, a good one lies beside it.
            found = self._first_right(known) or self._first_right(self._known_as(blob), but=known)
            if found is not None:
                complete(self._repository, found.key)
            return found
        return None

    def _first_right(self, blobs: Mapping[str, Blob], *, but: Collection[str] = ()) -> Blob | None:
        untried = (each for key, each in blobs.items() if key not in but)
        return next(filter(None, map(self._right, untried)), None)

    @property
    def _all_known(self) -> KnownBlobs:
        with self._lock:
            if self._known is None:
                self._known = self._look_up()
            return self._known

    def _known_as(self, blob: Blob) -> Mapping[str, Blob]:
        """Blobs of finished backups with the same name, under its usual key or another one."""
        known = self._all_known.by_key
        name, _, suffix = blob.key.partition(".")
        return {
            key: each
            for key, each in known.items()
            if key == blob.key or (key.startswith(f"{name}.") and key.endswith(suffix))
        }

    def _right(self, blob: Blob) -> Blob | None:
        """The blob with a record if it is whole; None if it is damaged, and then it is removed.

        A damaged sealed blob is removed only if all manifests can be read. Raises `ObjectMissing`.
        """
        try:
            return self._proven(blob)
        except VerifyFailed as error:
            if isinstance(error.__cause__, ObjectMissing):
                raise error.__cause__ from None
            events.warning("blob_damaged", blob=blob.key, problem=error.message)
            if blob.encryption == "none" or self._all_known.is_all:
                self._repository.delete(blob.key)
                self.healed += 1
            return None

    def _proven(self, blob: Blob) -> Blob:
        """The blob with a record of how it is stored; raises `VerifyFailed`."""
        return _recorded(
            blob,
            stored_fingerprint(
                self._repository,
                blob,
                advance=self._advance,
                records=self._records,
                algorithm=self._fingerprints.stored,
            ),
        )

    def _store(self, blob: Blob, fingerprint: str, read: Read) -> Blob:
        try:
            return self._put(blob, fingerprint, read)
        except AlreadyStored:
            # An append-only store still has an unusable object under that key.
            name, dot, suffix = blob.key.partition(".")
            other = f"{name}.{secrets.token_hex(4)}{dot}{suffix}"
            return self._put(replace(blob, key=other), fingerprint, read)

    def _put(self, blob: Blob, fingerprint: str, read: Read) -> Blob:
        plain = Fingerprint(algorithm_of(fingerprint), advance=self._advance)
        stored = Fingerprint(self._fingerprints.stored)
        with encryption(self._names.recipients) as encrypt:
            stages: list[Stage] = [plain, COMPRESSORS[self._codec](self._level), encrypt, stored]
            self._repository.put(blob.key, _as_named(flow(read(), stages), plain, fingerprint))
        self.stored += 1
        events.reached("blob-stored")
        return _recorded(blob, stored)


def _recorded(blob: Blob, stored: Fingerprint) -> Blob:
    return replace(blob, stored_bytes=stored.size_bytes, stored_fingerprint=stored.fingerprint)


class _Held:
    """The chunks of one value, as long as `reserve` has memory for them."""

    def __init__(self, reserve: Callable[[int], bool], give_back: Callable[[int], None]) -> None:
        self._reserve = reserve
        self._give_back = give_back
        self._chunks: list[bytes] = []
        self._size_bytes = 0
        self.is_whole = True

    def add(self, chunk: Buffer) -> None:
        if self.is_whole and self._reserve(len(chunk)):
            self._chunks.append(bytes(chunk))
            self._size_bytes += len(chunk)
        else:
            self.is_whole = False
            self.drop()

    def chunks(self) -> Iterable[Buffer]:
        return self._chunks

    def drop(self) -> None:
        self._chunks.clear()
        self._give_back(self._size_bytes)
        self._size_bytes = 0


def _as_named(chunks: Iterator[Buffer], plain: Fingerprint, fingerprint: str) -> Iterator[Buffer]:
    """Raise at the end if the content is not that of the name: nothing is stored then."""
    yield from chunks
    if plain.fingerprint != fingerprint:
        raise BackupFailed(
            f"cannot store blob '{fingerprint}': its content was read as '{plain.fingerprint}'",
            hint="run the backup again; if the error returns, check the server's storage",
        )
