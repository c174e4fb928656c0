"""From when to when each database and cluster of a job can be brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from holdfast.catalog.catalog import Catalog, Damaged
from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import POSTGRES_CLUSTER, Manifest, Summary
from holdfast.model.chain import ancestors
from holdfast.model.errors import (
    BackupNotFound,
    HoldfastError,
    ManifestInvalid,
    ObjectMissing,
    VerifyFailed,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.recovery import Recovery, RecoveryTarget, moment_of
from holdfast.model.timelines import ClusterWal, Stretch, up_to_gap
from holdfast.model.wal import Position
from holdfast.model.windows import (
    Expected,
    Forecast,
    Measured,
    Reach,
    Window,
    measured,
    newest_passed,
    windows_of,
)
from holdfast.operations.restore.recovery import WalContents, Way, ended_at
from holdfast.operations.wal.list import archived, lacking, named

if TYPE_CHECKING:
    from holdfast.model.drill import DrillRecord
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository

# A server that writes nothing but checkpoints ends few segments; this many are searched.
MOST_WITHOUT_A_COMMIT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsContext:
    """The dependencies of a look at what can be brought back.

    `summaries` are the backups of the job, newest first, `damaged` those that cannot be read, and
    `drills` its drills. Without
    `identities`, the end of a window of encrypted WAL is only known as the time of its archiving.
    """

    job: str
    repository: Repository
    summaries: Sequence[Summary]
    damaged: Sequence[Damaged] = ()
    drills: Sequence[DrillRecord] = ()
    identities: Identities | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWindows:
    """What can be brought back: time spans of clusters, and each backup by itself, newest first.

    `unusable` are backups that cannot be restored.
    """

    windows: tuple[Window, ...]
    reaches: tuple[Reach, ...]
    unusable: tuple[Damaged, ...] = ()


def windows(context: WindowsContext) -> JobWindows:
    """Read the WAL archive's lists, and the last segment before each gap; changes nothing."""
    clusters = Clusters(context)
    reaches: list[Reach] = []
    unusable = [*context.damaged, *clusters.damaged]
    for each in context.summaries:
        manifest = clusters.known.get(each.backup_id)
        if manifest is None and _is_physical(each):
            # It was pruned while this looked, or cannot be read.
            continue
        try:
            reaches += [_moment(each)] if manifest is None else clusters.reaches(manifest)
        except VerifyFailed as error:
            unusable.append(Damaged(backup_id=each.backup_id, problem=error.message))
    speeds = {name: clusters.speed(name) for name in {each.database for each in reaches}}
    told = [_expected(each, speeds[each.database]) for each in reaches]
    return JobWindows(
        windows=tuple(windows_of(told)), reaches=tuple(told), unusable=tuple(unusable)
    )


def _is_physical(summary: Summary) -> bool:
    return summary.server.kind == POSTGRES_CLUSTER


def _moment(summary: Summary) -> Reach:
    return Reach(
        backup=summary.backup_id,
        database=summary.server.database,
        begins=summary.snapshot_at,
        ends=summary.snapshot_at,
        plain_bytes=summary.plain_bytes,
    )


def _expected(reach: Reach, speed: Measured | None) -> Reach:
    if speed is None:
        return reach
    expected = speed.expects(plain_bytes=reach.plain_bytes, wal_bytes=reach.wal_bytes)
    return replace(reach, expected=expected)


