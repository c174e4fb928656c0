"""Copy a job's finished backups to another repository, each completely or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.places import manifest_key
from holdfast.model.chain import parents_first
from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    ManifestInvalid,
    ObjectMissing,
    VerifyFailed,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_gaps import require_complete
from holdfast.model.stored_json import MANIFEST
from holdfast.operations.append_only import AppendOnly, Leftovers
from holdfast.operations.copy.objects import CopyItem, Tally, upload
from holdfast.operations.parts.blob_read import stored_fingerprint
from holdfast.operations.parts.read import BlobRecords
from holdfast.ports.repository import Repository, read_document
from holdfast.runtime import events

if TYPE_CHECKING:
    from holdfast.model.backup import Blob, Manifest
    from holdfast.ports.run import Guard, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyContext:
    """The dependencies of a copy between two repositories; it copies `at_once` small objects.

    `source` and `target` pass stored bytes through unaltered. `believed` is the source with the
    signatures of its manifests verified. `require_believed` gets a manifest's key and content, and
    raises `ManifestUntrusted` if readers of the target would not trust it.
    """

    source: Repository
    target: Repository
    believed: Repository
    guard: Guard
    at_once: int
    require_believed: Callable[[str, bytes], object] = lambda _key, _content: None
    leftovers: Leftovers = field(default_factory=Leftovers)


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedBackup:
    """The result for one backup; `problem` says why it was not copied, empty if it is there."""

    backup_id: str
    sent: int = 0
    sent_bytes: int = 0
    found: int = 0
    replaced: int = 0
    was_there: bool = False
    problem: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """The result of one copy of a job, backup by backup."""

    job: str
    backups: tuple[CopiedBackup, ...]
    swept: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return next((each.exit_code for each in self.backups if each.exit_code), 0)


def copy(job: str, context: CopyContext, progress: Progress) -> CopyReport:
    """Copy every finished backup of `job` that the target lacks.

    Newest first, except that a parent precedes its incremental backups. The others are copied even
    if one backup is damaged at the source. Any other error ends the copy; the next copy continues
    there. Leftovers of earlier copies, of backups that are gone, are removed only after everything
    else has succeeded. Raises `RunInFlight`, and what the repositories raise.
    """
    with context.guard.hold(job, deadline=None):
        events.reached("copy-locked")
        survey = Catalog(context.believed).survey(job)
        # This removes unfinished puts only: complete parts of an earlier copy are used again.
        tidied = AppendOnly(context.target, context.leftovers)
        tidied.sweep(job)
        records = BlobRecords(context.believed, survey.manifests)
        done = [
            _copied(manifest, context, records, progress=progress)
            for manifest in parents_first(survey.manifests)
        ]
        done += [
            CopiedBackup(
                backup_id=each.backup_id, problem=each.problem, exit_code=VerifyFailed.exit_code
            )
            for each in survey.damaged
            if each.is_backup
        ]
        is_clean = not any(each.exit_code for each in done)
        swept = Catalog(tidied).sweep(job) if is_clean else []
    return CopyReport(job=job, backups=tuple(done), swept=tuple(swept))


def _copied(
    manifest: Manifest, context: CopyContext, records: BlobRecords, *, progress: Progress
) -> CopiedBackup:
    backup_id, source, target = manifest.backup_id, context.source, context.target
    try:
        key = manifest_key(backup_id)
        content = _content(source, key)
        context.require_believed(key, content)
        if _is_finished_there(backup_id, content, target):
            return CopiedBackup(backup_id=backup_id, was_there=True)
        require_complete(manifest)
        tally = _parts_copied(manifest, context, records, progress=progress)
        events.reached("copy-parts-stored")
        _require_parent(manifest, target)
        target.put(key, [content])
        events.reached("copy-manifest-stored")
    except (VerifyFailed, AlreadyStored, ManifestInvalid) as error:
        return _failed(backup_id, error)
    return CopiedBackup(
        backup_id=backup_id,
        sent=tally.sent,
        sent_bytes=tally.sent_bytes,
        found=tally.found,
        replaced=tally.replaced,
    )


def _require_parent(manifest: Manifest, target: Repository) -> None:
    """Raises `VerifyFailed` if the target lacks the parent: it must not list such a backup."""
    if manifest.parent and not Catalog(target).is_finished(manifest.parent):
        raise VerifyFailed(
            f"cannot copy '{manifest.backup_id}': its parent '{manifest.parent}' is not in the"
            " target"
        )


def _failed(backup_id: str, error: HoldfastError) -> CopiedBackup:
    events.error("backup_not_copied", backup=backup_id, error=error.message)
    return CopiedBackup(backup_id=backup_id, problem=error.message, exit_code=error.exit_code)


def _is_finished_there(backup_id: str, content: bytes, target: Repository) -> bool:
    """Whether the target has this manifest; raises `AlreadyStored` if it has another one."""
    try:
        theirs = _content(target, manifest_key(backup_id))
    except ObjectMissing:
        return False
    if theirs != content:
        raise AlreadyStored(
            f"cannot copy '{backup_id}': the target has another backup of that name",
            hint="holdfast verify shows which of the two is intact; delete the other one",
        )
    return True


def _parts_copied(
    manifest: Manifest, context: CopyContext, records: BlobRecords, *, progress: Progress
) -> Tally:
    source, target = context.source, context.target
    progress.begin(
        total_bytes=manifest.stored_bytes, parts=len(manifest.parts) + len(manifest.blobs)
    )
    is_fresh = not manifest.blobs and next(iter(target.list(manifest.backup_id)), None) is None
    try:
        return upload(
            _walk(manifest, source, records),
            source,
            target,
            at_once=context.at_once,
            is_fresh=is_fresh,
            progress=progress,
        )
    except ObjectMissing as error:
        raise VerifyFailed(
            f"cannot copy '{manifest.backup_id}': {error.message}", hint=error.hint
        ) from error


def _walk(
    manifest: Manifest, source: Repository, records: BlobRecords
) -> Callable[[], Iterator[CopyItem]]:
    """Walk over all objects of the manifest, with the fingerprints that it records."""

    def walk() -> Iterator[CopyItem]:
        for part in manifest.parts:
            yield CopyItem(
                key=part.key,
                size_bytes=part.stored_bytes,
                fingerprint=part.stored_fingerprint,
            )
        for blob in manifest.blobs:
            yield _blob_item(blob, source, records)

    return walk


def _blob_item(blob: Blob, source: Repository, records: BlobRecords) -> CopyItem:
    """The item for a blob; never replaceable, as other backups in the target refer to it."""
    is_known = blob.is_recorded and not records.disagree(blob.key)
    return CopyItem(
        key=blob.key,
        size_bytes=blob.stored_bytes if is_known else source.stat(blob.key).size_bytes,
        fingerprint=blob.stored_fingerprint if is_known else "",
        learn=lambda: stored_fingerprint(source, blob, records=records).fingerprint,
        replaceable=False,
    )


def _content(repository: Repository, key: str) -> bytes:
    """The bytes of a manifest, unaltered, so that its signature stays valid."""
    return read_document(repository, key, MANIFEST)
