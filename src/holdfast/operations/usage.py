"""How much space each job uses in a repository, from listings alone: no object is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from holdfast.catalog.places import BLOBS, MANIFEST, WAL
from holdfast.model.backup import JOB_NAME
from holdfast.model.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from holdfast.ports.repository import Repository, Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUsage:
    """The stored bytes of one job; unfinished are those of no backup, blob or WAL."""

    job: str
    backups: int
    backup_bytes: int
    blob_bytes: int
    wal_bytes: int
    unfinished_bytes: int
    objects: int

    @property
    def size_bytes(self) -> int:
        return self.backup_bytes + self.blob_bytes + self.wal_bytes + self.unfinished_bytes


def usage(repository: Repository, job: str = "") -> list[JobUsage]:
    """The usage of one job, or of all jobs in the repository, sorted by name."""
    found: dict[str, JobUsage] = {}
    # A listing is sorted by key, so the objects of one backup follow each other.
    for (name, folder), objects in groupby(_objects(repository, job), key=_place):
        if JOB_NAME.fullmatch(name):
            found[name] = _added(found.get(name, _nothing(name)), folder, objects)
    return [found[name] for name in sorted(found)]


def _objects(repository: Repository, job: str) -> Iterator[Stored]:
    yield from repository.list(job)
    if job:
        yield from repository.list(f"{job}{WAL}")


def _place(stored: Stored) -> tuple[str, str]:
    """The job of an object and its folder there: a backup's name, the blobs, or `WAL`."""
    top, _, rest = stored.key.partition("/")
    return (top.removesuffix(WAL), WAL) if top.endswith(WAL) else (top, rest.partition("/")[0])


def _added(before: JobUsage, folder: str, objects: Iterable[Stored]) -> JobUsage:
    """`before` plus the objects of one folder; `objects` may be very many and is read once."""
    count, size_bytes, is_backup = 0, 0, False
    for each in objects:
        count += 1
        size_bytes += each.size_bytes
        is_backup = is_backup or each.key == f"{before.job}/{folder}/{MANIFEST}"
    of_blobs, of_wal = folder == BLOBS, folder == WAL
    is_known = is_backup or of_blobs or of_wal
    return JobUsage(
        job=before.job,
        backups=before.backups + is_backup,
        backup_bytes=before.backup_bytes + (size_bytes if is_backup else 0),
        blob_bytes=before.blob_bytes + (size_bytes if of_blobs else 0),
        wal_bytes=before.wal_bytes + (size_bytes if of_wal else 0),
        unfinished_bytes=before.unfinished_bytes + (0 if is_known else size_bytes),
        objects=before.objects + count,
    )


def _nothing(job: str) -> JobUsage:
    return JobUsage(
        job=job,
        backups=0,
        backup_bytes=0,
        blob_bytes=0,
        wal_bytes=0,
        unfinished_bytes=0,
        objects=0,
    )
