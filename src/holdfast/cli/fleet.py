"""`holdfast fleet`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.context import (
    JsonOption,
    Session,
    duration_option,
    end_unseen,
    print_document,
    session_of,
)
from holdfast.cli.documents import Document, moment, of_unseen
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
    words,
)
from holdfast.model.errors import ConfigInvalid, JobNeedsAttention
from holdfast.model.units import ago, counted, size
from holdfast.runtime.clock import now

if TYPE_CHECKING:
    from holdfast.model.fleet import Row
    from holdfast.model.host_status import Act, Day, Due, HostStatus
    from holdfast.model.tuning_verdict import TuningVerdict
    from holdfast.operations.fleet import Fleet

Expect = Annotated[
    Path | None,
    typer.Option(
        "--expect",
        metavar="FILE",
        readable=False,
        help="Hosts and their jobs, as playbooks/fleet.yml writes them: those that never reported"
        " are listed too.",
    ),
]
Repositories = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        metavar="NAME",
        help="Read this repository of the configuration. May be repeated. Default: all of them.",
    ),
]
MaxAge = Annotated[
    timedelta | None,
    typer.Option(
        metavar="TIME",
        parser=duration_option,
        help="How old a newest good backup may be: 26h, 8d. Each job's own overdue_after counts in"
        " any case.",
    ),
]
MaxDrillAge = Annotated[
    timedelta | None,
    typer.Option(
        metavar="TIME",
        parser=duration_option,
        help="How old a newest good drill may be: 30d. Default: as each drill.schedule allows.",
    ),
]
Forget = Annotated[
    str,
    typer.Option(
        metavar="HOST",
        help="Remove what this host left: it is gone for good. Its backups stay.",
    ),
]

EXAMPLES = """\
# For a monitor: exit code 44 if any job of any host needs attention
holdfast fleet --max-age 26h

# List the hosts of the inventory that never reported, too
holdfast fleet --expect /etc/holdfast/fleet.json

