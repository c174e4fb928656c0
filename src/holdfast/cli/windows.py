"""`holdfast windows`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

from holdfast.cli.context import (
    Identity,
    JobName,
    JsonOption,
    Session,
    print_document,
    session_of,
)
from holdfast.cli.documents import Document, of_damaged
from holdfast.cli.tables import BAD, DIM, GOOD, WARN, Cell, Coloured, Table, key, number, words
from holdfast.model.units import size, span
from holdfast.model.windows import Expected, Reach, Window
from holdfast.operations.restore.windows import JobWindows, windows as windows_of

COLUMNS = (
    key("BACKUP"),
    words("DATABASE", drop=3),
    words("FROM"),
    words("TO"),
    number("TIMELINE", drop=4),
    number("WAL", drop=2),
    number("TAKES", drop=1),
)

EXAMPLES = """\
# The moments that a restore of 'shop' can reach, and what each costs
holdfast windows shop

# The last moment of each backup, for a monitor
holdfast windows shop --json | jq '.backups[] | {backup, ends}'
"""


def windows(
    context: typer.Context, job: JobName, *, identity: Identity = None, as_json: JsonOption = False
) -> None:
    """Show from when to when each database or cluster of JOB can be brought back.

    A backup of rows comes back as of its own moment. A cluster comes back to each moment between
    the end of a base backup and the last commit in its archived WAL, up to the first gap. WAL is
    what a recovery to that end replays, and TAKES the time of restore and replay, from what drills
    of JOB measured.
    """
    from holdfast.wiring.drill import windows_context  # heavy, as in `Session`

    session = session_of(context)
    found = windows_of(
        windows_context(
            session.settings,
            job,
            identities=session.identities(identity),
            chosen=session.chosen_repository,
        )
    )
    session.require_known(job, holds_something=bool(found.reaches or found.unusable))
    if as_json:
        print_document("windows", _document(job, found))
        return
    _show(session, job, found)


def _show(session: Session, job: str, found: JobWindows) -> None:
    if found.reaches:
        session.show(Table(COLUMNS, [_row(each) for each in found.reaches]))
    else:
        session.say(f"nothing of '{job}' can be brought back; make a backup: holdfast backup {job}")
    for window in found.windows:
        session.say(_sentence(window), WARN if window.gap else GOOD)
    for each in found.reaches:
        if not each.is_exact:
            session.say(
                f"note: the WAL after {each.backup} was not read: its end is the time when it was"
                " archived",
                WARN,
            )
    for damaged in found.unusable:
        session.say(f"unusable: {damaged.backup_id}: {damaged.problem}", BAD)


def _sentence(window: Window) -> str:
    begins, ends = exact(window.begins), exact(window.ends)
    gap = f"; the WAL continues with a gap: {window.gap}" if window.gap else ""
    where = f"{window.database}, timeline {window.timeline}"
    return f"{where}: every moment from {begins} to {ends}{gap}"


def exact(moment: datetime) -> str:
    """A time that `--target-time` accepts, to the microsecond where it has one."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None)}Z"


def _row(reach: Reach) -> tuple[Cell, ...]:
    return (
        reach.backup,
        reach.database,
        exact(reach.begins),
        "" if reach.is_moment else exact(reach.ends),
        str(reach.timeline or ""),
        size(reach.wal_bytes) if reach.cluster else "",
        takes(reach.expected),
    )


def takes(expected: Expected) -> Cell:
    if expected.seconds is None:
        return Coloured("unknown", DIM)
    return f"about {span(timedelta(seconds=max(1, round(expected.seconds))))}"


def _document(job: str, found: JobWindows) -> Document:
    return {
        "job": job,
        "windows": [_of_window(each) for each in found.windows],
        "backups": [_of_reach(each) for each in found.reaches],
        "damaged": of_damaged(found.unusable),
    }


def _of_window(window: Window) -> Document:
    return {
        "database": window.database,
        "system_identifier": window.cluster,
        "timeline": window.timeline,
        "begins": window.begins.isoformat(),
        "ends": window.ends.isoformat(),
        "exact": window.is_exact,
        "gap": window.gap or None,
        "used_backups": list(window.backups),
    }


def _of_reach(reach: Reach) -> Document:
    return {
        "backup": reach.backup,
        "database": reach.database,
        "system_identifier": reach.cluster or None,
        "timeline": reach.timeline or None,
        "begins": reach.begins.isoformat(),
        "ends": reach.ends.isoformat(),
        "exact": reach.is_exact,
        "end_lsn": reach.lsn or None,
        "gap": reach.gap or None,
        "wal_bytes": reach.wal_bytes,
        "plain_bytes": reach.plain_bytes,
        **of_expected(reach.expected),
    }


def of_expected(expected: Expected) -> Document:
    return {
        "expected_seconds": expected.seconds,
        "measured_by": expected.drill or None,
    }
