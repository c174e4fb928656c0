"""Archived WAL and recoveries as machines read them; docs/json.md describes every field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.model.recovery import Reached, Recovery
from holdfast.model.timelines import ClusterWal, Stretch
from holdfast.operations.status import JobStatus
from holdfast.operations.wal.prune import PrunedWal
from holdfast.operations.wal.push import Pushed
from holdfast.operations.wal.snapshot_script import SnapshotReport

Document = dict[str, Any]


def of_pushed(pushed: Pushed) -> Document:
    return {
        "file": pushed.name,
        "cluster": pushed.cluster,
        "was_there": pushed.was_there,
        "plain_bytes": pushed.plain_bytes,
        "seconds": pushed.seconds,
        "ahead": list(pushed.ahead),
    }


def of_timeline(wal: ClusterWal, number: int) -> Document:
    line = wal.timelines[number]
    ends = (min(line.segments), max(line.segments)) if line.segments else ()
    names = [wal.name(number, each) for each in ends]
    return {
        "cluster": wal.cluster,
        "timeline": number,
        "first": names[0] if names else None,
        "last": names[-1] if names else None,
        "segments": len(line.segments),
        "stored_bytes": line.stored_bytes,
        "missing": [_of_gap(wal, gap) for gap in wal.gaps(number)],
        "switches": [{"timeline": each.timeline, "at": each.at} for each in line.switches],
    }


def of_pruned(pruned: PrunedWal) -> Document:
    return {
        "cluster": pruned.cluster,
        "first_kept": pruned.first_kept,
        "because": pruned.because,
        "files": pruned.files,
        "refused": pruned.refused,
        "unproven": pruned.unproven,
        "freed_bytes": pruned.freed_bytes,
    }


def of_snapshot(report: SnapshotReport) -> Document:
    begun = report.begun
    return {
        "job": report.job,
        "labels": str(report.labels),
        "start_lsn": begun.start_lsn,
        "stop_lsn": report.ended.stop_lsn,
        "timeline": begun.anchor.timeline,
        "system_identifier": begun.anchor.system_identifier,
        "begun_at": begun.begun_at.isoformat(),
        "ended_at": report.ended_at.isoformat(),
        "script_seconds": report.script_seconds,
    }


def of_recovery(plan: Recovery | None, reached: Reached | None, notes: Sequence[str]) -> Document:
    """Where a restored cluster goes on to, and how far a server that was started has come."""
    if plan is None and reached is None:
        return {}
    return {
        "recovery": {
            "target": plan.told if plan else None,
            "timeline": plan.timeline if plan else None,
            "action": plan.action.value if plan else None,
            "state": reached.state if reached else None,
            "lsn": (reached.lsn or None) if reached else None,
            "log": reached.log if reached else None,
            "notes": list(notes),
        }
    }


def _of_gap(wal: ClusterWal, gap: Stretch) -> Document:
    return {
        "first": wal.name(gap.timeline, gap.first),
        "last": wal.name(gap.timeline, gap.last),
        "segments": len(gap),
    }


def of_archiver(found: JobStatus) -> Document | None:
    archiver = found.archiver
    if archiver is None:
        return {"unknown": found.archiver_unknown} if found.archiver_unknown else None
    at, failed_at = archiver.last_archived_at, archiver.last_failed_at
    return {
        "mode": archiver.mode,
        "last_archived": archiver.last_archived or None,
        "last_archived_at": at.isoformat(timespec="seconds") if at else None,
        "last_failed": archiver.last_failed or None,
        "last_failed_at": failed_at.isoformat(timespec="seconds") if failed_at else None,
        "waiting": archiver.waiting,
        "problem": archiver.problem or None,
    }
