"""What the page shows: texts and pictures of each row, and the data behind the details.

All of it was told by hosts, and is hostile: the template escapes the texts, `script_json` the data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from holdfast.cli.documents import of_error
from holdfast.cli.fleet_page.pictures import Pictures, pictures_of
from holdfast.model.fleet import Row, State
from holdfast.model.host_status import Act, Due, GoodBackup, Holdings, HostStatus
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.units import ago, counted, size, span
from holdfast.operations.fleet import Fleet
from holdfast.runtime.installed import installed_version

DAYS = 30
# A stored number of seconds may be any; a span of time is shorter.
MOST_SECONDS = 10**10
WARNINGS = (
    *(State.OVERDUE, State.UNDRILLED, State.UNVERIFIED),
    *(State.STOPPED, State.UNTUNED),
)
NAMES = {
    State.UNTRUSTED: "untrusted",
    State.MISSING: "never reported",
    State.UNDRILLED: "not drilled",
    State.UNVERIFIED: "not verified",
    State.UNTUNED: "not tuned",
    State.OK: "healthy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """How many jobs are in one state."""

    state: str
    name: str
    tone: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """One row of the table, as texts."""

    host: str
    job: str
    link: str
    state: str
    tone: str
    why: str
    newest: str
    stored: str
    growth: str
    took: str
    drilled: str
    rto: str
    next: str
    is_late: bool
    room: str
    reported: str
    pictures: Pictures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """The whole page; `refresh_seconds` is 0 for a page that nobody serves."""

    fleet: Fleet
    at: datetime
    version: str = field(default_factory=installed_version)
    refresh_seconds: int = 0

    @property
    def made(self) -> str:
        return said(self.at)

    @property
    def made_at(self) -> str:
        return self.at.astimezone(UTC).isoformat(timespec="seconds")

    @property
    def bad(self) -> int:
        return sum(bool(row.why) for row in self.fleet.rows)

    @property
    def is_good(self) -> bool:
        """Who could not be read is not known to be good."""
        return not self.bad and not self.fleet.unseen

    @property
    def title(self) -> str:
        """All that is seen of a page in the background."""
        if self.bad:
            return f"{self.bad} of {len(self.fleet.rows)} jobs need attention"
        if self.fleet.unseen:
            return "Not all was read"
        return "All good" if self.fleet.rows else "No host so far"

    @property
    def counted(self) -> str:
        """`3000 jobs of 1000 hosts`."""
        return f"{counted(len(self.fleet.rows), 'job')} of {counted(len(self.hosts), 'host')}"

    @property
    def hosts(self) -> Sequence[str]:
        return sorted({row.host for row in self.fleet.rows})

    @property
    def jobs(self) -> Sequence[str]:
        return sorted({row.job for row in self.fleet.rows if row.job})

    @property
    def tiles(self) -> Sequence[Tile]:
        """The states, healthy first; the usual ones also where no job is in them."""
        counts = Counter(row.state for row in self.fleet.rows)
        usual = (State.MISSING, State.SILENT, State.DAMAGED, State.FAILED)
        always = (State.OK, *usual, State.OVERDUE, State.UNDRILLED)
        order = [State.OK, *(each for each in State if each is not State.OK)]
        return [
            Tile(state=each.value, name=name_of(each), tone=tone_of(each), count=counts[each])
            for each in order
            if counts[each] or each in always
        ]

    @property
    def unseen(self) -> Sequence[Mapping[str, Any]]:
        """The repositories that could not be read, and when they could be last."""
        read_at = {name: said(at) for name, at in self.fleet.read_at.items()}
        return [
            {"name": name, "read": read_at.get(name, ""), **of_error(error)}
            for name, error in self.fleet.unseen.items()
        ]

    @property
    def first_day(self) -> date:
        return self.at.astimezone(UTC).date() - timedelta(days=DAYS - 1)

    def rows(self) -> Iterator[RowView]:
        index = {f"{self.first_day + timedelta(days=each)}": each for each in range(DAYS)}
        for row in self.fleet.rows:
            yield _row(row, self.at, index)

    def data(self) -> Iterator[str]:
        """The JSON of each job, fit for a block of a script."""
        index = {f"{self.first_day + timedelta(days=each)}": each for each in range(DAYS)}
        for row in self.fleet.rows:
            yield script_json(_data(row, index))


def said(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def name_of(state: State) -> str:
    return NAMES.get(state, state.value)


def tone_of(state: State) -> str:
    if state is State.OK:
        return "good"
    return "warn" if state in WARNINGS else "bad"


def script_json(value: object) -> str:
    """JSON in which no text can end the block of a script that it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _row(row: Row, at: datetime, index: Mapping[str, int]) -> RowView:
    status = row.status
    newest, drilled = (status.newest, status.drilled) if status else (None, None)
    due = status.due("backup") if status else None
    return RowView(
        host=row.host,
        job=row.job or "any job",
        link=quote(f"{row.host}/{row.job}", safe=""),
        state=name_of(row.state),
        tone=tone_of(row.state),
        why=row.why,
        newest=ago(at - newest.taken_at) if newest else "never" if status else "",
        stored=size(newest.stored_bytes) if newest else "",
        growth="" if row.growth is None else f"{min(row.growth, 99.99):+.0%}",
        took=length_of(newest.seconds) if newest else "",
        drilled=ago(at - drilled.ended) if drilled else "never" if status else "",
        rto=length_of(drilled.restore_seconds) if drilled else "",
        next=_next(due, at) if status else "",
        is_late=due is not None and due.latest is not None and at > due.latest,
        room=size(status.free_bytes) if status and status.free_bytes is not None else "",
        reported=ago(at - status.at) if status else "never",
        pictures=pictures_of(status.days, index) if status else None,
    )


