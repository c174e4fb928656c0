"""The backups in a repository: only what has a manifest is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.catalog.manifest import decode, encode
from holdfast.errors import BackupNotFound, ManifestInvalid, ObjectMissing
from holdfast.model import BACKUP_NAME, JOB_NAME, Manifest
from holdfast.ports import Repository, Stored

MANIFEST = "manifest.json"
LATEST = "latest"
# No backup is called so: its name begins with a digit.
BLOBS = "blobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A backup whose manifest cannot be trusted: never listed as good, never deleted by rule."""

    backup_id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a repository holds, newest snapshot first."""

    manifests: tuple[Manifest, ...]
    damaged: tuple[Damaged, ...]


class Catalog:
    """Reads and writes `JOB/BACKUP/manifest.json` beside the parts it speaks of."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def commit(self, manifest: Manifest) -> None:
        """Make the parts that are already stored a backup: the very last write of a run."""
        self._repository.put(manifest_key(manifest.backup_id), [encode(manifest)])

    def survey(self, job: str = "") -> Survey:
        """Every backup, of one job or of all; a damaged manifest does not hide the others."""
        manifests: list[Manifest] = []
        damaged: list[Damaged] = []
        for backup_id in self._finished(job):
            try:
                manifests.append(self._read(backup_id))
            except ManifestInvalid as error:
                damaged.append(Damaged(backup_id=backup_id, problem=error.message))
        manifests.sort(key=lambda each: (each.snapshot_at, each.name), reverse=True)
        return Survey(manifests=tuple(manifests), damaged=tuple(damaged))

    def find(self, backup_id: str) -> Manifest:
        """The backup `JOB/NAME` or `JOB/latest`; raises `BackupNotFound`."""
        job, _, name = backup_id.partition("/")
        if not JOB_NAME.fullmatch(job) or not (name == LATEST or BACKUP_NAME.fullmatch(name)):
            raise BackupNotFound(
                f"cannot find backup '{backup_id}': an id looks like "
                f"'JOB/20261120T020000Z-1a2b3c4d' or 'JOB/latest'",
                hint="holdfast list shows what there is",
            )
        if name == LATEST:
            return self._newest(job)
        try:
            return self._read(backup_id)
        except ObjectMissing as error:
            raise BackupNotFound(
                f"cannot find backup '{backup_id}': there is no finished backup of that name",
                hint=f"holdfast list {job} shows what there is",
            ) from error

    def drop(self, manifest: Manifest) -> None:
        """Manifest first: if we are killed half way, what is left is not listed as a backup."""
        self._repository.delete(manifest_key(manifest.backup_id))
        self.discard(manifest.backup_id)

    def discard(self, backup_id: str) -> None:
        """Remove all that is stored of a backup that has no manifest."""
        for stored in list(self._repository.list(backup_id)):
            self._repository.delete(stored.key)
        self._repository.sweep(backup_id)

    def sweep(self, job: str) -> list[str]:
        """Remove what runs that died left of `job`; their ids. Only for whoever holds the job."""
        finished = set(self._finished(job))
        begun = {_backup_of(stored) for stored in self._repository.list(job)}
        unfinished = sorted(begun - finished)
        for backup_id in unfinished:
            self.discard(backup_id)
        self._repository.sweep(job)
        return unfinished

    def _newest(self, job: str) -> Manifest:
        manifests = self.survey(job).manifests
        if not manifests:
            raise BackupNotFound(
                f"cannot find backup '{job}/{LATEST}': the job has no finished backup",
                hint=f"make one: holdfast backup {job}",
            )
        return manifests[0]

    def _finished(self, job: str) -> Iterator[str]:
        for stored in self._repository.list(job):
            backup_id, _, file = stored.key.rpartition("/")
            if file == MANIFEST and backup_id.count("/") == 1:
                yield backup_id

    def _read(self, backup_id: str) -> Manifest:
        key = manifest_key(backup_id)
        with self._repository.open(key) as chunks:
            return decode(b"".join(chunks), key=key)


def manifest_key(backup_id: str) -> str:
    return f"{backup_id}/{MANIFEST}"


def part_key(backup_id: str, name: str) -> str:
    return f"{backup_id}/parts/{name}"


def blob_key(job: str, sha256: str, suffix: str) -> str:
    """Blobs of all backups of a job lie together, in folders that stay small."""
    return f"{job}/{BLOBS}/{sha256[:2]}/{sha256}{suffix}"


def _backup_of(stored: Stored) -> str:
    return "/".join(stored.key.split("/")[:2])