# Only what needs attention, for machines
holdfast fleet --json | jq '.jobs[] | select(.why) | {host, job, why}'
"""


def fleet(
    context: typer.Context,
    *,
    expect: Expect = None,
    repository: Repositories = None,
    max_age: MaxAge = None,
    max_drill_age: MaxDrillAge = None,
    forget: Forget = "",
    as_json: JsonOption = False,
) -> None:
    """Show the jobs of all hosts, worst first, from what each host left beside its backups.

    Only the repositories are read, no host is asked. A host is silent once a status is missing that
    its own schedule promised. The exit code is 44 if a job is silent, overdue, failed, damaged or
    not drilled for longer than allowed, or if an expected host never reported.
    """
    from holdfast.operations.fleet import fleet as fleet_of, forget as forget_host
    from holdfast.wiring.fleet import fleet_repositories

    session = session_of(context)
    stores = fleet_repositories(session.settings, repository or session.repositories(None))
    if forget:
        session.say(
            f"{forget}: removed {counted(forget_host(stores, forget), 'status', 'statuses')}"
        )
        return
    expected = _expected(expect)
    found = fleet_of(stores, expected, max_age=max_age, max_drill_age=max_drill_age, now=now())
    if len(stores) == 1:
        for error in found.unseen.values():
            raise error
    if as_json:
        print_document("fleet", _document(found) | of_unseen(found.unseen))
    else:
        _show(session, found)
        session.tell_unseen(found.unseen)
    end_unseen(found.unseen)
    if found.needs_attention:
        raise typer.Exit(JobNeedsAttention.exit_code)


def _expected(path: Path | None) -> list[tuple[str, str]]:
    """Pairs of a host and a job; an empty job stands for any. Raises `ConfigInvalid`."""
    from holdfast.model.fleet import SCHEMA, expected_in

    if path is None:
        return []
    try:
        with path.open("rb") as file:
            return expected_in(iter(lambda: file.read(1 << 16), b""))
    except OSError as error:
        cause, hint = error.strerror, "playbooks/fleet.yml writes it from the inventory"
    except ValueError as error:
        cause, hint = str(error), f"it has the schema {SCHEMA}: see docs/fleet.md"
    raise ConfigInvalid(f"cannot read the expected hosts in '{path}': {cause}", hint=hint)


def _show(session: Session, found: Fleet) -> None:
    at = now()
    if not found.rows:
        session.say("no host has left its state so far; each does with its next backup")
        return
    session.show(
        Table(tuple(COLUMNS), [[tell(row, at) for tell in COLUMNS.values()] for row in found.rows])
    )
    for row in found.rows:
        if row.why:
            session.say(f"{_name(row)}: {row.why}", BAD)
        if row.hint:
            session.say(f"  hint: {row.hint}")
    bad = sum(bool(row.why) for row in found.rows)
    hosts = len({row.host for row in found.rows})
    of_all = f"{counted(len(found.rows), 'job')} of {counted(hosts, 'host')}"
    if bad:
        session.say(f"{bad} of {of_all} {'needs' if bad == 1 else 'need'} attention", BAD)
    else:
        session.say(f"{of_all}: all good", GOOD)


def _name(row: Row) -> str:
    return f"{row.host}/{row.job}" if row.job else row.host


def _state(row: Row, _at: datetime) -> Cell:
    return Coloured(row.state.value, BAD if row.why else GOOD)


def _newest(row: Row, at: datetime) -> Cell:
    newest = row.status.newest if row.status else None
    return Coloured("never", WARN) if newest is None else ago(at - newest.taken_at)


def _next(row: Row, at: datetime) -> Cell:
    """When the next backup is due, against the clock of this host."""
    due = row.status.due("backup") if row.status else None
    if due is None or due.next_at is None:
        return Coloured("no timer", DIM) if row.status else ""
    if due.next_at >= at:
        return f"in {ago(due.next_at - at).removesuffix(' ago')}"
    late = due.latest is not None and at > due.latest
    return Coloured(f"due {ago(at - due.next_at)}", BAD if late else WARN)


def _drilled(row: Row, at: datetime) -> Cell:
    if row.status is None:
        return ""
    drilled = row.status.drilled
    if drilled is None:
        return Coloured("never", DIM)
    return f"{ago(at - drilled.ended)}, in {drilled.restore_seconds:.1f} s"


def _size(row: Row, _at: datetime) -> Cell:
    if row.status is None or row.status.newest is None:
        return ""
    change = row.growth
    trend = "" if change is None else f" {change:+.0%}"
    return f"{size(row.status.newest.stored_bytes)}{trend}"


def _room(row: Row, _at: datetime) -> Cell:
    free = row.status.free_bytes if row.status else None
    return "" if free is None else size(free)


def _reported(row: Row, at: datetime) -> Cell:
    return ago(at - row.status.at) if row.status else Coloured("never", WARN)


COLUMNS: dict[Column, Callable[[Row, datetime], Cell]] = {
    key("HOST"): lambda row, _: row.host,
    key("JOB"): lambda row, _: row.job or "any",
    words("STATE"): _state,
    words("LAST GOOD"): _newest,
    words("NEXT", drop=3): _next,
    words("DRILLED", drop=4): _drilled,
    number("STORED", drop=5): _size,
    number("ROOM", drop=6): _room,
    words("REPORTED", drop=2): _reported,
}
"""The columns, and what each tells of a job."""


def _document(found: Fleet) -> Document:
    states: dict[str, int] = {}
    for row in found.rows:
        states[row.state.value] = states.get(row.state.value, 0) + 1
    return {
        "needs_attention": found.needs_attention,
        "states": states,
        "jobs": [_of_row(row) for row in found.rows],
    }


def _of_row(row: Row) -> Document:
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
        "newest": {
            "backup": newest.backup,
            "database": newest.database,
            "taken_at": moment(newest.taken_at),
            "plain_bytes": newest.plain_bytes,
            "stored_bytes": newest.stored_bytes,
            "seconds": newest.seconds,
        }
        if newest
        else None,
        "drilled": {
            "backup": drilled.backup,
            "database": drilled.database,
            "ended": moment(drilled.ended),
            "rto_seconds": drilled.restore_seconds,
            "rpo_seconds": drilled.lost_seconds,
        }
        if drilled
        else None,
        "last": {each.command: _of_act(each) for each in status.acts},
        "timers": {each.command: _of_due(each) for each in status.dues},
        "overdue_after_seconds": status.overdue_seconds,
        "free_bytes": status.free_bytes,
        "tuning": _of_tuning(status.tuning) if status.tuning else None,
        "days": [_of_day(each) for each in status.days],
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
