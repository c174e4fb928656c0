"""Drills of databases: a backup that is right passes, and every kind of wrong one is told."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
import zstandard

from holdfast.model.errors import (
    CheckRefused,
    DeadlineExceeded,
    DrillFailed,
    IdentityNeeded,
    RunInFlight,
)
from holdfast.runtime.events import Failpoint
from holdfast.runtime.processes_below import end_processes_below, processes_below
from tests.support.clusters import Cluster
from tests.support.drills import (
    bad_rows,
    changed_manifest,
    count_one_row_less,
    drill_folder,
    failed,
    killed_at,
    left_in,
)
from tests.support.encrypted_job import encrypted_installation
from tests.support.installation import Installation
from tests.support.pgbench_cluster import PgbenchCluster
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import WAIT_SECONDS

SHOP = """
CREATE TABLE orders (id bigint PRIMARY KEY, at timestamptz NOT NULL, note text);
INSERT INTO orders SELECT n, now() - n * interval '1 minute', md5(n::text)
FROM generate_series(1, 5000) n;
CREATE INDEX ON orders (note);
CREATE TABLE items (id int PRIMARY KEY, of bigint REFERENCES orders);
INSERT INTO items SELECT n, n FROM generate_series(1, 300) n;
CREATE SEQUENCE numbers;
"""


@pytest.fixture
def shop(server: PostgresServer, tmp_path: Path) -> Iterator[Installation]:
    """A job with one backup; its drills have a folder of their own."""
    database = server.database(SHOP)
    source = {"kind": "postgres", "dsn": server.conninfo(database)}
    installation = Installation(tmp_path, source)
    with drill_folder(installation):
        installation.run("backup", "shop")
        yield installation


def rooms(shop: Installation) -> Path:
    return Path(shop.job["drill"]["folder"])


@pytest.mark.parametrize("engine", ["native", "tools"])
def test_a_good_backup_passes_and_its_restore_is_measured(shop: Installation, engine: str) -> None:
    shop.job["source"]["engine"] = engine
    shop.run("backup", "shop")
    shop.job["drill"]["checks"] = [
        {"sql": "SELECT count(*) FROM orders", "equals": 5000},
        {"sql": "SELECT max(at) FROM orders", "newer_than": "26h", "name": "fresh orders"},
        {"sql": "SELECT id FROM items"},
    ]
    document = shop.run("drill", "shop", "--check", "SELECT count(*) > 1000 FROM orders")
    (drill,) = document["drills"]
    assert (drill["outcome"], bad_rows(drill), drill["problem"]) == ("passed", [], None)
    names = {row["name"] for row in drill["rows"]}
    assert {"fingerprints", "check: fresh orders"} <= names
    assert any(name.startswith("amcheck of ") for name in names)
    if engine == "native":
        orders = next(row for row in drill["rows"] if row["name"] == "rows of public.orders")
        assert orders["expected"].startswith("5000 rows, checksum ")
    seconds = drill["seconds"]
    split = sum(seconds[name] for name in ("fetch", "load", "indexes", "recovery"))
    assert drill["restore_seconds"] == pytest.approx(split, abs=0.01)
    assert seconds["load"] > 0
    (newest, _) = shop.backups()
    assert drill["reached"] == newest["snapshot_at"]
    assert newest["last_drill"]["drill"] == drill["drill"]
    assert shop.run("status")["jobs"][0]["last_drill"]["backup"] == newest["backup"]
    assert drill["server"].split(".")[0] == newest["server"]["version"].split(".")[0]


def test_a_monitor_reads_how_drills_ended_and_what_the_last_good_one_measured(
    shop: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    shop.settings["metrics_directory"] = str(folder)
    (good,) = shop.run("drill", "shop")["drills"]
    shop.job["drill"]["checks"] = [{"sql": "SELECT count(*) FROM orders", "equals": 4999}]
    bad = failed(shop)
    lines = [line for path in folder.iterdir() for line in path.read_text().splitlines()]
    found = {
        line.partition("{")[0].removeprefix("holdfast_drill_"): float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("holdfast_drill_")
        and f'{{backup_job="shop",database="{good["database"]}"}}' in line
    }
    assert (found["ok"], found["exit_code"]) == (0, DrillFailed.exit_code)
    assert found["restore_seconds"] == good["restore_seconds"] > 0
    assert found["plain_bytes"] == good["plain_bytes"] > 0
    times = {
        "finished": bad["ended"],
        "passed": good["ended"],
        "reached": good["reached"],
    }
    for name, told in times.items():
        moment = datetime.fromisoformat(told).timestamp()
        assert found[f"{name}_timestamp_seconds"] == pytest.approx(moment, abs=1)


def test_a_flipped_bit_in_a_part_fails_the_drill(shop: Installation) -> None:
    path = next(each for each in shop.files() if "data" in str(each))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    drill = failed(shop)
    assert bad_rows(drill) == ["fingerprints"]
    assert "cannot trust part" in drill["problem"]


def test_rows_that_the_manifest_counts_otherwise_fail_the_drill(shop: Installation) -> None:
    count_one_row_less(shop, "items")
    drill = failed(shop)
    assert bad_rows(drill) == ["restore"]
    assert "public.items" in drill["problem"]


def test_a_stale_column_and_a_wrong_answer_fail_the_drill_by_name(shop: Installation) -> None:
    shop.job["drill"]["checks"] = [
        {"sql": "SELECT min(at) FROM orders", "newer_than": "5m", "name": "fresh orders"},
        {"sql": "SELECT count(*) FROM items", "equals": 299, "name": "items"},
        {"sql": "SELECT count(*) FROM items", "equals": 300, "name": "all items"},
        {"sql": "SELECT 1 FROM items WHERE id = 0", "name": "item 0"},
        {"sql": "SELECT 1 FROM nowhere", "name": "nowhere"},
    ]
    drill = failed(shop)
    names = ["check: fresh orders", "check: items", "check: item 0", "check: nowhere"]
    assert bad_rows(drill) == names


@pytest.mark.parametrize(
    "statement",
    [
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone",
        "SELECT 1; SELECT 2",
        "SELECT nextval('numbers')",
        "SELECT pg_sleep(600)",
    ],
)
def test_a_check_changes_nothing_and_does_not_last(shop: Installation, statement: str) -> None:
    if "pg_sleep" in statement:
        shop.job["drill"]["budget"] = "20s"
        shop.run("drill", "shop", "--check", statement, code=DeadlineExceeded.exit_code)
        return
    drill = failed(shop, "--check", statement, "--check", "SELECT count(*) = 5000 FROM orders")
    assert bad_rows(drill) == [f"check: {statement}"]


def test_a_check_that_is_no_select_is_refused_before_anything_is_done(shop: Installation) -> None:
    error = shop.run("drill", "shop", "--check", "DROP TABLE orders", code=CheckRefused.exit_code)
    assert "it is no SELECT" in error["error"]
    assert shop.run("drills", "shop")["drills"] == []


def test_a_missing_extension_is_named_before_the_load(shop: Installation) -> None:
    """The definitions are those of a host that had it."""
    with_first_statement(shop, "CREATE EXTENSION IF NOT EXISTS made_up;\n")
    drill = failed(shop)
    (finding,) = [each for each in drill["findings"] if each["blocks"]]
    assert finding["subject"] == "extension 'made_up'"
    assert "apt install postgresql-" in finding["hint"]
    assert (drill["seconds"]["prepare"], drill["seconds"]["load"]) == (0, 0)
    assert drill["problem"].startswith("extension 'made_up': ")


def with_first_statement(shop: Installation, statement: str) -> None:
    """Put a statement in front of the backup's definitions."""
    (manifest,) = shop.manifests()
    (part,) = [each for each in manifest["parts"] if each["kind"] == "pre-data"]
    path = shop.repository / part["key"]
    plain = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    stored = zstandard.ZstdCompressor().compress(statement.encode() + plain)
    path.chmod(0o600)
    path.write_bytes(stored)

    def change(each: dict[str, Any]) -> None:
        if each["name"] == part["name"]:
            each["plain_bytes"] += len(statement)
            each["stored_bytes"] = len(stored)
            each["stored_fingerprint"] = f"sha256:{hashlib.sha256(stored).hexdigest()}"

    changed_manifest(shop, change)


