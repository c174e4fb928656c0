"""A session that queues for a table must not wait for a snapshot that waits for that table."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.server.failures import LockTimedOut
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.shared_snapshot import Exported, begun_under_snapshot


class Held:
    """The session of a snapshot, with the few methods that these tests use."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def execute(self, statement: str) -> None:
        self.told.append(statement)


def login(*, lock_wait_seconds: int) -> Login:
    nowhere = "host=/nonexistent dbname=shop"
    return Login.parse(
        nowhere, password=None, application_name="test", lock_wait_seconds=lock_wait_seconds
    )


def exported(number: int) -> Exported:
    taken_at = datetime(2026, 11, 30, tzinfo=UTC)
    return Exported(name=f"s-{number}", seen="", xmin="", xmax="", lsn="", taken_at=taken_at)


def begun(held: Held, *, failures: int, patience_seconds: int) -> tuple[Exported, str]:
    taken: list[Exported] = []

    def take() -> Exported:
        taken.append(exported(len(taken) + 1))
        return taken[-1]

    def begin(snapshot: Exported) -> str:
        if len(taken) <= failures:
            raise LockTimedOut("cannot read: lock timeout")
        return f"pg_dump under {snapshot.name}"

    session: psycopg.Connection = held  # type: ignore[assignment]
    patience = login(lock_wait_seconds=patience_seconds)
    return begun_under_snapshot(session, patience, take=take, begin=begin)


def test_all_locks_are_released_before_the_snapshot_is_taken_again() -> None:
    held = Held()
    snapshot, dump = begun(held, failures=2, patience_seconds=3600)
    assert (snapshot.name, dump) == ("s-3", "pg_dump under s-3")
    assert held.told == ["ROLLBACK", "ROLLBACK"]


def test_nobody_is_waited_for_longer_than_the_job_says() -> None:
    held = Held()
    with pytest.raises(BackupFailed, match=r"still waiting for a lock on .* after 0 seconds"):
        begun(held, failures=1, patience_seconds=0)
    assert held.told == ["ROLLBACK"]
