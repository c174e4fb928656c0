"""The state of one job on one host, small enough to travel with every backup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from holdfast.model.checked import Fits, Length, Range
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex
from holdfast.model.stored_json import Limits
from holdfast.model.tuning_verdict import TuningVerdict
from holdfast.model.values import MOST, Count, Moment, Number

SCHEMA = "holdfast.host-status/1"
# Four times the size of a status with everything in it.
STATUS = Limits(size_bytes=48 << 10, containers=256)
HISTORY_DAYS = 31
# The newest of each that a status lists; what is older stands in the repository.
MOST_BACKUPS, MOST_DRILLS, MOST_WINDOWS = 16, 12, 8
# A database may have a name of any length; with 16 of them a status must stay small.
NAME_CHARACTERS = 128
# How long a timer may delay a start, and how long a status takes to arrive.
GRACE = timedelta(hours=1)
# How far ahead the clock of a host may be before its statuses count as wrong.
AHEAD = timedelta(minutes=15)
BACKUP, VERIFY, DRILL, PRUNE = "backup", "verify", "drill", "prune"
COMMANDS = (BACKUP, VERIFY, DRILL, PRUNE)

_HOST = regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_DAY = regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Short = Annotated[str, Length(at_most=512)]
# Shown to people: a line more could look like that of another host.
Said = Annotated[str, Length(at_most=512), Fits(str.isprintable)]
Word = Annotated[str, Length(at_most=64)]
# Both become spans of time, which end long before whole numbers do.
Seconds = Annotated[int, Range(at_least=0, at_most=10**12)]
MOST_DATABASES = 10**5
Databases = Annotated[int, Range(at_least=0, at_most=MOST_DATABASES)]
Ended = Literal["ok", "warning", "failed", "skipped"]


def is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None


def host_key(name: str) -> str:
    """The name of a host as a step of a key: what no store accepts is replaced."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:200]
    return safe if is_host(safe) else f"_{safe[1:]}"


