"""Compare one backup with its manifest: by listings, or by reading everything back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.places import BLOBS
from holdfast.model.backup import BadPart, Blob, Codec, Manifest, Part
from holdfast.model.errors import HoldfastError, RepositoryUnreachable, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.model.part_details import CopiedRows
from holdfast.model.part_gaps import gaps
from holdfast.operations.backup.earlier import missing_parents
from holdfast.operations.parts.blob_read import names_in, proven_blob
from holdfast.operations.parts.read import (
    HINT,
    BlobRecords,
    called,
    codec_of,
    proven,
    require_identity,
    require_stored,
)
from holdfast.operations.wal.list import missing_wal
from holdfast.ports.host_state import Reread, VerificationLog
from holdfast.runtime import events
from holdfast.runtime.worker_pool import WorkerPool

if TYPE_CHECKING:
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository, Stored
    from holdfast.ports.run import Clock, Progress

Level = Literal["quick", "full"]
Piece = Part | Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was verified, and what was wrong with it.

    `unopened` counts the pieces of which only the stored bytes were compared.
    """

    manifest: Manifest
    level: Level = "full"
    parts: int
    plain_bytes: int
    stored_bytes: int
    bad: tuple[BadPart, ...]
    unopened: int = 0

    @property
    def exit_code(self) -> int:
        return VerifyFailed.exit_code if self.bad else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReader:
    """Reads pieces of backups back, and notes time and result in the verification log.

    A piece sealed for none of the `identities` is not opened: only its stored bytes are compared.
    Several threads may use one reader.
    """

    repository: Repository
    verification_log: VerificationLog
    clock: Clock
    progress: Progress
    identities: Identities | None = None
    records: BlobRecords = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", BlobRecords(self.repository))

    def opens(self, manifest: Manifest, piece: Piece) -> bool:
        if piece.encryption == "none":
            return True
        ours = self.identities.recipients if self.identities else ()
        return not set(ours).isdisjoint(manifest.recipients)

    def bytes_of(self, manifest: Manifest, piece: Piece) -> int:
        """The bytes that progress counts: plain ones, or stored ones if the piece is not opened."""
        return piece.plain_bytes if self.opens(manifest, piece) else piece.stored_bytes

    def problem(self, manifest: Manifest, piece: Piece) -> BadPart | None:
        """Read all of `piece`; returns what is wrong with it, None if nothing."""
        bad = self._problem(manifest, piece)
        home = home_of(manifest.backup_id, piece)
        self.note(home, piece.key, bad, opened=self.opens(manifest, piece))
        return bad

    def note(self, home: str, key: str, bad: BadPart | None, *, opened: bool) -> None:
        """Note a reading in the verification log, under the id `home`."""
        found = Reread(at=self.clock(), problem=bad.problem if bad else "", opened=opened)
        try:
            self.verification_log.reread(home, key, found)
        except HoldfastError as error:
            # A user who may read the repository need not have a state directory.
            events.debug("verification_not_recorded", key=key, problem=error.message)

    def _problem(self, manifest: Manifest, piece: Piece) -> BadPart | None:
        name = piece.name if isinstance(piece, Part) else piece.key
        try:
            if not self.opens(manifest, piece):
                advance, records = self.progress.advance, self.records
                require_stored(self.repository, piece, advance=advance, records=records)
            elif isinstance(piece, Part):
                self._read_part(piece)
            else:
                self._read_blob(manifest, piece)
        except (VerifyFailed, RepositoryUnreachable) as error:
            return BadPart(name=name, problem=error.message)
        self.progress.part_done(name)
        return None

    def _read_part(self, part: Part) -> None:
        """Raises `VerifyFailed`."""
        lines = 0
        counts = _has_a_line_for_each_row(part)
        chunks = proven(
            self.repository, part, identities=self.identities, advance=self.progress.advance
        )
        for chunk in chunks:
            # COPY's text format writes a newline inside a value as two other characters.
            lines += chunk.count(b"\n") if counts else 0
        if counts and lines != part.rows:
            raise VerifyFailed(
                f"cannot trust part '{part.name}': it holds {lines} rows, the manifest says "
                f"{part.rows}",
                hint=HINT,
            )

    def _read_blob(self, manifest: Manifest, blob: Blob) -> None:
        """Raises `VerifyFailed`."""
        names = names_in(manifest, self.identities)
        chunks = proven_blob(
            self.repository,
            blob,
            names=names,
            identities=self.identities,
            records=self.records,
        )
        for chunk in chunks:
            self.progress.advance(len(chunk))


