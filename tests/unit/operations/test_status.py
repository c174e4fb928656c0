"""Status tells good news and bad from the same three places that runs write to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.model.errors import DatabaseUnreachable, RunInFlight
from holdfast.operations.backup.job import backup
from holdfast.operations.status import status
from tests.support.worlds import World


def test_a_job_that_never_ran_has_nothing_to_show() -> None:
    report = status(World().context)
    assert (report.newest, report.age, report.last_run, report.backups) == (None, None, None, 0)


def test_a_failed_run_does_not_hide_the_last_good_backup() -> None:
    world = World()
    manifest = backup(world.context).manifest
    world.clock.advance(timedelta(days=1))
    world.source.refuse_with = DatabaseUnreachable("cannot reach 'db'")
    with pytest.raises(DatabaseUnreachable):
        backup(world.context)
    report = status(world.context)
    assert report.newest == manifest
    assert report.age is not None
    assert report.age > timedelta(days=1)
    assert report.last_run is not None
    assert report.last_run.error == "cannot reach 'db'"


def test_skipped_runs_are_counted_until_one_goes_through() -> None:
    world = World()
    for _ in range(3):
        with world.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
            backup(world.context)
    assert status(world.context).skipped_in_a_row == 3
    backup(world.context)
    assert status(world.context).skipped_in_a_row == 0


def test_the_owner_of_a_run_in_flight_is_shown() -> None:
    world = World()
    with world.guard.hold("shop", deadline=None):
        assert status(world.context).owner == {"pid": "1", "deadline": ""}
