"""List the archived WAL of a job, find gaps after its backups, and check its cluster.

WAL files of different clusters have the same names, but are useless to each other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING

from holdfast.catalog.places import MANIFEST, WAL, place_of
from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import BadPart, Manifest, PartKind
from holdfast.model.errors import BackupNotFound, ClusterChanged, ManifestInvalid, ObjectMissing
from holdfast.model.part_gaps import path_of
from holdfast.model.timelines import ClusterWal, Stretch, Timeline, missing, runs
from holdfast.model.wal import WalKind, WalName
from holdfast.ports.host_state import WalReach

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.model.wal_archive import Held, Switch
    from holdfast.operations.context import ArchiveContext, JobSpec
    from holdfast.ports.repository import Repository

# Used if no segment has a readable record of its size.
SEGMENT_BYTES = 16 << 20
SEGMENTS_ASKED = 10
# Damaged backups, and those of another method, are skipped; this many are tried.
MOST_LOOKED_AT = 20


def archived(repository: Repository, job: str) -> list[ClusterWal]:
    """All archived WAL of a job; reads one listing, and a few records per cluster and timeline."""
    archive = WalArchive(repository, job)
    return by_cluster(archive, archive.held())


def by_cluster(archive: WalArchive, held: Sequence[Held]) -> list[ClusterWal]:
    """As `archived`, for a caller that already has the listing `held`."""
    files = [each for each in held if each.is_archived]
    return [
        _cluster(archive, cluster, list(own))
        for cluster, own in groupby(files, key=lambda each: each.cluster)
    ]


def missing_wal(repository: Repository, manifests: Sequence[Manifest]) -> list[list[BadPart]]:
    """For each backup the gaps between its start and the newest archived segment.

    Segments that the backup itself holds are no gap. Empty if no WAL of its cluster is archived.
    """
    jobs = {each.job for each in manifests if each.proof.wal}
    found = {(job, each.cluster): each for job in jobs for each in archived(repository, job)}
    return [_gaps(found.get((each.job, each.proof.cluster)), each) for each in manifests]


def _gaps(wal: ClusterWal | None, manifest: Manifest) -> list[BadPart]:
    own = manifest.proof.wal
    if wal is None or own is None:
        return []
    needed = wal.needed_after(own.timeline, own.start)
    return [
        BadPart(name=f"wal {named(wal, gap)}", problem=_told(wal, gap))
        for gap in lacking(wal, needed, manifest)
    ]


def lacking(wal: ClusterWal, needed: Sequence[Stretch], manifest: Manifest) -> Iterator[Stretch]:
    """The stretches of `needed` that neither the archive nor the backup itself holds."""
    there = _own_segments(wal, manifest)
    for number, line in wal.timelines.items():
        there[number] += runs(line.segments)
    return missing(needed, there)


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


def _cluster(archive: WalArchive, cluster: str, files: list[Held]) -> ClusterWal:
    segments = [each for each in files if each.name.kind is WalKind.SEGMENT]
    size = _segment_bytes(archive, segments)
    timelines: dict[int, Timeline] = {}
    by_timeline: defaultdict[int, list[Held]] = defaultdict(list)
    for each in files:
        by_timeline[each.name.timeline].append(each)
    for number, own in sorted(by_timeline.items()):
        history = [each for each in own if each.name.kind is WalKind.HISTORY]
        timelines[number] = Timeline(
            number=number,
            segments=frozenset(
                each.name.number(size) for each in own if each.name.kind is WalKind.SEGMENT
            ),
            switches=_switches(archive, history),
            stored_bytes=sum(each.size_bytes for each in own),
        )
    return ClusterWal(cluster=cluster, segment_bytes=size, timelines=timelines)


def _segment_bytes(archive: WalArchive, segments: Sequence[Held]) -> int:
    """The segment size according to the newest and the oldest readable record.

    If they disagree, the majority of a sample decides: one foreign record must not.
    """
    newest, oldest = _first_size(archive, segments[::-1]), _first_size(archive, segments)
    if newest == oldest:
        return newest
    some = segments[:: max(1, len(segments) // SEGMENTS_ASKED)]
    sizes = Counter(_first_size(archive, [each]) for each in some)
    return sizes.most_common(1)[0][0]


def _first_size(archive: WalArchive, segments: Iterable[Held]) -> int:
    for each in segments:
        with suppress(ManifestInvalid, ObjectMissing):
            return archive.find(each.cluster, each.name.text).part.plain_bytes
    return SEGMENT_BYTES


def _switches(archive: WalArchive, history: Sequence[Held]) -> tuple[Switch, ...]:
    for each in history:
        with suppress(ManifestInvalid, ObjectMissing):
            return archive.find(each.cluster, each.name.text).switches
    return ()


def _own_segments(wal: ClusterWal, manifest: Manifest) -> defaultdict[int, list[range]]:
    own: defaultdict[int, list[range]] = defaultdict(list)
    for part in manifest.parts:
        if part.kind is PartKind.WAL:
            name = WalName.parse(path_of(part).rpartition("/")[2])
            if name is not None:
                number = name.number(wal.segment_bytes)
                own[name.timeline].append(range(number, number + 1))
    span = manifest.proof.wal
    if not own and span is not None and span.stop:
        # A stream of pg_basebackup holds its WAL inside one part.
        first, last = wal.segment_at(span.start), wal.segment_at(span.stop)
        own[span.timeline] = [range(first, last + 1)]
    return own


def named(wal: ClusterWal, gap: Stretch) -> str:
    """The names of the first and last segment of a stretch."""
    first, last = (wal.name(gap.timeline, each) for each in (gap.first, gap.last))
    return first if first == last else f"{first} to {last}"


def _told(wal: ClusterWal, gap: Stretch) -> str:
    count = len(gap)
    what = "segment" if count == 1 else f"{count} segments"
    return (
        f"cannot recover beyond {what} '{named(wal, gap)}' of cluster {wal.cluster}: not archived,"
        " so this backup cannot use the WAL that follows"
    )


def require_cluster_of_backups(job: JobSpec, repository: Repository, cluster: str) -> None:
    """Raises `ClusterChanged` if the job names another cluster.

    If it names none, raises `ClusterChanged` if the newest backup is of another cluster.
    """
    if not _is_named(job, cluster):
        _require_same(job, _newest(repository, job.name), cluster)


def _require_same(job: JobSpec, newest: Manifest | None, cluster: str) -> None:
    if newest is not None and newest.proof.cluster != cluster:
        raise _changed(
            job,
            cluster,
            f"its backups, such as '{newest.backup_id}', belong to cluster {newest.proof.cluster}",
        )


def require_cluster_of_wal(context: ArchiveContext, cluster: str) -> None:
    """Raises `ClusterChanged` if neither WAL nor the newest backup of the job is of this cluster.

    A job without backups and WAL accepts any cluster, unless it names one itself. The result is
    remembered on this host: a server archives a segment every few seconds.
    """
    if _is_named(context.job, cluster) or cluster in context.clusters:
        return
    job, repository = context.job, context.repositories[0]
    if next(iter(repository.list(f"{job.name}{WAL}/{cluster}")), None) is None:
        newest = _newest(repository, job.name)
        _require_same(job, newest, cluster)
        if newest is None:
            _require_first(job, repository, cluster)
    context.clusters.add(cluster)


def _require_first(job: JobSpec, repository: Repository, cluster: str) -> None:
    other = next(iter(repository.list(f"{job.name}{WAL}")), None)
    if other is not None:
        known = other.key.split("/")[1]
        raise _changed(job, cluster, f"its archived WAL belongs to cluster {known}")


def _is_named(job: JobSpec, cluster: str) -> bool:
    """Whether the job names this cluster; raises `ClusterChanged` if it names another."""
    if job.cluster and job.cluster != cluster:
        raise _changed(job, cluster, f"its system_identifier is {job.cluster}")
    return bool(job.cluster)


def _newest(repository: Repository, job: str) -> Manifest | None:
    # Imported here, so that `wal push` starts fast: a server runs it for each segment.
    from holdfast.catalog.catalog import Catalog

    catalog = Catalog(repository)
    for backup_id in _newest_first(repository, job):
        try:
            manifest = catalog.find(backup_id)
        except (ManifestInvalid, BackupNotFound):
            continue
        if manifest.proof.cluster:
            return manifest
    return None


def _newest_first(repository: Repository, job: str) -> Iterator[str]:
    """The ids of the newest backups, sorted by name, which begins with the time."""
    places = (place_of(stored.key) for stored in repository.list(job))
    found = sorted(
        (each.backup_id for each in places if each and each.file == MANIFEST), reverse=True
    )
    yield from found[:MOST_LOOKED_AT]


def _changed(job: JobSpec, cluster: str, because: str) -> ClusterChanged:
    return ClusterChanged(
        f"cannot continue job '{job.name}': cluster {cluster} answers, but {because}",
        hint="give this cluster its own job; if it replaced the other one (pg_upgrade, a new"
        f" initdb), set system_identifier: {cluster} in the job's source",
    )