class Clusters:
    """The base backups of a job by id, and the archived WAL of their clusters."""

    def __init__(self, context: WindowsContext) -> None:
        self._context = context
        catalog = Catalog(context.repository)
        physical = [each for each in context.summaries if _is_physical(each)]
        self.known: dict[str, Manifest] = {}
        self.damaged: list[Damaged] = []
        for each in physical:
            try:
                self.known[each.backup_id] = catalog.find(each.backup_id)
            except ManifestInvalid as error:
                self.damaged.append(Damaged(backup_id=each.backup_id, problem=error.message))
            except BackupNotFound:
                # A backup may be pruned while this looks.
                continue
        found = archived(context.repository, context.job) if physical else []
        self._wal = {each.cluster: each for each in found}
        self._times: dict[tuple[str, int, int], datetime | None] = {}

    def reaches(self, manifest: Manifest) -> list[Reach]:
        """How far the backup comes on each timeline that continues from it.

        Raises `VerifyFailed` if its parent is missing.
        """
        ancestors(manifest, self.known)
        wal, own = self._wal.get(manifest.proof.cluster), manifest.proof.wal
        if own is None:
            return [_moment(manifest.summary)]
        ends = sorted(wal.ends_after(own.timeline, own.start)) if wal else []
        if wal is None or not ends:
            return [self._alone(manifest)]
        return [
            self._reach(wal, manifest, wal.path(own.timeline, wal.segment_at(own.start), end))
            for end in ends
            if not wal.is_contained(end, ends)
        ]

    def speed(self, database: str) -> Measured | None:
        """What the newest good drill of that database measured; None without one."""
        newest = newest_passed(self._context.drills, database)
        replayed = None
        if newest is not None and newest.backup in self.known:
            # Looked up for this drill alone: it reads records of the WAL.
            replayed = self._replayed(self.known[newest.backup], newest)
        return measured(newest, replayed)

    def _replayed(self, manifest: Manifest, drill: DrillRecord) -> tuple[int, int]:
        """The bytes that a drill of `manifest` restored, and those of the WAL that it replayed."""
        plain_bytes = whole_bytes(manifest, self.known)
        wal, own = self._wal.get(manifest.proof.cluster), manifest.proof.wal
        if wal is None or own is None or drill.reached is None:
            return plain_bytes, 0
        ends = [*wal.ends_after(own.timeline, own.start)]
        if not ends:
            return plain_bytes, 0
        path = wal.path(own.timeline, wal.segment_at(own.start), max(ends))
        replay = self._replay(wal, manifest, up_to_gap(path, lacking(wal, path, manifest))[0])
        return plain_bytes, replay.size_bytes(replay.until(drill.reached))

    def _replay(self, wal: ClusterWal, manifest: Manifest, path: Sequence[Stretch]) -> Replay:
        return Replay(repository=self._context.repository, manifest=manifest, wal=wal, path=path)

    def _alone(self, manifest: Manifest) -> Reach:
        at, own = ended_at(manifest), manifest.proof.wal
        return Reach(
            backup=manifest.backup_id,
            database=manifest.server.database,
            begins=at,
            ends=at,
            plain_bytes=whole_bytes(manifest, self.known),
            cluster=manifest.proof.cluster,
            timeline=own.timeline if own else 0,
            lsn=own.stop if own else "",
        )

    def _reach(self, wal: ClusterWal, manifest: Manifest, path: Sequence[Stretch]) -> Reach:
        whole, gap = up_to_gap(path, lacking(wal, path, manifest))
        replay = self._replay(wal, manifest, whole)
        begins = ended_at(manifest)
        last, is_exact = self._last_commit(wal, whole)
        return Reach(
            backup=manifest.backup_id,
            database=manifest.server.database,
            begins=begins,
            ends=max(begins, last or begins),
            is_exact=is_exact,
            plain_bytes=whole_bytes(manifest, self.known),
            cluster=wal.cluster,
            timeline=path[-1].timeline if path else 0,
            lsn=str(replay.end),
            wal_bytes=replay.size_bytes(),
            gap=named(wal, gap) if gap else "",
        )

    def _last_commit(
        self, wal: ClusterWal, path: Sequence[Stretch]
    ) -> tuple[datetime | None, bool]:
        """The time of the last commit in `path`, and whether it was read there.

        Otherwise it is the time when its last segment was archived.
        """
        for timeline, number in islice(reversed(wal.archived_of(path)), MOST_WITHOUT_A_COMMIT):
            try:
                last = self._commit_in(wal, timeline, number)
            except HoldfastError:
                # Encrypted or damaged WAL: the caller says that it was not read.
                break
            if last is not None:
                return last, True
        return self._archived_at(wal, path), False

    def _commit_in(self, wal: ClusterWal, timeline: int, number: int) -> datetime | None:
        key = (wal.cluster, timeline, number)
        if key not in self._times:
            archive = WalArchive(self._context.repository, self._context.job)
            contents = WalContents(
                repository=self._context.repository,
                job=self._context.job,
                identities=self._context.identities,
            )
            file = archive.find(wal.cluster, wal.name(timeline, number))
            with contents.opened(file) as segment:
                times = [each.at for each in segment.ends() if each.at is not None]
            self._times[key] = max(times, default=None)
        return self._times[key]

    def _archived_at(self, wal: ClusterWal, path: Sequence[Stretch]) -> datetime | None:
        archive = WalArchive(self._context.repository, self._context.job)
        for timeline, number in reversed(wal.archived_of(path)):
            with suppress(ManifestInvalid, ObjectMissing):
                return archive.find(wal.cluster, wal.name(timeline, number)).archived_at
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The WAL of one cluster that brings `manifest` forward: `path` has no gap."""

    repository: Repository
    manifest: Manifest
    wal: ClusterWal
    path: Sequence[Stretch]

    @property
    def end(self) -> Position:
        """The position behind the last segment of the path; the backup's own end if it is later."""
        last = max((each.last for each in self.path), default=-1)
        own = self.manifest.proof.wal
        stop = Position.parse(own.stop) if own and own.stop else Position(0)
        return max(stop, Position((last + 1) * self.wal.segment_bytes))

    def size_bytes(self, upto: Position | None = None) -> int:
        """The bytes from the start of the backup to `upto`, the end of the path by default."""
        own = self.manifest.proof.wal
        start = Position.parse(own.start).byte if own else 0
        return max(0, (self.end if upto is None else min(upto, self.end)).byte - start)

    def until(self, moment: datetime) -> Position:
        """The end of the segment that was the first to be archived after `moment`.

        The segments of a path are archived in their order, so few of their records are read.
        """
        archived = self.wal.archived_of(self.path)
        before, after = 0, len(archived)
        while before < after:
            middle = (before + after) // 2
            if self._is_before(*archived[middle], moment):
                before = middle + 1
            else:
                after = middle
        if before >= len(archived):
            return self.end
        return Position((archived[before][1] + 1) * self.wal.segment_bytes)

    def _is_before(self, timeline: int, number: int, moment: datetime) -> bool:
        archive = WalArchive(self.repository, self.manifest.job)
        with suppress(ManifestInvalid, ObjectMissing):
            found = archive.find(self.wal.cluster, self.wal.name(timeline, number))
            return found.archived_at < moment
        return False


