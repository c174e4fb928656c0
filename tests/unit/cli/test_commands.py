"""What each command shows to people; the backups are real, only the database is not."""

from __future__ import annotations

import re

import pytest

from holdfast.model.errors import AccessDenied, BackupFailed
from tests.fakes.source import FakeSource, table
from tests.support.desk import Desk, flip_bit


def test_a_backup_is_made_listed_shown_and_verified(desk: Desk) -> None:
    made = desk.holdfast("backup", "shop")
    assert (made.exit_code, "shop/" in made.stdout) == (0, True)
    listed = desk.holdfast("list", "shop")
    assert listed.stdout.split() == made.stdout.split()
    shown = desk.holdfast("show", "shop/latest")
    assert "public.orders" in shown.stdout
    assert "consistency  snapshot at " in shown.stdout
    verified = desk.holdfast("verify", "shop/latest")
    assert verified.exit_code == 0
    assert "all 2 parts are what was written" in verified.stdout


def test_the_log_of_a_backup_is_json_lines_with_the_size_of_the_crew(desk: Desk) -> None:
    answer = desk.holdfast("backup", "shop")
    lines = answer.stderr.splitlines()
    assert all(line.startswith("{") for line in lines)
    (announced,) = [line for line in lines if "Initialized process semaphore" in line]
    assert '"event": "Initialized process semaphore with max 2 concurrent processes"' in announced
    assert '"decided_by": "asked"' in announced
    assert any('"event": "backup_done"' in line for line in lines)


def test_a_failed_backup_is_not_listed_and_status_tells_why(desk: Desk) -> None:
    error = BackupFailed("cannot back up 'public.orders': disk error", hint="look at the disk")
    desk.source = FakeSource(table("orders", "1", "2", fails_with=error))
    assert desk.holdfast("backup", "shop").exit_code == 30
    (line,) = desk.holdfast("list").stdout.splitlines()
    assert re.fullmatch(
        r"failed: shop/\S+ at 'public\.orders': cannot back up 'public\.orders': disk error", line
    )
    (failed,) = desk.holdfast("list", "--json").document["failed"]
    assert (failed["table"], failed["exit_code"]) == ("public.orders", 30)
    assert desk.holdfast("show", "shop/latest").exit_code == 12
    status = desk.holdfast("status", "shop").stdout
    assert "failed" in status
    assert "shop: cannot back up 'public.orders': disk error" in status
    assert "hint: look at the disk" in status


