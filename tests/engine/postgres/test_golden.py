"""Backups of PostgreSQL that earlier releases made are restored unchanged."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.engine.postgres.equality import checksums, dump, program
from tests.engine.postgres.test_emergency_page import DATABASE, PREPARE
from tests.support.clusters import BINARIES, Cluster, folder_for_cluster
from tests.support.emergency_page import follow
from tests.support.golden import GoldenInstallation
from tests.support.postgres_server import PostgresServer

ROLES = ("shop_app", "corpus_role")
NOT_BY_AN_OLDER_SERVER = 23
FIRST, LAST_OF_SCHEMA_1 = "0.1.0/postgres-17.tar", "schema-1/postgres-17.tar"


@pytest.fixture(params=[FIRST, LAST_OF_SCHEMA_1])
def golden(
    server: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest
) -> GoldenInstallation:
    installation = GoldenInstallation(tmp_path, request.param, dump=FIRST)
    installation.seal()
    for name in ("native", "wire", "tools", "cluster", "files", "stream"):
        installation.job_of(name, "postgres")
    installation.job_of("closed", "postgres", repository="sealed")
    for role in ROLES:
        if not server.ask("postgres", f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"):
            server.run("postgres", f"CREATE ROLE {role}")
        server.will_have_role(role)
    return installation


def as_it_was(server: PostgresServer, golden: GoldenInstallation) -> str:
    """The same database, loaded by psql from the dump of that time."""
    database = server.database()
    conninfo = server.conninfo(database)
    subprocess.run(
        [program("psql", conninfo), "-qX", "-d", conninfo],
        input=golden.dump,
        check=True,
        capture_output=True,
    )
    return database


@pytest.mark.parametrize("job", ["native", "wire", "tools", "closed"])
def test_the_page_for_an_emergency_brings_back_what_an_earlier_release_made(
    server: PostgresServer, golden: GoldenInstallation, job: str
) -> None:
    if server.ask("postgres", "SHOW server_version_num") < [("170000",)]:
        pytest.skip("no older server takes what one of version 17 has defined")
    restored = server.name()
    values = {
        "repository": str(golden.folder / ("sealed" if job == "closed" else "main")),
        "backup": golden.run("list", job)["backups"][0]["backup"],
        "identity": str(golden.folder / "identity"),
        "database": restored,
        "psql": "psql --host=/run/postgresql --username=postgres",
    }
    told = follow(PREPARE, DATABASE, values=values)
    assert "all files are intact" in told
    expected = as_it_was(server, golden)
    if job != "native" and golden.archive == FIRST:
        server.run(expected, "DROP TABLE after_base")
    assert sorted(dump(server.conninfo(restored))) == sorted(dump(server.conninfo(expected)))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(expected))


@pytest.mark.parametrize("job", ["native", "wire", "tools", "closed"])
def test_a_backup_of_an_earlier_release_comes_back_as_it_was(
    server: PostgresServer, golden: GoldenInstallation, job: str
) -> None:
    listed = golden.run("list", job)["backups"]
    oldest = listed[-1]["backup"]
    identity = ["--identity", str(golden.folder / "identity")] if job == "closed" else []
    assert golden.run("verify", oldest, *identity)["verified"] is True
    restored = server.name()
    argv = ["restore", listed[0]["backup"], "--to", server.url(restored), *identity]
    if server.ask("postgres", "SHOW server_version_num") < [("170000",)]:
        refused = golden.run(*argv, code=NOT_BY_AN_OLDER_SERVER)
        assert "a server of version 17 or later" in refused["hint"]
        return
    golden.run(*argv)
    expected = as_it_was(server, golden)
    if job != "native" and golden.archive == FIRST:
        # Only the newest backup of `native` shows the moment of the dump: these are older.
        server.run(expected, "DROP TABLE after_base")
    # Ranges of a table are restored in parallel, so the order of its rows may differ.
    assert sorted(dump(server.conninfo(restored))) == sorted(dump(server.conninfo(expected)))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(expected))


BASE_BACKUPS = {
    # One of a cluster's files, with the WAL that follows it.
    FIRST: {"cluster": True},
    # The same without WAL, and an incremental backup on top of a full one.
    LAST_OF_SCHEMA_1: {"files": False, "stream": True},
}


def test_a_cluster_of_an_earlier_release_recovers_to_a_point_in_its_wal(
    server: PostgresServer, golden: GoldenInstallation
) -> None:
    if BINARIES.parent.name != "17":
        pytest.skip("a cluster of PostgreSQL 17 is started by no other release")
    expected = as_it_was(server, golden)
    for job, has_wal in BASE_BACKUPS[golden.archive].items():
        assert golden.run("verify", f"{job}/latest")["verified"] is True
        to = ["--target-name", "golden", "--target-action", "promote"] if has_wal else []
        assert checksums_of_cluster(golden, job, *to) == checksums(server.conninfo(expected))


def checksums_of_cluster(
    golden: GoldenInstallation, job: str, *to: str
) -> dict[tuple[str, str], tuple[int, int]]:
    """Of the database in a server that was started on the newest backup of `job`."""
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        try:
            golden.run(
                *("restore", f"{job}/latest", "--to", f"file://{back.data}", *to),
                *("--start", "--start-options", f"-k {folder} -c archive_mode=off"),
            )
            return checksums(back.dsn.replace("dbname=postgres", "dbname=shop"))
        finally:
            if (back.data / "postmaster.pid").exists():
                back.stop("immediate")
