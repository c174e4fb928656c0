"""Statuses of hosts as they leave them, for tests of fleets."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Lock

from holdfast.model.host_status import (
    Act,
    Day,
    Due,
    Ended,
    GoodBackup,
    GoodDrill,
    Holdings,
    HostStatus,
    KnownWindow,
    PastDrill,
)
from holdfast.ports.repository import ForwardingRepository, Repository, Stored

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)
NEXT = NIGHT + timedelta(days=1)


def act(
    command: str = "backup", outcome: Ended = "ok", *, at: datetime = NIGHT, **more: object
) -> Act:
    return replace(
        Act(command=command, outcome=outcome, began=at, ended=at + timedelta(minutes=5)),
        **more,  # type: ignore[arg-type]  # the fields of an act
    )


def due(
    command: str = "backup", *, next_at: datetime | None = NEXT, timer: bool | None = True
) -> Due:
    latest = next_at + timedelta(hours=3) if next_at else None
    return Due(command=command, schedule="02:00", next_at=next_at, latest=latest, timer=timer)


def good_backup(*, at: datetime = NIGHT, stored_bytes: int = 1 << 20) -> GoodBackup:
    return GoodBackup(
        backup="shop/20261130T020000Z-00000001",
        database="shop",
        taken_at=at,
        plain_bytes=4 << 20,
        stored_bytes=stored_bytes,
        seconds=60.0,
    )


def good_drill(*, at: datetime = NIGHT) -> GoodDrill:
    return GoodDrill(
        backup="shop/20261130T020000Z-00000001",
        database="shop",
        began=at,
        ended=at + timedelta(minutes=2),
        restore_seconds=42.5,
        reached=at - timedelta(hours=1),
    )


def status_of(host: str = "db1", job: str = "shop", **changes: object) -> HostStatus:
    """A healthy host, ten hours after its backup of the night."""
    healthy = HostStatus(
        host=host,
        job=job,
        number=1,
        at=NIGHT + timedelta(minutes=5),
        version="0.1.0",
        acts=(act(),),
        dues=(due(),),
        newest=good_backup(),
        databases=1,
        free_bytes=1 << 30,
        days=(Day(day="2026-11-30", outcome="ok", runs=1, stored_bytes=1 << 20, seconds=60.0),),
    )
    return replace(healthy, **changes)  # type: ignore[arg-type]  # the fields of a status


class Counted(ForwardingRepository):
    """Counts the requests to a repository, and how many are open at a time."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self.opened = 0
        self.lists = 0
        self.stats = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = Lock()

    def list(self, prefix: str) -> Iterator[Stored]:
        self.lists += 1
        return super().list(prefix)

    def stat(self, key: str) -> Stored:
        self.stats += 1
        return super().stat(key)

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        with self._lock:
            self.opened += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return super().open(key)
        finally:
            with self._lock:
                self._at_once -= 1


JOBS = ("shop", "crm", "files")


def history(seed: int, *, at: datetime = NOW, base: int = 1 << 30) -> tuple[Day, ...]:
    """Days of a job that grows, and that fails now and then."""
    chance = random.Random(seed)  # noqa: S311 - the same history for the same seed
    days = []
    for back in range(30, -1, -1):
        outcome: Ended = "failed" if chance.random() < 0.03 else "ok"
        stored = round(base * (1.3 - back / 100) * chance.uniform(0.97, 1.03))
        good = outcome == "ok"
        days.append(
            Day(
                day=f"{at - timedelta(days=back):%Y-%m-%d}",
                outcome=outcome,
                runs=1,
                failed=int(not good),
                plain_bytes=stored * 4 * good,
                stored_bytes=stored * good,
                seconds=round(stored / 4e7, 1) if good else 4.0,
            )
        )
    return tuple(days)


def holdings(job: str, *, at: datetime = NOW, base: int = 1 << 30) -> Holdings:
    """Two weeks of backups and a window of WAL."""
    nights = [at.replace(hour=2) - timedelta(days=back) for back in range(14)]
    return Holdings(
        at=at,
        count=31,
        backups=tuple(
            GoodBackup(
                backup=f"{job}/{night:%Y%m%dT%H%M%SZ}-1a2b3c4d",
                database=job,
                taken_at=night,
                plain_bytes=base * 4,
                stored_bytes=base,
                seconds=31.5,
            )
            for night in nights
        ),
        windows=(
            KnownWindow(database=job, timeline=3, begins=nights[-1], ends=at, is_exact=False),
        ),
    )


def long_known(host: str, job: str, *, seed: int = 0, at: datetime = NOW) -> HostStatus:
    """A healthy job with a month behind it, and all that a status can hold."""
    base = (1 + seed % 97) << 26
    days = history(seed, at=at, base=base)
    night = at.replace(hour=2)
    newest = replace(
        good_backup(at=night, stored_bytes=days[-1].stored_bytes or base),
        backup=f"{job}/{night:%Y%m%dT%H%M%SZ}-1a2b3c4d",
        database=job,
        seconds=31.5 + seed % 500,
    )
    drills = tuple(
        PastDrill(
            backup=newest.backup,
            database=job,
            ended=at - timedelta(days=7 * back),
            passed=back != 2,
            restore_seconds=42.5 if back != 2 else None,
            lost_seconds=120.0,
        )
        for back in (3, 2, 1)
    )
    return status_of(
        host,
        job,
        at=at - timedelta(hours=1),
        newest=newest,
        drilled=good_drill(at=at - timedelta(days=7)),
        acts=tuple(act(each, at=night) for each in ("backup", "drill", "prune", "verify")),
        dues=(
            due(next_at=night + timedelta(days=1)),
            due("verify", next_at=at + timedelta(days=2)),
        ),
        days=days,
        drills=drills,
        holdings=holdings(job, at=at, base=base),
        failures=(_refused(at - timedelta(days=3)),),
        free_bytes=(50 + seed % 900) << 30,
    )


REFUSED = "cannot connect to the server 'db1': connection refused"
START = "start the server, or mend the address in the configuration"


def many(hosts: int, *, at: datetime = NOW) -> Iterator[HostStatus]:
    """Hosts with three jobs each; about one job of a hundred needs attention."""
    for number in range(hosts):
        for place, job in enumerate(JOBS):
            seed = number * len(JOBS) + place
            status = long_known(f"db{number:04}.example.org", job, seed=seed, at=at)
            yield _troubled(status, seed % 600 // 6, at) if seed % 6 == 0 else status


def _refused(at: datetime) -> Act:
    return act("backup", "failed", at=at, exit_code=20, error=REFUSED, hint=START)


def _troubled(status: HostStatus, kind: int, at: datetime) -> HostStatus:
    old = at - timedelta(days=3)
    if kind == 0:
        return replace(status, acts=(_refused(at - timedelta(hours=2)),))
    if kind == 1:
        error = "2 of 40 parts are damaged"
        return replace(status, acts=(act("verify", "failed", at=at, exit_code=31, error=error),))
    if kind == 2:
        return replace(status, at=old, dues=(due(next_at=old + timedelta(hours=12)),))
    if kind == 3:
        return replace(status, dues=(due(timer=False, next_at=at + timedelta(hours=3)),))
    if kind == 4:
        return replace(status, free_bytes=1 << 20)
    if kind == 5:
        return replace(status, overdue_seconds=3600)
    return status
