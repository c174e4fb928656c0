"""Progress of long work, for people and for the journal."""

from __future__ import annotations

import io
import json
import sys

import pytest

from holdfast.cli.progress import (
    JOURNAL_SECONDS,
    Meter,
    Reading,
    facts_fitting,
    log_reading,
    watched,
)
from holdfast.runtime import events
from holdfast.runtime.events import LogFormat, set_up
from tests.support.waiting import until


def test_a_meter_counts_and_knows_its_speed() -> None:
    now = 100.0
    meter = Meter(monotonic=lambda: now)
    meter.begin(total_bytes=1000, parts=4)
    meter.advance(200)
    meter.advance(50)
    meter.part_done("data/public.orders.copy")
    now = 105.0
    reading = meter.read()
    assert (reading.done_bytes, reading.done_parts, reading.parts) == (250, 1, 4)
    assert reading.bytes_per_second == 50.0
    assert reading.seconds_left == 15.0


def test_an_estimate_that_was_too_low_grows_with_the_work() -> None:
    meter = Meter()
    meter.begin(total_bytes=10, parts=1)
    meter.advance(25)
    assert meter.read().total_bytes == 25


def test_before_the_first_byte_nobody_knows_how_long_it_takes() -> None:
    assert Meter(monotonic=lambda: 0.0).read().seconds_left is None


def test_the_journal_gets_an_event_with_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(LogFormat.JSON, verbose=False)
    log_reading(
        "backup shop",
        Reading(total_bytes=1000, done_bytes=250, parts=4, done_parts=1, seconds=5.0),
    )
    event = json.loads(capsys.readouterr().err)
    assert event.pop("timestamp")
    assert event == {
        "event": "progress",
        "level": "info",
        "doing": "backup shop",
        "done_bytes": 250,
        "total_bytes": 1000,
        "done_parts": 1,
        "parts": 4,
        "bytes_per_second": 50,
        "seconds_left": 15,
    }


class Terminal(io.StringIO):
    """stderr on a terminal."""

    def isatty(self) -> bool:
        return True


def test_an_event_has_a_line_of_its_own_while_a_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    set_up(LogFormat.CONSOLE, verbose=False)
    with watched(meter := Meter(), "backup shop"):
        meter.begin(total_bytes=1000, parts=4)
        until(lambda: "  0%" in terminal.getvalue())
        events.info("read_through_holder")
    said = terminal.getvalue()
    before = said[: said.index("read_through_holder")].rpartition("1000 B")[2]
    # The bar is removed, or a new line started, before the event is written.
    assert "\n" in before or "\x1b[2K" in before


def test_before_there_are_parts_no_count_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(LogFormat.JSON, verbose=False)
    log_reading("backup shop", Meter(monotonic=lambda: 0.0).read())
    assert json.loads(capsys.readouterr().err)["event"] == "getting_ready"
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with watched(Meter(), "backup shop"):
        until(lambda: "getting ready" in terminal.getvalue())
    assert "0/0" not in terminal.getvalue()


def test_the_journal_is_told_every_few_seconds() -> None:
    assert JOURNAL_SECONDS == 10.0


def test_a_bar_of_several_databases_continues_and_the_journal_tells_each() -> None:
    now = 0.0
    meter = Meter(monotonic=lambda: now)
    meter.begin(total_bytes=1000, parts=2)
    meter.advance(800)
    meter.part_done("a")
    meter.part_done("b")
    now = 4.0
    meter.begin(total_bytes=100, parts=1)
    meter.advance(50)
    now = 5.0
    alone, whole = meter.read(), meter.read().with_earlier()
    assert (alone.done_bytes, alone.total_bytes, alone.parts, alone.seconds) == (50, 100, 1, 1.0)
    assert (whole.done_bytes, whole.total_bytes, whole.parts) == (850, 900, 3)
    assert (whole.done_parts, whole.seconds) == (2, 5.0)


def test_a_line_that_is_too_short_loses_what_tells_least() -> None:
    facts = [(5, " 25%"), (4, "18.0 MiB"), (1, "2 of 3 parts")]
    assert facts_fitting(facts, 40) == [" 25%", "18.0 MiB", "2 of 3 parts"]
    assert facts_fitting(facts, 20) == [" 25%", "18.0 MiB"]
    assert facts_fitting(facts, 8) == [" 25%"]
