"""The daemon while another process has its store locked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from holdfast.daemon import session_store
from holdfast.model.errors import SessionDaemonUnreachable
from tests.support.memory_daemon import ANNE, MemoryDaemon


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait for the lock, and none before the next try."""
    monkeypatch.setattr(session_store, "BUSY_SECONDS", 0.0)


@contextmanager
def locked(daemon: MemoryDaemon) -> Iterator[None]:
    """Another process holds an exclusive lock, which excludes readers too."""
    other = sqlite3.connect(daemon.folder / "sessions.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_session_is_held_renewed_listed_and_ended_while_the_store_is_locked(
    daemon: MemoryDaemon,
) -> None:
    session_id = daemon.begin()
    with locked(daemon):
        daemon.round()
        assert daemon.manager.renew(session_id, ANNE, act="session_renewed").is_open
        listed = daemon.manager.listed(ANNE, all_states=False)
        assert [each.session_id for each in listed] == [session_id]
        assert daemon.manager.end(session_id, ANNE).ended.stop_lsn == "0/3000100"
        # A client that missed the answer may ask again.
        assert daemon.manager.end(session_id, ANNE).ended.stop_lsn == "0/3000100"
    daemon.round()
    other = session_store.SessionStore(daemon.folder / "sessions.sqlite")
    found = other.find(session_id)
    other.close()
    assert found is not None
    assert (found.state.value, found.ended.stop_lsn) == ("ended", "0/3000100")


def test_what_cannot_be_written_down_is_not_begun_and_says_why(daemon: MemoryDaemon) -> None:
    with locked(daemon), pytest.raises(SessionDaemonUnreachable, match="database is locked"):
        daemon.begin()
    assert daemon.holder.open_sessions == 0
    daemon.begin()


def test_a_daemon_that_starts_beside_the_lock_tells_later_what_was_lost(
    daemon: MemoryDaemon,
) -> None:
    session_id = daemon.begin()
    with locked(daemon):
        daemon.manager.recover()
    # Another daemon on the same file, which cannot read it at first.
    daemon.manager._kept.clear()
    daemon.manager._is_recovered = False
    held = daemon.begin()
    daemon.round()
    assert daemon.told(session_id)[0] == "lost"
    assert daemon.told(held)[0] == "open"


def test_a_list_of_all_that_ever_was_has_an_end(
    daemon: MemoryDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_store, "MOST_LISTED", 5)
    session_id = daemon.begin()
    record = daemon.store.find(session_id)
    assert record is not None
    for number in range(20):
        daemon.store.put(replace(record, session_id=f"{number:032x}"))
    assert len(daemon.manager.listed(ANNE, all_states=True)) == 5
    monkeypatch.setattr(session_store, "MOST_LISTED_BYTES", 2000)
    assert len(daemon.manager.listed(ANNE, all_states=True)) < 5