def test_a_flipped_bit_is_named_and_ends_with_its_code(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    flip_bit(desk.stored("orders.copy.zst"))
    answer = desk.holdfast("verify", "shop/latest")
    assert answer.exit_code == 31
    assert "data/public.orders.copy" in answer.stdout
    assert "1 of 2 parts bad" in answer.stdout


def test_a_damaged_manifest_is_listed_as_damaged(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    flip_bit(desk.stored("manifest.json"))
    assert "damaged: shop/" in desk.holdfast("list").stdout


def test_a_restore_counts_the_rows(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    answer = desk.holdfast("restore", "shop/latest", "--to", "fake://target")
    assert answer.exit_code == 0
    assert desk.target.tables["public.orders"] == b"1,ann\n2,bob\n"
    assert "into fake://target/shop: 3 rows" in answer.stdout


def test_a_restore_of_one_table_leaves_the_others(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    answer = desk.holdfast("restore", "shop/latest", "--to", "fake://t", "--table", "public.items")
    assert answer.exit_code == 0
    assert list(desk.target.tables) == ["public.items"]


def test_a_restore_into_a_database_of_another_kind_is_refused(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    answer = desk.holdfast("restore", "shop/latest", "--to", "mysql://root@localhost/shop")
    assert answer.exit_code == 23
    assert "the backup is of a fake server" in answer.stderr


def test_a_restore_into_no_known_kind_names_those_there_are(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    answer = desk.holdfast("restore", "shop/latest", "--to", "shop_copy")
    assert answer.exit_code == 23
    kinds = "postgresql://USER@/DATABASE, 'host=... dbname=...', mysql://USER@HOST/DATABASE"
    assert f"hint: --to takes {kinds}" in answer.stderr


def test_a_dry_run_of_prune_drops_nothing_and_says_why_it_would(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    desk.holdfast("backup", "shop")
    answer = desk.holdfast("prune", "--dry-run")
    assert "would drop" in answer.stdout
    assert "last 1 of 1" in answer.stdout
    assert len(list(desk.repository.rglob("manifest.json"))) == 2
    assert "dropped" in desk.holdfast("prune", "shop").stdout
    assert len(list(desk.repository.rglob("manifest.json"))) == 1


def test_a_backup_can_be_looked_at_quickly_and_be_read_again_bit_by_bit(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    assert (
        "2 parts are there in their sizes"
        in desk.holdfast("verify", "shop/latest", "--level", "quick").stdout
    )
    answer = desk.holdfast("verify", "--level", "ledger", "--budget", "1m")
    assert answer.exit_code == 0
    assert "shop: 2 parts read" in answer.stdout
    assert "none left" in answer.stdout
    flip_bit(desk.stored("items.copy.zst"))
    answer = desk.holdfast("verify", "shop", "--level", "ledger")
    assert answer.exit_code == 31
    assert "public.items" in answer.stdout


@pytest.mark.parametrize(
    "arguments", [["verify"], ["verify", "shop", "--level", "ledger", "--budget", "long"]]
)
def test_a_verification_that_cannot_be_understood_is_refused(
    desk: Desk, arguments: list[str]
) -> None:
    assert desk.holdfast(*arguments).exit_code == 2


def test_repair_and_du_tell_what_is_left_and_what_it_takes(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    stray = desk.stored("manifest.json").with_name("stray")
    stray.write_bytes(b"?" * 2048)
    assert "would remove" in desk.holdfast("repair", "--dry-run").stdout
    assert stray.exists()
    assert "freed 2.0 KiB" in desk.holdfast("repair", "shop").stdout
    assert not stray.exists()
    usage = desk.holdfast("du", "--json").document["jobs"][0]
    assert usage["bytes"] == sum(
        path.stat().st_size for path in desk.repository.glob("shop/**/*") if path.is_file()
    )
    assert desk.holdfast("du").stdout.splitlines()[-1].split()[:2] == ["shop", "1"]


def test_check_shows_what_works(desk: Desk) -> None:
    answer = desk.holdfast("check")
    assert answer.exit_code == 0
    assert "a put, a read and a delete work" in answer.stdout
    assert "problem" not in answer.stdout


def test_check_shows_each_problem_with_its_remedy_and_ends_with_the_first_code(desk: Desk) -> None:
    desk.source.refuse_with = AccessDenied("cannot log in", hint="GRANT CONNECT")
    desk.repository.rmdir()
    answer = desk.holdfast("check", "shop")
    assert answer.exit_code == 50
    assert "cannot log in" in answer.stdout
    assert "hint: GRANT CONNECT" in answer.stdout


def test_a_job_with_an_open_password_file_is_a_problem_of_the_configuration(desk: Desk) -> None:
    secret = desk.folder / "password"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    text = desk.config.read_text().replace(
        '"dbname=shop"', f'"dbname=shop", password_file: {secret}'
    )
    desk.config.write_text(text)
    answer = desk.holdfast("check")
    assert answer.exit_code == 10
    assert "is open to others (mode 0644)" in answer.stderr


def test_status_of_a_job_that_never_ran(desk: Desk) -> None:
    answer = desk.holdfast("status")
    assert answer.exit_code == 0
    assert "never" in answer.stdout


def test_status_shows_who_is_running(desk: Desk) -> None:
    guard = desk.context("shop").guard
    with guard.hold("shop", deadline=None):
        assert "process " in desk.holdfast("status").stdout
        skipped = desk.holdfast("backup", "shop")
    assert skipped.exit_code == 40
    assert "error: cannot run job 'shop': process " in skipped.stderr
    assert "skipped" in desk.holdfast("status").stdout


def test_plan_explains_the_tables_and_the_processes(desk: Desk) -> None:
    answer = desk.holdfast("plan", "shop")
    assert answer.exit_code == 0
    assert "the only way a fake knows" in answer.stdout
    assert "processes    2, decided by asked (allowed: asked 2," in answer.stdout


def test_a_configuration_can_be_checked_before_it_lands(desk: Desk) -> None:
    answer = desk.bare("config", "check", str(desk.config))
    assert answer.exit_code == 0
    assert answer.stdout.startswith(f"'{desk.config}' can be used: jobs shop")


def test_names_from_a_database_cannot_speak_to_the_terminal(desk: Desk) -> None:
    desk.source = FakeSource(table("[bold]\x1b[31mred", "1"))
    answer = desk.holdfast("plan", "shop")
    assert "\x1b" not in answer.stdout
    assert "public.[bold]\\x1b[31mred" in answer.stdout


@pytest.mark.parametrize("command", ["list", "du"])
def test_a_job_that_nobody_knows_is_refused_with_the_nearest_name(desk: Desk, command: str) -> None:
    answer = desk.holdfast(command, "shpo")
    assert answer.exit_code == 11
    assert "did you mean 'shop'?" in answer.stderr


@pytest.mark.parametrize("command", ["list", "du"])
def test_a_job_that_is_no_longer_configured_is_known_by_its_backups(
    desk: Desk, command: str
) -> None:
    desk.holdfast("backup", "shop")
    desk.config.write_text(desk.config.read_text().replace("  shop:", "  store:"))
    answer = desk.holdfast(command, "shop")
    assert (answer.exit_code, "shop" in answer.stdout) == (0, True)


def test_status_ends_with_a_code_of_its_own_after_a_run_that_failed(desk: Desk) -> None:
    desk.holdfast("backup", "shop")
    assert desk.holdfast("status").exit_code == 0
    error = BackupFailed("cannot back up 'public.orders': disk error")
    healthy, desk.source = desk.source, FakeSource(table("orders", "1", fails_with=error))
    desk.holdfast("backup", "shop")
    failed = desk.holdfast("status")
    assert failed.exit_code == 44
    assert "shop: the last run failed" in failed.stdout
    with desk.context("shop").guard.hold("shop", deadline=None):
        assert desk.holdfast("backup", "shop").exit_code == 40
    # A run that was skipped says nothing of the one before it.
    told = desk.holdfast("status", "--json")
    assert (told.exit_code, told.document["jobs"][0]["problem"]) == (44, "the last run failed")
    desk.source = healthy
    desk.holdfast("backup", "shop")
    assert desk.holdfast("status").exit_code == 0


def test_status_ends_with_that_code_where_the_newest_backup_is_too_old_or_damaged(
    desk: Desk,
) -> None:
    assert desk.holdfast("status").exit_code == 0
    assert "it has no backup" in desk.holdfast("status", "--max-age", "1d").stdout
    desk.holdfast("backup", "shop")
    assert desk.holdfast("status", "--max-age", "9999d").exit_code == 0
    too_old = desk.holdfast("status", "--max-age", "1s")
    assert (too_old.exit_code, "older than --max-age" in too_old.stdout) == (44, True)
    flip_bit(desk.stored("manifest.json"))
    assert desk.holdfast("status").exit_code == 44


@pytest.mark.parametrize("command", [["status"], ["prune", "--dry-run"], ["repair", "--dry-run"]])
def test_a_job_whose_repository_is_away_does_not_hide_the_others(
    desk: Desk, command: list[str]
) -> None:
    away = desk.folder / "away"
    text = desk.config.read_text().replace(
        "jobs:\n", f"  away: {{kind: local, path: {away}}}\njobs:\n"
    )
    job = '  lost:\n    source: {kind: postgres, dsn: "dbname=lost"}\n    repository: away\n'
    desk.config.write_text(text.replace("jobs:\n", f"jobs:\n{job}"))
    desk.holdfast("backup", "shop")
    told = desk.holdfast(*command)
    assert told.exit_code == 50
    assert "lost: cannot" in told.stdout
    assert "shop" in told.stdout.partition("lost: cannot")[0]
    document = desk.holdfast(*command, "--json").document
    assert [each["job"] for each in document["jobs"]] == ["shop"]
    assert [(each["job"], each["exit_code"]) for each in document["failed_jobs"]] == [("lost", 50)]
