"""Statuses of hosts as they leave them, for tests of fleets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Lock

from holdfast.model.host_status import Act, Day, Due, Ended, GoodBackup, GoodDrill, HostStatus
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
