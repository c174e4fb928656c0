"""Numbers in units for people."""

from __future__ import annotations

from datetime import timedelta

import pytest

from holdfast.model.units import ago, counted, size, span


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


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=5), "5s ago"),
        (timedelta(minutes=12, seconds=30), "12m ago"),
        (timedelta(days=3, hours=23), "3d ago"),
    ],
)
def test_how_long_ago_is_told_in_one_unit(length: timedelta, text: str) -> None:
    assert ago(length) == text


def test_nouns_agree_with_their_number() -> None:
    assert [counted(number, "table") for number in (0, 1, 2)] == ["0 tables", "1 table", "2 tables"]
    assert counted(2, "copy", "copies") == "2 copies"
