"""A session of the daemon while the daemon does not answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.model.errors import SessionDaemonUnreachable, SessionLost
from holdfast.ports.sessions import HeldKind
from holdfast.sessions.client import END_SECONDS, RemoteHolding, SessionClient
from holdfast.sessions.protocol import SessionRecord
from tests.support.memory_daemon import ANNE, MemoryDaemon

SILENT = SessionDaemonUnreachable("cannot reach the session daemon: Connection refused")


class Patchy(SessionClient):
    """A daemon that does not answer `silent` times."""

    def __init__(self, daemon: MemoryDaemon, *, silent: int = 0) -> None:
        super().__init__(socket_path=Path("/none"))
        object.__setattr__(self, "daemon", daemon)
        object.__setattr__(self, "silent", silent)

    daemon: MemoryDaemon
    silent: int

    def heartbeat(self, session_id: str) -> SessionRecord:
        return self._answer(lambda: self.daemon.manager.renew(session_id, ANNE, act="renewed"))

    def end(self, session_id: str, *, keep: bool = False) -> SessionRecord:
        return self._answer(lambda: self.daemon.manager.end(session_id, ANNE, keep=keep))

    def _answer(self, act: Callable[[], SessionRecord]) -> SessionRecord:
        if self.silent:
            object.__setattr__(self, "silent", self.silent - 1)
            raise SILENT
        return act()


def holding(daemon: MemoryDaemon, *, silent: int) -> RemoteHolding:
    record = daemon.store.find(daemon.begin(ttl_seconds=7200))
    assert record is not None
    assert record.begun.kind is HeldKind.BACKUP
    return RemoteHolding(
        client=Patchy(daemon, silent=silent),
        record=record,
        clock=daemon.clock,
        sleep=lambda seconds: daemon.clock.advance(timedelta(seconds=seconds)),
    )


def test_heartbeats_may_be_missed_as_long_as_the_lease_lasts(daemon: MemoryDaemon) -> None:
    held = holding(daemon, silent=3)
    for _ in range(3):
        daemon.clock.advance(timedelta(minutes=30))
        held.look()
    # The daemon answers again, and renews the whole lease.
    held.look()
    daemon.clock.advance(timedelta(minutes=90))
    held.look()


def test_without_a_lease_a_silent_daemon_is_a_lost_session(daemon: MemoryDaemon) -> None:
    held = holding(daemon, silent=2)
    daemon.clock.advance(timedelta(hours=2))
    with pytest.raises(SessionDaemonUnreachable):
        held.look()


def test_a_daemon_that_says_that_it_was_lost_is_believed_at_once(daemon: MemoryDaemon) -> None:
    held = holding(daemon, silent=0)
    daemon.holder.holdings[0].problem = SessionLost(
        "cannot use the session: terminating connection"
    )
    with pytest.raises(SessionLost, match="terminating connection"):
        held.look()


def test_the_end_of_a_backup_waits_for_the_daemon_and_not_for_ever(daemon: MemoryDaemon) -> None:
    assert holding(daemon, silent=5).end().stop_lsn == "0/3000100"
    began = daemon.clock()
    with pytest.raises(SessionDaemonUnreachable):
        holding(daemon, silent=100_000).end()
    assert daemon.clock() - began <= timedelta(seconds=END_SECONDS)
