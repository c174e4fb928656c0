"""Tables and facts as wide as the terminal."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from holdfast.cli.tables import time_of


def test_times_are_shown_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    assert time_of(datetime(2026, 11, 20, 4, 0, tzinfo=zone)) == "2026-11-20 02:00:00Z"
