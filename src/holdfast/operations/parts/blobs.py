"""Blobs: long values stored once for all backups of a job, named after their content."""

from __future__ import annotations

import secrets
import threading
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from itertools import chain
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
from holdfast.model.lazy_dataclass import dataclass
from holdfast.operations.parts.blob_read import BlobNames, stored_fingerprint
from holdfast.operations.parts.mirrored import complete
from holdfast.operations.parts.read import (
    BlobRecords,
    stored_suffix,
)
from holdfast.operations.parts.value_memory import HeldValue, ValueMemory
from holdfast.pipeline.compression import COMPRESSORS, Pass, is_incompressible
from holdfast.pipeline.encryption import encryption
from holdfast.pipeline.flow import Fingerprint, Size, Stage, flow
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


# What is looked at to see whether a value compresses.
SAMPLE_BYTES = 128 << 10

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
        self._memory = ValueMemory(memory_bytes)
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
        self._keep(_Value(fingerprint, size_bytes, read))

    def take(self, read: Read) -> tuple[str, int]:
        algorithm = self._fingerprints.stored
        found, size_bytes = digest(algorithm), 0
        held = HeldValue(self._memory)
        with afterwards(held.drop):
            with _begun(read) as chunks:
                for chunk in chunks:
                    found.update(chunk)
                    size_bytes += len(chunk)
                    held.add(chunk)
            fingerprint = told(algorithm, found)
            if held.is_whole:
                self._keep(_Value(fingerprint, size_bytes, held.chunks, is_proven=True))
            else:
                self._keep(_Value(fingerprint, size_bytes, read))
        return fingerprint, size_bytes

    def _keep(self, value: _Value) -> None:
        # Two tables may hold the same value: the second worker waits and finds it stored.
        with self._turn(value.fingerprint):
            if value.fingerprint not in self._kept:
                self._kept[value.fingerprint] = self._stored_already(value) or self._store(value)

    def _stored_already(self, value: _Value) -> Blob | None:
        """The stored blob, compressed or, as one that did not become smaller, as it is."""
        candidates = (self._blob(value, codec) for codec in self._codecs)
        return next(filter(None, map(self._found, candidates)), None)

    @property
    def _codecs(self) -> tuple[Codec, ...]:
        """How a value may be stored. Sealing costs more than compressing: those have one form."""
        is_either = self._codec is not Codec.NONE and not self._names.recipients
        return (self._codec, Codec.NONE) if is_either else (self._codec,)

    @contextmanager
    def _turn(self, fingerprint: str) -> Iterator[None]:
        with self._lock:
            turn = self._turns.setdefault(fingerprint, threading.Lock())
        with turn:
            yield
        with self._lock:
            self._turns.pop(fingerprint, None)

    def _blob(self, value: _Value, codec: Codec) -> Blob:
        is_sealed = bool(self._names.recipients)
        suffix = stored_suffix(codec, "age" if is_sealed else "none")
        return Blob(
            key=blob_key(self._job, self._names.name_of(value.fingerprint), suffix),
            plain_fingerprint="" if is_sealed else value.fingerprint,
            plain_bytes=value.size_bytes,
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

    def _store(self, value: _Value) -> Blob:
        with _begun(value.read) as chunks:
            head = list(_sample(chunks, stay=value.is_proven))
            is_noise = len(self._codecs) > 1 and is_incompressible(_head(head))
            codec = Codec.NONE if is_noise else self._codec
            blob = self._blob(value, codec)
            with suppress(AlreadyStored):
                return self._put(blob, value, chain(head, chunks), codec=codec)
        # An append-only store still has an unusable object under that key.
        name, dot, suffix = blob.key.partition(".")
        other = f"{name}.{secrets.token_hex(4)}{dot}{suffix}"
        with _begun(value.read) as chunks:
            return self._put(replace(blob, key=other), value, chunks, codec=codec)

    def _put(self, blob: Blob, value: _Value, chunks: Iterable[Buffer], *, codec: Codec) -> Blob:
        plain = self._plain(value)
        with encryption(self._names.recipients) as encrypt:
            changing: list[Stage] = [COMPRESSORS[codec](self._level), encrypt]
            stored = self._stored(value, changing)
            stream = flow(chunks, [plain, *changing, stored])
            self._repository.put(blob.key, _as_named(stream, plain, value.fingerprint))
        self.stored += 1
        events.reached("blob-stored")
        return replace(
            blob,
            stored_bytes=stored.size_bytes,
            stored_fingerprint=_told(stored, value.fingerprint),
        )

    def _plain(self, value: _Value) -> Size:
        """A fingerprint, unless the bytes in memory are those that were named by theirs."""
        if value.is_proven:
            return Size(advance=self._advance)
        return Fingerprint(algorithm_of(value.fingerprint), advance=self._advance)

    def _stored(self, value: _Value, changing: Sequence[Stage]) -> Size:
        """A fingerprint, unless that of the plain bytes is the same."""
        is_unaltered = all(isinstance(stage, Pass) for stage in changing)
        if is_unaltered and algorithm_of(value.fingerprint) == self._fingerprints.stored:
            return Size()
        return Fingerprint(self._fingerprints.stored)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value to keep; with `is_proven` what `read` returns has this fingerprint, without doubt."""

    fingerprint: str
    size_bytes: int
    read: Read
    is_proven: bool = False


@contextmanager
def _begun(read: Read) -> Iterator[Iterator[Buffer]]:
    """The chunks of a value; leaving the block ends the read.

    Its session can do nothing else before, and the traceback of an error would keep it alive.
    """
    chunks = iter(read())
    with afterwards(_end, chunks):
        yield chunks


def _end(chunks: Iterator[Buffer]) -> None:
    if isinstance(chunks, Generator):
        chunks.close()


def _sample(chunks: Iterator[Buffer], *, stay: bool) -> Iterator[Buffer]:
    """The first chunks, of a sample's length together; copied, unless they `stay` as they are."""
    size_bytes = 0
    while size_bytes < SAMPLE_BYTES and (chunk := next(chunks, b"")):
        size_bytes += len(chunk)
        yield chunk if stay else bytes(chunk)


def _head(begun: Iterable[Buffer]) -> bytes:
    """At most a sample's length of each chunk: few chunks, or short ones."""
    head = bytearray()
    for chunk in begun:
        head += chunk[:SAMPLE_BYTES]
    return bytes(head)


def _told(seen: Size, otherwise: str) -> str:
    return seen.fingerprint if isinstance(seen, Fingerprint) else otherwise


def _recorded(blob: Blob, stored: Fingerprint) -> Blob:
    return replace(blob, stored_bytes=stored.size_bytes, stored_fingerprint=stored.fingerprint)


def _as_named(chunks: Iterator[Buffer], plain: Size, fingerprint: str) -> Iterator[Buffer]:
    """Raise at the end if the content is not that of the name: nothing is stored then."""
    yield from chunks
    if (found := _told(plain, fingerprint)) != fingerprint:
        raise BackupFailed(
            f"cannot store blob '{fingerprint}': its content was read as '{found}'",
            hint="run the backup again; if the error returns, check the server's storage",
        )
