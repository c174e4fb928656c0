"""Throw-away servers for rows: they hold what was backed up, and leave production alone."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pymysql
import pytest

from holdfast.model.backup import Manifest
from holdfast.model.drill import Outcome
from holdfast.model.errors import CheckRefused, DrillFailed, HoldfastError
from holdfast.operations.parts.proof import RepositoryParts
from holdfast.ports.drill import DrillRoom, DrillServer
from holdfast.sources.mysql.drill.servers import MysqlDrillServer
from tests.support import drill_rooms
from tests.support.drill_rooms import MEMORY_BYTES, processes_in, proven, restored, room, stored
from tests.support.installation import Installation
from tests.support.mysql_server import MARIADB, MysqlServer, numbers, ticked
from tests.support.waiting import until

SERVER_USER = "mysql"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """A backup of a small shop, and where its parts lie."""

    database: str
    manifest: Manifest
    parts: RepositoryParts


@pytest.fixture
def shop(server: MysqlServer, tmp_path: Path) -> BackedUp:
    return backed_up(
        server,
        tmp_path,
        "CREATE TABLE orders (id int PRIMARY KEY, note varchar(64)) ENGINE=InnoDB",
        f"INSERT INTO orders SELECT seq, sha2(seq, 256) FROM {numbers(3000)}",
        "CREATE TABLE plain (id int PRIMARY KEY, note varchar(64)) ENGINE=MyISAM",
        f"INSERT INTO plain SELECT seq, sha2(seq, 256) FROM {numbers(2000)}",
        "CREATE TABLE beaten (at timestamp DEFAULT CURRENT_TIMESTAMP)",
        "CREATE VIEW newest AS SELECT max(id) AS id FROM orders",
        "CREATE EVENT beat ON SCHEDULE EVERY 1 SECOND DO INSERT INTO beaten VALUES (DEFAULT)",
    )


def backed_up(server: MysqlServer, folder: Path, *statements: str) -> BackedUp:
    return of_database(server, folder, server.database(*statements))


def of_database(server: MysqlServer, folder: Path, database: str) -> BackedUp:
    source = {"kind": "mysql", "dsn": server.url(database), "loose_tables": "lock"}
    installation = Installation(folder, source, level=1)
    installation.run("backup", "shop")
    manifest, parts = stored(installation.repository)
    return BackedUp(database=database, manifest=manifest, parts=parts)


@contextmanager
def drilling(
    backup: BackedUp, *, user: str = SERVER_USER, memory_bytes: int = MEMORY_BYTES
) -> Iterator[tuple[MysqlDrillServer, DrillRoom]]:
    with room(user if os.geteuid() == 0 else "", memory_bytes=memory_bytes) as place:
        drill = MysqlDrillServer(backup.manifest, place)
        try:
            yield drill, place
        finally:
            drill.close()
            assert processes_in(place.folder) == []


def inside(drill: DrillServer, database: str) -> pymysql.Connection:
    """A connection to the throw-away server, as an operator of a kept one makes it."""
    (login,) = re.findall(r"--defaults-file=(\S+)", drill.connection)
    return pymysql.connect(read_default_file=login, database=database, autocommit=True)


def checksums(connection: pymysql.Connection, *tables: str) -> list[tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(f"CHECKSUM TABLE {', '.join(map(ticked, tables))}")
        return [(name.rpartition(".")[2], found) for name, found in cursor.fetchall()]


def test_a_drill_brings_rows_back_and_has_each_table_checked(
    server: MysqlServer, shop: BackedUp
) -> None:
    with drilling(shop) as (drill, _):
        drilled = proven(drill, shop.manifest, shop.parts)
        assert [each for each in drilled.findings if each.blocks] == []
        assert drilled.bad == []
        for table in ("orders", "plain", "beaten"):
            assert drilled.row(f"CHECK TABLE {shop.database}.{table}").outcome is Outcome.PASSED
        with inside(drill, shop.database) as here, server.connect(shop.database) as there:
            assert checksums(here, "orders", "plain") == checksums(there, "orders", "plain")
        assert drill.version.split(".")[:2] == shop.manifest.server.version.split(".")[:2]


def test_the_whole_corpus_comes_back_in_a_drill(server: MysqlServer, tmp_path: Path) -> None:
    database = server.corpus()
    backup = of_database(server, tmp_path, database)
    with drilling(backup) as (drill, _):
        drilled = proven(drill, backup.manifest, backup.parts)
        assert drilled.bad == []
        assert {each.problem for each in drilled.tables} == {""}
        assert len(drilled.rows) >= len(drilled.tables) > 10


def test_a_throw_away_server_has_no_port_no_log_to_replicate_and_runs_no_events(
    shop: BackedUp,
) -> None:
    before_it = listening()
    with drilling(shop) as (drill, place):
        restored(drill, shop.manifest, shop.parts)
        theirs = [each for each in listening() if place.folder not in each]
        with inside(drill, shop.database) as here, here.cursor() as cursor:
            cursor.execute("SHOW VARIABLES")
            settings = dict(cursor.fetchall())
            cursor.execute("SELECT count(*) FROM information_schema.events WHERE status='ENABLED'")
            assert cursor.fetchone() == (1,)
            before = rows_of(cursor, "beaten")
            # The event is due each second: two of them pass on the server's own clock.
            cursor.execute("SELECT sleep(2.5)")
            assert rows_of(cursor, "beaten") == before
        assert (settings["skip_networking"], settings["log_bin"]) == ("ON", "OFF")
        assert settings["event_scheduler"] == "OFF"
        assert theirs == before_it
        for name in ("datadir", "socket", "pid_file", "tmpdir", "log_error", "secure_file_priv"):
            assert settings[name].startswith(place.folder), name


def rows_of(cursor: pymysql.cursors.Cursor, table: str) -> int:
    cursor.execute(f"SELECT count(*) FROM {table}")
    ((count,),) = cursor.fetchall()
    return int(count)


def listening() -> list[str]:
    """The addresses, and the paths, on which any server of this host listens."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    ports = [line[1] for line in lines if line[3] == "0A"]
    sockets = [line.split()[7:] for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return sorted([*ports, *(path for (path,) in filter(None, sockets))])


def test_production_is_as_before_while_a_drill_of_its_data_runs(
    server: MysqlServer, shop: BackedUp
) -> None:
    ((datadir,),) = server.ask("mysql", "SELECT @@datadir")
    before = production(server, Path(datadir))
    with drilling(shop) as (drill, _):
        proven(drill, shop.manifest, shop.parts)
        drill.ask("SELECT count(*) FROM orders", database=shop.database, timeout_seconds=60)
        assert production(server, Path(datadir)) == before
    assert production(server, Path(datadir)) == before


def production(server: MysqlServer, datadir: Path) -> dict[str, object]:
    """What a drill beside it must not change; counters that change by themselves are left out."""
    asked = server.ask("mysql", "SHOW GLOBAL VARIABLES")
    # Production works on: its own transactions have numbers.
    variables = {name: value for name, *value in asked if "gtid" not in name}
    variables.pop("timestamp", None)
    folders = [datadir, Path("/run/mysqld"), Path("/etc/mysql"), Path("/var/lib/mysql-files")]
    return {
        "variables": variables,
        "sessions": sorted(
            (user, host) for _, user, host, *_ in server.ask("mysql", "SHOW PROCESSLIST")
        ),
        "accounts": sorted(server.ask("mysql", "SELECT User, Host FROM mysql.user")),
        "databases": sorted(server.databases()),
        # A folder's own time tells of every file that was made or removed in it.
        "folders": {
            str(each): each.stat().st_mtime_ns
            for folder in folders
            if folder.exists()
            for each in (folder, *folder.rglob("*"))
            if each.is_dir()
        },
        "files": sorted(
            str(each) for folder in folders if folder.exists() for each in folder.rglob("*")
        ),
    }


def test_a_table_that_the_server_refuses_is_a_row_of_its_own(shop: BackedUp) -> None:
    with drilling(shop) as (drill, place):
        restored(drill, shop.manifest, shop.parts)
        with inside(drill, shop.database) as here, here.cursor() as cursor:
            cursor.execute("FLUSH TABLES")
        (rows,) = Path(place.folder).rglob("plain.MYD")
        content = bytearray(rows.read_bytes())
        content[len(content) // 2] ^= 0xFF
        rows.write_bytes(content[:-100])
        found = {each.name: each for each in drill.prove()}
        refused = found.pop(f"CHECK TABLE {shop.database}.plain")
        assert refused.outcome is Outcome.FAILED
        assert refused.found not in ("", "OK")
        assert {each.outcome for each in found.values()} == {Outcome.PASSED}


def test_a_check_is_one_select_that_only_reads_and_has_its_time(shop: BackedUp) -> None:
    with drilling(shop) as (drill, _):
        restored(drill, shop.manifest, shop.parts)

        def ask(sql: str, seconds: float = 60) -> tuple[int, str | None]:
            answer = drill.ask(sql, database=shop.database, timeout_seconds=seconds)
            return answer.rows, answer.value

        assert ask("SELECT count(*) FROM orders") == (1, "3000")
        assert ask(" /* freshness */ -- of all\n (SELECT max(id) FROM orders);") == (1, "3000")
        assert ask("SELECT id FROM orders ORDER BY id") == (2, "1")
        assert ask("SELECT id FROM orders WHERE id < 0") == (0, None)
        assert ask("SELECT NULL") == (1, None)
        assert ask("SELECT TIMESTAMP'2026-11-30 07:00:00'") == (1, "2026-11-30 07:00:00")
        for refused in (
            "DELETE FROM orders",
            "/*! DELETE FROM orders */",
            "SELECT 1; DELETE FROM orders",
            "WITH a AS (SELECT 1) DELETE FROM orders WHERE id IN (SELECT * FROM a)",
            "SET GLOBAL event_scheduler = ON",
        ):
            with pytest.raises((CheckRefused, DrillFailed)) as caught:
                ask(refused)
            assert isinstance(caught.value, CheckRefused) or "WITH" in refused, refused
        with pytest.raises(DrillFailed, match=r"took more than 1 s"):
            ask("SELECT count(*) FROM orders a, orders b, orders c WHERE sleep(0.01) > 1", 1)
        with pytest.raises(DrillFailed, match="nothing_there"):
            ask("SELECT nothing_there FROM orders")
        assert ask("SELECT count(*) FROM orders") == (1, "3000")


def test_what_the_host_lacks_is_found_before_anything_is_made(
    server: MysqlServer, shop: BackedUp
) -> None:
    newer = replace(
        shop.manifest,
        server=replace(shop.manifest.server, version=f"99.1.0-{server.brand.name}"),
    )
    with drilling(replace(shop, manifest=newer)) as (drill, place):
        (lacking,) = drill.problems(shop.parts)
        assert lacking.blocks
        assert lacking.subject == f"server {server.brand.name} 99.1 or later"
        assert f"install {server.brand.name}-server" in lacking.hint
        assert drill_rooms.is_unused(place)


def test_an_engine_whose_library_is_gone_is_named_with_nothing_loaded(
    server: MysqlServer, tmp_path: Path
) -> None:
    if server.brand is not MARIADB:
        pytest.skip("MySQL has its engines built in")
    with loaded(server, "ha_archive") as library:
        database = server.database("CREATE TABLE old (id int) ENGINE=ARCHIVE")
        server.run(database, "INSERT INTO old VALUES (1), (2)")
        backup = of_database(server, tmp_path, database)
        with drilling(backup) as (drill, _):
            drilled = proven(drill, backup.manifest, backup.parts)
            assert [each for each in drilled.findings if each.blocks] == []
            assert drilled.bad == []
            with inside(drill, database) as here, here.cursor() as cursor:
                cursor.execute("SHOW CREATE TABLE old")
                assert "ENGINE=ARCHIVE" in str(cursor.fetchall())
        with moved(library), drilling(backup) as (drill, place):
            (lacking,) = drill.problems(backup.parts)
            assert (lacking.subject, lacking.blocks) == ("storage engine ARCHIVE", True)
            assert "mariadb-server" in lacking.hint
            assert drill_rooms.is_unused(place)


@contextmanager
def loaded(server: MysqlServer, library: str) -> Iterator[Path]:
    server.run("mysql", f"INSTALL SONAME '{library}'")
    ((folder,),) = server.ask("mysql", "SELECT @@plugin_dir")
    try:
        yield Path(folder) / f"{library}.so"
    finally:
        server.clean()
        server.run("mysql", f"UNINSTALL SONAME '{library}'")


@contextmanager
def moved(library: Path) -> Iterator[None]:
    aside = library.with_suffix(".aside")
    library.rename(aside)
    try:
        yield
    finally:
        aside.rename(library)


def test_no_secret_stands_where_others_could_read_it(shop: BackedUp) -> None:
    with drilling(shop) as (drill, place):
        restored(drill, shop.manifest, shop.parts)
        login = Path(re.findall(r"--defaults-file=(\S+)", drill.connection)[0])
        (password,) = re.findall(r'password="(.+)"', login.read_text())
        assert login.stat().st_mode & 0o777 == 0o600
        for pid in processes_in(place.folder):
            assert password not in Path(f"/proc/{pid}/cmdline").read_text()
        holding = [each for each in Path(place.folder).iterdir() if each.is_file()]
        assert [each for each in holding if password in each.read_text(errors="replace")] == [login]


def test_a_server_stays_within_its_memory_and_belongs_to_its_user(shop: BackedUp) -> None:
    with drilling(shop) as (drill, place):
        proven(drill, shop.manifest, shop.parts)
        (pid,) = processes_in(place.folder)
        status = Path(f"/proc/{pid}/status").read_text()
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        assert int(peak) * 1024 < MEMORY_BYTES
        owner = Path(place.home).stat().st_uid
        assert re.search(rf"^Uid:\s+{owner}\s", status, re.MULTILINE)
        strangers = [each for each in Path(place.folder).rglob("*") if each.lstat().st_uid != owner]
        assert strangers == []


def test_an_abort_ends_the_server_and_the_call_in_progress(shop: BackedUp) -> None:
    with drilling(shop) as (drill, place):
        restored(drill, shop.manifest, shop.parts)
        failures: list[HoldfastError] = []

        def ask() -> None:
            try:
                drill.ask("SELECT sleep(600)", database="mysql", timeout_seconds=900)
            except HoldfastError as error:
                failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        with inside(drill, shop.database) as here, here.cursor() as cursor:
            until(lambda: is_sleeping(cursor))
        drill.abort()
        asking.join(60)
        assert not asking.is_alive()
        (failure,) = failures
        assert isinstance(failure, DrillFailed)
        assert processes_in(place.folder) == []


def is_sleeping(cursor: pymysql.cursors.Cursor) -> bool:
    cursor.execute("SHOW PROCESSLIST")
    return "sleep(600)" in str(cursor.fetchall())


def test_a_kept_server_runs_on_for_the_operator(shop: BackedUp) -> None:
    with drilling(shop) as (drill, place):
        restored(drill, shop.manifest, shop.parts)
        drill.close(keep=True)
        (pid,) = processes_in(place.folder)
        with inside(drill, shop.database) as here, here.cursor() as cursor:
            assert rows_of(cursor, "orders") == 3000
        os.kill(pid, 9)


def test_a_server_that_cannot_start_says_why(shop: BackedUp) -> None:
    with drilling(shop) as (drill, place):
        Path(place.folder, "data").mkdir()
        Path(place.folder, "data", "ibdata1").write_text("of somebody")
        with pytest.raises(DrillFailed, match=r"cannot (make|start) a throw-away") as caught:
            drill.prepare()
        assert len(caught.value.message) > len("cannot make a throw-away mariadb server: ")


def test_a_damaged_script_of_definitions_is_told_before_a_server_is_made(
    server: MysqlServer, tmp_path: Path
) -> None:
    backup = backed_up(server, tmp_path, "CREATE TABLE t (id int)")
    for path in (tmp_path / "repository").rglob("*pre-data*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with drilling(backup) as (drill, place):
        with pytest.raises(HoldfastError, match="pre-data"):
            drill.problems(backup.parts)
        assert drill_rooms.is_unused(place)


def test_a_server_that_ends_over_a_table_fails_that_row_and_the_drill(shop: BackedUp) -> None:
    with drilling(shop) as (drill, place):
        restored(drill, shop.manifest, shop.parts)
        rows = iter(drill.prove())
        assert next(rows).outcome is Outcome.PASSED
        (pid,) = processes_in(place.folder)
        os.kill(pid, 9)
        ended = next(rows)
        assert ended.outcome is Outcome.FAILED
        assert ended.found not in ("", "OK")
        with pytest.raises(DrillFailed, match=re.escape(ended.name.removeprefix("CHECK TABLE "))):
            next(rows)
