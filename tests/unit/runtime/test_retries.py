"""Attempts follow each other, and only our own log tells of them."""

from __future__ import annotations

import pytest

from holdfast.runtime.retries import attempts

WAITS = {"first_wait_seconds": 0.001, "longest_wait_seconds": 0.001}


def test_an_attempt_follows_a_failed_one_without_a_line_of_the_library(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[int] = []
    for attempt in attempts(on=OSError, most=3, **WAITS):
        with attempt:
            told.append(attempt.num)
            if len(told) < 3:
                raise OSError
    assert told == [1, 2, 3]
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def failing(told: list[int], error: Exception) -> None:
    for attempt in attempts(on=OSError, most=2, **WAITS):
        with attempt:
            told.append(attempt.num)
            raise error


def test_the_last_error_is_raised() -> None:
    told: list[int] = []
    with pytest.raises(OSError, match="unplugged"):
        failing(told, OSError("unplugged"))
    assert told == [1, 2]


def test_another_error_ends_the_attempts() -> None:
    told: list[int] = []
    with pytest.raises(ValueError, match="once"):
        failing(told, ValueError("once"))
    assert told == [1]
