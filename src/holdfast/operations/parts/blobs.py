"""Blobs: long values stored once for all backups of a job, named after their content."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from holdfast.catalog.places import blob_key
from holdfast.model.backup import Blob, Buffer, Codec, Manifest
from holdfast.model.errors import (
    AlreadyStored,
    BackupFailed,
    IdentityNeeded,
    ObjectMissing,
    VerifyFailed,
)
from holdfast.model.fingerprints import SHA256, algorithm_of, of_sha256, sha256_of
from holdfast.operations.parts.mirrored import complete
from holdfast.operations.parts.read import (
    HINT,
    IDENTITY_HINT,
    BlobRecords,
    Opens,
    called,
    not_for,
    proven_bytes,
    require_stored,
    stored_suffix,
)
from holdfast.pipeline.compression import COMPRESSORS
from holdfast.pipeline.encryption import CannotOpen, Identities, encryption, sealed
from holdfast.pipeline.flow import CorruptStream, Fingerprint, Stage, flow
from holdfast.ports.repository import Repository
from holdfast.runtime import events


@dataclass(frozen=True, slots=True)
class KnownBlobs:
    """The blobs of finished backups by key.

    `is_all` is False if a manifest cannot be read. An unknown blob may be in use then.
    """

    by_key: Mapping[str, Blob] = field(default_factory=dict)
    is_all: bool = True


Known = Callable[[], KnownBlobs]


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
    ) -> None:
        self._repository = repository
        self._job = job
        self._codec = codec
        self._level = level
        self._advance = advance
        self._names = names or BlobNames()
        self._records = BlobRecords(repository)
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

    def keep(self, sha256: str, size_bytes: int, read: Callable[[], Iterable[Buffer]]) -> None:
        # Two tables may hold the same value: the second worker waits and finds it stored.
        with self._turn(sha256):
            if sha256 not in self._kept:
                blob = self._blob(sha256, size_bytes)
                self._kept[sha256] = self._found(blob) or self._store(blob, sha256, read)

    @contextmanager
    def _turn(self, sha256: str) -> Iterator[None]:
        with self._lock:
            turn = self._turns.setdefault(sha256, threading.Lock())
        with turn:
            yield
        with self._lock:
            self._turns.pop(sha256, None)

    def _blob(self, sha256: str, size_bytes: int) -> Blob:
        is_sealed = bool(self._names.recipients)
        suffix = stored_suffix(self._codec, "age" if is_sealed else "none")
        return Blob(
            key=blob_key(self._job, self._names.name_of(sha256), suffix),
            plain_fingerprint="" if is_sealed else of_sha256(sha256),
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
                self._repository, blob, advance=self._advance, records=self._records
            ),
        )

    def _store(self, blob: Blob, sha256: str, read: Callable[[], Iterable[Buffer]]) -> Blob:
        try:
            return self._put(blob, sha256, read)
        except AlreadyStored:
            # An append-only store still has an unusable object under that key.
            name, dot, suffix = blob.key.partition(".")
            other = f"{name}.{secrets.token_hex(4)}{dot}{suffix}"
            return self._put(replace(blob, key=other), sha256, read)

    def _put(self, blob: Blob, sha256: str, read: Callable[[], Iterable[Buffer]]) -> Blob:
        plain, stored = Fingerprint(SHA256, advance=self._advance), Fingerprint(SHA256)
        with encryption(self._names.recipients) as encrypt:
            stages: list[Stage] = [plain, COMPRESSORS[self._codec](self._level), encrypt, stored]
            self._repository.put(blob.key, _as_named(flow(read(), stages), plain, sha256))
        self.stored += 1
        events.reached("blob-stored")
        return _recorded(blob, stored)


def _recorded(blob: Blob, stored: Fingerprint) -> Blob:
    return replace(blob, stored_bytes=stored.size_bytes, stored_fingerprint=stored.fingerprint)


def _as_named(chunks: Iterator[Buffer], plain: Fingerprint, sha256: str) -> Iterator[Buffer]:
    """Raise at the end if the content is not `sha256`: the repository then stores nothing."""
    yield from chunks
    if plain.fingerprint != of_sha256(sha256):
        raise BackupFailed(
            f"cannot store blob '{sha256}': its content was read as '{plain.fingerprint}'",
            hint="run the backup again; if the error returns, check the server's storage",
        )


def stored_fingerprint(
    repository: Repository,
    blob: Blob,
    *,
    records: BlobRecords,
    advance: Callable[[int], None] = lambda _: None,
) -> Fingerprint:
    """The fingerprint of the stored bytes of `blob`.

    An unsealed blob is verified by its content, which its name states. Raises what `proven_blob`
    raises.
    """
    if blob.encryption != "none":
        return require_stored(repository, blob, advance=advance, records=records)
    stored, bare = Fingerprint(SHA256), replace(blob, stored_bytes=0, stored_fingerprint="")
    for chunk in proven_blob(repository, bare, stored=stored):
        advance(len(chunk))
    return stored


def proven_blob(
    repository: Opens,
    blob: Blob,
    *,
    names: BlobNames | None = None,
    identities: Identities | None = None,
    records: BlobRecords | None = None,
    stored: Fingerprint | None = None,
) -> Generator[bytes, None, None]:
    """The plain bytes of `blob`; the last chunk is yielded only after everything has matched.

    The content must match the blob's name. The stored bytes must match this backup's record or
    another one in `records`. `stored` has then seen all stored bytes. Raises `VerifyFailed`, whose
    cause is `ObjectMissing` for a missing blob. Raises `IdentityNeeded` if the blob is whole but
    sealed for other recipients.
    """
    plain = Fingerprint(SHA256)
    stored = stored or Fingerprint(algorithm_of(blob.stored_fingerprint or SHA256))

    def require(_: Fingerprint) -> None:
        name = (names or BlobNames()).name_of(sha256_of(plain.fingerprint))
        if name != blob_name(blob):
            raise VerifyFailed(
                f"cannot trust {called(blob)}: its content belongs to blob '{name}'", hint=HINT
            )

    return proven_bytes(
        repository,
        blob,
        plain,
        stored=stored,
        identities=identities,
        require=require,
        records=records,
    )


def blob_name(blob: Blob) -> str:
    """The name of a blob, which is derived from its content."""
    return sha256_of(blob.plain_fingerprint) or blob.key.rpartition("/")[2].partition(".")[0]


@dataclass(frozen=True, slots=True)
class BlobNames:
    """The names of the blobs of one backup: a SHA-256, or an HMAC-SHA-256 for sealed blobs.

    The plain SHA-256 would let anybody who has the same document see that it is stored here. The
    HMAC covers the recipients, too: a backup for new recipients must never refer to a blob that
    only the old ones can open.
    """

    secret: bytes = b""
    recipients: tuple[str, ...] = ()

    def name_of(self, sha256: str) -> str:
        if not self.recipients:
            return sha256
        text = "\n".join([*sorted(self.recipients), sha256])
        return hmac.new(self.secret, text.encode(), "sha256").hexdigest()

    def sealed_secret(self) -> str:
        """The secret as a manifest holds it, sealed for the recipients; empty if there are none."""
        if not self.recipients:
            return ""
        return base64.b64encode(sealed(self.secret, self.recipients)).decode()

    def __repr__(self) -> str:
        return f"BlobNames(***, {self.recipients})"


def names_in(manifest: Manifest, identities: Identities | None) -> BlobNames:
    """The names that `manifest` uses; raises `IdentityNeeded`, `VerifyFailed`."""
    if not manifest.blob_secret:
        return BlobNames()
    what = f"the blob names of backup '{manifest.backup_id}'"
    if identities is None:
        raise IdentityNeeded(
            f"cannot open {what}: they are encrypted, and no identity is given", hint=IDENTITY_HINT
        )
    try:
        secret = identities.opened(base64.b64decode(manifest.blob_secret, validate=True))
    except (CorruptStream, binascii.Error) as error:
        raise VerifyFailed(f"cannot trust {what}: {error}", hint=HINT) from error
    except CannotOpen as error:
        raise not_for(identities, what, manifest.recipients) from error
    return BlobNames(secret, manifest.recipients)
