"""Whole runs of the program: servers with several databases, deaths at every step, going on."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest

from holdfast.runtime.events import FAILPOINT_VARIABLE, Failpoint
from tests.engine.postgres.conftest import Laboratory
from tests.engine.postgres.equality import checksums
from tests.engine.postgres.test_shapes import FILES
from tests.support.main_job import Site
from tests.support.waiting import until

KILLED = -9
# Of other commands, and of engines that are killed elsewhere.
OF_OTHERS = (
    *("restore", "prune", "blob", "copy", "wal", "parts-read"),
    *("backup-beginning", "backup-begun", "cluster-asked", "files-listed"),
)
OF_BACKUP = [name for name in get_args(Failpoint) if not name.startswith(OF_OTHERS)]
TABLES = (
    "CREATE TABLE big (id int PRIMARY KEY, noise text)",
    "INSERT INTO big SELECT n, md5(n::text) FROM generate_series(1, 50000) n",
    "CREATE TABLE other AS SELECT n FROM generate_series(1, 10) n",
)


def site_of(lab: Laboratory, folder: Path, database: str, **source: Any) -> Site:
    dsn = lab.conninfo(database)
    return Site(folder, {"kind": "postgres", "dsn": dsn, "chunk_size": "1MiB", **source})


def killed_at(site: Site, name: str, *arguments: str) -> None:
    site.run(*arguments, code=KILLED, environment={FAILPOINT_VARIABLE: name})


def comes_back(lab: Laboratory, site: Site, database: str, backup: str) -> None:
    restored = lab.name()
    site.run("restore", backup, "--to", lab.url(restored))
    assert checksums(lab.conninfo(restored)) == checksums(lab.conninfo(database))


@pytest.mark.parametrize("name", OF_BACKUP)
def test_killed_at_any_step_the_next_run_makes_a_good_backup_and_leaves_nothing_else(
    lab: Laboratory, tmp_path: Path, name: str
) -> None:
    database = lab.database(*TABLES)
    site = site_of(lab, tmp_path, database)
    killed_at(site, name, "backup", "shop")
    listed = site.backups()
    assert len(listed) == (1 if name == "manifest-stored" else 0)
    for each in listed:
        site.run("verify", each["backup"])
    until(lambda: lab.sessions("holdfast") == 0)
    made = site.run("backup", "shop")
    site.run("verify", made["backup"])
    comes_back(lab, site, database, made["backup"])
    known = {each["backup"].split("/")[1] for each in site.backups()}
    assert {path.relative_to(site.repository).parts[1] for path in site.files()} == known


@pytest.mark.parametrize("name", ["part-stored:1", "part-stored:2", "parts-stored"])
def test_a_killed_run_is_resumed_mixed_or_not_at_all(
    lab: Laboratory, tmp_path: Path, name: str
) -> None:
    database = lab.database(*TABLES)
    site = site_of(lab, tmp_path, database)
    killed_at(site, name, "backup", "shop")
    # A server process in the middle of a COPY holds the snapshot until it misses its client.
    until(lambda: lab.sessions("holdfast") == 0)
    refused = site.run("backup", "shop", "--resume", code=24)
    assert "cannot resume backup 'shop/" in refused["error"]
    assert "--allow-mixed" in refused["hint"]
    made = site.run("backup", "shop", "--resume", "--allow-mixed")
    shown = site.run("show", made["backup"])["manifest"]
    resumed = int(shown["proof"].get("resumed_parts", "0"))
    assert shown["consistency"] == ("mixed" if resumed else "snapshot")
    assert resumed == shown["proof"].get("mixed", "").count(".copy") + shown["proof"].get(
        "mixed", ""
    ).count("pack-")
    site.run("verify", made["backup"])
    comes_back(lab, site, database, made["backup"])


def test_with_the_snapshot_still_held_a_killed_run_goes_on_in_it(
    lab: Laboratory, tmp_path: Path
) -> None:
    """Another session imports the snapshot in time, as a daemon would, and so keeps it alive."""
    database = lab.database(*TABLES)
    before = checksums(lab.conninfo(database))
    site = site_of(lab, tmp_path, database)
    with psycopg.connect(lab.conninfo(database)) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = holder.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        killed_at(site, "part-stored:4", "backup", "shop")
        (journal,) = (tmp_path / "state/unfinished").rglob("*.jsonl")
        head, *parts = journal.read_text().splitlines()
        unfinished = json.loads(head) | {"snapshot": row[0]}
        journal.write_text("\n".join([json.dumps(unfinished), *parts]) + "\n")
        lab.run(database, "DELETE FROM big WHERE id % 2 = 0; INSERT INTO other VALUES (99)")
        made = site.run("backup", "shop", "--resume")
    assert made["consistency"] == "snapshot"
    shown = site.run("show", made["backup"])["manifest"]
    assert int(shown["proof"]["resumed_parts"]) > 0
    restored = lab.name()
    site.run("restore", made["backup"], "--to", lab.url(restored))
    assert checksums(lab.conninfo(restored)) == before


def test_a_failed_run_names_its_table_and_is_listed_as_failed(
    lab: Laboratory, tmp_path: Path
) -> None:
    database = lab.database(*TABLES)
    site = site_of(lab, tmp_path, database)
    damage(lab, database, "big")
    document = site.run("backup", "shop", code=30)
    assert "table 'public.big'" in document["error"]
    assert site.backups() == []
    (failed,) = site.run("list", "shop")["failed"]
    assert (failed["table"], failed["exit_code"]) == ("public.big", 30)
    assert failed["part"].startswith("data/00001-public-big")
    assert [path.name for path in site.files()] == ["failed.json"]
    (status,) = site.run("status", "shop", code=44)["jobs"]
    assert status["failures"] == 1


def damage(lab: Laboratory, database: str, table: str) -> None:
    """One row with a value that its type no longer knows, as after a crash of the catalog."""
    lab.run(database, "CREATE TYPE mood AS ENUM ('good', 'lost')")
    lab.run(database, f"ALTER TABLE {table} ADD m mood")
    lab.run(database, f"UPDATE {table} SET m = 'lost' WHERE id = 40000")
    lab.run(database, "DELETE FROM pg_enum WHERE enumlabel = 'lost'")


def test_all_databases_of_a_server_and_one_that_fails(lab: Laboratory, tmp_path: Path) -> None:
    first, second = lab.database(*TABLES), lab.database("CREATE TABLE a AS SELECT 7 AS x")
    shut = lab.database()
    lab.run("postgres", f'ALTER DATABASE "{shut}" CONNECTION LIMIT 0')
    role = lab.role(password="x", options="IN ROLE pg_read_all_data")
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o600)
    site = site_of(
        lab,
        tmp_path,
        "postgres",
        databases=["Shop's *"],
        dsn=lab.over_tcp("postgres", user=role),
        password_file=str(secret),
    )
    document = site.run("backup", "shop", code=20)
    assert {each["server"]["database"] for each in document["backups"]} == {first, second}
    assert [each["database"] for each in document["failed"]] == [shut]
    assert {each["run_id"] for each in document["backups"]} == {document["run_id"]}
    assert [each["database"] for each in site.run("list")["failed"]] == [shut]
    ambiguous = site.run("verify", "shop/latest", code=12)
    assert "--database" in ambiguous["hint"]
    site.run("verify", "shop/latest", "--database", second)
    restored = lab.name()
    to = lab.url(restored)
    site.run("restore", "shop/latest", "--database", second, "--to", to)
    assert lab.ask(restored, "SELECT x FROM a") == [(7,)]


def test_values_kept_once_outlive_the_backups_that_share_them(
    lab: Laboratory, tmp_path: Path
) -> None:
    database = lab.database(*FILES)
    site = site_of(lab, tmp_path, database, blobs="external")
    site.job["retention"] = {"last": 1}
    first = site.run("backup", "shop")
    assert first["metrics"]["blobs_stored"] == 5
    killed_at(site, "part-stored:3", "backup", "shop")
    second = site.run("backup", "shop")
    assert (second["metrics"]["blobs_stored"], second["blobs"]) == (0, 5)
    assert second["stored_bytes"] < 100_000
    site.run("prune", "shop")
    assert [each["backup"] for each in site.backups()] == [second["backup"]]
    site.run("verify", second["backup"])
    comes_back(lab, site, database, second["backup"])
    blob = next(path for path in site.files() if path.parent.parent.name == "blobs")
    blob.write_bytes(blob.read_bytes()[:-9] + b"012345678")
    bad = site.run("verify", second["backup"], code=31)["bad"]
    assert [each["part"] for each in bad] == [blob.relative_to(site.repository).as_posix()]
    third = site.run("backup", "shop")
    assert (third["metrics"]["blobs_stored"], third["metrics"]["recoveries"]) == (1, 1)
    site.run("verify", third["backup"])


@pytest.mark.parametrize("name", ["blob-stored:2", "prune-manifest-dropped"])
def test_killed_among_shared_values_nothing_good_is_lost(
    lab: Laboratory, tmp_path: Path, name: str
) -> None:
    database = lab.database(*FILES)
    site = site_of(lab, tmp_path, database, blobs="external")
    site.job["retention"] = {"last": 1}
    if name == "blob-stored:2":
        killed_at(site, name, "backup", "shop")
    else:
        site.run("backup", "shop")
        site.run("backup", "shop")
        killed_at(site, name, "prune", "shop")
    made = site.run("backup", "shop")
    site.run("prune", "shop")
    site.run("verify", made["backup"])
    comes_back(lab, site, database, made["backup"])


@pytest.mark.parametrize("name", ["restore-begun", "restore-part-loaded:3"])
def test_a_restore_that_is_killed_leaves_a_database_that_says_what_it_is(
    lab: Laboratory, tmp_path: Path, name: str
) -> None:
    database, restored = lab.database(*TABLES), lab.name()
    site = site_of(lab, tmp_path, database)
    made = site.run("backup", "shop")
    before = lab.databases()
    killed_at(site, name, "restore", made["backup"], "--to", lab.url(restored))
    assert restored not in lab.databases()
    for left in lab.databases() - before:
        assert left.startswith(f"{restored}_incomplete_")
        lab.will_have_database(left)
    site.run("restore", made["backup"], "--to", lab.url(restored))
    assert checksums(lab.conninfo(restored)) == checksums(lab.conninfo(database))


def test_limits_are_said_and_kept(lab: Laboratory, tmp_path: Path) -> None:
    site = site_of(lab, tmp_path, lab.database(*TABLES))
    site.job.update(
        compression={"codec": "gzip", "level": 9},
        memory_limit_mb=100,
        max_concurrent_processes=8,
        max_rate="1MB",
    )
    planned = site.run("plan", "shop")
    assert (planned["workers"], planned["budget"]["decided_by"]) == (2, "memory")
    assert "compression level 9 was lowered to 6: see level_cap" in planned["notes"]
    made = site.run("backup", "shop")
    # 1.9 MB of rows at 1 MB/s, less what may pass at once.
    assert made["metrics"]["seconds"] > 1.2
    assert made["notes"] == ["compression level 9 was lowered to 6: see level_cap"]
    site.job["memory_limit_mb"] = 50
    assert "needs" in site.run("backup", "shop", code=34)["error"]


def test_what_a_restore_would_do_is_listed_by_schema(lab: Laboratory, tmp_path: Path) -> None:
    database = lab.database(
        "CREATE SCHEMA sales; CREATE TABLE sales.a AS SELECT 1 AS x;CREATE TABLE b AS SELECT 2 AS x"
    )
    site, restored = site_of(lab, tmp_path, database), lab.name()
    made = site.run("backup", "shop")
    steps = site.run("restore", made["backup"], "--list", "--schema", "sales")["steps"]
    rows = [each["what"] for each in steps if each["kind"] == "data"]
    assert rows == ["sales.a"]
    assert [each["kind"] for each in steps] == sorted(
        (each["kind"] for each in steps),
        key=["pre-data", "data", "sequences", "post-data", "grants"].index,
    )
    to = lab.url(restored)
    site.run("restore", made["backup"], "--schema", "sales", "--to", to)
    assert lab.ask(restored, "SELECT x FROM sales.a") == [(1,)]
    assert lab.ask(restored, "SELECT count(*) FROM b") == [(0,)]
    refused = site.run("restore", made["backup"], "--schema", "zzz", "--to", to, code=12)
    assert "schema 'zzz'" in refused["error"]


def test_a_monitor_reads_how_the_last_run_went(lab: Laboratory, tmp_path: Path) -> None:
    site = site_of(lab, tmp_path, lab.database(*TABLES))
    folder = tmp_path / "metrics"
    folder.mkdir()
    site.settings["metrics_directory"] = str(folder)
    made = site.run("backup", "shop")
    written = "".join(path.read_text() for path in folder.iterdir())
    assert 'holdfast_run_exit_code{job="shop"} 0.0' in written
    (stored,) = re.findall(r"^holdfast_backup_stored_bytes{.*} (\S+)$", written, re.MULTILINE)
    assert float(stored) == made["stored_bytes"]
    assert 'table="public.big"' in written


def test_a_second_start_of_a_resume_is_skipped_while_the_first_runs(
    lab: Laboratory, tmp_path: Path
) -> None:
    site = site_of(lab, tmp_path, lab.database(*TABLES))
    killed_at(site, "part-stored", "backup", "shop")
    site.job["max_rate"] = "10kB"
    first = subprocess.Popen(
        site.argv("backup", "shop", "--resume", "--allow-mixed"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: site.run("status", "shop")["jobs"][0]["owner"] is not None)
        site.run("backup", "shop", "--resume", code=40)
    finally:
        first.terminate()
        assert first.wait(60) == 130
