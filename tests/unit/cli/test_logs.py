"""Events on stderr."""

from __future__ import annotations

import json

import pytest

from holdfast.config.secret import Secret
from holdfast.runtime import events
from holdfast.runtime.events import LogFormat, set_up


def logged(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> str:
    set_up(log_format, verbose=False)
    events.debug("part_done", part="x")
    events.info("backup_done", job="shop", password=Secret("hunter2"))
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize("log_format", [LogFormat.AUTO, LogFormat.JSON])
def test_away_from_a_terminal_each_event_is_one_json_object(
    capsys: pytest.CaptureFixture[str], log_format: LogFormat
) -> None:
    (line,) = logged(capsys, log_format).splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"], event["job"]) == ("backup_done", "info", "shop")
    assert event["timestamp"].endswith("Z")


def test_the_console_gets_readable_lines_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = logged(capsys, LogFormat.CONSOLE).splitlines()
    assert "backup_done" in line
    assert "job=shop" in line


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_a_secret_is_not_logged(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> None:
    text = logged(capsys, log_format)
    assert "hunter2" not in text
    assert "***" in text