def length_of(seconds: float) -> str:
    """`4.2s`, `12m 30s`."""
    bounded = min(max(seconds, 0.0), MOST_SECONDS)
    return f"{bounded:.1f}s" if bounded < 10 else span(timedelta(seconds=bounded))


def _next(due: Due | None, at: datetime) -> str:
    if due is None or due.next_at is None:
        return "no timer"
    if due.next_at >= at:
        return f"in {ago(due.next_at - at).removesuffix(' ago')}"
    return f"due {ago(at - due.next_at)}"


def _data(row: Row, index: Mapping[str, int]) -> dict[str, Any]:
    """What the page needs to sort, filter and detail the row; short, as there may be thousands."""
    of_row = {
        "host": row.host,
        "job": row.job,
        "state": row.state.value,
        "name": name_of(row.state),
        "tone": tone_of(row.state),
        "why": row.why,
        "hint": row.hint,
        "repositories": list(row.repositories),
    }
    return of_row | (_of_status(row.status, index) if row.status else {})


def _of_status(status: HostStatus, index: Mapping[str, int]) -> dict[str, Any]:
    drilled = status.drilled
    return {
        "at": _seconds(status.at),
        "version": status.version,
        "newest": _of_backup(status.newest) if status.newest else None,
        "drilled": [_seconds(drilled.ended), drilled.restore_seconds, drilled.lost_seconds]
        if drilled
        else None,
        "free": status.free_bytes,
        "overdue": status.overdue_seconds,
        "tuning": [_seconds(status.tuning.at), status.tuning.outcome] if status.tuning else None,
        "acts": _of_acts(status.acts),
        "failures": _of_acts(status.failures),
        "timers": [_of_due(each) for each in status.dues],
        "days": [
            [
                index[each.day],
                each.outcome,
                each.runs,
                each.failed,
                each.plain_bytes,
                each.stored_bytes,
                each.seconds,
            ]
            for each in status.days
            if each.day in index
        ],
        "drills": [
            [
                each.backup,
                each.database,
                _seconds(each.ended),
                each.passed,
                each.restore_seconds,
                each.lost_seconds,
            ]
            for each in reversed(status.drills)
        ],
        "holdings": _of_holdings(status.holdings) if status.holdings else None,
    }


def _of_holdings(holdings: Holdings) -> dict[str, Any]:
    return {
        "at": _seconds(holdings.at),
        "count": holdings.count,
        "backups": [_of_backup(each) for each in holdings.backups],
        "windows": [
            [
                each.database,
                each.timeline,
                _seconds(each.begins),
                _seconds(each.ends),
                each.is_exact,
                each.gap,
            ]
            for each in holdings.windows
        ],
    }


def _of_backup(backup: GoodBackup) -> list[Any]:
    return [
        backup.backup,
        backup.database,
        _seconds(backup.taken_at),
        backup.plain_bytes,
        backup.stored_bytes,
        backup.seconds,
    ]


def _of_acts(acts: Iterable[Act]) -> list[list[Any]]:
    return [
        [
            each.command,
            each.outcome,
            _seconds(each.began),
            _seconds(each.ended),
            each.exit_code,
            each.error,
            each.hint,
        ]
        for each in acts
    ]


def _of_due(due: Due) -> list[Any]:
    return [due.command, due.schedule, _seconds(due.next_at), _seconds(due.latest), due.timer]


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
