"""Remove the WAL that no backup needs any more: what is older than the oldest one that is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import POSTGRES_CLUSTER, Manifest
from holdfast.model.errors import ManifestInvalid, ObjectMissing, RepositoryReadOnly
from holdfast.model.timelines import ClusterWal
from holdfast.model.wal import WalKind
from holdfast.model.wal_archive import Held
from holdfast.operations.wal.list import by_cluster
from holdfast.ports.repository import Repository
from holdfast.runtime import events


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedWal:
    """What goes, or went, of the WAL of one cluster: files older than `first_kept`.

    `because` says which backup needs that one. `refused` files are kept by the store, `unproven`
    ones by us: their records cannot be read, or speak of segments of another size.
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

    Timelines share the count of segments, so what is before that start is needed by none of them,
    whatever its timeline; histories always stay. Nothing goes where a backup does not tell what it
    needs. Of a cluster without a backup everything stays,
    too: its first one may be under way. `require` is called before each file that goes.
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
    """Not where a start is not told, or where a parent is not there: it may come back, and would
    need WAL from its own start on."""
    known = {each.backup_id for each in backups}
    return all(each.proof.wal and each.parent in ("", *known) for each in backups)


def _older(held: Sequence[Held], wal: ClusterWal, first: int) -> list[Held]:
    """Oldest first, so that a prune that is killed leaves no gap."""
    own = [
        each
        for each in held
        if each.cluster == wal.cluster
        and each.name.kind is not WalKind.HISTORY
        and each.name.number(wal.segment_bytes) < first
    ]
    return sorted(own, key=lambda each: each.name.number(wal.segment_bytes))


def _proven(archive: WalArchive, wal: ClusterWal, older: Sequence[Held]) -> list[Held]:
    """Those whose own records say that they are as old as that.

    How old a segment is depends on how large all are: one record that somebody put there must not
    make others look old. What has no record goes with a neighbour that has one.
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
    """Those that the store let go."""
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
    """Of the WAL that it needs; the very first where it does not tell."""
    span = backup.proof.wal
    return wal.segment_at(span.start) if span else 0
