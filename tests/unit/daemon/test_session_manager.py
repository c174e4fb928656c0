"""Held sessions when servers, owners or the daemon itself fail."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from holdfast.model.errors import (
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    SessionCorrupt,
    SessionExpired,
    SessionLimit,
    SessionLost,
    SessionNotFound,
    SessionRefused,
)
from holdfast.ports.sessions import RUN_LABEL
from holdfast.sessions.protocol import Request, Verb
from tests.support.memory_daemon import ADMIN, ANNE, BERT, MemoryDaemon


@pytest.fixture
def quick_turns() -> Iterator[None]:
    """Threads switch so often that every race happens."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def test_what_one_process_begins_another_joins_and_a_third_ends(daemon: MemoryDaemon) -> None:
    session_id = daemon.begin()
    joined = daemon.manager.renew(session_id, ANNE, act="session_joined")
    assert joined.begun.start_lsn == "0/3000028"
    record = daemon.manager.end(session_id, ANNE)
    assert record.ended.backup_label.startswith("START WAL LOCATION")
    assert record.state == "ended"
    assert daemon.holder.open_sessions == 0


def test_only_the_client_that_missed_the_end_of_a_backup_may_ask_again(
    daemon: MemoryDaemon,
) -> None:
    session_id = daemon.begin(ANNE)
    ended = daemon.manager.end(session_id, ANNE).ended
    assert daemon.manager.end(session_id, ANNE).ended == ended
    with pytest.raises(SessionRefused):
        daemon.manager.end(session_id, BERT)
    daemon.manager.stop()
    daemon.start()
    assert daemon.manager.end(session_id, ANNE).ended == ended


def test_an_end_that_keeps_the_session_holds_its_wal_until_it_is_released(
    daemon: MemoryDaemon,
) -> None:
    session_id = daemon.begin(ANNE)
    assert daemon.manager.end(session_id, ANNE, keep=True).state == "ended"
    daemon.round()
    assert (daemon.told(session_id)[0], daemon.holder.open_sessions) == ("ended", 1)
    assert daemon.manager.end(session_id, ANNE, keep=True).state == "ended"
    assert daemon.holder.open_sessions == 1
    daemon.manager.end(session_id, ANNE)
    assert (daemon.told(session_id)[0], daemon.holder.open_sessions) == ("ended", 0)


@pytest.mark.parametrize("how", ["abort", "lease", "stop"])
def test_what_is_kept_beyond_its_end_goes_and_stays_ended(daemon: MemoryDaemon, how: str) -> None:
    session_id = daemon.begin(ANNE, ttl_seconds=60)
    daemon.manager.end(session_id, ANNE, keep=True)
    if how == "abort":
        daemon.manager.abort(session_id, ANNE)
    elif how == "lease":
        daemon.clock.advance(timedelta(seconds=60))
        daemon.round()
    else:
        daemon.manager.stop()
    assert (daemon.told(session_id)[0], daemon.holder.open_sessions) == ("ended", 0)


def test_a_snapshot_can_be_held_for_a_job_that_would_want_a_backup(daemon: MemoryDaemon) -> None:
    record = daemon.store.find(daemon.begin(kind="snapshot"))
    assert record is not None
    assert record.begun.snapshot


def test_nobody_but_the_owner_and_admins_touches_a_session(daemon: MemoryDaemon) -> None:
    session_id = daemon.begin(ANNE)
    acts: list[Callable[[], object]] = [
        lambda: daemon.manager.end(session_id, BERT),
        lambda: daemon.manager.abort(session_id, BERT),
        lambda: daemon.manager.renew(session_id, BERT, act="session_joined"),
    ]
    for forbidden in acts:
        with pytest.raises(SessionRefused, match="belongs to user '5001'"):
            forbidden()
    assert daemon.manager.listed(BERT, all_states=True) == []
    assert [each.session_id for each in daemon.manager.listed(ADMIN, all_states=False)] == [
        session_id
    ]
    assert daemon.manager.abort(session_id, ADMIN).state == "aborted"
    assert daemon.holder.open_sessions == 0


def test_without_a_heartbeat_a_session_expires_and_leaves_the_server(daemon: MemoryDaemon) -> None:
    session_id = daemon.begin(ttl_seconds=60)
    daemon.clock.advance(timedelta(seconds=59))
    daemon.round()
    assert daemon.told(session_id)[0] == "open"
    daemon.clock.advance(timedelta(seconds=1))
    daemon.round()
    state, reason = daemon.told(session_id)
    assert (state, reason.startswith("no heartbeat")) == ("expired", True)
    assert daemon.holder.open_sessions == 0
    with pytest.raises(SessionExpired, match="no heartbeat"):
        daemon.manager.end(session_id, ANNE)


