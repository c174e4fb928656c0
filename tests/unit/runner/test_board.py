"""The output of a run while it works."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.runner import steps
from tests.runner.board import Board
from tests.runner.steps import Step


def test_the_line_of_progress_names_what_is_at_work_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "LOGS", tmp_path)
    board = Board({"unit": 600, "lint": 120}, lanes=1)
    step = Step(name="unit", argv=(), junit=tmp_path / "unit.xml")
    step.log.write_text("...... [ 25%]\n...... [ 50%]\n...")
    board.starts("unit")
    board.begins("unit", step)
    line = board.line(time.monotonic() + 300)
    assert line.strip() == "5 min, about 7 min left: unit 50%"


def test_what_is_not_begun_took_no_time() -> None:
    assert Board({"unit": 600}, lanes=1).took("unit") == 0
