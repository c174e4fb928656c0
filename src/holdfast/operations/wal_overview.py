"""What is archived of a job's WAL, and which backups cannot be brought forward with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from holdfast.archiving import Held, Switch
from holdfast.catalog.wal_archive import WalArchive
from holdfast.errors import ManifestInvalid
from holdfast.model import Manifest, PartKind
from holdfast.operations.completeness import BadPart
from holdfast.ports import Repository
from holdfast.timelines import ClusterWal, Stretch, Timeline, missing
from holdfast.wal import WalKind, WalName

# Where there is no segment to tell its size nothing is counted either.
SEGMENT_BYTES = 16 << 20
# What a manifest proves of a base backup; others need no WAL.
START, STOP, CLUSTER, TIMELINE = "start_lsn", "stop_lsn", "system_identifier", "timeline"


def needs_wal(manifest: Manifest) -> bool:
    """Whether it is a base backup, which WAL can bring forward."""
    return manifest.proof.keys() >= {START, CLUSTER, TIMELINE}


def archived(repository: Repository, job: str) -> list[ClusterWal]:
    """All WAL of a job; reads one list, one record a cluster, and those of history files."""
    archive = WalArchive(repository, job)
    return by_cluster(archive, archive.held())


def by_cluster(archive: WalArchive, held: Sequence[Held]) -> list[ClusterWal]:
    """The same of what is `held`, for whoever has the list already."""
    files = [each for each in held if each.is_archived]
    return [
        _cluster(archive, cluster, list(own))
        for cluster, own in groupby(files, key=lambda each: each.cluster)
    ]


def missing_wal(repository: Repository, manifests: Sequence[Manifest]) -> list[list[BadPart]]:
    """Of each backup the segments between its start and the newest that is archived, but for
    those that it holds itself. Nothing is missing where nothing is archived."""
    jobs = {each.job for each in manifests if needs_wal(each)}
    found = {(job, each.cluster): each for job in jobs for each in archived(repository, job)}
    return [_gaps(found.get((each.job, each.proof.get(CLUSTER, ""))), each) for each in manifests]


def _gaps(wal: ClusterWal | None, manifest: Manifest) -> list[BadPart]:
    if wal is None or not needs_wal(manifest):
        return []
    needed = wal.needed_after(int(manifest.proof[TIMELINE]), manifest.proof[START])
    return [
        BadPart(name=f"wal {named(wal, gap)}", problem=_told(wal, gap))
        for gap in lacking(wal, needed, manifest)
    ]


def lacking(wal: ClusterWal, needed: Sequence[Stretch], manifest: Manifest) -> Iterator[Stretch]:
    """What of `needed` neither the archive nor the backup itself has."""
    own = _own_segments(wal, manifest)
    there = {
        number: own.get(number, set()) | line.segments for number, line in wal.timelines.items()
    }
    return missing(needed, {**own, **there})


def _cluster(archive: WalArchive, cluster: str, files: list[Held]) -> ClusterWal:
    segments = [each for each in files if each.name.kind is WalKind.SEGMENT]
    size = _segment_bytes(archive, segments)
    timelines: dict[int, Timeline] = {}
    for number in sorted({each.name.timeline for each in files}):
        own = [each for each in files if each.name.timeline == number]
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
    """As the newest record says that can be read: one that is damaged hides no other."""
    for each in reversed(segments):
        with suppress(ManifestInvalid):
            return archive.find(each.cluster, each.name.text).part.plain_bytes
    return SEGMENT_BYTES


def _switches(archive: WalArchive, history: Sequence[Held]) -> tuple[Switch, ...]:
    for each in history:
        with suppress(ManifestInvalid):
            return archive.find(each.cluster, each.name.text).switches
    return ()


def _own_segments(wal: ClusterWal, manifest: Manifest) -> dict[int, set[int]]:
    own: dict[int, set[int]] = {}
    for part in manifest.parts:
        if part.kind is PartKind.WAL:
            name = WalName.parse(part.details.get("path", "").rpartition("/")[2])
            if name is not None:
                own.setdefault(name.timeline, set()).add(name.number(wal.segment_bytes))
    if not own and STOP in manifest.proof:
        # One stream of pg_basebackup has them inside.
        first, last = (wal.segment_at(manifest.proof[each]) for each in (START, STOP))
        own[int(manifest.proof[TIMELINE])] = set(range(first, last + 1))
    return own


def named(wal: ClusterWal, gap: Stretch) -> str:
    """A stretch by the names of its first and last segment."""
    first, last = (wal.name(gap.timeline, each) for each in (gap.first, gap.last))
    return first if first == last else f"{first} to {last}"


def _told(wal: ClusterWal, gap: Stretch) -> str:
    count = len(gap)
    what = "segment" if count == 1 else f"{count} segments"
    return (
        f"cannot recover beyond {what} '{named(wal, gap)}' of cluster {wal.cluster}: not archived,"
        " and what comes after it is of no use to this backup"
    )