def test_heartbeats_extend_a_lease_but_never_the_deadline(daemon: MemoryDaemon) -> None:
    session_id = daemon.begin(ttl_seconds=8 * 3600)
    for _ in range(3):
        daemon.clock.advance(timedelta(hours=7))
        lease = daemon.manager.renew(session_id, ANNE, act="session_renewed")
    assert lease.lease_until == lease.deadline
    daemon.clock.advance(timedelta(hours=3))
    daemon.round()
    state, reason = daemon.told(session_id)
    assert (state, reason.startswith("its deadline passed")) == ("expired", True)


def test_an_endless_lease_is_cut_to_the_longest_allowed_one(daemon: MemoryDaemon) -> None:
    record = daemon.store.find(daemon.begin(ttl_seconds=10**18))
    assert record is not None
    assert record.lease_until == record.deadline


def test_a_hundred_abandoned_sessions_leave_nothing_on_the_server(daemon: MemoryDaemon) -> None:
    daemon.per_server = 100
    daemon.start()
    for _ in range(100):
        daemon.begin(ttl_seconds=1)
    assert daemon.holder.open_sessions == 100
    daemon.clock.advance(timedelta(seconds=2))
    daemon.round()
    assert daemon.holder.open_sessions == 0


def test_no_more_sessions_than_allowed_are_held_on_a_server(daemon: MemoryDaemon) -> None:
    held = [daemon.begin() for _ in range(4)]
    with pytest.raises(SessionLimit, match="4 are held"):
        daemon.begin()
    daemon.manager.abort(held[0], ANNE)
    daemon.begin()


def test_a_begin_that_fails_takes_no_place(daemon: MemoryDaemon) -> None:
    daemon.holder.problem = GrantMissing("cannot begin a backup on '/run/postgresql': denied")
    for _ in range(5):
        with pytest.raises(GrantMissing):
            daemon.begin()
    daemon.holder.problem = None
    daemon.begin()


@pytest.mark.parametrize(
    ("problem", "state"),
    [
        (SessionCorrupt("cannot use the session on 'x': it was restarted"), "corrupt"),
        (SessionLost("cannot use the session on 'x': terminating connection"), "lost"),
    ],
)
def test_a_look_finds_what_became_of_a_session(
    daemon: MemoryDaemon, problem: HoldfastError, state: str
) -> None:
    session_id = daemon.begin()
    daemon.holder.holdings[0].problem = problem
    daemon.round()
    assert daemon.told(session_id) == (state, problem.message)
    assert daemon.holder.open_sessions == 0
    with pytest.raises(type(problem), match=problem.message):
        daemon.manager.renew(session_id, ANNE, act="session_joined")


def test_a_silent_server_means_lost_at_once_and_the_cause_once_it_answers(
    daemon: MemoryDaemon,
) -> None:
    session_id = daemon.begin()
    holding = daemon.holder.holdings[0]
    holding.problem = DatabaseUnreachable("cannot use the session on 'x': it does not answer")
    with pytest.raises(SessionLost, match="does not answer"):
        daemon.manager.end(session_id, ANNE)
    assert daemon.told(session_id)[0] == "lost"
    with pytest.raises(SessionLost):
        daemon.manager.renew(session_id, ANNE, act="session_joined")
    holding.problem = SessionCorrupt("cannot use the session on 'x': it was restarted")
    daemon.round()
    assert daemon.told(session_id) == ("corrupt", holding.problem.message)


def test_a_lost_session_that_answers_again_is_still_lost(daemon: MemoryDaemon) -> None:
    session_id = daemon.begin()
    holding = daemon.holder.holdings[0]
    holding.problem = DatabaseUnreachable("cannot use the session on 'x': it does not answer")
    daemon.round()
    holding.problem = None
    daemon.round()
    assert daemon.told(session_id)[0] == "lost"
    with pytest.raises(SessionLost):
        daemon.manager.end(session_id, ANNE)


def test_what_a_killed_daemon_held_is_lost_to_the_next_one(daemon: MemoryDaemon) -> None:
    session_id = daemon.begin()
    ended = daemon.begin()
    daemon.manager.end(ended, ANNE)
    daemon.start()
    state, reason = daemon.told(session_id)
    assert (state, "daemon" in reason) == ("lost", True)
    assert daemon.told(ended)[0] == "ended"
    with pytest.raises(SessionLost, match="daemon that held it ended"):
        daemon.manager.end(session_id, ANNE)


