"""The JSON document of `holdfast fleet`, which `--serve` answers with, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.cli.documents import Document, moment, of_unseen

if TYPE_CHECKING:
    from holdfast.model.fleet import Row
    from holdfast.model.host_status import (
        Act,
        Day,
        Due,
        GoodBackup,
        Holdings,
        HostStatus,
        KnownWindow,
        PastDrill,
    )
    from holdfast.model.tuning_verdict import TuningVerdict
    from holdfast.operations.fleet import Fleet


def head_of(found: Fleet) -> Document:
    """What is said of the whole fleet."""
    states: dict[str, int] = {}
    for row in found.rows:
        states[row.state.value] = states.get(row.state.value, 0) + 1
    return {
        "needs_attention": found.needs_attention,
        "states": states,
        **of_unseen(found.unseen),
    }


def of_row(row: Row) -> Document:
    return {
        "host": row.host,
        "job": row.job or None,
        "state": row.state.value,
        "why": row.why or None,
        "hint": row.hint or None,
        "repositories": list(row.repositories),
        "status": _of_status(row.status) if row.status else None,
    }


def _of_status(status: HostStatus) -> Document:
    newest, drilled = status.newest, status.drilled
    return {
        "at": moment(status.at),
        "version": status.version,
        "newest": _of_backup(newest) if newest else None,
        "drilled": {
            "backup": drilled.backup,
            "database": drilled.database,
            "ended": moment(drilled.ended),
            "rto_seconds": drilled.restore_seconds,
            "rpo_seconds": drilled.lost_seconds,
        }
        if drilled
        else None,
        "last": _of_acts(status.acts),
        "failures": _of_acts(status.failures),
        "timers": {each.command: _of_due(each) for each in status.dues},
        "overdue_after_seconds": status.overdue_seconds,
        "free_bytes": status.free_bytes,
        "tuning": _of_tuning(status.tuning) if status.tuning else None,
        "days": [_of_day(each) for each in status.days],
        "drills": [_of_drill(each) for each in status.drills],
        "holdings": _of_holdings(status.holdings) if status.holdings else None,
    }


def _of_acts(acts: Sequence[Act]) -> Document:
    return {each.command: _of_act(each) for each in acts}


def _of_backup(backup: GoodBackup) -> Document:
    return {
        "backup": backup.backup,
        "database": backup.database,
        "taken_at": moment(backup.taken_at),
        "plain_bytes": backup.plain_bytes,
        "stored_bytes": backup.stored_bytes,
        "seconds": backup.seconds,
    }


def _of_drill(drill: PastDrill) -> Document:
    return {
        "backup": drill.backup,
        "database": drill.database,
        "ended": moment(drill.ended),
        "passed": drill.passed,
        "rto_seconds": drill.restore_seconds,
        "rpo_seconds": drill.lost_seconds,
    }


def _of_holdings(holdings: Holdings) -> Document:
    return {
        "at": moment(holdings.at),
        "count": holdings.count,
        "backups": [_of_backup(each) for each in holdings.backups],
        "windows": [_of_window(each) for each in holdings.windows],
    }


def _of_window(window: KnownWindow) -> Document:
    return {
        "database": window.database,
        "timeline": window.timeline,
        "begins": moment(window.begins),
        "ends": moment(window.ends),
        "exact": window.is_exact,
        "gap": window.gap or None,
    }


def _of_act(act: Act) -> Document:
    return {
        "outcome": act.outcome,
        "began": moment(act.began),
        "ended": moment(act.ended),
        "exit_code": act.exit_code,
        "error": act.error or None,
        "hint": act.hint or None,
    }


def _of_due(due: Due) -> Document:
    return {
        "schedule": due.schedule,
        "next": moment(due.next_at) if due.next_at else None,
        "latest": moment(due.latest) if due.latest else None,
        "active": due.timer,
    }


def _of_tuning(verdict: TuningVerdict) -> Document:
    return {
        "at": moment(verdict.at),
        "outcome": verdict.outcome,
        "counts": verdict.counts,
        "reasons": list(verdict.reasons),
    }


def _of_day(day: Day) -> Document:
    return {
        "day": day.day,
        "outcome": day.outcome,
        "runs": day.runs,
        "failed": day.failed,
        "plain_bytes": day.plain_bytes,
        "stored_bytes": day.stored_bytes,
        "seconds": day.seconds,
    }
