"""Following docs/restore-emergency.md word by word restores the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.postgres.equality import checksums, dump
from tests.support.archive import Archive, points
from tests.support.clusters import BINARIES, Cluster, cluster, folder_for_cluster, run
from tests.support.emergency_page import follow, stored
from tests.support.encrypted_job import encrypted_installation
from tests.support.installation import Installation
from tests.support.postgres_server import PostgresServer

PREPARE = "7. Prepare"
DATABASE = "8. A PostgreSQL database"
CLUSTER = "9. A PostgreSQL server"
# A long value and a long large object: both are stored beside the backup.
LONG = "(SELECT string_agg(sha512((k::text)::bytea), '') FROM generate_series(1, 20000) k)"


@pytest.mark.parametrize(
    ("make", "fingerprint"),
    [(Installation, "blake3"), (Installation, "sha256"), (encrypted_installation, "blake3")],
)
def test_a_database_comes_back_without_holdfast(
    server: PostgresServer,
    corpus: Callable[[], str],
    tmp_path: Path,
    make: Callable[..., Installation],
    fingerprint: str,
) -> None:
    database, restored = corpus(), server.name()
    server.run(database, f"CREATE TABLE kept_aside AS SELECT 1 AS id, {LONG} AS data")
    server.run(database, f"SELECT lo_from_bytea(4711, {LONG})")
    source = {"kind": "postgres", "dsn": server.conninfo(database), "blobs": "external"}
    installation = make(tmp_path, source)
    installation.job["fingerprint"] = fingerprint
    installation.run("backup", "shop")
    client = "psql --host=/run/postgresql --username=postgres"
    told = follow(
        PREPARE, DATABASE, values=stored(installation) | {"database": restored, "psql": client}
    )
    assert "all files are intact" in told
    assert f"restored into {restored}" in told
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


def test_a_damaged_file_is_found_before_anything_is_restored(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database("CREATE TABLE t AS SELECT generate_series(1, 100) AS id")
    installation = Installation(tmp_path, {"kind": "postgres", "dsn": server.conninfo(database)})
    installation.run("backup", "shop")
    damaged = next(path for path in installation.files() if "/data/" in str(path))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(AssertionError, match=f"{damaged.name}: FAILED"):
        follow(PREPARE, values=stored(installation))


def test_a_cluster_comes_back_to_a_time_without_holdfast(tmp_path: Path) -> None:
    with cluster() as server:
        archive = Archive(server, tmp_path)
        archive.begin()
        space = server.folder / "space"
        space.mkdir()
        run("psql", "-qc", f"CREATE TABLESPACE space LOCATION '{space}'", server.dsn)
        server.ask("CREATE TABLE far TABLESPACE space AS SELECT generate_series(1, 200000) AS id")
        archive.installation.run("backup", "shop")
        archive.mark(1)
        time = archive.time()
        archive.mark(2)
        archive.switch()
        with recovered(archive.installation, time) as (back, told):
            assert "backup successfully verified" in told
            assert "pausing at the end of recovery" in told
            assert points(back) == [1]
            assert back.ask("SELECT count(*) FROM far") == [(200000,)]
            ((place,),) = back.ask(
                "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'"
            )
            assert str(place).startswith(str(back.folder))
            assert back.ask("SHOW archive_mode") == [("off",)]
            back.ask("INSERT INTO points VALUES (9)")


@contextmanager
def recovered(installation: Installation, time: str) -> Iterator[tuple[Cluster, str]]:
    """The cluster that step 9 opened, and the output until then."""
    with folder_for_cluster() as folder:
        back = OnPagesPort(folder)
        try:
            told = follow(
                PREPARE,
                CLUSTER,
                values=stored(installation)
                | {
                    "data": str(back.data),
                    "as_postgres": "",
                    "programs": str(BINARIES),
                    "target_time": time,
                },
            )
            yield back, told
        finally:
            if (back.data / "postmaster.pid").exists():
                back.stop("immediate")


class OnPagesPort(Cluster):
    """Where the page has its server listen."""

    @property
    def dsn(self) -> str:
        return "host=/run/postgresql port=5433 user=postgres dbname=postgres"