def test_a_daemon_that_is_stopped_ends_its_sessions_first(daemon: MemoryDaemon) -> None:
    session_id = daemon.begin()
    daemon.manager.stop()
    assert daemon.holder.open_sessions == 0
    assert daemon.told(session_id) == ("lost", "the daemon was stopped")


def test_ids_that_nobody_was_given_are_not_found(daemon: MemoryDaemon) -> None:
    with pytest.raises(SessionNotFound, match="no session has this id"):
        daemon.manager.end("f" * 32, ANNE)


def test_what_has_ended_cannot_be_joined_and_what_was_aborted_cannot_be_ended(
    daemon: MemoryDaemon,
) -> None:
    session_id = daemon.begin()
    daemon.manager.end(session_id, ANNE)
    with pytest.raises(SessionNotFound, match="it is ended"):
        daemon.manager.renew(session_id, ANNE, act="session_joined")
    other = daemon.begin()
    daemon.manager.abort(other, ANNE)
    assert daemon.manager.abort(other, ANNE).state == "aborted"
    with pytest.raises(SessionNotFound, match="it is aborted"):
        daemon.manager.end(other, ANNE)


@pytest.mark.usefixtures("quick_turns")
def test_a_round_beside_the_end_of_a_session_does_not_call_it_lost(daemon: MemoryDaemon) -> None:
    for _ in range(300):
        session_id = daemon.begin()
        rounds = [threading.Thread(target=daemon.round) for _ in range(3)]
        for each in rounds:
            each.start()
        daemon.manager.abort(session_id, ANNE)
        for each in rounds:
            each.join()
        assert daemon.told(session_id)[0] == "aborted"


def test_old_stories_are_forgotten_and_open_sessions_are_not(daemon: MemoryDaemon) -> None:
    ended, held = daemon.begin(), daemon.begin(ttl_seconds=1_000_000)
    daemon.manager.end(ended, ANNE)
    daemon.store.forget(before=daemon.clock() + timedelta(days=31))
    assert daemon.store.find(ended) is None
    assert daemon.store.find(held) is not None


def test_sessions_that_are_dead_without_anybody_having_looked_take_no_place(
    daemon: MemoryDaemon,
) -> None:
    for _ in range(4):
        daemon.begin(ttl_seconds=60)
    daemon.holder.holdings[0].problem = SessionLost("cannot use the session: terminated")
    daemon.begin()
    with pytest.raises(SessionLimit, match="by jobs: 'shop'"):
        daemon.begin()
    daemon.clock.advance(timedelta(minutes=2))
    daemon.begin()


def test_a_session_held_for_its_wal_after_its_end_is_listed_until_it_is_released(
    daemon: MemoryDaemon,
) -> None:
    session_id = daemon.begin()
    daemon.manager.end(session_id, ANNE, keep=True)
    assert [each.state for each in daemon.manager.listed(ANNE, all_states=False)] == ["ended"]
    daemon.manager.abort(session_id, ANNE)
    assert daemon.manager.listed(ANNE, all_states=False) == []


def test_sessions_of_dead_runs_take_no_place_from_those_who_work_within_reason(
    daemon: MemoryDaemon,
) -> None:
    request = Request(verb=Verb.BEGIN, job="shop", ttl_seconds=7200, label=RUN_LABEL)
    dead = [daemon.manager.begin(request, ANNE).session_id for _ in range(3)]
    living = daemon.manager.begin(request, ANNE).session_id
    with pytest.raises(SessionLimit):
        daemon.begin()
    daemon.clock.advance(timedelta(minutes=3))
    daemon.manager.renew(living, ANNE, act="session_renewed")
    for _ in range(3):
        daemon.begin()
    with pytest.raises(SessionLimit):
        daemon.begin()
    # They are held nevertheless, for the process that continues them.
    assert all(daemon.told(each)[0] == "open" for each in dead)
    while True:
        daemon.clock.advance(timedelta(minutes=3))
        try:
            daemon.manager.begin(request, ANNE)
        except SessionLimit:
            break
        for record in daemon.manager.listed(ANNE, all_states=False):
            if record.label != RUN_LABEL:
                daemon.manager.abort(record.session_id, ANNE)
    assert daemon.holder.open_sessions == 16
