"""Changing definitions, tables without a snapshot, and a busy server."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pymysql
import pytest

from holdfast.model.backup import Part, PartKind, PartPlan
from holdfast.model.errors import BackupFailed, GrantMissing, SnapshotLost
from holdfast.ports.source import Snapshot
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.options import Options
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MARIADB, MYSQL, PASSWORD, MysqlServer, of_database
from tests.support.waiting import until

ONE_TABLE = ("CREATE TABLE t (id int PRIMARY KEY, a int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
LOOSE = (
    *ONE_TABLE,
    "CREATE TABLE loose (id int PRIMARY KEY, a int) ENGINE=MyISAM",
    "INSERT INTO loose VALUES (1, 10)",
)
# Neither server rebuilds the table for it. MariaDB continues to read as if nothing had changed,
# MySQL refuses to read a table of which the snapshot has an older definition (error 1412).
INSTANT = "ALTER TABLE t ADD COLUMN b int DEFAULT 7, ALGORITHM=INSTANT"


def source(server: MysqlServer, database: str, options: Options) -> MysqlSource:
    return MysqlSource(server.url(database), options=options)


def data_parts(snapshot: Snapshot) -> dict[str, PartPlan]:
    return {
        part.relation.name: part
        for part in snapshot.parts
        if part.kind is PartKind.DATA and part.relation
    }


def read(snapshot: Snapshot, table: str) -> bytes:
    with snapshot.read(data_parts(snapshot)[table]) as stream:
        return b"".join(bytes(chunk) for chunk in stream)


def test_a_column_added_after_the_snapshot_fails_the_table_by_its_name(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)
    with source(server, original, Options()).open(workers=1) as snapshot:
        server.run(original, INSTANT)
        with pytest.raises(BackupFailed, match=rf"'{original}\.t'") as failure:
            read(snapshot, "t")
        assert "altered after the snapshot" in failure.value.message + failure.value.hint
        assert "run the backup again" in failure.value.hint


def test_with_ddl_ignored_rows_are_of_the_snapshot_where_the_server_still_reads_them(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*ONE_TABLE), server.name()

    def kept() -> tuple[Part, ...]:
        ignoring = source(server, original, Options(ddl="ignore"))
        return keep(ignoring, tmp_path, meanwhile=lambda _: server.run(original, INSTANT))

    if server.brand is MYSQL:
        with pytest.raises(BackupFailed, match=rf"'{original}\.t'.*1412"):
            kept()
        return
    bring_back(MysqlTarget(server.url(copy)), kept(), tmp_path)
    assert server.ask(copy, "SELECT * FROM t") == [("1", "1"), ("2", "2")]


def test_ddl_that_is_blocked_waits_until_the_backup_has_ended(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)
    with source(server, original, Options(ddl="block")).open(workers=1) as snapshot:
        read(snapshot, "t")
        with pytest.raises(pymysql.OperationalError, match="1205"):
            server.run(original, "SET lock_wait_timeout = 1", "ALTER TABLE t ADD COLUMN b int")
        server.run(original, "INSERT INTO t VALUES (3, 3)")
    server.run(original, "SET lock_wait_timeout = 30", "ALTER TABLE t ADD COLUMN b int")


def test_a_table_without_a_snapshot_is_kept_still_until_it_has_been_read(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*LOOSE), server.name()
    options = Options(loose_tables="lock")
    with source(server, original, options).open(workers=2) as snapshot:
        assert snapshot.proof.texts()["locked_while_read"] == f"{original}.loose"
        assert next(iter(data_parts(snapshot))) == "loose"
        with pytest.raises(pymysql.OperationalError, match="1205"):
            server.run(original, "SET lock_wait_timeout = 1", "INSERT INTO loose VALUES (2, 20)")
        assert b"(1,10)" in read(snapshot, "loose")
        server.run(original, "SET lock_wait_timeout = 30", "INSERT INTO loose VALUES (2, 20)")
    parts = keep(source(server, original, options), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert server.checksums(copy) == server.checksums(original)


def test_locking_tables_takes_a_grant_that_is_named(server: MysqlServer) -> None:
    original = server.database(*LOOSE)
    user = server.reader(original)
    url = server.url(original, user=user)
    asked = MysqlSource(url, password=PASSWORD, options=Options(loose_tables="lock"))
    with pytest.raises(GrantMissing, match="lacks LOCK TABLES"):
        asked.check()
    server.run("mysql", f"GRANT {of_database(original, 'LOCK TABLES')} TO `{user}`@localhost")
    assert any("1 of them locked" in finding.detail for finding in asked.check())


def test_a_long_statement_is_waited_for_and_then_the_backup_refused(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)
    impatient = Options(long_query_seconds=1, wait_seconds=1)

    def sleep() -> None:
        # It is killed below, which one of the servers reports as an error.
        with suppress(pymysql.Error):
            server.ask(original, "SELECT SLEEP(300)")

    slow = threading.Thread(target=sleep)
    slow.start()
    try:
        until(lambda: bool(_sleeping(server)))
        until(lambda: _opening_is_refused(server, original, impatient))
    finally:
        for number in _sleeping(server):
            server.run("mysql", f"KILL QUERY {number}")
        slow.join()
    with source(server, original, impatient).open(workers=1) as snapshot:
        assert b"(1,1)" in read(snapshot, "t")


def _opening_is_refused(server: MysqlServer, database: str, options: Options) -> bool:
    try:
        with source(server, database, options).open(workers=1):
            return False
    except BackupFailed as error:
        return "still blocked after 1 seconds: statement of session" in error.message


def _sleeping(server: MysqlServer) -> list[str]:
    question = (
        "SELECT id FROM information_schema.processlist"
        " WHERE info LIKE 'SELECT SLEEP%' AND command = 'Query'"
    )
    return [number for (number,) in server.ask("mysql", question)]


def test_a_lock_is_given_up_where_opening_takes_too_long(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)

    def late() -> datetime:
        """Requested while the lock is held, as if the opening took that long."""
        threading.Event().wait(2)
        return datetime.now(UTC)

    slow = MysqlSource(server.url(original), options=Options(hold_seconds=0.2), clock=late)
    refused = pytest.raises(BackupFailed, match="opening it took too long, so its lock")
    with refused, slow.open(workers=2):
        pass
    server.run(original, "SET lock_wait_timeout = 10", "INSERT INTO t VALUES (3, 3)")
    with source(server, original, Options()).open(workers=2) as snapshot:
        assert b"(3,3)" in read(snapshot, "t")


def test_nobody_joins_a_snapshot_that_has_ended_or_that_another_holds(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)
    asked = source(server, original, Options())
    with asked.open(workers=1) as snapshot:
        name = snapshot.proof.texts()["snapshot"]
        gone = pytest.raises(
            SnapshotLost, match=f"cannot rejoin snapshot '{name}': no session holds it"
        )
        with gone, asked.open(workers=1, rejoin=name):
            pass


def test_a_stopped_replica_is_not_locked_at_all(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)
    begin, end = (
        (
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_USER='nobody'",
            "RESET SLAVE ALL",
        )
        if server.brand is MARIADB
        else (
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_USER='nobody'",
            "RESET REPLICA ALL",
        )
    )
    server.run("mysql", begin, "SET GLOBAL read_only = 1")
    try:
        with source(server, original, Options()).open(workers=2) as snapshot:
            assert snapshot.proof.texts()["lock"] == "none, as this is a stopped replica"
            assert b"(2,2)" in read(snapshot, "t")
        server.run("mysql", "SET GLOBAL read_only = 0")
        with source(server, original, Options()).open(workers=2) as snapshot:
            assert "none" not in snapshot.proof.texts()["lock"]
    finally:
        server.run("mysql", "SET GLOBAL read_only = 0", end)
