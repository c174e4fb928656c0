"""Parallel jobs: their counts, and the end of one that breaks or is stopped."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from lab.errors import LabError
from tests.runner import steps
from tests.runner.board import Board
from tests.runner.jobs import Job, Run, run_all
from tests.runner.steps import Outcome, Programs, Step, Stopped
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _logs_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LOGS", tmp_path)


def python(name: str, script: str, *, always: bool = False) -> Step:
    return Step(name=name, argv=[sys.executable, "-c", script], always=always)


def ran(*works: tuple[str, object], lanes: int = 2) -> list[Outcome]:
    jobs = [
        Job(name=name, suite="unit", seconds=1, work=work)  # type: ignore[arg-type]  # tables of functions
        for name, work in works
    ]
    return run_all(jobs, lanes=lanes, board=Board({job.name: 1 for job in jobs}, lanes=lanes))


def test_a_step_that_fails_is_counted_with_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    def work(run: Run) -> None:
        assert run(python("good", "pass")).failed == 0
        assert run(python("bad", "raise SystemExit('no room')")).failed == 1

    outcomes = ran(("one", work))
    assert [(each.name, each.passed, each.failed) for each in outcomes] == [
        ("good", 1, 0),
        ("bad", 0, 1),
    ]
    told = capsys.readouterr().out
    assert "    | no room" in told
    assert "whole log:" in told


@pytest.mark.parametrize("error", [LabError("no such host", hint="look"), RuntimeError("a bug")])
def test_a_job_that_breaks_fails_and_spares_the_others(error: Exception) -> None:
    def breaks(_: Run) -> None:
        raise error

    def works(run: Run) -> None:
        run(python("good", "pass"))

    counted = {each.name: (each.passed, each.failed) for each in ran(("a", breaks), ("b", works))}
    assert counted == {"a": (0, 1), "good": (1, 0)}


def test_jobs_stand_beside_each_other_as_lanes_allow() -> None:
    both = threading.Barrier(2, timeout=60)
    outcomes = ran(("a", lambda _: both.wait()), ("b", lambda _: both.wait()))
    assert outcomes == []


@pytest.mark.parametrize("deaf", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN); "])
def test_a_run_that_is_stopped_ends_its_programs_and_still_cleans_up(
    tmp_path: Path, deaf: str
) -> None:
    programs = Programs(patience_seconds=0.1)
    began = tmp_path / "began"
    script = (
        f"import pathlib, signal, time; {deaf}pathlib.Path({str(began)!r}).touch(); time.sleep(600)"
    )

    def stop() -> None:
        until(began.exists)
        programs.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    assert programs.run(python("long", script)).failed == 1
    stopping.join()
    with pytest.raises(Stopped):
        programs.run(python("next", "pass"))
    assert programs.run(python("away", "pass", always=True)).passed == 1


def test_nothing_that_is_started_has_an_input() -> None:
    assert Programs().run(python("asks", "assert input() == ''")).failed == 1
    assert Programs().run(python("reads", "import sys; assert sys.stdin.read() == ''")).passed == 1
