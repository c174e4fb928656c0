"""The state of a server's archiver, from the server's own counters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.model.wal_archive import LONGEST_WAIT, Archiver

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
BEFORE, EARLIER = NOW - timedelta(minutes=1), NOW - timedelta(minutes=2)
WELL = Archiver(
    cluster="77",
    mode="on",
    is_standby=False,
    is_told_how=True,
    archived=7,
    last_archived="000000010000000000000007",
    last_archived_at=BEFORE,
    failed=1,
    last_failed="000000010000000000000006",
    last_failed_at=EARLIER,
    counted_since=NOW - timedelta(days=1),
    waiting=1,
    waiting_since=BEFORE,
    now=NOW,
)
RESET = replace(
    WELL, archived=0, last_archived="", last_archived_at=None, failed=0, last_failed_at=None
)


@pytest.mark.parametrize(
    ("archiver", "problem"),
    [
        (WELL, ""),
        (
            replace(WELL, last_failed_at=NOW),
            "every attempt to archive WAL since 2026-11-20 01:59:00Z",
        ),
        (replace(RESET, last_failed_at=NOW, failed=1), "every attempt to archive WAL has failed"),
        (RESET, ""),
        (replace(RESET, waiting=9, waiting_since=NOW - LONGEST_WAIT), "9 WAL files wait"),
        (replace(WELL, is_told_how=False), "no archive_command or archive_library is set"),
        (replace(WELL, mode="off", is_told_how=False, last_failed_at=NOW), ""),
        (replace(WELL, is_standby=True, last_failed_at=NOW), ""),
        (
            replace(WELL, is_standby=True, mode="always", last_failed_at=NOW),
            "every attempt to archive WAL since",
        ),
    ],
)
def test_what_fails_or_waits_is_a_problem_where_the_server_archives(
    archiver: Archiver, problem: str
) -> None:
    assert problem in archiver.problem
    assert bool(archiver.problem) == bool(problem)


@pytest.mark.parametrize(
    ("archiver", "told"),
    [
        (WELL, "'000000010000000000000007' was archived at 2026-11-20 01:59:00Z"),
        (RESET, "nothing was archived yet, and nothing failed since 2026-11-19 02:00:00Z"),
        (replace(WELL, mode="off"), "archive_mode is off"),
        (replace(WELL, is_standby=True), "a standby with archive_mode = on archives nothing"),
    ],
)
def test_where_all_is_well_it_is_told_how_far_it_is(archiver: Archiver, told: str) -> None:
    assert archiver.told.startswith(told)
