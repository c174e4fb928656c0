"""The report of failed tests at the end of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.runner import __main__ as program, steps
from tests.runner.jobs import Job, Run
from tests.runner.steps import Step

BROKEN = """
def test_sound():
    assert True

def test_broken():
    raise ValueError("the server went away")
"""


def test_the_last_lines_name_each_failed_test_and_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "LOGS", tmp_path)
    (tmp_path / "test_shown.py").write_text(BROKEN)
    junit = tmp_path / "shown.xml"
    pytest_of = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]

    def work(run: Run) -> None:
        argv = [*pytest_of, f"--rootdir={tmp_path}", f"--junit-xml={junit}", str(tmp_path)]
        run(Step(name="shown", argv=argv, junit=junit))
        run(Step(name="a command", argv=["false"]))

    job = Job(name="shown", suite="shown", seconds=60, work=work)
    monkeypatch.setattr(program, "SUITES", {"shown": lambda _servers: [job]})
    assert program.main(["shown", "--lanes", "1"]) == 1
    *_, told, other, _, counts = capsys.readouterr().out.splitlines()
    assert told.startswith("== failed: test_shown::test_broken: ValueError: the server went away")
    assert other == "== failed: a command"
    assert counts == "1 passed, 2 failed"
