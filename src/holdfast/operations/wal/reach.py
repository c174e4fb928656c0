"""How far the archived WAL of a job reaches now, for metrics: its newest segment, and gaps."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import Manifest
from holdfast.model.errors import ManifestInvalid, ObjectMissing
from holdfast.model.timelines import ClusterWal
from holdfast.operations.wal.list import by_cluster, lacking
from holdfast.ports.host_state import WalReach
from holdfast.ports.repository import Repository

# Damaged records are skipped; this many are tried.
MOST_LOOKED_AT = 20


def wal_reach(repository: Repository, newest: Manifest, *, at: datetime) -> WalReach | None:
    """The WAL after `newest`, the newest backup of its job; None if none of its cluster is there.

    Reads one listing and a few records.
    """
    own = newest.proof.wal
    if own is None:
        return None
    archive = WalArchive(repository, newest.job)
    held = [each for each in archive.held() if each.cluster == newest.proof.cluster]
    for wal in by_cluster(archive, held):
        gaps = [*lacking(wal, wal.needed_after(own.timeline, own.start), newest)]
        archived_at = _archived_at(archive, wal)
        return WalReach(job=newest.job, at=at, archived_at=archived_at, gaps=len(gaps))
    return None


def _archived_at(archive: WalArchive, wal: ClusterWal) -> datetime | None:
    """When the newest segment of the newest timeline was archived; None if no record tells."""
    for number in sorted(wal.timelines, reverse=True):
        for segment in sorted(wal.timelines[number].segments, reverse=True)[:MOST_LOOKED_AT]:
            with suppress(ManifestInvalid, ObjectMissing):
                return archive.find(wal.cluster, wal.name(number, segment)).archived_at
    return None
