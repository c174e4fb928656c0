"""Clusters copied file by file while they are written to, and started elsewhere."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.clusters import cluster, run, standby_of
from tests.support.encrypted_job import encrypted_installation
from tests.support.hostile_store import attack_files
from tests.support.pgbench_cluster import PgbenchCluster, prove, restored
from tests.support.waiting import until


def test_a_cluster_under_load_comes_back_whole_with_its_tablespace(pgbench: PgbenchCluster) -> None:
    installation = pgbench.installation()
    with pgbench.under_load():
        made = installation.run("backup", "shop")
    assert installation.run("verify", "shop/latest")["verified"] is True
    with restored(installation) as back:
        prove(back, pgbench)
    proof = installation.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["page_checksums"].endswith("pages verified")
    assert int(proof["page_checksums"].split()[0]) > 4000
    assert "bad_pages" not in proof
    assert made["server"]["kind"] == "postgres-cluster"
    assert pgbench.server.held() == 0


def test_a_cluster_that_is_sealed_signed_and_mirrored_comes_back_from_either_place(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    source = {"kind": "postgres", "method": "physical", "dsn": pgbench.server.dsn}
    installation = encrypted_installation(folder, source)
    mirror = folder / "mirror"
    mirror.mkdir(mode=0o700)
    stores = installation.settings["repositories"]
    stores["second"] = stores["main"] | {"path": str(mirror)}
    installation.job["mirrors"] = ["second"]
    with pgbench.under_load():
        installation.run("backup", "shop")
    identity = ("--identity", str(folder / "identity"))
    for store in ("main", "second"):
        installation.job.update(repository=store, mirrors=[])
        assert installation.run("verify", "shop/latest", *identity)["unopened"] == 0
        with restored(installation, "shop/latest", *identity) as back:
            prove(back, pgbench)


@pytest.mark.parametrize("engine", ["native", "tools"])
def test_nothing_of_a_part_that_was_replaced_stays(tmp_path: Path, engine: str) -> None:
    with cluster(wal_senders=1) as server:
        PgbenchCluster(server, tmp_path).fill(scale=1, has_space=False)
        source = {"kind": "postgres", "method": "physical", "dsn": server.dsn}
        installation = encrypted_installation(tmp_path, source | {"engine": engine})
        installation.run("backup", "shop")
    attack_files(installation, tmp_path / "restored")


def test_parts_are_read_by_stock_tools(pgbench: PgbenchCluster, tmp_path: Path) -> None:
    installation = pgbench.installation()
    installation.run("backup", "shop")
    parts = installation.run("show", "shop/latest")["manifest"]["parts"]
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    spaces: dict[str, str] = {}
    for part in sorted(parts, key=lambda part: part["kind"] != "file-pack"):
        content = subprocess.run(
            ["zstd", "-dc", str(installation.repository / part["key"])],
            check=True,
            capture_output=True,
        ).stdout
        if part["kind"] == "file-pack":
            subprocess.run(["tar", "-x", "-C", str(copy)], input=content, check=True)
            continue
        path = part["details"]["path"]
        spaces |= json.loads(part["details"].get("tablespaces", "{}"))
        if path != "tablespace_map":
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_bytes(content)
    assert list(spaces.values()) == [str(pgbench.space)]
    assert "successfully verified" in run("pg_verifybackup", str(copy))


def test_a_damaged_page_is_found_named_and_told(pgbench: PgbenchCluster) -> None:
    ((path,),) = pgbench.server.ask("SELECT pg_relation_filepath('goods')")
    pgbench.server.ask("CHECKPOINT")
    pgbench.server.stop()
    with (pgbench.server.data / str(path)).open("r+b") as file:
        file.seek(7 * 8192 + 4000)
        file.write(b"\xff\x00\xff\x00\xa5")
    pgbench.server.start()
    installation = pgbench.installation()
    installation.run("backup", "shop")
    proof = installation.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["bad_pages"] == f"{path}: 7"


def test_two_backups_at_once_do_not_see_each_other(tmp_path: Path) -> None:
    with cluster(wal_senders=1) as server:
        pgbench = PgbenchCluster(server, tmp_path)
        pgbench.fill()
        installations = [pgbench.installation("one"), pgbench.installation("two")]
        with pgbench.under_load():
            running = [
                subprocess.Popen(installation.argv("backup", "shop"), stderr=subprocess.DEVNULL)
                for installation in installations
            ]
            assert [each.wait(120) for each in running] == [0, 0]
        for installation in installations:
            with restored(installation) as back:
                prove(back, pgbench)
        assert server.held() == 0


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_shut_down_during_a_run_ends_it_and_leaves_nothing(
    pgbench: PgbenchCluster, mode: str
) -> None:
    installation = pgbench.installation()
    # Slow enough to be caught at work.
    installation.job["max_rate"] = "4MB"
    with subprocess.Popen(
        installation.argv("backup", "shop"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: any(path.suffix == ".zst" for path in installation.files()))
        pgbench.server.stop(mode)
        _, told = running.communicate(timeout=120)
    assert running.returncode in (20, 62, 64), told
    assert "Traceback" not in told
    assert [path.name for path in installation.files()] == ["failed.json"]
    assert installation.run("list", "shop")["backups"] == []


def test_a_failed_run_ends_the_backup_on_the_server(pgbench: PgbenchCluster) -> None:
    installation = pgbench.installation()
    installation.job["max_rate"] = "4MB"
    with subprocess.Popen(
        installation.argv("backup", "shop"), stderr=subprocess.DEVNULL
    ) as running:
        until(lambda: any(path.suffix == ".zst" for path in installation.files()))
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 130
    until(lambda: pgbench.server.held() == 0)
    assert [path.name for path in installation.files()] == ["failed.json"]


def test_more_workers_than_open_files_allow_are_refused_with_the_numbers(
    pgbench: PgbenchCluster,
) -> None:
    installation = pgbench.installation()
    installation.job["max_concurrent_processes"] = 1000
    argv = ["prlimit", "--nofile=256:256", *installation.argv("backup", "shop", "--json")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 10, done.stdout + done.stderr
    assert "open files, 256 are allowed" in told["error"]
    assert "max_concurrent_processes" in told["hint"]
    assert pgbench.server.held() == 0


def test_a_server_without_a_free_connection_is_told_with_the_numbers(
    pgbench: PgbenchCluster,
) -> None:
    pgbench.server.ask("CREATE ROLE clerk LOGIN IN ROLE pg_monitor CONNECTION LIMIT 2")
    installation = pgbench.installation(
        dsn=f"host={pgbench.server.folder} user=clerk dbname=postgres"
    )
    told = installation.run("backup", "shop", code=20)
    assert "1 connections are free, 2 are needed" in told["error"]


def test_a_slot_that_cannot_be_had_is_no_failure(pgbench: PgbenchCluster) -> None:
    pgbench.server.ask("ALTER SYSTEM SET max_replication_slots = 0")
    pgbench.server.stop()
    pgbench.server.start()
    installation = pgbench.installation()
    installation.run("backup", "shop")
    proof = installation.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["wal_reserved_by"] == "nothing"
    with restored(installation) as back:
        prove(back, pgbench)


def test_a_folder_with_something_in_it_is_not_touched(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    installation = pgbench.installation()
    installation.run("backup", "shop")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "precious").write_text("mine")
    told = installation.run("restore", "shop/latest", "--to", f"file://{taken}", code=13)
    assert "contains files" in told["error"]
    assert [path.name for path in taken.iterdir()] == ["precious"]
    installation.run("restore", "shop/latest", "--to", "postgresql:///shop", code=23)
    installation.run("restore", "shop/latest", "--to", "file:relative", code=23)


def test_a_restore_that_meets_a_damaged_part_leaves_no_cluster(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    installation = pgbench.installation()
    installation.run("backup", "shop")
    part = max(installation.files(), key=lambda path: path.stat().st_size)
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert installation.run("verify", "shop/latest", code=31)["bad"]
    target = tmp_path / "back"
    installation.run("restore", "shop/latest", "--to", f"file://{target}", code=31)
    assert not target.exists()
    assert list(tmp_path.glob("back-tablespaces/*")) == []


def test_check_and_plan_say_what_would_be_done(pgbench: PgbenchCluster) -> None:
    installation = pgbench.installation()
    (checked,) = installation.run("check", "shop")["jobs"]
    found = {each["subject"]: each["detail"] for each in checked["findings"]}
    assert found["page checksums"] == "are on"
    planned = installation.run("plan", "shop")
    assert json.dumps(planned).count("file-pack") >= 1


def test_a_login_without_the_right_is_told_the_grant(pgbench: PgbenchCluster) -> None:
    pgbench.server.ask("CREATE ROLE clerk LOGIN IN ROLE pg_monitor")
    installation = pgbench.installation(
        dsn=f"host={pgbench.server.folder} user=clerk dbname=postgres"
    )
    assert "GRANT EXECUTE" in installation.run("backup", "shop", code=22)["hint"]


def test_a_cluster_comes_back_over_the_wire_too(tmp_path: Path) -> None:
    with cluster(wal_senders=1) as server:
        pgbench = PgbenchCluster(server, tmp_path)
        pgbench.fill(has_space=False)
        installation = pgbench.installation(engine="tools")
        with pgbench.under_load():
            installation.run("backup", "shop")
        proof = installation.run("show", "shop/latest")["manifest"]["proof"]
        assert "one stream" in proof["copied_by"]
        assert proof["start_lsn"] < proof["stop_lsn"]
        with restored(installation) as back:
            prove(back, pgbench)


def test_what_the_wire_cannot_do_is_refused_with_the_numbers(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    installation = pgbench.installation(engine="tools")
    assert "1 tablespaces" in installation.run("backup", "shop", code=23)["error"]
    with cluster(wal_senders=0) as server:
        bare = PgbenchCluster(server, tmp_path / "bare")
        bare.folder.mkdir()
        told = bare.installation(engine="tools").run("backup", "shop", code=20)
        assert "0 WAL senders are free, 1 is needed" in told["error"]
        server.ask("CREATE ROLE clerk LOGIN")
        dsn = f"host={server.folder} user=clerk dbname=postgres"
        refused = bare.installation("clerk", engine="tools", dsn=dsn).run("check", "shop", code=22)
        assert "REPLICATION" in json.dumps(refused)


def test_a_standby_is_copied_while_its_primary_is_written_to(tmp_path: Path) -> None:
    with cluster() as primary, standby_of(primary) as standby:
        PgbenchCluster(primary, tmp_path).fill(has_space=False)
        pgbench = PgbenchCluster(standby, tmp_path)
        # The last thing that `fill` made.
        until(lambda: standby.ask("SELECT to_regclass('fleeting') IS NOT NULL") == [(True,)])
        installation = pgbench.installation()
        with PgbenchCluster(primary, tmp_path).under_load():
            installation.run("backup", "shop")
        (checked,) = installation.run("check", "shop")["jobs"]
        assert any("a standby" in each["detail"] for each in checked["findings"])
        with restored(installation) as back:
            prove(back, pgbench)
        assert standby.held() == 0


def test_a_standby_that_is_promoted_during_a_run_makes_it_fail_as_corrupt(tmp_path: Path) -> None:
    with cluster() as primary:
        PgbenchCluster(primary, tmp_path).fill(has_space=False)
        with standby_of(primary) as standby:
            installation = PgbenchCluster(standby, tmp_path).installation()
            # Slow enough to be caught at work.
            installation.job["max_rate"] = "4MB"
            with subprocess.Popen(
                installation.argv("backup", "shop"), stderr=subprocess.PIPE, text=True
            ) as running:
                until(lambda: any(path.suffix == ".zst" for path in installation.files()))
                standby.promote()
                _, told = running.communicate(timeout=120)
            assert (running.returncode, "promoted" in told) == (64, True)
            assert [path.name for path in installation.files()] == ["failed.json"]


def test_wal_that_nothing_reserved_and_the_server_removed_fails_the_backup(
    pgbench: PgbenchCluster,
) -> None:
    pgbench.server.ask("ALTER SYSTEM SET max_replication_slots = 0")
    pgbench.server.ask("ALTER SYSTEM SET max_wal_size = '32MB'")
    pgbench.server.ask("ALTER SYSTEM SET min_wal_size = '32MB'")
    pgbench.server.stop()
    pgbench.server.start()
    installation = pgbench.installation()
    installation.job["max_rate"] = "4MB"
    with subprocess.Popen(
        installation.argv("backup", "shop", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:
        until(lambda: any(path.suffix == ".zst" for path in installation.files()))
        for _ in range(4):
            pgbench.server.ask(
                "CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
            )
            pgbench.server.ask("DROP TABLE filler; SELECT pg_switch_wal(); CHECKPOINT")
        out, _ = running.communicate(timeout=120)
    told = json.loads(out)
    assert running.returncode == 30, told
    assert "cannot collect WAL segment" in told["error"]
    assert "replication slot" in told["hint"]
    assert [path.name for path in installation.files()] == ["failed.json"]
    assert installation.run("list", "shop")["backups"] == []


def test_two_thousand_workers_are_refused_with_the_number_that_is_allowed(
    pgbench: PgbenchCluster,
) -> None:
    installation = pgbench.installation()
    installation.job["max_concurrent_processes"] = 2000
    told = installation.run("backup", "shop", code=10)
    assert "2000 is not a number of processes" in told["error"]
    assert "1 to 1000" in told["hint"]
    assert installation.files() == []
    assert pgbench.server.held() == 0


def test_tablespaces_are_mapped_where_the_operator_says(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    installation = pgbench.installation()
    installation.run("backup", "shop")
    target, spaces = tmp_path / "back", tmp_path / "elsewhere"
    installation.run("restore", "shop/latest", "--to", f"file://{target}?tablespaces={spaces}")
    (link,) = (target / "pg_tblspc").iterdir()
    assert link.resolve() == spaces / link.name
    assert any(path.is_file() for path in (spaces / link.name).rglob("*"))
    assert any(path.is_file() for path in pgbench.space.rglob("*"))
