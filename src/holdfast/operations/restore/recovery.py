"""Whether a backup and the WAL that is archived lead to where an operator wants to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest
from holdfast.model.errors import TargetOutOfReach, Unsupported
from holdfast.model.recovery import Recovery, RecoveryTarget, moment_of
from holdfast.model.timelines import ClusterWal, Stretch
from holdfast.model.wal import Position
from holdfast.operations.wal.list import (
    CLUSTER,
    START,
    STOP,
    TIMELINE,
    archived,
    lacking,
    named,
    needs_wal,
)
from holdfast.ports.repository import Repository
from holdfast.ports.run import Clock

ENDED = "ended_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The archived WAL that leads to a target: none where the backup's own is enough. `notes` say
    what may be in the way."""

    wal: ClusterWal | None = None
    path: tuple[Stretch, ...] = ()
    notes: tuple[str, ...] = ()


def require_reachable(
    repository: Repository, manifest: Manifest, recovery: Recovery, *, clock: Clock
) -> Way:
    """Raise `TargetOutOfReach` where the target is not to be reached, and `Unsupported` where WAL
    cannot bring the backup forward."""
    if not needs_wal(manifest):
        raise Unsupported(
            f"cannot recover '{manifest.backup_id}' to a target: it is no base backup",
            hint="WAL goes on from backups by method: physical only",
        )
    _require_after(repository, manifest, recovery, now=clock())
    if recovery.goal is RecoveryTarget.IMMEDIATE:
        return Way()
    wal = next(
        (
            each
            for each in archived(repository, manifest.job)
            if each.cluster == manifest.proof[CLUSTER]
        ),
        None,
    )
    if wal is None:
        raise TargetOutOfReach(
            f"cannot recover '{manifest.backup_id}': no WAL of its cluster is archived",
            hint="restore it without a target; for the next time, see docs/wal.md",
        )
    return _require_way(wal, manifest, recovery)


def _require_after(
    repository: Repository, manifest: Manifest, recovery: Recovery, *, now: datetime
) -> None:
    """The target lies after the end of the backup: before that the cluster is not consistent."""
    if recovery.goal is RecoveryTarget.TIME:
        wanted, ended = moment_of(recovery.value), ended_at(manifest)
        if wanted > now:
            raise TargetOutOfReach(
                f"cannot recover to {wanted:%Y-%m-%d %H:%M:%SZ}: that is yet to come",
                hint="--target latest replays all that is archived",
            )
        if wanted < ended:
            _refuse_before(repository, manifest, recovery, f"{ended:%Y-%m-%d %H:%M:%S.%fZ}")
    stop = manifest.proof.get(STOP)
    if (
        recovery.goal is RecoveryTarget.LSN
        and stop
        and Position.parse(recovery.value) < Position.parse(stop)
    ):
        _refuse_before(repository, manifest, recovery, stop)


def _refuse_before(
    repository: Repository, manifest: Manifest, recovery: Recovery, ended: str
) -> None:
    older = [
        each.backup_id
        for each in Catalog(repository).survey(manifest.job).manifests
        if needs_wal(each) and _is_before(each, recovery)
    ]
    raise TargetOutOfReach(
        f"cannot recover '{manifest.backup_id}' to {recovery.told}: the backup ended at {ended},"
        " and is not consistent before",
        hint=f"restore {older[0]}, which ended before"
        if older
        else "no backup of this job ended before that",
    )


def _is_before(manifest: Manifest, recovery: Recovery) -> bool:
    if recovery.goal is RecoveryTarget.TIME:
        return ended_at(manifest) <= moment_of(recovery.value)
    stop = manifest.proof.get(STOP)
    return stop is not None and Position.parse(stop) <= Position.parse(recovery.value)


def ended_at(manifest: Manifest) -> datetime:
    """When the server ended the backup, or at the latest when all of it was stored."""
    told = manifest.proof.get(ENDED)
    return datetime.fromisoformat(told) if told else manifest.finished_at


def _require_way(wal: ClusterWal, manifest: Manifest, recovery: Recovery) -> Way:
    path = _path(wal, manifest, recovery)
    if recovery.goal is RecoveryTarget.LSN:
        path = _up_to(wal, path, recovery.value)
    gaps = [named(wal, each) for each in lacking(wal, path, manifest)]
    told = f"WAL is missing: {', '.join(gaps)}"
    if gaps and recovery.goal in (RecoveryTarget.LSN, RecoveryTarget.LATEST):
        raise TargetOutOfReach(
            f"cannot recover '{manifest.backup_id}' to {recovery.told}: {told}",
            hint="recover to a point before that, or take a newer backup",
        )
    # When a time or a name was, only the WAL itself says: the server ends where it does not come.
    return Way(wal=wal, path=tuple(path), notes=(told,) if gaps else ())


def _path(wal: ClusterWal, manifest: Manifest, recovery: Recovery) -> list[Stretch]:
    own = int(manifest.proof[TIMELINE])
    asked = recovery.timeline
    newest = max([own, *wal.timelines])
    end = newest if asked == "latest" else own if asked == "current" else int(asked)
    line = wal.timelines.get(end)
    left = [each.at for each in line.switches if each.timeline == own] if line else []
    start = manifest.proof[START]
    if end != own and not any(Position.parse(at) >= Position.parse(start) for at in left):
        raise TargetOutOfReach(
            f"cannot recover '{manifest.backup_id}' to timeline {end}: it does not go on from this"
            " backup, or its history is not archived",
            hint=f"--target-timeline current stays on timeline {own}",
        )
    if line is None:
        return []
    return wal.path(own, wal.segment_at(start), end)


def _up_to(wal: ClusterWal, path: Sequence[Stretch], lsn: str) -> list[Stretch]:
    """As far as the segment that ends with the target; it may not be archived yet."""
    last = Position(Position.parse(lsn).byte - 1).segment(wal.segment_bytes)
    cut = [
        Stretch(timeline=each.timeline, first=each.first, last=min(each.last, last))
        for each in path
        if each.first <= last
    ]
    if cut and cut[-1].last < last:
        cut[-1] = Stretch(timeline=cut[-1].timeline, first=cut[-1].first, last=last)
    return cut
