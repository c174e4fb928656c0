"""What becomes of held sessions, whatever happens to servers, owners and the daemon."""

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
from tests.unit.daemon.conftest import ADMIN, ANNE, BERT, Desk


@pytest.fixture
def quick_turns() -> Iterator[None]:
    """Threads take turns so often that what can meet does meet."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def test_what_one_process_begins_another_joins_and_a_third_ends(desk: Desk) -> None:
    session_id = desk.begin()
    joined = desk.keeper.renew(session_id, ANNE, act="session_joined")
    assert joined.begun.start_lsn == "0/3000028"
    record = desk.keeper.end(session_id, ANNE)
    assert record.ended.backup_label.startswith("START WAL LOCATION")
    assert record.state == "ended"
    assert desk.holder.open_sessions == 0


def test_whoever_did_not_hear_how_a_backup_ended_may_ask_again_and_nobody_else(desk: Desk) -> None:
    session_id = desk.begin(ANNE)
    ended = desk.keeper.end(session_id, ANNE).ended
    assert desk.keeper.end(session_id, ANNE).ended == ended
    with pytest.raises(SessionRefused):
        desk.keeper.end(session_id, BERT)
    desk.keeper.stop()
    desk.start()
    assert desk.keeper.end(session_id, ANNE).ended == ended


def test_an_end_that_keeps_the_session_holds_its_wal_until_it_is_let_go(desk: Desk) -> None:
    session_id = desk.begin(ANNE)
    assert desk.keeper.end(session_id, ANNE, keep=True).state == "ended"
    desk.round()
    assert (desk.told(session_id)[0], desk.holder.open_sessions) == ("ended", 1)
    assert desk.keeper.end(session_id, ANNE, keep=True).state == "ended"
    assert desk.holder.open_sessions == 1
    desk.keeper.end(session_id, ANNE)
    assert (desk.told(session_id)[0], desk.holder.open_sessions) == ("ended", 0)


@pytest.mark.parametrize("how", ["abort", "lease", "stop"])
def test_what_is_kept_beyond_its_end_goes_and_stays_ended(desk: Desk, how: str) -> None:
    session_id = desk.begin(ANNE, ttl_seconds=60)
    desk.keeper.end(session_id, ANNE, keep=True)
    if how == "abort":
        desk.keeper.abort(session_id, ANNE)
    elif how == "lease":
        desk.clock.advance(timedelta(seconds=60))
        desk.round()
    else:
        desk.keeper.stop()
    assert (desk.told(session_id)[0], desk.holder.open_sessions) == ("ended", 0)


def test_a_snapshot_can_be_held_for_a_job_that_would_want_a_backup(desk: Desk) -> None:
    record = desk.catalogue.find(desk.begin(kind="snapshot"))
    assert record is not None
    assert record.begun.snapshot


def test_nobody_but_the_owner_and_admins_touches_a_session(desk: Desk) -> None:
    session_id = desk.begin(ANNE)
    acts: list[Callable[[], object]] = [
        lambda: desk.keeper.end(session_id, BERT),
        lambda: desk.keeper.abort(session_id, BERT),
        lambda: desk.keeper.renew(session_id, BERT, act="session_joined"),
    ]
    for forbidden in acts:
        with pytest.raises(SessionRefused, match="belongs to user '5001'"):
            forbidden()
    assert desk.keeper.listed(BERT, all_states=True) == []
    assert [each.session_id for each in desk.keeper.listed(ADMIN, all_states=False)] == [session_id]
    assert desk.keeper.abort(session_id, ADMIN).state == "aborted"
    assert desk.holder.open_sessions == 0


def test_without_a_heartbeat_a_session_expires_and_leaves_the_server(desk: Desk) -> None:
    session_id = desk.begin(ttl_seconds=60)
    desk.clock.advance(timedelta(seconds=59))
    desk.round()
    assert desk.told(session_id)[0] == "open"
    desk.clock.advance(timedelta(seconds=1))
    desk.round()
    state, reason = desk.told(session_id)
    assert (state, reason.startswith("no heartbeat")) == ("expired", True)
    assert desk.holder.open_sessions == 0
    with pytest.raises(SessionExpired, match="no heartbeat"):
        desk.keeper.end(session_id, ANNE)


def test_heartbeats_extend_a_lease_but_never_the_deadline(desk: Desk) -> None:
    session_id = desk.begin(ttl_seconds=8 * 3600)
    for _ in range(3):
        desk.clock.advance(timedelta(hours=7))
        lease = desk.keeper.renew(session_id, ANNE, act="session_renewed")
    assert lease.lease_until == lease.deadline
    desk.clock.advance(timedelta(hours=3))
    desk.round()
    state, reason = desk.told(session_id)
    assert (state, reason.startswith("its deadline passed")) == ("expired", True)


def test_whoever_asks_for_ever_gets_as_long_as_anybody_may_have(desk: Desk) -> None:
    record = desk.catalogue.find(desk.begin(ttl_seconds=10**18))
    assert record is not None
    assert record.lease_until == record.deadline


def test_a_hundred_abandoned_sessions_leave_nothing_on_the_server(desk: Desk) -> None:
    desk.per_server = 100
    desk.start()
    for _ in range(100):
        desk.begin(ttl_seconds=1)
    assert desk.holder.open_sessions == 100
    desk.clock.advance(timedelta(seconds=2))
    desk.round()
    assert desk.holder.open_sessions == 0


def test_no_more_sessions_than_allowed_are_held_on_a_server(desk: Desk) -> None:
    held = [desk.begin() for _ in range(4)]
    with pytest.raises(SessionLimit, match="4 are held"):
        desk.begin()
    desk.keeper.abort(held[0], ANNE)
    desk.begin()


def test_a_begin_that_fails_takes_no_place(desk: Desk) -> None:
    desk.holder.problem = GrantMissing("cannot begin a backup on '/run/postgresql': denied")
    for _ in range(5):
        with pytest.raises(GrantMissing):
            desk.begin()
    desk.holder.problem = None
    desk.begin()


@pytest.mark.parametrize(
    ("problem", "state"),
    [
        (SessionCorrupt("cannot use the session on 'x': it was restarted"), "corrupt"),
        (SessionLost("cannot use the session on 'x': terminating connection"), "lost"),
    ],
)
def test_a_look_finds_what_became_of_a_session(
    desk: Desk, problem: HoldfastError, state: str
) -> None:
    session_id = desk.begin()
    desk.holder.holdings[0].problem = problem
    desk.round()
    assert desk.told(session_id) == (state, problem.message)
    assert desk.holder.open_sessions == 0
    with pytest.raises(type(problem), match=problem.message):
        desk.keeper.renew(session_id, ANNE, act="session_joined")


def test_a_silent_server_means_lost_at_once_and_the_cause_once_it_answers(desk: Desk) -> None:
    session_id = desk.begin()
    holding = desk.holder.holdings[0]
    holding.problem = DatabaseUnreachable("cannot use the session on 'x': it does not answer")
    with pytest.raises(SessionLost, match="does not answer"):
        desk.keeper.end(session_id, ANNE)
    assert desk.told(session_id)[0] == "lost"
    with pytest.raises(SessionLost):
        desk.keeper.renew(session_id, ANNE, act="session_joined")
    holding.problem = SessionCorrupt("cannot use the session on 'x': it was restarted")
    desk.round()
    assert desk.told(session_id) == ("corrupt", holding.problem.message)


def test_a_lost_session_that_comes_back_by_itself_is_still_lost(desk: Desk) -> None:
    session_id = desk.begin()
    holding = desk.holder.holdings[0]
    holding.problem = DatabaseUnreachable("cannot use the session on 'x': it does not answer")
    desk.round()
    holding.problem = None
    desk.round()
    assert desk.told(session_id)[0] == "lost"
    with pytest.raises(SessionLost):
        desk.keeper.end(session_id, ANNE)


def test_what_a_killed_daemon_held_is_lost_to_the_next_one(desk: Desk) -> None:
    session_id = desk.begin()
    ended = desk.begin()
    desk.keeper.end(ended, ANNE)
    desk.start()
    state, reason = desk.told(session_id)
    assert (state, "daemon" in reason) == ("lost", True)
    assert desk.told(ended)[0] == "ended"
    with pytest.raises(SessionLost, match="daemon that held it ended"):
        desk.keeper.end(session_id, ANNE)


def test_a_daemon_that_is_stopped_ends_its_sessions_first(desk: Desk) -> None:
    session_id = desk.begin()
    desk.keeper.stop()
    assert desk.holder.open_sessions == 0
    assert desk.told(session_id) == ("lost", "the daemon was stopped")


def test_ids_that_nobody_was_given_are_not_found(desk: Desk) -> None:
    with pytest.raises(SessionNotFound, match="nobody began it"):
        desk.keeper.end("f" * 32, ANNE)


def test_what_has_ended_cannot_be_joined_and_what_was_aborted_cannot_be_ended(desk: Desk) -> None:
    session_id = desk.begin()
    desk.keeper.end(session_id, ANNE)
    with pytest.raises(SessionNotFound, match="it is ended"):
        desk.keeper.renew(session_id, ANNE, act="session_joined")
    other = desk.begin()
    desk.keeper.abort(other, ANNE)
    assert desk.keeper.abort(other, ANNE).state == "aborted"
    with pytest.raises(SessionNotFound, match="it is aborted"):
        desk.keeper.end(other, ANNE)


@pytest.mark.usefixtures("quick_turns")
def test_a_round_beside_the_end_of_a_session_does_not_call_it_lost(desk: Desk) -> None:
    for _ in range(300):
        session_id = desk.begin()
        rounds = [threading.Thread(target=desk.round) for _ in range(3)]
        for each in rounds:
            each.start()
        desk.keeper.abort(session_id, ANNE)
        for each in rounds:
            each.join()
        assert desk.told(session_id)[0] == "aborted"


def test_old_stories_are_forgotten_and_open_sessions_are_not(desk: Desk) -> None:
    ended, held = desk.begin(), desk.begin(ttl_seconds=1_000_000)
    desk.keeper.end(ended, ANNE)
    desk.catalogue.forget(before=desk.clock() + timedelta(days=31))
    assert desk.catalogue.find(ended) is None
    assert desk.catalogue.find(held) is not None


def test_sessions_that_are_dead_without_anybody_having_looked_take_no_place(desk: Desk) -> None:
    for _ in range(4):
        desk.begin(ttl_seconds=60)
    desk.holder.holdings[0].problem = SessionLost("cannot use the session: terminated")
    desk.begin()
    with pytest.raises(SessionLimit, match="of jobs 'shop'"):
        desk.begin()
    desk.clock.advance(timedelta(minutes=2))
    desk.begin()


def test_what_is_held_for_its_wal_after_its_end_is_listed_until_it_is_let_go(desk: Desk) -> None:
    session_id = desk.begin()
    desk.keeper.end(session_id, ANNE, keep=True)
    assert [each.state for each in desk.keeper.listed(ANNE, all_states=False)] == ["ended"]
    desk.keeper.abort(session_id, ANNE)
    assert desk.keeper.listed(ANNE, all_states=False) == []


def test_sessions_of_dead_runs_take_no_place_from_those_who_work_within_reason(desk: Desk) -> None:
    request = Request(verb=Verb.BEGIN, job="shop", ttl_seconds=7200, label=RUN_LABEL)
    dead = [desk.keeper.begin(request, ANNE).session_id for _ in range(3)]
    living = desk.keeper.begin(request, ANNE).session_id
    with pytest.raises(SessionLimit):
        desk.begin()
    desk.clock.advance(timedelta(minutes=3))
    desk.keeper.renew(living, ANNE, act="session_renewed")
    for _ in range(3):
        desk.begin()
    with pytest.raises(SessionLimit):
        desk.begin()
    # They are held all the same, for whoever goes on with them.
    assert all(desk.told(each)[0] == "open" for each in dead)
    while True:
        desk.clock.advance(timedelta(minutes=3))
        try:
            desk.keeper.begin(request, ANNE)
        except SessionLimit:
            break
        for record in desk.keeper.listed(ANNE, all_states=False):
            if record.label != RUN_LABEL:
                desk.keeper.abort(record.session_id, ANNE)
    assert desk.holder.open_sessions == 16
