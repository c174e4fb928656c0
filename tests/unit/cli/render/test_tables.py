"""Sizes, ages and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from holdfast.cli.render.tables import size, span, time_of


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 1024**2 + 1, "5.0 MiB"),
        (3 * 1024**4, "3.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_sizes_have_a_fitting_unit(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=12, seconds=30), "12m 30s"),
        (timedelta(days=3, hours=4, minutes=5), "3d 4h"),
        (timedelta(hours=1), "1h"),
    ],
)
def test_spans_show_their_two_biggest_units(length: timedelta, text: str) -> None:
    assert span(length) == text


def test_times_are_shown_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    assert time_of(datetime(2026, 11, 20, 4, 0, tzinfo=zone)) == "2026-11-20 02:00:00Z"