def wal_to_replay(replay: Replay, recovery: Recovery) -> int:
    """The bytes of WAL that `recovery` replays, at most: only the WAL says where a name is."""
    own = replay.manifest.proof.wal
    if recovery.goal is RecoveryTarget.IMMEDIATE:
        return replay.size_bytes(Position.parse(own.stop)) if own and own.stop else 0
    if recovery.goal is RecoveryTarget.LSN:
        return replay.size_bytes(Position.parse(recovery.value))
    if recovery.goal is RecoveryTarget.TIME:
        return replay.size_bytes(replay.until(moment_of(recovery.value)))
    return replay.size_bytes()


def whole_bytes(manifest: Manifest, known: Mapping[str, Manifest]) -> int:
    """The plain bytes of a backup with those that it is restored on top of."""
    above: Sequence[Manifest] = ()
    with suppress(VerifyFailed):
        above = ancestors(manifest, known)
    return sum(each.plain_bytes for each in (*above, manifest))


def forecast(
    context: WindowsContext, manifest: Manifest, recovery: Recovery, *, way: Way
) -> Forecast:
    """The WAL that `recovery` of `manifest` on its `way` replays, and the expected time."""
    clusters = Clusters(context)
    wal_bytes = 0
    if way.wal is not None:
        path, _ = up_to_gap(way.path, lacking(way.wal, way.path, manifest))
        replay = Replay(repository=context.repository, manifest=manifest, wal=way.wal, path=path)
        wal_bytes = wal_to_replay(replay, recovery)
    speed = clusters.speed(manifest.server.database)
    plain_bytes = whole_bytes(manifest, clusters.known)
    expected = speed.expects(plain_bytes=plain_bytes, wal_bytes=wal_bytes) if speed else Expected()
    return Forecast(wal_bytes=wal_bytes, expected=expected)
