"""The state behind a served page: how often it is read, and what is told while it cannot be."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from holdfast.cli.fleet_page.state import FleetState
from holdfast.model.errors import ConfigInvalid
from holdfast.model.fleet import Allowed, Told, rows_of
from holdfast.operations.fleet import Fleet
from tests.support.fleets import NOW, status_of


def fleet_of_one() -> Fleet:
    told = Told(job="shop", host="db1", status=status_of(), repositories=("main",))
    return Fleet(rows=tuple(rows_of([told], allowed=Allowed(), now=NOW)), unseen={})


def test_a_slow_store_delays_a_request_by_its_patience_only() -> None:
    gate = threading.Event()
    now, fleet = [NOW], fleet_of_one()
    state = FleetState(
        lambda: (gate.wait(60), fleet)[1],
        refresh=timedelta(seconds=60),
        clock=lambda: now[0],
    )
    gate.set()
    state.begin()
    gate.clear()
    now[0] += timedelta(hours=1)
    assert state.current(patience_seconds=0.05).at == NOW, "the last one"
    gate.set()
    assert state.current(patience_seconds=60).at == now[0]


def test_a_store_that_hangs_is_told_once_and_until_it_answers() -> None:
    now, fleet = [NOW], fleet_of_one()
    gate = threading.Event()
    gate.set()
    state = FleetState(
        lambda: (gate.wait(60), fleet)[1],
        refresh=timedelta(seconds=60),
        clock=lambda: now[0],
    )
    state.begin()
    gate.clear()
    now[0] += timedelta(hours=1)
    assert state.current(patience_seconds=0).problem == ""
    now[0] += timedelta(minutes=5)
    told = state.current(patience_seconds=0)
    assert told.problem == "cannot read the repositories: no answer since 2026-11-30 13:00 UTC"
    assert told.fleet.rows == fleet.rows
    now[0] += timedelta(minutes=5)
    assert state.current(patience_seconds=0) is told, "made once"
    gate.set()
    assert state.current(patience_seconds=60).problem == ""


def test_a_first_reading_that_fails_is_the_error_of_the_command() -> None:
    def read() -> Fleet:
        raise ConfigInvalid("cannot read the expected hosts", hint="write them")

    state = FleetState(read, refresh=timedelta(seconds=60), clock=lambda: NOW)
    with pytest.raises(ConfigInvalid, match="expected hosts"):
        state.begin()


def test_a_browser_reloads_a_page_at_least_once_a_day() -> None:
    fleet = fleet_of_one()
    state = FleetState(lambda: fleet, refresh=timedelta(days=60), clock=lambda: NOW)
    state.begin()
    assert b'data-refresh="86400"' in state.current().page()
