"""The run history on disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.host_state.runs import RUNS_KEPT, FileRunHistory
from holdfast.model.errors import ConfigInvalid
from holdfast.ports.host_state import RunRecord
from tests.fakes.clock import START


def run(number: int, job: str = "shop") -> RunRecord:
    started_at = START + timedelta(days=number)
    return RunRecord(
        job=job,
        run_id=f"{number:032x}",
        outcome="failed",
        started_at=started_at,
        finished_at=started_at + timedelta(minutes=5),
        error="cannot back up 'public.orders': disk error",
        hint="see the journal",
        exit_code=30,
        facts={"parts": "7"},
    )


def test_a_job_that_never_ran_has_no_runs(tmp_path: Path) -> None:
    assert FileRunHistory(tmp_path / "runs").last("shop", count=5) == []


def test_runs_come_back_as_they_were_the_newest_first(tmp_path: Path) -> None:
    ledger = FileRunHistory(tmp_path / "runs")
    for number in range(3):
        ledger.record(run(number))
    ledger.record(run(9, job="stock"))
    assert ledger.last("shop", count=2) == [run(2), run(1)]


def test_only_the_newest_runs_are_kept(tmp_path: Path) -> None:
    ledger = FileRunHistory(tmp_path / "runs")
    for number in range(RUNS_KEPT + 2):
        ledger.record(run(number))
    kept = ledger.last("shop", count=1000)
    assert len(kept) == RUNS_KEPT
    assert kept[-1] == run(2)


def test_a_damaged_line_does_not_hide_the_others(tmp_path: Path) -> None:
    ledger = FileRunHistory(tmp_path / "runs")
    ledger.record(run(1))
    with (tmp_path / "runs/shop.jsonl").open("a") as file:
        file.write('{"job": "shop", "half a li\n')
    ledger.record(run(2))
    assert ledger.last("shop", count=5) == [run(2), run(1)]


def test_the_file_is_private_and_nothing_unfinished_is_left(tmp_path: Path) -> None:
    FileRunHistory(tmp_path / "runs").record(run(1))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [".lock", "shop.jsonl"]
    assert (tmp_path / "runs/shop.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_missing_state_directory_is_said_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        FileRunHistory(tmp_path / "missing/runs").record(run(1))
    assert refused.value.message == (
        f"cannot use state directory file '{tmp_path}/missing/runs': No such file or directory"
    )
    assert "state_directory" in refused.value.hint
