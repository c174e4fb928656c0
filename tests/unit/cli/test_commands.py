"""The output of each command for people, with real backups of a database in memory."""

from __future__ import annotations

import re

import pytest

from holdfast.model.errors import AccessDenied, BackupFailed
from tests.fakes.source import FakeSource, FakeTarget, table
from tests.support.command_line import CommandLine, flip_bit


def test_a_backup_is_made_listed_shown_and_verified(cli: CommandLine) -> None:
    made = cli.holdfast("backup", "shop")
    assert (made.exit_code, "shop/" in made.stdout) == (0, True)
    listed = cli.holdfast("list", "shop")
    _, row = listed.stdout.splitlines()
    assert row.split()[0] == made.stdout.splitlines()[1].split()[0]
    assert re.search(r" shop +3 .* never +never$", row.rstrip())
    shown = cli.holdfast("show", "shop/latest")
    assert "public.orders" in shown.stdout
    assert "consistency  snapshot at " in shown.stdout
    verified = cli.holdfast("verify", "shop/latest")
    assert verified.exit_code == 0
    assert "all 2 parts match the manifest" in verified.stdout


def test_a_list_tells_what_was_verified_and_restored_here_and_when(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    cli.holdfast("verify", "shop/latest", "--level", "quick")
    cli.holdfast("restore", "shop/latest", "--to", "fake://t", "--table", "public.items")
    # Sizes prove no content, and one table is not the whole backup.
    assert proof_in_list(cli) == ["never", "never"]
    cli.holdfast("verify", "shop/latest")
    assert proof_in_list(cli)[1:] == ["ago", "never"]
    cli.target = FakeTarget()
    cli.holdfast("restore", "shop/latest", "--to", "fake://t")
    assert proof_in_list(cli)[1::2] == ["ago", "ago"]
    flip_bit(cli.stored("orders.copy.zst"))
    cli.holdfast("verify", "shop/latest")
    assert proof_in_list(cli)[0] == "damaged"


def proof_in_list(cli: CommandLine) -> list[str]:
    """The words below VERIFIED and RESTORED."""
    title, row = cli.holdfast("list").stdout.splitlines()
    return row[title.index("VERIFIED") :].split()


def test_a_user_who_cannot_read_the_state_of_a_host_still_sees_the_list(
    cli: CommandLine,
) -> None:
    cli.holdfast("backup", "shop")
    cli.holdfast("verify", "shop/latest")
    (memory,) = (cli.folder / "state/proofs").glob("*.sqlite")
    memory.unlink()
    memory.mkdir()
    assert proof_in_list(cli) == ["unknown", "unknown"]


def test_the_log_of_a_backup_is_json_lines_with_the_size_of_the_crew(cli: CommandLine) -> None:
    answer = cli.holdfast("backup", "shop")
    lines = answer.stderr.splitlines()
    assert all(line.startswith("{") for line in lines)
    (announced,) = [line for line in lines if "Initialized process semaphore" in line]
    assert '"event": "Initialized process semaphore with max 2 concurrent processes"' in announced
    assert '"decided_by": "asked"' in announced
    assert any('"event": "backup_done"' in line for line in lines)


def test_a_failed_backup_is_not_listed_and_status_tells_why(cli: CommandLine) -> None:
    error = BackupFailed("cannot back up 'public.orders': disk error", hint="look at the disk")
    cli.source = FakeSource(table("orders", "1", "2", fails_with=error))
    assert cli.holdfast("backup", "shop").exit_code == 30
    (line,) = cli.holdfast("list").stdout.splitlines()
    assert re.fullmatch(
        r"failed: shop/\S+ at 'public\.orders': cannot back up 'public\.orders': disk error", line
    )
    (failed,) = cli.holdfast("list", "--json").document["failed"]
    assert (failed["table"], failed["exit_code"]) == ("public.orders", 30)
    assert cli.holdfast("show", "shop/latest").exit_code == 12
    status = cli.holdfast("status", "shop").stdout
    assert "failed" in status
    assert "shop: cannot back up 'public.orders': disk error" in status
    assert "hint: look at the disk" in status


def test_a_flipped_bit_is_named_and_ends_with_its_code(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    flip_bit(cli.stored("orders.copy.zst"))
    answer = cli.holdfast("verify", "shop/latest")
    assert answer.exit_code == 31
    assert "data/public.orders.copy" in answer.stdout
    assert "1 of 2 parts bad" in answer.stdout


def test_a_damaged_manifest_is_listed_as_damaged(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    manifest = cli.stored("manifest.json")
    # A flipped bit would show only to a host that has not read this manifest before.
    manifest.write_bytes(manifest.read_bytes()[:-9])
    assert "damaged: shop/" in cli.holdfast("list").stdout


def test_a_restore_counts_the_rows(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("restore", "shop/latest", "--to", "fake://target")
    assert answer.exit_code == 0
    assert cli.target.tables["public.orders"] == b"1,ann\n2,bob\n"
    assert "into fake://target/shop: 3 rows" in answer.stdout


def test_a_restore_of_one_table_leaves_the_others(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("restore", "shop/latest", "--to", "fake://t", "--table", "public.items")
    assert answer.exit_code == 0
    assert list(cli.target.tables) == ["public.items"]


def test_a_restore_into_a_database_of_another_kind_is_refused(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("restore", "shop/latest", "--to", "mysql://root@localhost/shop")
    assert answer.exit_code == 23
    assert "the backup is of a fake server" in answer.stderr


def test_a_restore_into_no_known_kind_names_those_there_are(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("restore", "shop/latest", "--to", "shop_copy")
    assert answer.exit_code == 23
    kinds = "postgresql://USER@/DATABASE, 'host=... dbname=...', mysql://USER@HOST/DATABASE"
    assert f"hint: --to takes {kinds}" in answer.stderr


def test_a_dry_run_of_prune_drops_nothing_and_says_why_it_would(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    cli.holdfast("backup", "shop")
    answer = cli.holdfast("prune", "--dry-run")
    assert "would drop" in answer.stdout
    assert "last 1 of 1" in answer.stdout
    assert len(list(cli.repository.rglob("manifest.json"))) == 2
    assert "dropped" in cli.holdfast("prune", "shop").stdout
    assert len(list(cli.repository.rglob("manifest.json"))) == 1


def test_a_backup_can_be_looked_at_quickly_and_be_read_again_bit_by_bit(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    assert (
        "2 parts have the right sizes"
        in cli.holdfast("verify", "shop/latest", "--level", "quick").stdout
    )
    answer = cli.holdfast("verify", "--level", "ledger", "--budget", "1m")
    assert answer.exit_code == 0
    assert "shop: 2 parts read" in answer.stdout
    assert "none left" in answer.stdout
    flip_bit(cli.stored("items.copy.zst"))
    answer = cli.holdfast("verify", "shop", "--level", "ledger")
    assert answer.exit_code == 31
    assert "public.items" in answer.stdout


def test_a_job_is_verified_as_its_settings_say_where_the_call_does_not(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    flip_bit(cli.stored("items.copy.zst"))
    found = cli.holdfast("verify", "shop", "--json")
    assert (found.exit_code, found.document["schema"]) == (31, "holdfast.verify-job/1")
    assert [each["level"] for each in found.document["backups"]] == ["full"]
    cli.configure("verify: {level: quick, budget: 1h}")
    # Sizes are right, and only those are compared now.
    quick = cli.holdfast("verify", "shop")
    assert (quick.exit_code, "2 parts have the right sizes" in quick.stdout) == (0, True)
    assert cli.holdfast("verify", "shop", "--level", "full").exit_code == 31
    cli.configure("verify: {level: ledger}")
    ledger = cli.holdfast("verify", "shop", "--json")
    assert (ledger.exit_code, ledger.document["schema"]) == (31, "holdfast.verify-ledger/1")


def test_a_job_to_verify_that_has_no_backup_or_is_unknown_is_told(cli: CommandLine) -> None:
    empty = cli.holdfast("verify", "shop")
    assert (empty.exit_code, "it has no finished backup" in empty.stderr) == (12, True)
    assert cli.holdfast("verify", "shopp").exit_code == 11


@pytest.mark.parametrize(
    "arguments", [["verify"], ["verify", "shop", "--level", "ledger", "--budget", "long"]]
)
def test_a_verification_that_cannot_be_understood_is_refused(
    cli: CommandLine, arguments: list[str]
) -> None:
    assert cli.holdfast(*arguments).exit_code == 2


def test_repair_and_du_tell_what_is_left_and_what_it_takes(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    stray = cli.stored("manifest.json").with_name("stray")
    stray.write_bytes(b"?" * 2048)
    assert "would remove" in cli.holdfast("repair", "--dry-run").stdout
    assert stray.exists()
    assert "freed 2.0 KiB" in cli.holdfast("repair", "shop").stdout
    assert not stray.exists()
    usage = cli.holdfast("du", "--json").document["jobs"][0]
    assert usage["bytes"] == sum(
        path.stat().st_size for path in cli.repository.glob("shop/**/*") if path.is_file()
    )
    assert cli.holdfast("du").stdout.splitlines()[-1].split()[:2] == ["shop", "1"]


def test_check_shows_what_works(cli: CommandLine) -> None:
    answer = cli.holdfast("check")
    assert answer.exit_code == 0
    assert "put, read and delete work" in answer.stdout
    assert "problem" not in answer.stdout


def test_check_shows_each_problem_with_its_remedy_and_ends_with_the_first_code(
    cli: CommandLine,
) -> None:
    cli.source.refuse_with = AccessDenied("cannot log in", hint="GRANT CONNECT")
    cli.repository.rmdir()
    answer = cli.holdfast("check", "shop")
    assert answer.exit_code == 50
    assert "cannot log in" in answer.stdout
    assert "hint: GRANT CONNECT" in answer.stdout


def test_a_job_with_an_open_password_file_is_a_problem_of_the_configuration(
    cli: CommandLine,
) -> None:
    secret = cli.folder / "password"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    text = cli.config.read_text().replace(
        '"dbname=shop"', f'"dbname=shop", password_file: {secret}'
    )
    cli.config.write_text(text)
    answer = cli.holdfast("check")
    assert answer.exit_code == 10
    assert "is accessible to others (mode 0644)" in answer.stderr


def test_status_of_a_job_that_never_ran(cli: CommandLine) -> None:
    answer = cli.holdfast("status")
    assert answer.exit_code == 0
    assert "never" in answer.stdout


def test_status_shows_who_is_running(cli: CommandLine) -> None:
    guard = cli.context("shop").ownership.guard
    with guard.hold("shop", deadline=None):
        assert "process " in cli.holdfast("status").stdout
        skipped = cli.holdfast("backup", "shop")
    assert skipped.exit_code == 40
    assert "error: cannot run job 'shop': process " in skipped.stderr
    assert "skipped" in cli.holdfast("status").stdout


def test_plan_explains_the_tables_and_the_processes(cli: CommandLine) -> None:
    answer = cli.holdfast("plan", "shop")
    assert answer.exit_code == 0
    assert "the only way a fake knows" in answer.stdout
    assert "processes    2, decided by asked (allowed: asked 2," in answer.stdout


def test_a_configuration_can_be_checked_before_it_lands(cli: CommandLine) -> None:
    answer = cli.bare("config", "check", str(cli.config))
    assert answer.exit_code == 0
    assert answer.stdout.startswith(f"'{cli.config}' can be used: jobs shop")


def test_names_from_a_database_cannot_speak_to_the_terminal(cli: CommandLine) -> None:
    cli.source = FakeSource(table("[bold]\x1b[31mred", "1"))
    answer = cli.holdfast("plan", "shop")
    assert "\x1b" not in answer.stdout
    assert "public.[bold]\\x1b[31mred" in answer.stdout


@pytest.mark.parametrize("command", ["list", "du"])
def test_a_job_that_nobody_knows_is_refused_with_the_nearest_name(
    cli: CommandLine, command: str
) -> None:
    answer = cli.holdfast(command, "shpo")
    assert answer.exit_code == 11
    assert "did you mean 'shop'?" in answer.stderr


@pytest.mark.parametrize("command", ["list", "du"])
def test_a_job_that_is_no_longer_configured_is_known_by_its_backups(
    cli: CommandLine, command: str
) -> None:
    cli.holdfast("backup", "shop")
    cli.config.write_text(cli.config.read_text().replace("  shop:", "  store:"))
    answer = cli.holdfast(command, "shop")
    assert (answer.exit_code, "shop" in answer.stdout) == (0, True)


def test_status_ends_with_a_code_of_its_own_after_a_run_that_failed(cli: CommandLine) -> None:
    cli.holdfast("backup", "shop")
    assert cli.holdfast("status").exit_code == 0
    error = BackupFailed("cannot back up 'public.orders': disk error")
    healthy, cli.source = cli.source, FakeSource(table("orders", "1", fails_with=error))
    cli.holdfast("backup", "shop")
    failed = cli.holdfast("status")
    assert failed.exit_code == 44
    assert "shop: the last run failed" in failed.stdout
    with cli.context("shop").ownership.guard.hold("shop", deadline=None):
        assert cli.holdfast("backup", "shop").exit_code == 40
    # A skipped run does not change the result of the run before it.
    told = cli.holdfast("status", "--json")
    assert (told.exit_code, told.document["jobs"][0]["problem"]) == (44, "the last run failed")
    cli.source = healthy
    cli.holdfast("backup", "shop")
    assert cli.holdfast("status").exit_code == 0


def test_status_ends_with_that_code_where_the_newest_backup_is_too_old_or_damaged(
    cli: CommandLine,
) -> None:
    assert cli.holdfast("status").exit_code == 0
    assert "it has no backup" in cli.holdfast("status", "--max-age", "1d").stdout
    cli.holdfast("backup", "shop")
    assert cli.holdfast("status", "--max-age", "9999d").exit_code == 0
    too_old = cli.holdfast("status", "--max-age", "1s")
    assert (too_old.exit_code, "older than --max-age" in too_old.stdout) == (44, True)
    flip_bit(cli.stored("manifest.json"))
    assert cli.holdfast("status").exit_code == 44


@pytest.mark.parametrize(
    ("options", "bad"), [((), 1), (("--level", "ledger"), 1), (("--level", "quick"), 0)]
)
def test_what_a_verification_of_a_job_found_is_a_metric(
    cli: CommandLine, options: tuple[str, ...], bad: int
) -> None:
    folder = cli.folder / "metrics"
    folder.mkdir()
    cli.config.write_text(f"metrics_directory: {folder}\n{cli.config.read_text()}")
    cli.holdfast("backup", "shop")
    path = folder / "holdfast__verify+shop.prom"
    assert cli.holdfast("verify", "shop/latest").exit_code == 0
    assert not path.exists(), "one backup tells nothing about its job"
    assert cli.holdfast("verify", "shop", *options).exit_code == 0
    assert 'holdfast_verify_bad_parts{backup_job="shop"} 0.0' in path.read_text()
    assert 'holdfast_verify_damaged_backups{backup_job="shop"} 0.0' in path.read_text()
    flip_bit(next(cli.repository.rglob("*.copy.*")))
    # Found by this one, and known from then on, whatever the next one reads.
    assert cli.holdfast("verify", "shop").exit_code == 31
    cli.holdfast("verify", "shop", *options)
    assert f'holdfast_verify_bad_parts{{backup_job="shop"}} {bad}.0' in path.read_text()
    assert 'holdfast_verify_damaged_backups{backup_job="shop"} 1.0' in path.read_text()


@pytest.mark.parametrize("content", [b"", b"{", b"x" * (4 << 20)], ids=["empty", "cut", "huge"])
def test_status_names_a_record_of_a_drill_that_cannot_be_read(
    cli: CommandLine, content: bytes
) -> None:
    cli.holdfast("backup", "shop")
    drill = cli.holdfast("drill", "shop", "--json").document["drills"][0]["drill"]
    assert cli.holdfast("status", "--json").document["jobs"][0]["damaged_drills"] == []
    path = cli.stored("record.json")
    path.write_bytes(content)
    told = cli.holdfast("status")
    assert told.exit_code == 44
    words = " ".join(told.stdout.split())
    assert "shop: 1 record of its drills cannot be read" in words
    assert (
        f"shop: damaged: drill {drill}: cannot read '{path.relative_to(cli.repository)}'" in words
    )
    (found,) = cli.holdfast("status", "--json").document["jobs"][0]["damaged_drills"]
    assert found["drill"] == drill


@pytest.mark.parametrize("command", [["status"], ["prune", "--dry-run"], ["repair", "--dry-run"]])
def test_a_job_whose_repository_is_away_does_not_hide_the_others(
    cli: CommandLine, command: list[str]
) -> None:
    away = cli.folder / "away"
    text = cli.config.read_text().replace(
        "jobs:\n", f"  away: {{kind: local, path: {away}}}\njobs:\n"
    )
    job = '  lost:\n    source: {kind: postgres, dsn: "dbname=lost"}\n    repository: away\n'
    cli.config.write_text(text.replace("jobs:\n", f"jobs:\n{job}"))
    cli.holdfast("backup", "shop")
    told = cli.holdfast(*command)
    assert told.exit_code == 50
    assert "lost: cannot" in told.stdout
    assert "shop" in told.stdout.partition("lost: cannot")[0]
    document = cli.holdfast(*command, "--json").document
    assert [each["job"] for each in document["jobs"]] == ["shop"]
    assert [(each["job"], each["exit_code"]) for each in document["failed_jobs"]] == [("lost", 50)]
