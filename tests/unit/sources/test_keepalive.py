"""Held sessions during long work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.model.errors import HoldfastError, SessionExpired, SessionLost, SnapshotLost
from holdfast.ports.sessions import HeldKind
from holdfast.sources.keepalive import Keepalive, held_session, of_this_process, release_session
from tests.fakes.holder import FakeHolder, FakeHolding
from tests.support.waiting import until


def held(session_id: str = "") -> FakeHolding:
    holding = FakeHolder().begin(HeldKind.BACKUP, label="", fast=True)
    return replace(holding, session_id=session_id)


def test_a_session_is_looked_at_again_and_again_and_its_loss_is_told_once() -> None:
    holding, told = held(), list[HoldfastError]()
    with Keepalive(holding, lost=told.append).at_work(seconds=0.001):
        until(lambda: holding.looks > 2)
        assert told == []
        holding.problem = SessionLost("cannot use the session on 'x': terminated")
        until(lambda: told == [holding.problem])
        looks = holding.looks
    assert holding.looks == looks


def test_nobody_looks_at_what_has_ended() -> None:
    holding, told = held(), list[HoldfastError]()
    tender = Keepalive(holding, lost=told.append)
    with tender.at_work(seconds=0.001):
        assert tender.end().stop_lsn == "0/3000100"
        holding.problem = SessionLost("it has ended")
    assert told == []
    assert holding.is_open


def test_what_cannot_be_joined_any_more_is_a_lost_snapshot() -> None:
    holder = FakeHolder()
    with pytest.raises(SnapshotLost, match="no session has this id"):
        held_session(holder, HeldKind.SNAPSHOT, rejoin="0" * 32)


@pytest.mark.parametrize(("session_id", "is_open"), [("", False), ("1f" * 16, True)])
def test_only_a_session_of_this_process_ends_with_its_block(session_id: str, is_open: bool) -> None:
    holding = held(session_id)
    with of_this_process(holding):
        assert holding.is_open
    assert holding.is_open is is_open


@pytest.mark.parametrize("finished", [True, False])
def test_letting_go_ends_what_others_hold_and_never_fails(finished: bool) -> None:
    holding = held("1f" * 16)
    release_session(holding, finished=finished)
    assert not holding.is_open
    silent = held("1f" * 16)
    silent.problem = SessionExpired("no heartbeat")
    release_session(silent, finished=finished)


def test_releasing_a_session_of_this_process_leaves_it_open() -> None:
    holding = held()
    release_session(holding, finished=True)
    assert holding.is_open
