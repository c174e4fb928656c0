from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from holdfast.host_state.metrics import Targets, TextfileGauges
from holdfast.model.drill import DrillRecord, DrillSeconds, Outcome
from holdfast.ports.host_state import RunRecord, Verified, WalReach
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
    assert of_run['holdfast_run_exit_code{backup_job="shop"}'] == 24
    assert of_run['holdfast_run_ok{backup_job="shop"}'] == 0
    assert of_run['holdfast_run_skipped_in_a_row{backup_job="shop"}'] == 2
    database = made.server.database
    of_backup = samples(tmp_path / f"holdfast_shop+{database}.prom")
    labels = f'{{backup_job="shop",database="{database}"}}'
    assert of_backup[f"holdfast_backup_stored_bytes{labels}"] == made.stored_bytes
    assert of_backup[f"holdfast_backup_rows{labels}"] == made.rows


def test_every_table_with_a_part_of_its_own_has_its_size(tmp_path: Path) -> None:
    made = manifest()
    TextfileGauges(tmp_path).show_backup(made)
    (path,) = tmp_path.iterdir()
    part = next(each for each in made.parts if each.relation)
    label = f'backup_job="shop",database="{made.server.database}",table="{part.relation}"'
    assert samples(path)[f"holdfast_table_plain_bytes{{{label}}}"] == part.plain_bytes


def test_a_folder_that_is_gone_fails_no_run(tmp_path: Path) -> None:
    TextfileGauges(tmp_path / "gone").show_run(run(exit_code=0), skipped_in_a_row=0)


def drill(*, passed: bool, at: int, seconds: float = 0.0) -> DrillRecord:
    began = START + timedelta(minutes=at)
    return DrillRecord(
        job="shop",
        name="20261130T000000Z-00000000",
        backup="shop/20261129T000000Z-00000000",
        database="orders",
        host="drills1",
        version="0.1.0",
        began=began,
        ended=began + timedelta(seconds=90),
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        seconds=DrillSeconds(prepare=9, fetch=1, load=seconds, checks=9),
        reached=START,
    )


def test_a_failed_drill_is_shown_and_what_the_last_good_one_measured_stays(tmp_path: Path) -> None:
    gauges = TextfileGauges(tmp_path)
    gauges.show_drill(drill(passed=True, at=0, seconds=41), exit_code=0)
    gauges.show_drill(drill(passed=False, at=60, seconds=2), exit_code=37)
    found = samples(tmp_path / "holdfast__drill+shop+orders.prom")
    found |= samples(tmp_path / "holdfast__good-drill+shop+orders.prom")
    labels = '{backup_job="shop",database="orders"}'
    began = START.timestamp()
    assert found == {
        f"holdfast_drill_finished_timestamp_seconds{labels}": began + 3600 + 90,
        f"holdfast_drill_ok{labels}": 0,
        f"holdfast_drill_exit_code{labels}": 37,
        f"holdfast_drill_duration_seconds{labels}": 90,
        f"holdfast_drill_passed_timestamp_seconds{labels}": began + 90,
        f"holdfast_drill_restore_seconds{labels}": 42,
        f"holdfast_drill_reached_timestamp_seconds{labels}": began,
        f"holdfast_drill_plain_bytes{labels}": 0,
        f"holdfast_drill_data_loss_seconds{labels}": 0,
    }


def test_what_a_job_allows_stands_beside_what_its_drills_measured(tmp_path: Path) -> None:
    gauges = TextfileGauges(
        tmp_path, targets=Targets(rto=timedelta(hours=2), rpo=timedelta(minutes=15))
    )
    gauges.show_drill(drill(passed=True, at=20), exit_code=0)
    labels = '{backup_job="shop",database="orders"}'
    last = samples(tmp_path / "holdfast__drill+shop+orders.prom")
    assert last[f"holdfast_drill_rto_seconds{labels}"] == 7200
    assert last[f"holdfast_drill_rpo_seconds{labels}"] == 900
    good = tmp_path / "holdfast__good-drill+shop+orders.prom"
    loss = f"holdfast_drill_data_loss_seconds{labels}"
    assert samples(good)[loss] == 20 * 60
    # A drill of an older moment measures no loss.
    gauges.show_drill(drill(passed=True, at=20), exit_code=0, measures_loss=False)
    assert loss not in samples(good)


def test_verification_wal_and_room_have_files_that_a_failed_run_leaves(tmp_path: Path) -> None:
    gauges = TextfileGauges(tmp_path, state_directory=tmp_path)
    gauges.show_verified(Verified(job="shop", at=START, exit_code=31, bad=3, damaged_backups=2))
    archived = START - timedelta(hours=1)
    gauges.show_wal(WalReach(job="shop", at=START, archived_at=archived, gaps=1))
    gauges.show_room("shop", 5)
    gauges.show_run(run(exit_code=24), skipped_in_a_row=0)
    found: dict[str, float] = {}
    for path in tmp_path.iterdir():
        found |= samples(path)
    at = START.timestamp()
    assert found['holdfast_state_free_bytes{backup_job="shop"}'] > 0
    assert {
        name: value
        for name, value in found.items()
        if name.startswith(("holdfast_verify", "holdfast_wal", "holdfast_repository"))
    } == {
        'holdfast_verify_finished_timestamp_seconds{backup_job="shop"}': at,
        'holdfast_verify_exit_code{backup_job="shop"}': 31,
        'holdfast_verify_bad_parts{backup_job="shop"}': 3,
        'holdfast_verify_damaged_backups{backup_job="shop"}': 2,
        'holdfast_wal_checked_timestamp_seconds{backup_job="shop"}': at,
        'holdfast_wal_archived_timestamp_seconds{backup_job="shop"}': at - 3600,
        'holdfast_wal_gaps{backup_job="shop"}': 1,
        'holdfast_repository_free_bytes{backup_job="shop"}': 5,
    }


def test_a_job_says_how_old_its_newest_backup_may_be(tmp_path: Path) -> None:
    gauges = TextfileGauges(tmp_path, targets=Targets(overdue_after=timedelta(hours=26)))
    gauges.show_run(run(exit_code=0), skipped_in_a_row=0)
    of_run = samples(tmp_path / "holdfast_shop.prom")
    assert of_run['holdfast_backup_overdue_after_seconds{backup_job="shop"}'] == 26 * 3600


def test_no_two_jobs_and_databases_share_a_file(tmp_path: Path) -> None:
    gauges, made = TextfileGauges(tmp_path), manifest()
    names = [("shop", "eu_x"), ("shop_eu", "x"), ("shop", "eu"), ("shop", "eu+x"), ("shop", "..")]
    for job, database in names:
        server = replace(made.server, database=database)
        gauges.show_backup(replace(made, job=job, server=server))
    gauges.show_run(replace(run(exit_code=0), job="shop_eu"), skipped_in_a_row=0)
    assert len(list(tmp_path.iterdir())) == len(names) + 1
