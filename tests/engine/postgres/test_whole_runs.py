"""Whole runs of the program: several databases, kills at every step, and resumed runs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest

from holdfast.runtime.events import FAILPOINT_VARIABLE, Failpoint
from tests.engine.postgres.equality import checksums
from tests.engine.postgres.test_shapes import FILES
from tests.support.installation import Installation
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import until

KILLED = -9
# Failpoints of other commands, and of engines that other tests kill.
OF_OTHERS = (
    *("restore", "prune", "blob", "copy", "wal", "drill", "parts-read"),
    *("backup-beginning", "backup-begun", "cluster-asked", "files-listed"),
)
OF_BACKUP = [name for name in get_args(Failpoint) if not name.startswith(OF_OTHERS)]
TABLES = (
    "CREATE TABLE big (id int PRIMARY KEY, noise text)",
    "INSERT INTO big SELECT n, md5(n::text) FROM generate_series(1, 50000) n",
    "CREATE TABLE other AS SELECT n FROM generate_series(1, 10) n",
)


def installation_of(
    server: PostgresServer, folder: Path, database: str, **source: Any
) -> Installation:
    dsn = server.conninfo(database)
    return Installation(folder, {"kind": "postgres", "dsn": dsn, "chunk_size": "1MiB", **source})


def killed_at(installation: Installation, name: str, *arguments: str) -> None:
    installation.run(*arguments, code=KILLED, environment={FAILPOINT_VARIABLE: name})


def comes_back(
    server: PostgresServer, installation: Installation, database: str, backup: str
) -> None:
    restored = server.name()
    installation.run("restore", backup, "--to", server.url(restored))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


@pytest.mark.parametrize("name", OF_BACKUP)
def test_killed_at_any_step_the_next_run_makes_a_good_backup_and_leaves_nothing_else(
    server: PostgresServer, tmp_path: Path, name: str
) -> None:
    database = server.database(*TABLES)
    installation = installation_of(server, tmp_path, database)
    killed_at(installation, name, "backup", "shop")
    listed = installation.backups()
    assert len(listed) == (1 if name == "manifest-stored" else 0)
    for each in listed:
        installation.run("verify", each["backup"])
    until(lambda: server.sessions("holdfast") == 0)
    made = installation.run("backup", "shop")
    installation.run("verify", made["backup"])
    comes_back(server, installation, database, made["backup"])
    known = {each["backup"].split("/")[1] for each in installation.backups()}
    assert {
        path.relative_to(installation.repository).parts[1] for path in installation.files()
    } == known


@pytest.mark.parametrize("name", ["part-stored:1", "part-stored:2", "parts-stored"])
def test_a_killed_run_is_resumed_mixed_or_not_at_all(
    server: PostgresServer, tmp_path: Path, name: str
) -> None:
    database = server.database(*TABLES)
    installation = installation_of(server, tmp_path, database)
    killed_at(installation, name, "backup", "shop")
    # A server process in a COPY holds the snapshot until it notices the loss of its client.
    until(lambda: server.sessions("holdfast") == 0)
    refused = installation.run("backup", "shop", "--resume", code=24)
    assert "cannot resume backup 'shop/" in refused["error"]
    assert "--allow-mixed" in refused["hint"]
    made = installation.run("backup", "shop", "--resume", "--allow-mixed")
    shown = installation.run("show", made["backup"])["manifest"]
    resumed = int(shown["proof"].get("resumed_parts", "0"))
    assert shown["consistency"] == ("mixed" if resumed else "snapshot")
    assert resumed == shown["proof"].get("mixed", "").count(".copy") + shown["proof"].get(
        "mixed", ""
    ).count("pack-")
    installation.run("verify", made["backup"])
    comes_back(server, installation, database, made["backup"])


def test_with_the_snapshot_still_held_a_killed_run_is_resumed_in_it(
    server: PostgresServer, tmp_path: Path
) -> None:
    """Another session imports the snapshot in time, as a daemon would, and so keeps it alive."""
    database = server.database(*TABLES)
    before = checksums(server.conninfo(database))
    installation = installation_of(server, tmp_path, database)
    with psycopg.connect(server.conninfo(database)) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = holder.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        killed_at(installation, "part-stored:4", "backup", "shop")
        (journal,) = (tmp_path / "state/unfinished").rglob("*.jsonl")
        head, *parts = journal.read_text().splitlines()
        unfinished = json.loads(head) | {"snapshot": row[0]}
        journal.write_text("\n".join([json.dumps(unfinished), *parts]) + "\n")
        server.run(database, "DELETE FROM big WHERE id % 2 = 0; INSERT INTO other VALUES (99)")
        made = installation.run("backup", "shop", "--resume")
    assert made["consistency"] == "snapshot"
    shown = installation.run("show", made["backup"])["manifest"]
    assert int(shown["proof"]["resumed_parts"]) > 0
    restored = server.name()
    installation.run("restore", made["backup"], "--to", server.url(restored))
    assert checksums(server.conninfo(restored)) == before


def test_a_failed_run_names_its_table_and_is_listed_as_failed(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(*TABLES)
    installation = installation_of(server, tmp_path, database)
    damage(server, database, "big")
    document = installation.run("backup", "shop", code=30)
    assert "table 'public.big'" in document["error"]
    assert installation.backups() == []
    (failed,) = installation.run("list", "shop")["failed"]
    assert (failed["table"], failed["exit_code"]) == ("public.big", 30)
    assert failed["part"].startswith("data/00001-public-big")
    assert [path.name for path in installation.files()] == ["failed.json"]
    (status,) = installation.run("status", "shop", code=44)["jobs"]
    assert status["failures"] == 1


def damage(server: PostgresServer, database: str, table: str) -> None:
    """One row with a value that its type no longer has, as with a damaged catalog."""
    server.run(database, "CREATE TYPE mood AS ENUM ('good', 'lost')")
    server.run(database, f"ALTER TABLE {table} ADD m mood")
    server.run(database, f"UPDATE {table} SET m = 'lost' WHERE id = 40000")
    server.run(database, "DELETE FROM pg_enum WHERE enumlabel = 'lost'")


def test_all_databases_of_a_server_and_one_that_fails(
    server: PostgresServer, tmp_path: Path
) -> None:
    first, second = server.database(*TABLES), server.database("CREATE TABLE a AS SELECT 7 AS x")
    shut = server.database()
    server.run("postgres", f'ALTER DATABASE "{shut}" CONNECTION LIMIT 0')
    role = server.role(password="x", options="IN ROLE pg_read_all_data")
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o600)
    installation = installation_of(
        server,
        tmp_path,
        "postgres",
        databases=["Shop's *"],
        dsn=server.over_tcp("postgres", user=role),
        password_file=str(secret),
    )
    document = installation.run("backup", "shop", code=20)
    assert {each["server"]["database"] for each in document["backups"]} == {first, second}
    assert [each["database"] for each in document["failed"]] == [shut]
    assert {each["run_id"] for each in document["backups"]} == {document["run_id"]}
    assert [each["database"] for each in installation.run("list")["failed"]] == [shut]
    ambiguous = installation.run("verify", "shop/latest", code=12)
    assert "--database" in ambiguous["hint"]
    installation.run("verify", "shop/latest", "--database", second)
    restored = server.name()
    to = server.url(restored)
    installation.run("restore", "shop/latest", "--database", second, "--to", to)
    assert server.ask(restored, "SELECT x FROM a") == [(7,)]


def test_values_kept_once_outlive_the_backups_that_share_them(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(*FILES)
    installation = installation_of(server, tmp_path, database, blobs="external")
    installation.job["retention"] = {"last": 1}
    first = installation.run("backup", "shop")
    assert first["metrics"]["blobs_stored"] == 5
    killed_at(installation, "part-stored:3", "backup", "shop")
    second = installation.run("backup", "shop")
    assert (second["metrics"]["blobs_stored"], second["blobs"]) == (0, 5)
    assert second["stored_bytes"] < 100_000
    installation.run("prune", "shop")
    assert [each["backup"] for each in installation.backups()] == [second["backup"]]
    installation.run("verify", second["backup"])
    comes_back(server, installation, database, second["backup"])
    blob = next(path for path in installation.files() if path.parent.parent.name == "blobs")
    blob.write_bytes(blob.read_bytes()[:-9] + b"012345678")
    bad = installation.run("verify", second["backup"], code=31)["bad"]
    assert [each["part"] for each in bad] == [blob.relative_to(installation.repository).as_posix()]
    third = installation.run("backup", "shop")
    assert (third["metrics"]["blobs_stored"], third["metrics"]["recoveries"]) == (1, 1)
    installation.run("verify", third["backup"])


@pytest.mark.parametrize("name", ["blob-stored:2", "prune-manifest-dropped"])
def test_killed_among_shared_values_nothing_good_is_lost(
    server: PostgresServer, tmp_path: Path, name: str
) -> None:
    database = server.database(*FILES)
    installation = installation_of(server, tmp_path, database, blobs="external")
    installation.job["retention"] = {"last": 1}
    if name == "blob-stored:2":
        killed_at(installation, name, "backup", "shop")
    else:
        installation.run("backup", "shop")
        installation.run("backup", "shop")
        killed_at(installation, name, "prune", "shop")
    made = installation.run("backup", "shop")
    installation.run("prune", "shop")
    installation.run("verify", made["backup"])
    comes_back(server, installation, database, made["backup"])


@pytest.mark.parametrize("name", ["restore-begun", "restore-part-loaded:3"])
def test_a_killed_restore_leaves_a_database_that_is_marked_as_unfinished(
    server: PostgresServer, tmp_path: Path, name: str
) -> None:
    database, restored = server.database(*TABLES), server.name()
    installation = installation_of(server, tmp_path, database)
    made = installation.run("backup", "shop")
    before = server.databases()
    killed_at(installation, name, "restore", made["backup"], "--to", server.url(restored))
    assert restored not in server.databases()
    for left in server.databases() - before:
        assert left.startswith(f"{restored}_incomplete_")
        server.will_have_database(left)
    installation.run("restore", made["backup"], "--to", server.url(restored))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


def test_limits_are_said_and_kept(server: PostgresServer, tmp_path: Path) -> None:
    installation = installation_of(server, tmp_path, server.database(*TABLES))
    installation.job.update(
        compression={"codec": "gzip", "level": 9},
        memory_limit_mb=100,
        max_concurrent_processes=8,
        max_rate="1MB",
    )
    planned = installation.run("plan", "shop")
    assert (planned["workers"], planned["budget"]["decided_by"]) == (2, "memory")
    assert "compression level 9 was lowered to 6: see level_cap" in planned["notes"]
    made = installation.run("backup", "shop")
    # 1.9 MB of rows at 1 MB/s, less what may pass at once.
    assert made["metrics"]["seconds"] > 1.2
    assert made["notes"] == ["compression level 9 was lowered to 6: see level_cap"]
    installation.job["memory_limit_mb"] = 50
    assert "needs" in installation.run("backup", "shop", code=34)["error"]


def test_what_a_restore_would_do_is_listed_by_schema(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(
        "CREATE SCHEMA sales; CREATE TABLE sales.a AS SELECT 1 AS x;CREATE TABLE b AS SELECT 2 AS x"
    )
    installation, restored = installation_of(server, tmp_path, database), server.name()
    made = installation.run("backup", "shop")
    steps = installation.run("restore", made["backup"], "--list", "--schema", "sales")["steps"]
    rows = [each["what"] for each in steps if each["kind"] == "data"]
    assert rows == ["sales.a"]
    assert [each["kind"] for each in steps] == sorted(
        (each["kind"] for each in steps),
        key=["pre-data", "data", "sequences", "post-data", "grants"].index,
    )
    to = server.url(restored)
    installation.run("restore", made["backup"], "--schema", "sales", "--to", to)
    assert server.ask(restored, "SELECT x FROM sales.a") == [(1,)]
    assert server.ask(restored, "SELECT count(*) FROM b") == [(0,)]
    refused = installation.run("restore", made["backup"], "--schema", "zzz", "--to", to, code=12)
    assert "schema 'zzz'" in refused["error"]


def test_a_monitor_reads_how_the_last_run_went(server: PostgresServer, tmp_path: Path) -> None:
    installation = installation_of(server, tmp_path, server.database(*TABLES))
    folder = tmp_path / "metrics"
    folder.mkdir()
    installation.settings["metrics_directory"] = str(folder)
    made = installation.run("backup", "shop")
    written = "".join(path.read_text() for path in folder.iterdir())
    assert 'holdfast_run_exit_code{backup_job="shop"} 0.0' in written
    (stored,) = re.findall(r"^holdfast_backup_stored_bytes{.*} (\S+)$", written, re.MULTILINE)
    assert float(stored) == made["stored_bytes"]
    assert 'table="public.big"' in written


def test_a_second_start_of_a_resume_is_skipped_while_the_first_runs(
    server: PostgresServer, tmp_path: Path
) -> None:
    installation = installation_of(server, tmp_path, server.database(*TABLES))
    killed_at(installation, "part-stored", "backup", "shop")
    installation.job["max_rate"] = "10kB"
    first = subprocess.Popen(
        installation.argv("backup", "shop", "--resume", "--allow-mixed"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: installation.run("status", "shop")["jobs"][0]["owner"] is not None)
        installation.run("backup", "shop", "--resume", code=40)
    finally:
        first.terminate()
        assert first.wait(60) == 130