def is_day(text: str) -> bool:
    return _DAY.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """The last time that a command worked on the job; its texts hold no secret and no row."""

    command: Word
    outcome: Ended
    began: Moment
    ended: Moment
    exit_code: Count = 0
    error: Said = ""
    hint: Said = ""

    @property
    def failed(self) -> bool:
        return self.outcome == "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """When a timer starts `command` next, and when its status must have arrived at the latest.

    Both are None where the host has no systemd that could say it. `timer` is whether the timer was
    active, None where that is unknown.
    """

    command: Word
    schedule: Short
    next_at: Moment | None = None
    latest: Moment | None = None
    timer: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodBackup:
    """The newest good backup of one database."""

    backup: Short
    database: Short
    taken_at: Moment
    plain_bytes: Count
    stored_bytes: Count
    seconds: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodDrill:
    """The newest drill that brought a backup back, and how long that took (RTO)."""

    backup: Short
    database: Short
    began: Moment
    ended: Moment
    restore_seconds: Number
    reached: Moment | None = None

    @property
    def lost_seconds(self) -> float | None:
        """The data that a failure at the begin of the drill would have cost (RPO), if known."""
        if self.reached is None:
            return None
        return max(0.0, (self.began - self.reached).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDrill:
    """A drill, whether it passed or not; seconds are None where it did not come so far."""

    backup: Short
    database: Short
    ended: Moment
    passed: bool
    restore_seconds: Number | None = None
    lost_seconds: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWindow:
    """A time span in which a cluster can be brought back to every moment.

    If `is_exact` is False, `ends` is the time when the last WAL was archived. `gap` names the
    segments that are missing there; empty if it is open.
    """

    database: Short
    timeline: Count
    begins: Moment
    ends: Moment
    is_exact: bool = True
    gap: Said = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What the repository held of the job as of `at`: its newest backups and its windows."""

    at: Moment
    count: Count
    backups: Annotated[tuple[GoodBackup, ...], Length(at_most=MOST_BACKUPS)] = ()
    windows: Annotated[tuple[KnownWindow, ...], Length(at_most=MOST_WINDOWS)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The backups of one day in UTC: how the last run ended, and the sums over all runs."""

    day: Annotated[Word, Fits(is_day)]
    outcome: Ended
    runs: Count = 0
    failed: Count = 0
    plain_bytes: Count = 0
    stored_bytes: Count = 0
    seconds: Number = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """What one host knows of one job, as of `at`.

    `number` counts the statuses, so that two of one second have an order. `free_bytes` is the room
    in the repository that holds this status. `tuning` is None for a host that was never tuned.
    `failures` are the last of each command that has ended well since.
    """

    host: Annotated[str, Fits(is_host)]
    job: Annotated[Word, Fits(str.isprintable)]
    number: Count
    at: Moment
    version: Word
    acts: Annotated[tuple[Act, ...], Length(at_most=8)] = ()
    dues: Annotated[tuple[Due, ...], Length(at_most=8)] = ()
    newest: GoodBackup | None = None
    drilled: GoodDrill | None = None
    databases: Databases = 0
    overdue_seconds: Seconds | None = None
    free_bytes: Count | None = None
    tuning: TuningVerdict | None = None
    days: Annotated[tuple[Day, ...], Length(at_most=HISTORY_DAYS)] = ()
    failures: Annotated[tuple[Act, ...], Length(at_most=8)] = ()
    drills: Annotated[tuple[PastDrill, ...], Length(at_most=MOST_DRILLS)] = ()
    holdings: Holdings | None = None

    @property
    def name(self) -> str:
        """The last step of its key: in the order of time."""
        return f"{self.at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self.number % (1 << 32):08x}"

    def act(self, command: str) -> Act | None:
        return next((each for each in self.acts if each.command == command), None)

    def due(self, command: str) -> Due | None:
        return next((each for each in self.dues if each.command == command), None)

    @property
    def last(self) -> Act | None:
        """What ran last."""
        return max(self.acts, key=lambda each: each.ended, default=None)

    @property
    def backs_up(self) -> bool:
        """Whether this host makes the backups; another one may only drill or verify them."""
        known = (self.newest, self.act(BACKUP), self.due(BACKUP))
        return any(each is not None for each in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """The end of one command, and what it made; `holdings` is None where nobody looked."""

    act: Act
    backups: Sequence[GoodBackup] = ()
    drills: Sequence[GoodDrill] = ()
    tried: Sequence[PastDrill] = ()
    holdings: Holdings | None = None

    @property
    def changes_holdings(self) -> bool:
        """Whether the command may have added or removed backups."""
        return self.act.command in (BACKUP, PRUNE) and self.act.outcome in ("ok", "warning")


def after(before: HostStatus, happened: Happened, *, now: datetime) -> HostStatus:
    """The status after one more command; a skipped one leaves the last result as it was."""
    newest = max(happened.backups, key=lambda each: each.taken_at, default=before.newest)
    drilled = max(happened.drills, key=lambda each: each.ended, default=before.drilled)
    return replace(
        before,
        number=min(before.number + 1, MOST),
        at=now.replace(microsecond=0),
        acts=_acts(before, happened.act),
        newest=newest,
        drilled=drilled,
        databases=min(len(happened.backups), MOST_DATABASES) or before.databases,
        days=_days(before, happened, now=now),
        failures=_failures(before, happened.act),
        drills=_drills(before, happened.tried),
        holdings=happened.holdings or before.holdings,
    )


def _acts(before: HostStatus, act: Act) -> tuple[Act, ...]:
    known = before.act(act.command)
    if act.outcome == "skipped" and known is not None:
        return before.acts
    others = [each for each in before.acts if each.command != act.command]
    return tuple(sorted((*others, act), key=lambda each: each.command))


def _failures(before: HostStatus, act: Act) -> tuple[Act, ...]:
    """An error stays readable after the next run has ended well, until the next error."""
    if act.outcome == "skipped":
        return before.failures
    known = before.act(act.command)
    others = [each for each in before.failures if each.command != act.command]
    if act.failed:
        return tuple(others)
    same = [each for each in before.failures if each.command == act.command]
    last = [known] if known is not None and known.failed else same
    return tuple(sorted((*others, *last), key=lambda each: each.command))


def _drills(before: HostStatus, tried: Sequence[PastDrill]) -> tuple[PastDrill, ...]:
    """The last drills, the oldest first."""
    return tuple(sorted((*before.drills, *tried), key=lambda each: each.ended)[-MOST_DRILLS:])


def _days(before: HostStatus, happened: Happened, *, now: datetime) -> tuple[Day, ...]:
    """The last days with a backup, the oldest first."""
    act = happened.act
    first = f"{now - timedelta(days=HISTORY_DAYS - 1):%Y-%m-%d}"
    # A clock that was ahead for a while must not fill the list with days that never came.
    kept = [each for each in before.days if first <= each.day <= f"{now:%Y-%m-%d}"]
    if act.command != BACKUP or act.outcome == "skipped":
        return tuple(kept)
    today = f"{act.ended:%Y-%m-%d}"
    so_far = next((each for each in kept if each.day == today), Day(day=today, outcome="ok"))
    found = replace(
        so_far,
        outcome=act.outcome,
        runs=_sum(so_far.runs, 1),
        failed=_sum(so_far.failed, act.failed),
        plain_bytes=_sum(so_far.plain_bytes, *(each.plain_bytes for each in happened.backups)),
        stored_bytes=_sum(so_far.stored_bytes, *(each.stored_bytes for each in happened.backups)),
        seconds=round(so_far.seconds + (act.ended - act.began).total_seconds(), 3),
    )
    days = sorted((*(each for each in kept if each.day != today), found), key=lambda day: day.day)
    return tuple(days[-HISTORY_DAYS:])


def _sum(*counts: int) -> int:
    """Their sum; what the host once told was read from a store, and may be any number."""
    return min(sum(counts), MOST)
