"""The backups in a repository: a backup exists once its manifest is stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from holdfast.catalog.manifest import Failure, decode, decode_failure, encode, encode_failure
from holdfast.catalog.places import (
    BLOBS,
    FAILURE,
    MANIFEST,
    MARK,
    failure_key,
    manifest_key,
    mark_key,
    place_of,
)
from holdfast.model.backup import BACKUP_NAME, JOB_NAME, Manifest, Summary
from holdfast.model.errors import (
    AlreadyStored,
    BackupFailed,
    BackupNotFound,
    ManifestInvalid,
    ObjectMissing,
    RepositoryFull,
    RepositoryReadOnly,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import MANIFEST as WHOLE, RECORD
from holdfast.ports.repository import Repository, Stored, read_document
from holdfast.runtime import events
from holdfast.runtime.cleanup import noted_on

LATEST = "latest"
# A JSON object, so that it can be signed like a manifest.
MARK_CONTENT = b'{\n "schema": "holdfast.pruned/1"\n}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A backup whose manifest cannot be trusted: never listed as good, never deleted by retention.

    `is_backup` is False for a damaged failure record, on which no other backup depends.
    """

    backup_id: str
    problem: str
    is_backup: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a repository holds, newest snapshot first."""

    manifests: tuple[Manifest, ...]
    damaged: tuple[Damaged, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def is_readable(self) -> bool:
        """Whether every manifest can be read; if not, any backup may be needed, so none may go."""
        return not any(each.is_backup for each in self.damaged)


class Catalog:
    """Reads and writes `JOB/BACKUP/manifest.json` beside the parts that it lists."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def commit(self, manifest: Manifest) -> None:
        """Turn the parts that are already stored into a backup: the last write of a run.

        Raises `BackupFailed` if the encoded manifest could not be read back.
        """
        key, content = manifest_key(manifest.backup_id), encode(manifest)
        try:
            decode(content, key=key)
        except ManifestInvalid as error:
            raise BackupFailed(
                f"cannot finish backup '{manifest.backup_id}': {error.message}",
                hint="a manifest holds at most 200,000 tables or a million long values: back up"
                " some databases or tables in a job of their own",
            ) from error
        self._repository.put(key, [content])
        self._repository.delete(failure_key(manifest.backup_id))

    def withdraw(self, manifest: Manifest) -> None:
        """Undo `commit`; the parts stay."""
        self._repository.delete(manifest_key(manifest.backup_id))

    def record(self, failure: Failure) -> None:
        """Store the record of a failed backup in the backup's folder, replacing an earlier one."""
        key = failure_key(failure.backup_id)
        self._repository.delete(key)
        self._repository.put(key, [encode_failure(failure)])

    def forget(self, failure: Failure) -> None:
        """Remove the record of a failed run and the parts kept for a resume."""
        self.discard(failure.backup_id)

    def survey(self, job: str = "") -> Survey:
        """Every backup, of one job or of all; a damaged manifest does not hide the others."""
        manifests: list[Manifest] = []
        damaged: list[Damaged] = []
        failures: list[Failure] = []
        finished, broken = self._ends(job)
        for backup_id in sorted(finished.keys() | broken.keys()):
            try:
                if backup_id in finished:
                    manifests.append(self._read(backup_id, finished[backup_id]))
                else:
                    failures.append(self.failure(backup_id, broken[backup_id]))
            except ManifestInvalid as error:
                is_backup = backup_id in finished
                damaged.append(
                    Damaged(backup_id=backup_id, problem=error.message, is_backup=is_backup)
                )
        manifests.sort(key=lambda each: (each.snapshot_at, each.name), reverse=True)
        failures.sort(key=lambda each: each.failed_at, reverse=True)
        return Survey(manifests=tuple(manifests), damaged=tuple(damaged), failures=tuple(failures))

    def is_finished(self, backup_id: str) -> bool:
        """Whether the backup has a manifest, readable or not."""
        try:
            self._repository.stat(manifest_key(backup_id))
        except ObjectMissing:
            return False
        return True

    def find(self, backup_id: str, *, database: str = "") -> Manifest:
        """The backup `JOB/NAME` or `JOB/latest`; raises `BackupNotFound`.

        A job of several databases has a latest backup of each: `database` selects one.
        """
        job, _, name = backup_id.partition("/")
        if not JOB_NAME.fullmatch(job) or not (name == LATEST or BACKUP_NAME.fullmatch(name)):
            raise BackupNotFound(
                f"cannot find backup '{backup_id}': an id looks like "
                f"'JOB/20261120T020000Z-1a2b3c4d' or 'JOB/latest'",
                hint="holdfast list shows all backups",
            )
        if name == LATEST:
            return self._newest(job, database)
        try:
            return self._read(backup_id)
        except ObjectMissing as error:
            raise BackupNotFound(
                f"cannot find backup '{backup_id}': no finished backup has this id",
                hint=f"holdfast list {job} shows the backups of the job",
            ) from error

    def drop(self, manifest: Manifest) -> None:
        """Remove a backup: first store a mark, then delete the manifest, then everything else.

        If a kill interrupts it, the rest is not a backup, and the mark says what it is. Raises
        `RepositoryReadOnly` if the store's object lock forbids it. The manifest is the youngest
        object of a backup, so once it can be deleted, the others can be deleted too.
        """
        mark = mark_key(manifest.backup_id)
        # If the store is too full for a mark, freeing space matters all the more.
        with suppress(AlreadyStored, RepositoryFull):
            self._repository.put(mark, [MARK_CONTENT])
        events.reached("prune-marked")
        try:
            self._repository.delete(manifest_key(manifest.backup_id))
        except RepositoryReadOnly as error:
            # The manifest stays, so the mark must go; if it stays too, the manifest outranks it.
            with noted_on(error):
                self._repository.delete(mark)
            raise
        events.reached("prune-manifest-dropped")
        self.discard(manifest.backup_id)

    def finish_drops(self, job: str) -> list[str]:
        """Finish the interrupted prunes of `job`; the ids of the backups that it removed.

        The caller must hold the job's lock. A mark beside a manifest is deleted: the next prune
        decides again about that backup. A mark without a trusted signature removes nothing.
        """
        ends = self._files(job, {MANIFEST, MARK})
        done: list[str] = []
        for backup_id in sorted(ends[MARK]):
            if backup_id in ends[MANIFEST]:
                self._repository.delete(mark_key(backup_id))
            elif self.is_marked(backup_id):
                self.discard(backup_id)
                done.append(backup_id)
        return done

    def is_marked(self, backup_id: str) -> bool:
        """Whether a prune began to remove the backup; a mark that is not trusted does not count."""
        try:
            read_document(self._repository, mark_key(backup_id), RECORD)
        except ManifestInvalid as error:
            events.warning("prune_mark_untrusted", backup=backup_id, problem=error.message)
            return False
        except ObjectMissing:
            return False
        return True

    def discard(self, backup_id: str) -> None:
        """Remove every object of a backup that has no manifest."""
        keys = [stored.key for stored in self._repository.list(backup_id)]
        # The mark of a prune goes last: while any object is left, the mark says what it is.
        for key in sorted(keys, key=lambda key: key == mark_key(backup_id)):
            self._repository.delete(key)
            events.reached("prune-part-dropped")
        self._repository.sweep(backup_id)

    def sweep(self, job: str, *, spare: Collection[str] = ()) -> list[str]:
        """Remove the parts that unfinished runs of `job` left; the ids of their backups.

        The caller must hold the job's lock. Records of failures stay, and so do the backups in
        `spare`, which are to be resumed.
        """
        finished, _ = self._ends(job)
        places = (place_of(stored.key) for stored in self._repository.list(job))
        begun = {each.backup_id for each in places if each and each.file != FAILURE}
        unfinished = sorted(begun - finished.keys() - set(spare))
        for backup_id in unfinished:
            self.discard_parts(backup_id)
        self._repository.sweep(job)
        return unfinished

    def discard_parts(self, backup_id: str) -> None:
        """Remove every object of an unfinished backup except the record of its failure."""
        for stored in list(self._repository.list(backup_id)):
            if stored.key != failure_key(backup_id):
                self._repository.delete(stored.key)
        self._repository.sweep(backup_id)

    def unreferenced(self, job: str, *, kept: Collection[str]) -> list[Stored]:
        """Blobs of `job` whose key is not in `kept`."""
        blobs = self._repository.list(f"{job}/{BLOBS}")
        return [stored for stored in blobs if stored.key not in kept]

    def drop_blobs(self, blobs: Iterable[Stored]) -> int:
        """Remove `blobs`; the number of bytes freed.

        The caller must hold the job's lock: a run in progress uses blobs before its manifest lists
        them.
        """
        freed = 0
        for stored in blobs:
            self._repository.delete(stored.key)
            freed += stored.size_bytes
            events.reached("prune-blob-dropped")
        return freed

    def _newest(self, job: str, database: str) -> Manifest:
        return newest_of(self.survey(job).manifests, job, database)

    def _ends(self, job: str) -> tuple[dict[str, Stored], dict[str, Stored]]:
        """The manifests by backup id, and the failure records of backups without a manifest."""
        ends = self._files(job, {MANIFEST, FAILURE})
        failed = {name: each for name, each in ends[FAILURE].items() if name not in ends[MANIFEST]}
        return ends[MANIFEST], failed

    def _files(self, job: str, names: Collection[str]) -> dict[str, dict[str, Stored]]:
        """For each of `names`, the objects with that file name, by backup id."""
        found: dict[str, dict[str, Stored]] = {name: {} for name in names}
        for stored in self._repository.list(job):
            place = place_of(stored.key)
            if place is not None and place.file in found:
                found[place.file][place.backup_id] = stored
        return found

    def failure(self, backup_id: str, stored: Stored | None = None) -> Failure:
        """The record that a failed run left; raises `ManifestInvalid`, `ObjectMissing`."""
        key = failure_key(backup_id)
        data = read_document(self._repository, key, RECORD, stored=stored)
        return decode_failure(data, backup_id=backup_id, key=key)

    def _read(self, backup_id: str, stored: Stored | None = None) -> Manifest:
        key = manifest_key(backup_id)
        data = read_document(self._repository, key, WHOLE, stored=stored)
        manifest = decode(data, key=key)
        if manifest.backup_id != backup_id:
            # The manifest is valid: somebody copied it into the folder of another backup.
            raise ManifestInvalid(
                f"cannot read '{key}': it belongs to backup '{manifest.backup_id}'",
                hint="it was moved after it was written: use another backup",
            )
        return manifest


Listed = TypeVar("Listed", Manifest, Summary)


def newest_of(newest_first: Sequence[Listed], job: str, database: str) -> Listed:
    """The backup that `JOB/latest` means; raises `BackupNotFound`."""
    known = sorted({each.server.database for each in newest_first})
    if not database and len(known) > 1:
        raise BackupNotFound(
            f"cannot find backup '{job}/{LATEST}': the job has several databases",
            hint=f"name one of them with --database: {', '.join(known)}",
        )
    for each in newest_first:
        if not database or each.server.database == database:
            return each
    raise BackupNotFound(
        f"cannot find backup '{job}/{LATEST}': the job has no finished backup",
        hint=f"make one: holdfast backup {job}",
    )
