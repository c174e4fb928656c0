"""The table of `holdfast fleet`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.cli.context import Session
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
from holdfast.model.units import ago, counted, size

if TYPE_CHECKING:
    from holdfast.model.fleet import Row
    from holdfast.operations.fleet import Fleet


def show_fleet(session: Session, found: Fleet, *, at: datetime) -> None:
    """Print a row for each job, worst first, and each that needs attention with its reason."""
    if found.rows:
        lines = [[tell(row, at) for tell in COLUMNS.values()] for row in found.rows]
        session.show(Table(tuple(COLUMNS), lines))
    for row in found.rows:
        if row.why:
            session.say(f"{_name(row)}: {row.why}", BAD)
        if row.hint:
            session.say(f"  hint: {row.hint}")
    conclude(session, found)


def conclude(session: Session, found: Fleet) -> None:
    """Say how many jobs need attention."""
    if not found.rows:
        if not found.unseen:
            session.say("no host has left its state so far; each does with its next backup")
        return
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
