"""How the reaches of single backups join to windows, and how measured times are scaled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.model.windows import Expected, Measured, Reach, windows_of

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def reach(begins: int, ends: int, *, timeline: int = 1, gap: str = "") -> Reach:
    return Reach(
        backup=f"shop/{begins}",
        database="main",
        cluster="77",
        timeline=timeline,
        begins=NOON + timedelta(hours=begins),
        ends=NOON + timedelta(hours=ends),
        plain_bytes=1,
        gap=gap,
    )


@pytest.mark.parametrize(
    ("reaches", "spans"),
    [
        ([], []),
        ([reach(1, 1)], []),
        ([reach(1, 5), reach(3, 5)], [(1, 5)]),
        ([reach(3, 5), reach(1, 3)], [(1, 5)]),
        ([reach(1, 6), reach(3, 5)], [(1, 6)]),
        ([reach(1, 2, gap="A"), reach(3, 5)], [(3, 5), (1, 2)]),
        ([reach(1, 4), reach(2, 5, timeline=2)], [(2, 5), (1, 4)]),
    ],
)
def test_reaches_that_touch_are_one_window(
    reaches: list[Reach], spans: list[tuple[int, int]]
) -> None:
    hours = timedelta(hours=1)
    found = [
        ((each.begins - NOON) // hours, (each.ends - NOON) // hours) for each in windows_of(reaches)
    ]
    assert found == spans


def test_time_is_scaled_by_bytes_and_unknown_where_nothing_was_measured() -> None:
    drill = Measured(
        drill="d", restore_seconds=10, plain_bytes=100, replay_seconds=4, wal_bytes=200
    )
    assert drill.expects(plain_bytes=50, wal_bytes=400).seconds == 5 + 8
    assert drill.expects(plain_bytes=50, wal_bytes=0).seconds == 5
    rows = Measured(drill="d", restore_seconds=10, plain_bytes=100)
    assert rows.expects(plain_bytes=50, wal_bytes=400).seconds is None
    empty = Measured(drill="d", restore_seconds=10, plain_bytes=0)
    assert empty.expects(plain_bytes=50, wal_bytes=0).seconds is None
    assert Expected().seconds is None
