"""A look at a backup that reads its manifest and one list of what is stored, and no data."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.places import BLOBS
from holdfast.model.backup import BadPart, Blob, Codec, Manifest, Part
from holdfast.model.part_gaps import gaps
from holdfast.operations.backup.incremental import missing_parents
from holdfast.operations.parts.blob_records import BlobRecords
from holdfast.operations.parts.read import called, codec_of
from holdfast.operations.verify.full import VerifyReport
from holdfast.operations.wal.list import missing_wal
from holdfast.ports.repository import Repository, Stored


def quick(repository: Repository, backup_id: str, *, database: str = "") -> VerifyReport:
    """Whether everything is there in its size, and with its hash where the store gives one.

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
        return "it is not there"
    if isinstance(piece, Blob) and not piece.is_recorded:
        return _wrong_unrecorded(piece, stored)
    if stored.size_bytes != piece.stored_bytes:
        return f"stored size is {stored.size_bytes}, the manifest says {piece.stored_bytes}"
    if stored.sha256 and stored.sha256 != piece.stored_sha256:
        return f"stored SHA-256 is {stored.sha256}, the manifest says {piece.stored_sha256}"
    return ""


def _wrong_unrecorded(blob: Blob, stored: Stored) -> str:
    """What can be said by the size alone where the backup has not noted how a blob is stored."""
    is_plain = codec_of(blob) is Codec.NONE
    if is_plain and stored.size_bytes != blob.plain_bytes:
        return f"stored size is {stored.size_bytes}, the manifest says {blob.plain_bytes}"
    return "it is empty" if blob.plain_bytes and not stored.size_bytes else ""


def _is_stored_anew(blob: Blob, stored: Stored | None, records: BlobRecords) -> bool:
    return (
        stored is not None
        and blob.is_recorded
        and records.know(blob.key, size_bytes=stored.size_bytes, sha256=stored.sha256)
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
