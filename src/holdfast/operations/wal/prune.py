"""Remove archived WAL that is older than the oldest kept base backup of its cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import POSTGRES_CLUSTER, Manifest
from holdfast.model.errors import ManifestInvalid, ObjectMissing, RepositoryReadOnly
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.wal import WalKind
from holdfast.operations.wal.list import by_cluster
from holdfast.runtime import events

if TYPE_CHECKING:
    from holdfast.model.timelines import ClusterWal
    from holdfast.model.wal_archive import Held
    from holdfast.ports.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedWal:
    """The WAL of one cluster that a prune removes: files older than `first_kept`.

    `because` says which backup needs `first_kept`. `refused` files are those that the store kept.
    `unproven` ones were not tried: their records are unreadable, or state another segment size.
    """

    cluster: str
    first_kept: str
    because: str
    files: int
    freed_bytes: int
    refused: int = 0
    unproven: int = 0


def prune_wal(
    repository: Repository,
    job: str,
    kept: Sequence[Manifest],
    *,
    require: Callable[[], object],
    dry_run: bool,
) -> list[PrunedWal]:
    """Drop the WAL before the start of the oldest of the `kept` base backups of each cluster.

    All timelines count segments alike, so no timeline needs a file before that start. History files
    always stay. Nothing is removed if one of the backups does not say which WAL it needs. All WAL
    of a cluster without a backup stays, too: its first backup may be in progress. `require` is
    called before each removal.
    """
    backups = [each for each in kept if each.server.kind == POSTGRES_CLUSTER]
    if not backups or not _tell_what_they_need(backups):
        return []
    archive = WalArchive(repository, job)
    held = archive.held()
    found: list[PrunedWal] = []
    for wal in by_cluster(archive, held):
        own = [each for each in backups if each.proof.cluster == wal.cluster]
        if not own:
            continue
        oldest = min(own, key=lambda each: _first_segment(wal, each))
        older = _older(held, wal, _first_segment(wal, oldest))
        files = _proven(archive, wal, older)
        gone = files if dry_run else _drop(archive, files, require)
        found.append(
            PrunedWal(
                cluster=wal.cluster,
                first_kept=_first_kept(wal, oldest),
                because=f"{oldest.backup_id} begins there",
                files=len(gone),
                freed_bytes=sum(each.size_bytes for each in gone),
                refused=len(files) - len(gone),
                unproven=len(older) - len(files),
            )
        )
    return found


def _tell_what_they_need(backups: Sequence[Manifest]) -> bool:
    """Whether every backup states its start, and its parent is among them.

    A missing parent may reappear, and would need WAL from its own start.
    """
    known = {each.backup_id for each in backups}
    return all(each.proof.wal and each.parent in ("", *known) for each in backups)


def _older(held: Sequence[Held], wal: ClusterWal, first: int) -> list[Held]:
    """The files before segment `first`, oldest first, so that a killed prune leaves no gap."""
    own = [
        each
        for each in held
        if each.cluster == wal.cluster
        and each.name.kind is not WalKind.HISTORY
        and each.name.number(wal.segment_bytes) < first
    ]
    return sorted(own, key=lambda each: each.name.number(wal.segment_bytes))


def _proven(archive: WalArchive, wal: ClusterWal, older: Sequence[Held]) -> list[Held]:
    """The files whose own records confirm the segment size, and so their age.

    A forged record with another segment size must not make other files look old. A file without a
    record is included, unless there are records and none confirms the size.
    """
    archived = [each for each in older if each.is_archived and each.name.kind is WalKind.SEGMENT]
    told = {each.name.text for each in archived if _is_of_size(archive, each, wal.segment_bytes)}
    if not told and archived:
        return []
    without = {each.name.text for each in archived}
    return [each for each in older if each.name.text in told or each.name.text not in without]


def _is_of_size(archive: WalArchive, segment: Held, segment_bytes: int) -> bool:
    try:
        record = archive.find(segment.cluster, segment.name.text)
    except ManifestInvalid as error:
        events.warning("wal_not_pruned", file=segment.name.text, problem=error.message)
        return False
    except ObjectMissing:
        return True
    return record.part.plain_bytes == segment_bytes


def _drop(archive: WalArchive, files: Sequence[Held], require: Callable[[], object]) -> list[Held]:
    """Remove `files`; returns those that the store did not refuse to delete."""
    gone: list[Held] = []
    for each in files:
        require()
        with suppress(RepositoryReadOnly):
            archive.drop(each)
            gone.append(each)
        events.reached("prune-wal-dropped")
    return gone


def _first_kept(wal: ClusterWal, oldest: Manifest) -> str:
    span = oldest.proof.wal
    return wal.name(span.timeline if span else 0, _first_segment(wal, oldest))


def _first_segment(wal: ClusterWal, backup: Manifest) -> int:
    """The number of the first segment that the backup needs; 0 if it does not say."""
    span = backup.proof.wal
    return wal.segment_at(span.start) if span else 0
