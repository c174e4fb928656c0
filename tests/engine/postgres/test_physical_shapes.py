"""Clusters of every shape: all that the catalogue names comes back, or the backup says why not."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.engine.postgres.sessiond import Daemon
from tests.engine.postgres.test_physical_resumed import killed_at
from tests.support.clusters import SETTINGS, Cluster, cluster, folder_for_cluster, run, started
from tests.support.installation import Installation
from tests.support.pgbench_cluster import PgbenchCluster, prove, restored

MIB = 1 << 20


@contextmanager
def stopped(server: Cluster) -> Iterator[Path]:
    """Its data directory while the server is stopped."""
    server.stop()
    yield server.data
    server.start()


def moved(path: Path, to: Path) -> None:
    """Elsewhere, with a link in its place."""
    shutil.move(path, to)
    path.symlink_to(to)


def oid_of(server: Cluster, database: str) -> str:
    ((oid,),) = server.ask(f"SELECT oid FROM pg_database WHERE datname = '{database}'")
    return str(oid)


def notes(installation: Installation) -> list[str]:
    found: list[str] = installation.run("show", "shop/latest")["manifest"]["notes"]
    return found


def refused(installation: Installation) -> str:
    """The reason of a failed backup, which must leave nothing behind."""
    told = installation.run("backup", "shop", code=30)
    assert {path.name for path in installation.files()} == {"failed.json"}
    assert installation.run("list", "shop")["backups"] == []
    return str(told["error"])


def test_links_that_the_server_follows_come_back_as_what_they_lead_to(
    pgbench: PgbenchCluster,
) -> None:
    server, elsewhere = pgbench.server, pgbench.server.folder / "elsewhere"
    elsewhere.mkdir()
    server.ask("CREATE DATABASE linked")
    server.ask("CREATE TABLE there AS SELECT generate_series(1, 100) AS id", dbname="linked")
    oid = oid_of(server, "linked")
    ((table,),) = server.ask("SELECT pg_relation_filepath('goods')")
    with stopped(server) as data:
        moved(data / "base" / oid, elsewhere / "database")
        moved(data / "postgresql.conf", elsewhere / "main.conf")
        moved(data / "pg_wal", elsewhere / "wal")
        moved(data / "pg_xact", elsewhere / "xact")
        moved(data / str(table), elsewhere / "table")
    installation = pgbench.installation()
    planned = installation.run("plan", "shop")
    made = installation.run("backup", "shop")
    names = (f"base/{oid}", "pg_wal", "pg_xact", "postgresql.conf", str(table))
    for found in (planned["notes"], made["backups"][0]["notes"], notes(installation)):
        assert [name for name in names if any(f"'{name}' is a link" in each for each in found)] == [
            *names
        ]
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        told = installation.run("restore", "shop/latest", "--to", f"file://{back.data}")
        assert sum("was a link to" in each for each in told["notes"]) == len(names)
        assert not any((back.data / name).is_symlink() for name in names)
        prove(back, pgbench)
        with started(back):
            assert back.ask("SELECT count(*) FROM there", dbname="linked") == [(100,)]


def test_a_tablespace_whose_disk_is_gone_fails_the_backup(pgbench: PgbenchCluster) -> None:
    installation = pgbench.installation()
    with stopped(pgbench.server):
        pgbench.space.rename(pgbench.server.folder / "unmounted")
        pgbench.space.mkdir()
    ((oid,),) = pgbench.server.ask("SELECT oid FROM pg_tablespace WHERE spcname = 'space'")
    (checked,) = installation.run("check", "shop", code=30)["jobs"]
    assert f"tablespace {oid} in 'pg_tblspc" in str(checked["findings"])
    told = refused(installation)
    assert f"tablespace {oid} in 'pg_tblspc/{oid}/PG_" in told
    assert f"tablespace in '{pgbench.space}', which has no 'PG_" in told
    pgbench.space.rmdir()
    assert f"tablespace {oid}" in refused(installation)
    (pgbench.server.folder / "unmounted").rename(pgbench.space)
    installation.run("backup", "shop")
    with restored(installation) as back:
        prove(back, pgbench)


def test_a_database_or_a_table_that_is_not_there_fails_the_backup_by_its_name(
    pgbench: PgbenchCluster,
) -> None:
    server, away = pgbench.server, pgbench.server.folder / "away"
    installation = pgbench.installation()
    server.ask("CREATE DATABASE lost")
    server.ask("CREATE TABLE inside AS SELECT 1 AS id", dbname="lost")
    oid = oid_of(server, "lost")
    ((table,),) = server.ask("SELECT pg_relation_filepath('inside')", dbname="lost")
    ((index,),) = server.ask("SELECT pg_relation_filepath('goods_name_idx')")
    for path, what in (
        (f"base/{oid}", "database 'lost'"),
        (str(table), "'public.inside' of database 'lost'"),
        (str(index), "'public.goods_name_idx' of database 'postgres'"),
        (f"base/{oid}/pg_filenode.map", "database 'lost'"),
    ):
        with stopped(server) as data:
            (data / path).rename(away)
        assert f"{what} in '{path}'" in refused(installation)
        away.rename(server.data / path)
    later = server.data / f"{table}.2"
    with later.open("wb") as file:
        file.write(bytes(8192))
    assert f"the GiB before '{table}.2' in '{table}.1'" in refused(installation)
    later.unlink()
    with stopped(server) as data:
        (data / "base" / oid).rename(away)
        # A link is not followed to a file of another owner.
        (data / "base" / oid).symlink_to("/etc")
    assert "does not belong to the owner of the data directory" in refused(installation)


def test_what_is_left_out_is_told_and_what_is_not_the_servers_is_no_failure(
    pgbench: PgbenchCluster,
) -> None:
    installation, data = pgbench.installation(), pgbench.server.data
    os.mkfifo(data / "pipe")
    (data / "dumps").symlink_to(pgbench.folder)
    (data / "pg_tblspc/99999").symlink_to("/nowhere")
    (data / "pg_ident.conf").unlink()
    (data / "pg_ident.conf").symlink_to("/etc/hostname")
    expected = ["dumps", "pg_ident.conf", "pg_tblspc/99999", "pipe"]
    (checked,) = installation.run("check", "shop")["jobs"]
    made = installation.run("backup", "shop")
    details = [each["detail"] for each in checked["findings"]]
    for found in (details, made["backups"][0]["notes"], notes(installation)):
        told = [each.split("'")[1] for each in found if each.startswith("left out: ")]
        assert told == expected
    with restored(installation) as back:
        assert not (back.data / "pipe").exists()
        prove(back, pgbench)


ODD = (
    "CREATE TABLE far_rows TABLESPACE two AS SELECT id, 'x' AS name FROM generate_series(1, 99) id",
    "CREATE INDEX ON far_rows (name) TABLESPACE one",
    "CREATE TABLE in_place TABLESPACE inplace AS SELECT generate_series(1, 500) AS id",
    "CREATE UNLOGGED TABLE unlogged (text text) TABLESPACE two",
    "INSERT INTO unlogged SELECT repeat('y', 5000) FROM generate_series(1, 100)",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM far_rows",
    "CREATE TABLE parted (a int) PARTITION BY RANGE (a)",
    "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100)",
    "CREATE INDEX ON parted (a)",
    "CREATE EXTENSION bloom",
    "CREATE INDEX ON far_rows USING bloom (id)",
    "SELECT lo_from_bytea(0, 'hello')",
)
CLERK = (
    "CREATE ROLE clerk LOGIN REPLICATION IN ROLE pg_monitor",
    "GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean) TO clerk",
    "CREATE DATABASE private",
    "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
    "CREATE DATABASE closed ALLOW_CONNECTIONS false",
)


def dumped(server: Cluster) -> list[str]:
    """Its whole content, without the places of tablespaces and random parts of a dump."""
    lines = run("pg_dumpall", "-d", server.dsn).splitlines()
    return [line for line in lines if "restrict" not in line and "LOCATION" not in line]


def test_an_odd_cluster_comes_back_equal_through_a_login_that_is_no_superuser(
    tmp_path: Path,
) -> None:
    with folder_for_cluster() as folder:
        server = Cluster(folder)
        wal = f"--waldir={folder / 'wal'}"
        run("initdb", "-k", "-U", "postgres", "-A", "trust", wal, "-D", str(server.data))
        server.configure(SETTINGS.format(wal_senders=1) + "allow_in_place_tablespaces = on")
        with started(server):
            for name in ("one", "two"):
                (folder / name).mkdir()
                server.ask(f"CREATE TABLESPACE {name} LOCATION '{folder / name}'")
            for statement in ("CREATE TABLESPACE inplace LOCATION ''", *CLERK):
                server.ask(statement)
            server.ask("CREATE DATABASE far TABLESPACE one")
            for statement in ODD:
                server.ask(statement, dbname="far")
            odd_name = os.fsdecode(b"odd \xff\n\x01")
            (server.data / odd_name).write_text("content")
            (server.data / f"link {odd_name}").symlink_to(odd_name)
            installation = PgbenchCluster(server, tmp_path).installation(
                dsn=f"host={folder} user=clerk dbname=postgres"
            )
            installation.run("backup", "shop")
            assert installation.run("verify", "shop/latest")["verified"] is True
            assert [
                note.split("'")[1] for note in notes(installation) if "not compared" in note
            ] == [
                "closed",
                "private",
            ]
            server.ask("TRUNCATE unlogged", dbname="far")
            before = dumped(server)
            with restored(installation) as back:
                assert "successfully verified" in run("pg_verifybackup", str(back.data))
                assert (back.data / odd_name).read_text() == "content"
                back.configure("")
                with started(back):
                    assert dumped(back) == before
                    far = f"host={back.folder} user=postgres dbname=far"
                    run("pg_amcheck", "--install-missing", "--heapallindexed", far)


def test_rights_of_folders_and_files_come_back(tmp_path: Path) -> None:
    with folder_for_cluster() as folder:
        server = Cluster(folder)
        run("initdb", "-g", "-k", "-U", "postgres", "-A", "trust", "-D", str(server.data))
        server.configure(SETTINGS.format(wal_senders=1))
        pgbench = PgbenchCluster(server, tmp_path)
        with started(server):
            pgbench.fill()
            (server.data / "scripts").mkdir(mode=0o755)
            (server.data / "scripts").chmod(0o755)
            (server.data / "scripts/archive.sh").write_text("#!/bin/sh\n")
            (server.data / "scripts/archive.sh").chmod(0o775)
            installation = pgbench.installation()
            installation.run("backup", "shop")
            before = rights(server)
            with restored(installation) as back:
                after = rights(back)
                assert after["."] == 0o750
                assert after["scripts/archive.sh"] == 0o755
                del before["scripts/archive.sh"]
                both = before.keys() & after.keys()
                assert {path: after[path] for path in both} == {path: before[path] for path in both}
                assert {"base", "pg_wal", "scripts", "postgresql.conf"} <= both
                spaces = back.folder / "data-tablespaces"
                found = {stat.S_IMODE(path.stat().st_mode) for path in spaces.rglob("*")}
                assert found == {0o750, 0o640}
                prove(back, pgbench)
                again = PgbenchCluster(back, tmp_path).installation("again")
                with started(back):
                    again.run("backup", "shop")


def rights(server: Cluster) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in (server.data, *server.data.rglob("*")):
        if path.name.startswith("PG_") or "pg_tblspc/" in str(path):
            continue
        # A running server removes files of its own, such as its caches of catalogs.
        with suppress(FileNotFoundError):
            found[str(path.relative_to(server.data))] = stat.S_IMODE(path.stat().st_mode)
    return found


def test_a_sparse_file_stays_so_and_a_file_of_zeros_is_whole(pgbench: PgbenchCluster) -> None:
    server = pgbench.server
    ((path,),) = server.ask("SELECT pg_relation_filepath('goods')")
    with (server.data / "holes").open("wb") as file:
        file.write(b"head")
        file.truncate(400 * MIB)
        file.seek(200 * MIB)
        file.write(b"middle")
    with (server.data / "filled").open("wb") as file:
        file.write(bytes(8 * MIB))
    installation = pgbench.installation()
    installation.run("backup", "shop")
    with restored(installation) as back:
        holes, filled = (back.data / name for name in ("holes", "filled"))
        assert holes.stat().st_size == 400 * MIB
        assert holes.stat().st_blocks * 512 < 4 * MIB
        assert (filled.stat().st_size, filled.stat().st_blocks * 512) == (8 * MIB, 8 * MIB)
        with holes.open("rb") as file:
            assert file.read(5) == b"head\0"
            file.seek(200 * MIB)
            assert file.read(7) == b"middle\0"
        assert (back.data / str(path)).stat().st_size == (server.data / str(path)).stat().st_size
        prove(back, pgbench)


@pytest.mark.parametrize("kind", ["random", "beyond", "below", "torn", "misplaced"])
def test_a_page_that_no_wal_repairs_is_reported_by_block(
    pgbench: PgbenchCluster, kind: str
) -> None:
    server = pgbench.server
    ((path,),) = server.ask("SELECT pg_relation_filepath('goods')")
    server.ask("CHECKPOINT")
    with stopped(server) as data, (data / str(path)).open("r+b") as file:
        pages = file.read(8 * 8192)
        file.seek(7 * 8192)
        file.write(damaged(pages[5 * 8192 : 6 * 8192], pages[7 * 8192 :], kind))
    installation = pgbench.installation()
    installation.run("backup", "shop")
    proof = installation.run("show", "shop/latest")["manifest"]["proof"]
    assert proof["bad_pages"] == f"{path}: 7"


def damaged(other: bytes, page: bytes, kind: str) -> bytes:
    beyond, below = (0x7FFF_0000).to_bytes(4, "little") + bytes(4), bytes(4) + b"\1\0\0\0"
    flipped = page[:5000] + bytes([page[5000] ^ 1]) + page[5001:]
    return {
        "random": os.urandom(8192),
        "beyond": beyond + flipped[8:],
        "below": below + flipped[8:],
        "torn": page[:4096] + bytes(4096),
        "misplaced": other,
    }[kind]


def test_pages_of_zeros_and_pages_that_change_are_no_damage(pgbench: PgbenchCluster) -> None:
    server = pgbench.server
    ((path,),) = server.ask("SELECT pg_relation_filepath('goods')")
    with stopped(server) as data, (data / str(path)).open("ab") as file:
        file.write(bytes(16 * 8192))
    installation = pgbench.installation()
    with pgbench.under_load():
        installation.run("backup", "shop")
    assert "bad_pages" not in installation.run("show", "shop/latest")["manifest"]["proof"]


def test_damage_that_a_killed_run_has_read_is_reported_by_the_one_that_resumes(
    tmp_path: Path,
) -> None:
    # Only the later run sees the end of the backup, which decides.
    with cluster(wal_senders=2) as server:
        pgbench = PgbenchCluster(server, tmp_path)
        pgbench.fill(has_space=False)
        ((path,),) = server.ask("SELECT pg_relation_filepath('goods')")
        server.ask("CHECKPOINT")
        with stopped(server) as data, (data / str(path)).open("r+b") as file:
            file.seek(7 * 8192)
            file.write(os.urandom(8192))
        installation = pgbench.installation(session="daemon")
        installation.job["resumable"] = True
        with Daemon(installation).running():
            killed_at(installation, "parts-read")
            installation.run("backup", "shop", "--resume")
        proof = installation.run("show", "shop/latest")["manifest"]["proof"]
        assert proof["bad_pages"] == f"{path}: 7"
        assert int(proof["resumed_parts"]) > 0


def test_the_wire_leaves_out_nothing_of_the_servers_and_tells_the_rest(tmp_path: Path) -> None:
    with cluster(wal_senders=2) as server:
        pgbench = PgbenchCluster(server, tmp_path)
        pgbench.fill(has_space=False)
        server.ask("CREATE DATABASE linked")
        oid, away = oid_of(server, "linked"), server.folder / "away"
        installation = pgbench.installation(engine="tools")
        with stopped(server) as data:
            moved(data / "base" / oid, away)
            (data / "dumps").symlink_to(tmp_path)
        assert f"leaves out 'base/{oid}'" in refused(installation)
        with stopped(server) as data:
            (data / "base" / oid).unlink()
        assert f"nothing of database 'linked' in 'base/{oid}'" in refused(installation)
        away.rename(server.data / "base" / oid)
        made = installation.run("backup", "shop")
        expected = ["left out: 'dumps': a link or a special file"]
        assert made["backups"][0]["notes"] == expected == notes(installation)
        with restored(installation) as back:
            prove(back, pgbench)


def test_a_page_beyond_the_end_is_told_by_the_wire_too(tmp_path: Path) -> None:
    with cluster(wal_senders=2) as server:
        pgbench = PgbenchCluster(server, tmp_path)
        pgbench.fill(has_space=False)
        ((path,),) = server.ask("SELECT pg_relation_filepath('goods')")
        server.ask("CHECKPOINT")
        with stopped(server) as data, (data / str(path)).open("r+b") as file:
            pages = file.read(8 * 8192)
            file.seek(7 * 8192)
            file.write(damaged(b"", pages[7 * 8192 :], "beyond"))
        installation = pgbench.installation(engine="tools")
        installation.run("backup", "shop")
        proof = installation.run("show", "shop/latest")["manifest"]["proof"]
        assert proof["bad_pages"] == f"{path}: 7"
