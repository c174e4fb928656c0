"""The backups in a repository: only what has a manifest is one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from holdfast.model.stored_json import MANIFEST as WHOLE, RECORD
from holdfast.ports.repository import Repository, Stored, read_document
from holdfast.runtime import events
from holdfast.runtime.cleanup import noted_on

LATEST = "latest"
# A JSON object, so that it can be signed as a manifest is.
MARK_CONTENT = b'{\n "schema": "holdfast.pruned/1"\n}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A backup whose manifest cannot be trusted: never listed as good, never deleted by rule.

    Where there `is_backup` no more than the record of one that failed, nothing depends on it.
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
        """Whether every backup says what it needs: where one does not, all of it is to stay."""
        return not any(each.is_backup for each in self.damaged)


class Catalog:
    """Reads and writes `JOB/BACKUP/manifest.json` beside the parts it speaks of."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def commit(self, manifest: Manifest) -> None:
        """Make the parts that are already stored a backup: the very last write of a run.

        Raises `BackupFailed` where nobody could read what would be written.
        """
        key, content = manifest_key(manifest.backup_id), encode(manifest)
        try:
            decode(content, key=key)
        except ManifestInvalid as error:
            raise BackupFailed(
                f"cannot finish backup '{manifest.backup_id}': {error.message}",
                hint="a manifest names 200,000 tables or a million long values at the most: back"
                " some databases or tables up in a job of their own",
            ) from error
        self._repository.put(key, [content])
        self._repository.delete(failure_key(manifest.backup_id))

    def withdraw(self, manifest: Manifest) -> None:
        """Take back what `commit` did; the parts stay."""
        self._repository.delete(manifest_key(manifest.backup_id))

    def record(self, failure: Failure) -> None:
        """Leave word of a backup that failed, where its manifest would have been."""
        key = failure_key(failure.backup_id)
        self._repository.delete(key)
        self._repository.put(key, [encode_failure(failure)])

    def forget(self, failure: Failure) -> None:
        """Remove the record and whatever was kept for a later run to go on with."""
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
        """Whether there is a manifest of it, readable or not."""
        try:
            self._repository.stat(manifest_key(backup_id))
        except ObjectMissing:
            return False
        return True

    def find(self, backup_id: str, *, database: str = "") -> Manifest:
        """The backup `JOB/NAME` or `JOB/latest`; raises `BackupNotFound`.

        A job of several databases has a latest backup of each: `database` says which is meant.
        """
        job, _, name = backup_id.partition("/")
        if not JOB_NAME.fullmatch(job) or not (name == LATEST or BACKUP_NAME.fullmatch(name)):
            raise BackupNotFound(
                f"cannot find backup '{backup_id}': an id looks like "
                f"'JOB/20261120T020000Z-1a2b3c4d' or 'JOB/latest'",
                hint="holdfast list shows what there is",
            )
        if name == LATEST:
            return self._newest(job, database)
        try:
            return self._read(backup_id)
        except ObjectMissing as error:
            raise BackupNotFound(
                f"cannot find backup '{backup_id}': there is no finished backup of that name",
                hint=f"holdfast list {job} shows what there is",
            ) from error

    def drop(self, manifest: Manifest) -> None:
        """Mark first, manifest next: if we are killed half way, what is left is no backup, and
        the mark says what it is.

        Raises `RepositoryReadOnly` where the store keeps what is locked; the manifest is the
        youngest object of a backup, so where it goes the others go too.
        """
        mark = mark_key(manifest.backup_id)
        # Where there is no room for a mark there is all the more need to go on.
        with suppress(AlreadyStored, RepositoryFull):
            self._repository.put(mark, [MARK_CONTENT])
        events.reached("prune-marked")
        try:
            self._repository.delete(manifest_key(manifest.backup_id))
        except RepositoryReadOnly as error:
            # A mark that stays too says nothing of a backup that has its manifest.
            with noted_on(error):
                self._repository.delete(mark)
            raise
        events.reached("prune-manifest-dropped")
        self.discard(manifest.backup_id)

    def finish_drops(self, job: str) -> list[str]:
        """Do what interrupted prunes of `job` left undone; their ids. Only for whoever holds it.

        A mark beside a manifest is taken back: whether that backup goes is judged anew. One that
        nobody signed whom we trust removes nothing.
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
        """Whether a prune has begun to remove it, as far as its mark is to be believed."""
        try:
            read_document(self._repository, mark_key(backup_id), RECORD)
        except ManifestInvalid as error:
            events.warning("mark_not_believed", backup=backup_id, problem=error.message)
            return False
        except ObjectMissing:
            return False
        return True

    def discard(self, backup_id: str) -> None:
        """Remove all that is stored of a backup that has no manifest."""
        keys = [stored.key for stored in self._repository.list(backup_id)]
        # The mark of a prune goes last: as long as anything is left it says what that is.
        for key in sorted(keys, key=lambda key: key == mark_key(backup_id)):
            self._repository.delete(key)
            events.reached("prune-part-dropped")
        self._repository.sweep(backup_id)

    def sweep(self, job: str, *, spare: Collection[str] = ()) -> list[str]:
        """Remove what unfinished runs left of `job`; their ids. Only for whoever holds the job.

        Records of failures stay, as do the backups that somebody means to go on with (`spare`).
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
        """Remove all that is stored of an unfinished backup but the record of its failure."""
        for stored in list(self._repository.list(backup_id)):
            if stored.key != failure_key(backup_id):
                self._repository.delete(stored.key)
        self._repository.sweep(backup_id)

    def unreferenced(self, job: str, *, kept: Collection[str]) -> list[Stored]:
        """Blobs of `job` whose key is not in `kept`."""
        blobs = self._repository.list(f"{job}/{BLOBS}")
        return [stored for stored in blobs if stored.key not in kept]

    def drop_blobs(self, blobs: Iterable[Stored]) -> int:
        """Remove `blobs`; how many bytes were freed.

        Only for whoever holds the job: a run under way refers to blobs before its manifest does.
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
        """The backups that are finished, and those of which only a failure is known."""
        ends = self._files(job, {MANIFEST, FAILURE})
        failed = {name: each for name, each in ends[FAILURE].items() if name not in ends[MANIFEST]}
        return ends[MANIFEST], failed

    def _files(self, job: str, names: Collection[str]) -> dict[str, dict[str, Stored]]:
        """The backups that have a file of each of these names, with that file."""
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
            # Good in itself: somebody has copied a backup to where another one was, or would be.
            raise ManifestInvalid(
                f"cannot read '{key}': it is that of backup '{manifest.backup_id}'",
                hint="it was moved after it was written: trust another backup",
            )
        return manifest


Listed = TypeVar("Listed", Manifest, Summary)


def newest_of(newest_first: Sequence[Listed], job: str, database: str) -> Listed:
    """What `JOB/latest` stands for; raises `BackupNotFound`."""
    known = sorted({each.server.database for each in newest_first})
    if not database and len(known) > 1:
        raise BackupNotFound(
            f"cannot tell which backup '{job}/{LATEST}' is: the job has several databases",
            hint=f"say which with --database: {', '.join(known)}",
        )
    for each in newest_first:
        if not database or each.server.database == database:
            return each
    raise BackupNotFound(
        f"cannot find backup '{job}/{LATEST}': the job has no finished backup",
        hint=f"make one: holdfast backup {job}",
    )