def verify(
    reader: BackupReader, backup_id: str, *, workers: int, database: str = ""
) -> VerifyReport:
    """Read back every part and blob of `backup_id`, and compare them with the manifest.

    Checks sizes, both fingerprints, rows if they can be counted, and that ranges have no gap.
    For a base backup it checks that the archived WAL has no gap after it, for an incremental one
    that its parents are there.

    All parts are read even if some are bad: the report names every bad one. Without an identity,
    only the stored bytes of sealed pieces are compared. Raises `BackupNotFound`,
    `ManifestInvalid`, `RepositoryUnreachable`, and `IdentityNeeded` for a wrong identity.
    """
    manifest = Catalog(reader.repository).find(backup_id, database=database)
    if reader.identities is not None:
        require_identity(manifest, reader.identities)
    pieces = pieces_of(manifest)
    total_bytes = sum(reader.bytes_of(manifest, piece) for piece in pieces)
    reader.progress.begin(total_bytes=total_bytes, parts=len(pieces))
    problems = WorkerPool(workers).map(pieces, lambda piece: reader.problem(manifest, piece))
    return VerifyReport(
        manifest=manifest,
        parts=len(pieces),
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        bad=(
            *gaps(manifest),
            *missing_parents(reader.repository, manifest),
            *(problem for problem in problems if problem),
            *missing_wal(reader.repository, [manifest])[0],
        ),
        unopened=sum(not reader.opens(manifest, piece) for piece in pieces),
    )


def pieces_of(manifest: Manifest) -> list[Piece]:
    return [*manifest.parts, *manifest.blobs]


def home_of(backup_id: str, piece: Piece) -> str:
    """The id that the verification log uses for `piece`: blobs belong to all backups of a job."""
    if isinstance(piece, Part):
        return backup_id
    return f"{backup_id.partition('/')[0]}/{BLOBS}"


def quick(repository: Repository, backup_id: str, *, database: str = "") -> VerifyReport:
    """Compare listed sizes, and fingerprints the store lists, with the manifest; reads no part.

    Raises `BackupNotFound`, `ManifestInvalid`, `RepositoryUnreachable`.
    """
    manifest = Catalog(repository).find(backup_id, database=database)
    there = {each.key: each for each in repository.list(manifest.backup_id)}
    bad = [*gaps(manifest), *_bad_parts(manifest, there), *_bad_blobs(repository, manifest)]
    bad += missing_parents(repository, manifest)
    bad += missing_wal(repository, [manifest])[0]
    return VerifyReport(
        manifest=manifest,
        level="quick",
        parts=len(manifest.parts) + len(manifest.blobs),
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        bad=tuple(bad),
    )


def _bad_parts(manifest: Manifest, there: dict[str, Stored]) -> Iterator[BadPart]:
    for part in manifest.parts:
        problem = _wrong(part, there.get(part.key))
        if problem:
            yield BadPart(name=part.name, problem=f"cannot trust {called(part)}: {problem}")


def _wrong(piece: Part | Blob, stored: Stored | None) -> str:
    if stored is None:
        return "it is missing"
    if isinstance(piece, Blob) and not piece.is_recorded:
        return _wrong_unrecorded(piece, stored)
    if stored.size_bytes != piece.stored_bytes:
        return f"stored size is {stored.size_bytes}, the manifest says {piece.stored_bytes}"
    found, expected = stored.fingerprint, piece.stored_fingerprint
    # One by another algorithm says nothing.
    if found != expected and found.partition(":")[0] == expected.partition(":")[0]:
        return f"stored fingerprint is {found}, the manifest says {expected}"
    return ""


def _wrong_unrecorded(blob: Blob, stored: Stored) -> str:
    """What the size alone says about a blob whose stored form the backup has not recorded."""
    is_plain = codec_of(blob) is Codec.NONE
    if is_plain and stored.size_bytes != blob.plain_bytes:
        return f"stored size is {stored.size_bytes}, the manifest says {blob.plain_bytes}"
    return "it is empty" if blob.plain_bytes and not stored.size_bytes else ""


def _is_stored_anew(blob: Blob, stored: Stored | None, records: BlobRecords) -> bool:
    return (
        stored is not None
        and blob.is_recorded
        and records.know(blob.key, size_bytes=stored.size_bytes, fingerprint=stored.fingerprint)
    )


def _bad_blobs(repository: Repository, manifest: Manifest) -> Iterator[BadPart]:
    if not manifest.blobs:
        return
    there = {each.key: each for each in repository.list(f"{manifest.job}/{BLOBS}")}
    records = BlobRecords(repository)
    for blob in manifest.blobs:
        stored = there.get(blob.key)
        problem = _wrong(blob, stored)
        if problem and not _is_stored_anew(blob, stored, records):
            yield BadPart(name=blob.key, problem=f"cannot trust {called(blob)}: {problem}")


def _has_a_line_for_each_row(part: Part) -> bool:
    found = part.details
    is_counted = part.rows is not None and not part.members
    return is_counted and isinstance(found, CopiedRows) and found.has_a_line_for_each_row
