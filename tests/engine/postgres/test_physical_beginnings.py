"""Events on a server while a base backup begins, and what the backup knows of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.runtime.events import FAILPOINT_VARIABLE
from tests.support.clusters import Cluster, cluster, standby_of, started
from tests.support.pgbench_cluster import PgbenchCluster, prove, restored
from tests.support.waiting import until

KILLED = -9
ROWS = "SELECT count(*), sum(id) FROM treasure"


def new_space(server: Cluster, name: str = "young") -> Path:
    """A tablespace with a table in it."""
    place = server.folder / name
    place.mkdir()
    server.ask(f"CREATE TABLESPACE {name} LOCATION '{place}'")
    server.ask(f"CREATE TABLE treasure TABLESPACE {name} AS SELECT generate_series(1, 1000) AS id")
    server.ask("CHECKPOINT")
    return place


BEGINNING = ["backup-beginning", "backup-begun", "cluster-asked", "files-listed"]


@pytest.mark.parametrize("failpoint", BEGINNING)
def test_killed_while_it_begins_a_backup_leaves_nothing_behind(
    pgbench: PgbenchCluster, failpoint: str
) -> None:
    installation = pgbench.installation()
    installation.run("backup", "shop", code=KILLED, environment={FAILPOINT_VARIABLE: failpoint})
    assert installation.manifests() == []
    until(lambda: pgbench.server.held() == 0)
    made = installation.run("backup", "shop")
    assert {each["backup"] for each in installation.backups()} == {made["backup"]}
    assert {
        path.relative_to(installation.repository).parts[1] for path in installation.files()
    } == {made["name"]}
    with restored(installation) as back:
        prove(back, pgbench)


@pytest.mark.parametrize("failpoint", BEGINNING)
def test_a_tablespace_made_while_the_backup_begins_comes_back(
    pgbench: PgbenchCluster, failpoint: str
) -> None:
    installation = pgbench.installation()
    with installation.stopped_at(failpoint):
        place = new_space(pgbench.server)
        names = {path.name for path in (pgbench.server.data / "pg_tblspc").iterdir()}
    pgbench.server.ask("UPDATE treasure SET id = -id")
    assert installation.run("verify", "shop/latest")["verified"] is True
    with restored(installation) as back:
        back.configure("")
        with started(back):
            assert back.ask(ROWS) == [(1000, 500500)]
            found = {path.name: path.readlink() for path in (back.data / "pg_tblspc").iterdir()}
            assert found.keys() == names
            assert all(path.is_relative_to(back.folder) for path in found.values())
            back.ask("DELETE FROM treasure")
            back.ask("CHECKPOINT")
    assert pgbench.server.ask(ROWS) == [(1000, -500500)]
    assert any(path.is_file() for path in place.rglob("*"))


@pytest.mark.parametrize("failpoint", ["backup-begun", "cluster-asked", "files-listed"])
def test_a_tablespace_and_a_database_dropped_while_the_backup_begins_are_no_error(
    pgbench: PgbenchCluster, failpoint: str
) -> None:
    new_space(pgbench.server)
    pgbench.server.ask("CREATE DATABASE fleeting_one")
    installation = pgbench.installation()
    with installation.stopped_at(failpoint):
        pgbench.server.ask("DROP TABLE treasure")
        pgbench.server.ask("DROP TABLESPACE young")
        pgbench.server.ask("DROP DATABASE fleeting_one")
        pgbench.server.ask("CREATE DATABASE born_late")
        pgbench.server.ask("CREATE TABLE goods_late AS TABLE goods")
        pgbench.server.ask("CHECKPOINT")
    with restored(installation) as back:
        prove(back, pgbench)
        with started(back):
            assert back.ask("SELECT count(*) FROM goods_late") == [(20000,)]
            assert back.ask("SELECT 1", dbname="born_late") == [(1,)]
            gone = "SELECT spcname FROM pg_tablespace WHERE spcname = 'young'"
            assert back.ask(gone) == []


def test_empty_files_that_are_filled_dropped_or_emptied_after_the_listing_come_back_right(
    pgbench: PgbenchCluster,
) -> None:
    server = pgbench.server
    new_space(server)
    for name in ("filled", "dropped", "rewritten", "kept"):
        server.ask(f"CREATE TABLE {name} (id int PRIMARY KEY, text text)")
    server.ask("CREATE TABLE passing (id int) TABLESPACE young")
    server.ask("CREATE TABLE emptied AS SELECT generate_series(1, 30000) AS id")
    server.ask("CHECKPOINT")
    installation = pgbench.installation()
    with installation.stopped_at("files-listed"):
        server.ask(
            "INSERT INTO filled SELECT id, repeat('x', 900) FROM generate_series(1, 9000) id"
        )
        server.ask("INSERT INTO rewritten SELECT generate_series(1, 100), 'row'")
        server.ask("VACUUM FULL rewritten")
        for statement in ("DROP TABLE dropped", "DROP TABLE passing", "TRUNCATE emptied"):
            server.ask(statement)
        # What was dropped is removed from the disk, and what was filled is written to it.
        server.ask("CHECKPOINT")
    content = (
        "SELECT (SELECT sum(id) || md5(string_agg(text, '' ORDER BY id)) FROM filled),"
        " (SELECT count(*) FROM rewritten), (SELECT count(*) FROM kept),"
        " (SELECT count(*) FROM emptied), to_regclass('dropped'), to_regclass('passing')"
    )
    with restored(installation) as back:
        prove(back, pgbench)
        with started(back):
            assert back.ask(content) == server.ask(content)
            assert back.ask("SELECT count(*) FROM filled") == [(9000,)]


def test_a_server_that_was_just_promoted_is_backed_up_on_its_new_timeline(tmp_path: Path) -> None:
    with cluster() as primary:
        primary.ask("ALTER SYSTEM SET checkpoint_timeout = '1h'")
        primary.ask("SELECT pg_reload_conf()")
        PgbenchCluster(primary, tmp_path).fill(has_space=False)
        with standby_of(primary) as standby:
            promoted(primary, standby)
            pgbench = PgbenchCluster(standby, tmp_path)
            installation = pgbench.installation()
            installation.run("backup", "shop")
            (manifest,) = installation.manifests()
            assert manifest["proof"]["timeline"] == "2"
            with restored(installation) as back:
                prove(back, pgbench)


def promoted(primary: Cluster, standby: Cluster) -> None:
    """So that no checkpoint has ended since, and the control file has only the old timeline."""
    primary.ask("UPDATE goods SET name = name")
    until(
        lambda: (
            standby.ask("SELECT pg_last_wal_replay_lsn()")
            == primary.ask("SELECT pg_current_wal_flush_lsn()")
        )
    )
    standby.promote()
    ((timeline,),) = standby.ask("SELECT timeline_id FROM pg_control_checkpoint()")
    assert timeline == 1


@pytest.mark.parametrize("failpoint", ["backup-beginning", "backup-begun"])
def test_a_standby_that_is_promoted_while_the_backup_begins_is_backed_up_as_what_it_is(
    tmp_path: Path, failpoint: str
) -> None:
    with cluster() as primary:
        PgbenchCluster(primary, tmp_path).fill(has_space=False)
        with standby_of(primary) as standby:
            pgbench = PgbenchCluster(standby, tmp_path)
            installation = pgbench.installation()
            until(lambda: standby.ask("SELECT to_regclass('fleeting') IS NOT NULL") == [(True,)])
            with installation.stopped_at(failpoint):
                standby.promote()
            (manifest,) = installation.manifests()
            assert manifest["proof"]["timeline"] == "2"
            with restored(installation) as back:
                prove(back, pgbench)
            assert standby.held() == 0
