from __future__ import annotations

from pathlib import Path

from holdfast.host_state.metrics import TextfileGauges
from holdfast.ports.host_state import RunRecord
from tests.fakes.clock import START
from tests.support.manifests import manifest


def samples(path: Path) -> dict[str, float]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def run(*, exit_code: int) -> RunRecord:
    return RunRecord(
        job="shop",
        run_id="1" * 32,
        outcome="failed" if exit_code else "ok",
        started_at=START,
        finished_at=START,
        exit_code=exit_code,
    )


def test_a_failed_run_is_shown_and_the_last_good_backup_stays(tmp_path: Path) -> None:
    gauges, made = TextfileGauges(tmp_path), manifest()
    gauges.show_backup(made)
    gauges.show_run(run(exit_code=0), skipped_in_a_row=0)
    gauges.show_run(run(exit_code=24), skipped_in_a_row=2)
    of_run = samples(tmp_path / "holdfast_shop.prom")
    assert of_run['holdfast_run_exit_code{job="shop"}'] == 24
    assert of_run['holdfast_run_ok{job="shop"}'] == 0
    assert of_run['holdfast_run_skipped_in_a_row{job="shop"}'] == 2
    database = made.server.database
    of_backup = samples(tmp_path / f"holdfast_shop_{database}.prom")
    labels = f'{{database="{database}",job="shop"}}'
    assert of_backup[f"holdfast_backup_stored_bytes{labels}"] == made.stored_bytes
    assert of_backup[f"holdfast_backup_rows{labels}"] == made.rows


def test_every_table_with_a_part_of_its_own_has_its_size(tmp_path: Path) -> None:
    made = manifest()
    TextfileGauges(tmp_path).show_backup(made)
    (path,) = tmp_path.iterdir()
    part = next(each for each in made.parts if each.relation)
    label = f'database="{made.server.database}",job="shop",table="{part.relation}"'
    assert samples(path)[f"holdfast_table_plain_bytes{{{label}}}"] == part.plain_bytes


def test_a_folder_that_is_gone_fails_no_run(tmp_path: Path) -> None:
    TextfileGauges(tmp_path / "gone").show_run(run(exit_code=0), skipped_in_a_row=0)