def test_a_second_drill_is_skipped_while_a_backup_goes_on_beside_it(shop: Installation) -> None:
    environment = os.environ | {"HOLDFAST_FAILPOINT": "drill-restored:1:stop"}
    with subprocess.Popen(
        shop.argv("drill", "shop", "--json"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        try:
            _, status = os.waitpid(first.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            error = shop.run("drill", "shop", code=RunInFlight.exit_code)
            assert "cannot drill job 'shop'" in error["error"]
            shop.run("backup", "shop")
        finally:
            first.send_signal(signal.SIGCONT)
        assert first.wait(WAIT_SECONDS) == 0
    assert len(shop.backups()) == 2


def test_a_drill_ends_at_its_budget_and_leaves_nothing(shop: Installation) -> None:
    shop.job["drill"]["budget"] = "1s"
    shop.run("drill", "shop", code=DeadlineExceeded.exit_code)
    (drill,) = shop.run("drills", "shop")["drills"]
    assert "longer than its budget of 1s" in drill["problem"]


DRILL_FAILPOINTS = [name for name in get_args(Failpoint) if name.startswith("drill-")]


@pytest.mark.parametrize("failpoint", DRILL_FAILPOINTS)
def test_a_killed_drill_leaves_nothing_after_the_next_one(
    shop: Installation, failpoint: str
) -> None:
    killed_at(shop, failpoint)
    document = shop.run("drill", "shop")
    assert document["drills"][0]["outcome"] == "passed"
    assert left_in(rooms(shop)) == []


def test_a_drill_host_needs_the_repository_alone(shop: Installation) -> None:
    """Neither the job nor its server is known there."""
    shop.settings["jobs"]["other"] = shop.settings["jobs"].pop("shop")
    shop.settings["jobs"]["other"]["source"]["dsn"] = "host=/nowhere dbname=none"
    (drill,) = shop.run("drill", "shop")["drills"]
    assert (drill["outcome"], drill["job"]) == ("passed", "shop")
    assert [each["drill"] for each in shop.run("drills", "shop")["drills"]] == [drill["drill"]]
    assert list((shop.folder / "state/drills/shop").iterdir()) == []
    shop.settings["jobs"]["shop"] = shop.settings["jobs"].pop("other")


def test_a_sealed_backup_needs_its_identity_and_its_record_is_signed(
    server: PostgresServer, tmp_path: Path
) -> None:
    source = {"kind": "postgres", "dsn": server.conninfo(server.database(SHOP))}
    installation = encrypted_installation(tmp_path, source)
    with drill_folder(installation):
        installation.run("backup", "shop")
        installation.run("drill", "shop", code=IdentityNeeded.exit_code)
        (drill,) = installation.run("drill", "shop", "--identity", str(tmp_path / "identity"))[
            "drills"
        ]
        assert drill["outcome"] == "passed"
        records = list(installation.repository.glob("shop.drills/*/record.json"))
        assert len(records) == 2
        assert all('"signature": "ed25519:' in path.read_text() for path in records)


def test_a_kept_server_runs_until_its_operator_ends_it(shop: Installation) -> None:
    (drill,) = shop.run("drill", "shop", "--keep")["drills"]
    (room,) = rooms(shop).glob("shop/*")
    command = shlex.split(drill["kept"].partition(" (in ")[0])
    try:
        said = subprocess.run(
            [*command, "-XAtc", "SELECT count(*) FROM orders"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout == "5000\n"
        shop.run("drill", "shop")
        assert processes_below(room)
    finally:
        end_processes_below(room)
        shutil.rmtree(room)


def test_a_drill_beside_a_busy_server_changes_nothing_there(
    pgbench: PgbenchCluster, tmp_path: Path
) -> None:
    """The server archives, has a tablespace and a publication, and the drill runs as its user."""
    server, archive = pgbench.server, tmp_path / "archive"
    archive.mkdir()
    server.configure(
        f"archive_mode = on\narchive_command = 'cp %p {archive}/%f'\nautovacuum = off\n"
        "log_connections = on"
    )
    server.stop()
    server.start()
    server.ask("CREATE PUBLICATION all_of_it FOR ALL TABLES")
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        for statement in reaching(server.folder):
            connection.execute(statement.encode())
    installation = Installation(tmp_path, {"kind": "postgres", "dsn": server.dsn})
    with drill_folder(installation):
        with pgbench.under_load():
            installation.run("backup", "shop")
            settings, told = settings_of(server), server.log.stat().st_size
            (drill,) = installation.run("drill", "shop")["drills"]
            assert drill["outcome"] == "passed", drill["problem"]
            reach = ("--check", "SELECT id FROM by_socket", "--check", "SELECT id FROM by_port")
            asked = failed(installation, *reach)
            assert bad_rows(asked) == [f"check: {sql}" for sql in reach[1::2]]
            assert all("could not connect" in row["detail"] for row in asked["rows"][-2:])
            assert "connection received" not in server.log.read_text()[told:]
            assert settings_of(server) == settings
        # A running server writes whenever it likes: only one that is stopped can be compared whole.
        server.stop()
        before = files_of(server.data, pgbench.space, archive)
        installation.run("drill", "shop")
        assert files_of(server.data, pgbench.space, archive) == before


def reaching(folder: Path) -> list[str]:
    """Statements that make foreign tables on the server itself, by its socket and by its port."""
    places = {"by_socket": f"host '{folder}'", "by_port": "host '127.0.0.1'"}
    made = ["CREATE EXTENSION postgres_fdw"]
    for name, place in places.items():
        options = f"OPTIONS ({place}, port '5432', dbname 'postgres')"
        made += [
            f"CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw {options}",
            f"CREATE USER MAPPING FOR postgres SERVER {name}",
            f"CREATE FOREIGN TABLE {name} (id int) SERVER {name} OPTIONS (table_name 'goods')",
        ]
    return made


def settings_of(server: Cluster) -> list[tuple[object, ...]]:
    return server.ask("SELECT name, setting, source FROM pg_settings ORDER BY name")


def files_of(*folders: Path) -> dict[str, tuple[int, int]]:
    """The size and the time of change of each file."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if not path.is_dir()
    }
