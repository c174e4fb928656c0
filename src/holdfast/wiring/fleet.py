"""Build from the settings what leaves the status of a job, and what reads those of all hosts."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from holdfast.config.settings import JobSettings, Settings
from holdfast.host_state.runs import FileLastStatus
from holdfast.host_state.timers import is_waiting, next_by_calendar, unit_name
from holdfast.host_state.tuning import VERDICT_FILE, last_verdict
from holdfast.model.backup import POSTGRES_CLUSTER, Summary
from holdfast.model.drill import DrillRecord
from holdfast.model.host_status import (
    BACKUP,
    DRILL,
    GRACE,
    MOST_BACKUPS,
    MOST_WINDOWS,
    NAME_CHARACTERS,
    VERIFY,
    Act,
    Due,
    GoodBackup,
    GoodDrill,
    Happened,
    Holdings,
    HostStatus,
    KnownWindow,
    PastDrill,
    host_key,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.redaction import sanitized
from holdfast.operations.fleet import LeavingContext
from holdfast.ports.repository import Repository
from holdfast.runtime.clock import now
from holdfast.runtime.installed import installed_version
from holdfast.wiring.reading import index_of, repository_of
from holdfast.wiring.repositories import repository, repository_settings, store_name

if TYPE_CHECKING:
    from holdfast.catalog.manifest_index import Overview


def leaving_context(settings: Settings, job: str, *, chosen: str = "") -> LeavingContext:
    """The context of leaving a status of `job` in all of its repositories, and in the chosen one.

    The job need not be configured: a host may drill the backups of another one.
    """
    found = settings.jobs.get(job)
    own = (found.repository, *found.mirrors) if found else ()
    names = dict.fromkeys((*own, store_name(settings, job, chosen=chosen)))
    overdue_after = found.overdue_after if found else None
    return LeavingContext(
        begun=HostStatus(
            host=host_key(socket.gethostname()),
            job=job,
            number=0,
            at=now().replace(microsecond=0),
            version=installed_version(),
            overdue_seconds=int(overdue_after.total_seconds()) if overdue_after else None,
            tuning=last_verdict(VERDICT_FILE),
        ),
        dues=partial(_dues, _scheduled(settings, found)),
        last=FileLastStatus(settings.state_directory / "status"),
        repositories=_repositories(settings, names),
        clock=now,
        holdings=partial(_holdings, settings, job),
    )


def _holdings(settings: Settings, job: str) -> Holdings:
    """What the job's own repository holds: one list of it, and of its WAL where it has any."""
    overview = index_of(settings, job).overview(job)
    is_archived = any(each.server.kind == POSTGRES_CLUSTER for each in overview.summaries)
    return Holdings(
        at=now().replace(microsecond=0),
        count=len(overview.summaries),
        backups=tuple(_good_backup(each) for each in overview.summaries[:MOST_BACKUPS]),
        windows=_windows(settings, job, overview) if is_archived else (),
    )


def _windows(settings: Settings, job: str, overview: Overview) -> tuple[KnownWindow, ...]:
    from holdfast.operations.restore.windows import WindowsContext, windows  # few jobs have WAL

    found = windows(
        WindowsContext(
            job=job, repository=repository_of(settings, job), summaries=overview.summaries
        )
    )
    return tuple(
        KnownWindow(
            database=each.database[:NAME_CHARACTERS],
            timeline=each.timeline,
            begins=each.begins,
            ends=each.ends,
            is_exact=each.is_exact,
            gap=each.gap[:500],
        )
        for each in found.windows[:MOST_WINDOWS]
    )


def fleet_repositories(
    settings: Settings, names: Iterable[str]
) -> dict[str, Callable[[], Repository]]:
    """What opens each of those repositories; raises `ConfigInvalid` for an unknown name."""
    return _repositories(settings, dict.fromkeys(names))


def _repositories(
    settings: Settings, names: Mapping[str, object]
) -> dict[str, Callable[[], Repository]]:
    return {name: partial(repository, repository_settings(settings, name)) for name in names}


def happened(
    act: Act, manifests: Iterable[Summary] = (), drills: Sequence[DrillRecord] = ()
) -> Happened:
    """The end of a command, fit to leave the host, with the good backups and drills of it."""
    return Happened(
        act=replace(act, error=sanitized(act.error), hint=sanitized(act.hint)),
        backups=[_good_backup(each) for each in manifests],
        drills=[
            GoodDrill(
                backup=each.backup,
                database=each.database[:500],
                began=each.began,
                ended=each.ended,
                restore_seconds=each.seconds.restore,
                reached=each.reached,
            )
            for each in drills
            if each.passed
        ],
        tried=[_past_drill(each) for each in drills],
    )


def _good_backup(summary: Summary) -> GoodBackup:
    return GoodBackup(
        backup=summary.backup_id,
        database=summary.server.database[:NAME_CHARACTERS],
        taken_at=summary.snapshot_at,
        plain_bytes=summary.plain_bytes,
        stored_bytes=summary.stored_bytes,
        seconds=summary.seconds,
    )


def _past_drill(record: DrillRecord) -> PastDrill:
    loss = record.loss
    return PastDrill(
        backup=record.backup[:500],
        database=record.database[:NAME_CHARACTERS],
        ended=record.ended,
        passed=record.passed,
        restore_seconds=record.seconds.restore if record.passed else None,
        lost_seconds=loss.total_seconds() if loss is not None else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timer:
    """A command with a schedule, and how long a run of it may take for each database and beside."""

    command: str
    schedule: str
    each: timedelta
    beside: timedelta = timedelta(0)


def _scheduled(settings: Settings, job: JobSettings | None) -> Sequence[_Timer]:
    if job is None:
        return ()
    verify, drill = job.verify, job.drill
    stores = (repository_settings(settings, each) for each in (job.repository, *job.mirrors))
    waits = job.overlap == "wait" or any(each.repository_slots is not None for each in stores)
    found = (
        (BACKUP, job.schedule, job.timeout, job.wait_at_most if waits else timedelta(0)),
        (VERIFY, verify.schedule, timedelta(0), verify.budget + job.timeout),
        (DRILL, drill.schedule, timedelta(0), drill.budget),
    )
    return [
        _Timer(command=command, schedule=schedule[:500], each=each, beside=beside)
        for command, schedule, each, beside in found
        if schedule is not None
    ]


def _dues(
    timers: Sequence[_Timer], before: HostStatus, began: Mapping[str, datetime]
) -> tuple[Due, ...]:
    """When the timers of the job start next.

    Counted from the last begin of the same command: a command that runs on cannot hide another one
    whose timer is gone.
    """
    found = []
    for timer in timers:
        next_at = _next(timer, before.due(timer.command), began.get(timer.command))
        longest = timer.each * max(1, before.databases) + timer.beside
        found.append(
            Due(
                command=timer.command,
                schedule=timer.schedule,
                next_at=next_at,
                latest=next_at + longest + GRACE if next_at is not None else None,
                timer=is_waiting(unit_name(before.job, timer.command)),
            )
        )
    return tuple(found)


def _next(timer: _Timer, known: Due | None, began: datetime | None) -> datetime | None:
    if began is None and known is not None and known.schedule == timer.schedule:
        return known.next_at
    return next_by_calendar(timer.schedule, since=began or now())
