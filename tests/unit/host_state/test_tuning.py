"""The verdict of the last tuning: whatever lies in its place, reading it ends and fails nothing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.host_state.tuning import last_verdict
from holdfast.model.tuning_verdict import SCHEMA, TuningVerdict
from tests.support.events import capture_logs

GOOD: dict[str, Any] = {
    "schema": SCHEMA,
    "at": "2026-11-30T12:00:00Z",
    "outcome": "pending",
    "counts": {"ok": 40, "pending": 1},
    "reasons": ["io_scheduler vdb: takes effect at the next boot"],
}


def test_a_verdict_is_read(tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(json.dumps(GOOD | {"newer": "is ignored"}))
    assert last_verdict(file) == TuningVerdict(
        at=datetime(2026, 11, 30, 12, tzinfo=UTC),
        outcome="pending",
        counts={"ok": 40, "pending": 1},
        reasons=("io_scheduler vdb: takes effect at the next boot",),
    )


def test_a_host_that_was_never_tuned_has_none_and_nobody_is_told(tmp_path: Path) -> None:
    with capture_logs() as events:
        assert last_verdict(tmp_path / "none" / "verdict.json") is None
    assert events == []


def test_no_secret_of_a_reason_leaves_the_host(tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(json.dumps(GOOD | {"reasons": ["login failed: password=geheim"]}))
    verdict = last_verdict(file)
    assert verdict is not None
    assert verdict.reasons == ("login failed: password=…",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not JSON"),
        ("[]", "schema"),
        (json.dumps(GOOD | {"schema": "holdfast.tuning-verdict/2"}), "schema"),
        (json.dumps(GOOD | {"outcome": "great"}), "outcome"),
        (json.dumps(GOOD | {"at": "yesterday"}), "at"),
        (json.dumps(GOOD | {"at": "2026-11-30T12:00:00"}), "at"),
        (json.dumps(GOOD | {"counts": {"ok": -1}}), "counts.ok"),
        (json.dumps(GOOD | {"counts": {str(each): 1 for each in range(33)}}), "counts"),
        (json.dumps(GOOD | {"reasons": ["a"] * 6}), "reasons"),
        (json.dumps(GOOD | {"reasons": ["a" * 513]}), "reasons.0"),
        (json.dumps(GOOD | {"reasons": ["db9/crm: all good\nbut"]}), "reasons.0"),
        (json.dumps(GOOD | {"more": "a" * 20_000}), "larger than"),
        ("[" * 1000, "nested deeper"),
    ],
)
def test_a_bad_one_is_logged_and_counts_as_none(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(content)
    assert_unreadable(file, told)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, make: Any) -> None:
    file = tmp_path / "verdict.json"
    make(file)
    assert_unreadable(file, "not a regular file")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text(json.dumps(GOOD))
    file = tmp_path / "verdict.json"
    file.symlink_to(tmp_path / "other")
    assert_unreadable(file, "Too many levels of symbolic links")


def assert_unreadable(file: Path, told: str) -> None:
    with capture_logs() as events:
        assert last_verdict(file) is None
    (event,) = events
    assert (event["event"], event["file"]) == ("tuning_verdict_unreadable", str(file))
    assert told in event["error"]
