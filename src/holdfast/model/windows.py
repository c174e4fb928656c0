"""From when to when data can be brought back, and how long that takes: values and arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from datetime import datetime, timedelta

from holdfast.model.drill import DrillRecord
from holdfast.model.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How long a restore will take, scaled from what the drill `drill` measured.

    `restore_seconds` until the backup itself is there, `replay_seconds` for its WAL; each is None
    where nothing comparable was measured.
    """

    restore_seconds: float | None = None
    replay_seconds: float | None = None
    drill: str = ""

    @property
    def seconds(self) -> float | None:
        if self.restore_seconds is None or self.replay_seconds is None:
            return None
        return round(self.restore_seconds + self.replay_seconds, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a recovery is going to do: the WAL that it replays, and the expected time."""

    wal_bytes: int
    expected: Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A drill that passed: the time of its restore, of its recovery, and the bytes of each."""

    drill: str
    restore_seconds: float
    plain_bytes: int
    replay_seconds: float = 0.0
    wal_bytes: int = 0

    def expects(self, *, plain_bytes: int, wal_bytes: int) -> Expected:
        """The time for other amounts of bytes, at the same speed."""
        replay = None
        if not wal_bytes:
            replay = 0.0
        elif self.wal_bytes and self.replay_seconds:
            replay = self.replay_seconds * wal_bytes / self.wal_bytes
        return Expected(
            restore_seconds=_scaled(self.restore_seconds, plain_bytes, self.plain_bytes),
            replay_seconds=replay,
            drill=self.drill,
        )


def _scaled(seconds: float, wanted: int, measured: int) -> float | None:
    return seconds * wanted / measured if measured else None


def newest_passed(drills: Iterable[DrillRecord], database: str) -> DrillRecord | None:
    passed = (each for each in drills if each.passed and each.database == database)
    return max(passed, key=lambda each: each.began, default=None)


def measured(newest: DrillRecord | None, replayed: tuple[int, int] | None) -> Measured | None:
    """What the drill `newest` measured; None without a drill.

    `replayed` are the bytes that it restored and the WAL that it replayed, if its backup is still
    there.
    """
    if newest is None:
        return None
    plain_bytes, wal_bytes = replayed or (newest.plain_bytes, 0)
    return Measured(
        drill=newest.drill_id,
        restore_seconds=newest.seconds.fetch + newest.seconds.load + newest.seconds.indexes,
        plain_bytes=plain_bytes,
        replay_seconds=newest.seconds.recovery,
        wal_bytes=wal_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far one backup can be brought forward, along one timeline if it has WAL.

    `begins` is its own moment. `ends` is the time of the last commit in the WAL that continues
    without a gap, or `begins` where no WAL continues. If `is_exact` is False, `ends` is the time
    when the last segment was archived: the last commit was not read. `wal_bytes` is the WAL that a
    recovery to the end replays, up to position `lsn`. `gap` names the segments that are missing
    there.
    """

    backup: str
    database: str
    begins: datetime
    ends: datetime
    plain_bytes: int
    is_exact: bool = True
    cluster: str = ""
    timeline: int = 0
    lsn: str = ""
    wal_bytes: int = 0
    gap: str = ""
    expected: Expected = field(default_factory=Expected)

    @property
    def is_moment(self) -> bool:
        """Whether it can be brought back to its own moment only."""
        return self.begins == self.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time span in which a cluster can be brought back to every moment, on one timeline.

    `backups` are those that it needs, oldest first. `gap` names the segments that are missing at
    its end; empty if it is open.
    """

    database: str
    cluster: str
    timeline: int
    begins: datetime
    ends: datetime
    is_exact: bool
    backups: tuple[str, ...]
    gap: str = ""

    @property
    def length(self) -> timedelta:
        return self.ends - self.begins


def windows_of(reaches: Iterable[Reach]) -> list[Window]:
    """Join the reaches that touch or overlap, by cluster and timeline, the newest one first."""
    found: list[Window] = []
    for each in sorted(reaches, key=_order):
        if each.is_moment:
            continue
        last = found[-1] if found else None
        if last is not None and _touches(last, each):
            found[-1] = _joined(last, each)
        else:
            found.append(_window(each))
    return sorted(found, key=lambda each: each.ends, reverse=True)


def _order(each: Reach) -> tuple[str, str, int, datetime]:
    return each.database, each.cluster, each.timeline, each.begins


def _touches(window: Window, reach: Reach) -> bool:
    own = (window.database, window.cluster, window.timeline)
    return own == (reach.database, reach.cluster, reach.timeline) and reach.begins <= window.ends


def _joined(window: Window, reach: Reach) -> Window:
    backups = (*window.backups, reach.backup)
    if reach.ends < window.ends:
        return replace(window, backups=backups)
    return replace(window, ends=reach.ends, is_exact=reach.is_exact, gap=reach.gap, backups=backups)


def _window(reach: Reach) -> Window:
    return Window(
        database=reach.database,
        cluster=reach.cluster,
        timeline=reach.timeline,
        begins=reach.begins,
        ends=reach.ends,
        is_exact=reach.is_exact,
        backups=(reach.backup,),
        gap=reach.gap,
    )
