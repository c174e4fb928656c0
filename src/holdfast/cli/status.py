"""`holdfast status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from holdfast.cli.context import (
    Caller,
    JsonOption,
    Session,
    SomeJob,
    duration_option,
    print_document,
    session_of,
)
from holdfast.cli.documents import (
    Document,
    moment,
    of_backup,
    of_failed_jobs,
    of_last_drill,
)
from holdfast.cli.parameters import Option
from holdfast.cli.tables import (
    BAD,
    DIM,
    GOOD,
    WARN,
    Cell,
    Coloured,
    Column,
    Table,
    key,
    number,
    time_of,
    words,
)
from holdfast.host_state.timers import next_run
from holdfast.model.errors import JobNeedsAttention
from holdfast.model.units import ago, span
from holdfast.operations.status import JobStatus, status as status_of
from holdfast.ports.host_state import RunRecord
from holdfast.runtime.clock import now

MaxAge = Annotated[
    timedelta | None,
    Option(
        metavar="TIME",
        parser=duration_option,
        help="How old a job's newest backup may be: 26h, 8d. Default: the job's overdue_after.",
    ),
]


EXAMPLES = """\
# For a monitor: exit code 44 if a backup is too old
holdfast status --max-age 26h

# Only the jobs with a problem
holdfast status --json | jq '.jobs[] | select(.problem)'
"""


def status(
    context: Caller,
    job: SomeJob = None,
    *,
    max_age: MaxAge = None,
    as_json: JsonOption = False,
) -> None:
    """Show the state of each job: last good backup, last run and its error, and the current run.

    The exit code is 44 if the last run or drill of a job failed, a backup or a record of a drill is
    damaged, or a server fails to archive its WAL. It is 44 too if the newest backup is older than
    --max-age. So a monitor needs no more than this command.
    """
    from holdfast.wiring.jobs import status_context

    session = session_of(context)
    found, errors = session.of_each_job(
        job,
        lambda name: status_of(
            status_context(session.settings, name, chosen=session.chosen_repository)
        ),
    )
    problems = {each.job: _problem(session, each, max_age) for each in found}
    if as_json:
        jobs = [
            _document(each, next_run(each.job), problem=problems[each.job])
            | {"archiver": _of_archiver(each)}
            for each in found
        ]
        print_document("status", {"jobs": jobs} | of_failed_jobs(errors))
    else:
        _show_status(session, found, problems)
        session.tell_failed(errors)
    if errors:
        raise SystemExit(next(iter(errors.values())).exit_code)
    if any(problems.values()):
        raise SystemExit(JobNeedsAttention.exit_code)


def _problem(session: Session, status: JobStatus, max_age: timedelta | None) -> str:
    """Why the job needs attention; without --max-age its own `overdue_after` counts."""
    if max_age is not None:
        return status.problem(max_age)
    return status.problem(session.settings.jobs[status.job].overdue_after, set_by="overdue_after")


def _show_status(session: Session, found: Sequence[JobStatus], problems: Mapping[str, str]) -> None:
    rows = [tuple(tell(each) for tell in STATUS.values()) for each in found]
    session.show(Table(tuple(STATUS), rows))
    for each in found:
        if problems[each.job]:
            session.say(f"{each.job}: {problems[each.job]}", BAD)
        for record in each.drills.damaged:
            session.say(f"{each.job}: damaged: drill {record.drill_id}: {record.problem}", BAD)
        if each.drills.damaged:
            session.say("  hint: prune keeps such a record; remove the object once you know why")
        for backup_id, why in each.suspicious.items():
            session.say(f"{each.job}: suspicious: {backup_id}: {why}", WARN)
        if each.archiver_unknown:
            session.say(
                f"{each.job}: cannot read the state of the WAL archiver: {each.archiver_unknown}",
                WARN,
            )
        if each.last_run and each.last_run.error:
            session.say(f"{each.job}: {each.last_run.error}", BAD)
            if each.last_run.hint:
                session.say(f"  hint: {each.last_run.hint}")


def _age(found: JobStatus) -> Cell:
    return Coloured("none", WARN) if found.age is None else f"{span(found.age)} ago"


OUTCOMES = {"ok": GOOD, "failed": BAD}


def _last_run(found: JobStatus) -> Cell:
    if found.last_run is None:
        return Coloured("never", DIM)
    skipped = f", {found.skipped_in_a_row} in a row" if found.skipped_in_a_row > 1 else ""
    outcome = found.last_run.outcome
    when = ago(now() - found.last_run.finished_at)
    return Coloured(f"{outcome} {when}{skipped}", OUTCOMES.get(outcome, WARN))


def _drilled(found: JobStatus) -> Cell:
    last = found.drills.newest
    if last is None:
        return Coloured("never", DIM)
    when = ago(now() - last.ended)
    if not last.passed:
        return Coloured(f"failed {when}", BAD)
    return Coloured(f"{when}, in {last.seconds.restore:.1f} s", GOOD)


def _running(found: JobStatus) -> str:
    if not found.owner:
        return "no"
    since = found.owner.get("started_at")
    started = time_of(datetime.fromisoformat(since)) if since else "just now"
    host = found.owner.get("host")
    where = f" on {host}" if host else ""
    return f"process {found.owner['pid']}{where} since {started}"


def _next(found: JobStatus) -> str:
    moment = next_run(found.job)
    return time_of(moment) if moment else "no timer"


def _damaged(found: JobStatus) -> Cell:
    return Coloured(str(found.damaged), BAD) if found.damaged else "0"


STATUS: dict[Column, Callable[[JobStatus], Cell]] = {
    key("JOB"): lambda found: found.job,
    words("LAST GOOD"): _age,
    number("BACKUPS", drop=3): lambda found: str(found.backups),
    number("DAMAGED", drop=2): _damaged,
    words("LAST RUN"): _last_run,
    words("DRILLED", drop=4): _drilled,
    words("RUNNING"): _running,
    words("NEXT", drop=1): _next,
}
"""The columns, and what each tells of a job."""


def _document(found: JobStatus, next_run: datetime | None, *, problem: str) -> Document:
    return {
        "job": found.job,
        "newest": of_backup(found.newest.summary) if found.newest else None,
        "age_seconds": round(found.age.total_seconds()) if found.age is not None else None,
        "backups": found.backups,
        "damaged": found.damaged,
        "failures": found.failures,
        "last_run": _of_run(found.last_run) if found.last_run else None,
        "last_drill": of_last_drill(found.drills.newest),
        "damaged_drills": [
            {"drill": each.drill_id, "problem": each.problem} for each in found.drills.damaged
        ],
        "skipped_in_a_row": found.skipped_in_a_row,
        "owner": found.owner,
        "next_run": moment(next_run) if next_run else None,
        "problem": problem or None,
        "suspicious": [
            {"backup": backup_id, "problem": why} for backup_id, why in found.suspicious.items()
        ],
    }


def _of_run(run: RunRecord) -> Document:
    return {
        "run_id": run.run_id,
        "outcome": run.outcome,
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at),
        "backup": run.backup or None,
        "error": run.error or None,
        "hint": run.hint or None,
        "exit_code": run.exit_code,
        "facts": run.facts,
    }


def _of_archiver(found: JobStatus) -> Document | None:
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
