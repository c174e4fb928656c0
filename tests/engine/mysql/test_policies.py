"""What is done about definitions that change, tables without a snapshot, and a server at work."""

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
from tests.engine.mysql.laboratory import MARIADB, MYSQL, PASSWORD, Laboratory, of_database
from tests.support.loop import bring_back, keep
from tests.support.waiting import until

ONE_TABLE = ("CREATE TABLE t (id int PRIMARY KEY, a int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
LOOSE = (
    *ONE_TABLE,
    "CREATE TABLE loose (id int PRIMARY KEY, a int) ENGINE=MyISAM",
    "INSERT INTO loose VALUES (1, 10)",
)
# Neither server rebuilds the table for it. MariaDB goes on reading as if nothing had been, MySQL
# refuses to read a table of which the snapshot has an older definition (error 1412).
INSTANT = "ALTER TABLE t ADD COLUMN b int DEFAULT 7, ALGORITHM=INSTANT"


def source(lab: Laboratory, database: str, choices: Options) -> MysqlSource:
    return MysqlSource(lab.url(database), choices=choices)


def data_parts(snapshot: Snapshot) -> dict[str, PartPlan]:
    return {
        part.relation.name: part
        for part in snapshot.parts
        if part.kind is PartKind.DATA and part.relation
    }


def read(snapshot: Snapshot, table: str) -> bytes:
    with snapshot.read(data_parts(snapshot)[table]) as stream:
        return b"".join(bytes(chunk) for chunk in stream)


def test_a_column_added_after_the_snapshot_fails_the_table_by_its_name(lab: Laboratory) -> None:
    original = lab.database(*ONE_TABLE)
    with source(lab, original, Options()).open(workers=1) as snapshot:
        lab.run(original, INSTANT)
        with pytest.raises(BackupFailed, match=rf"'{original}\.t'") as failure:
            read(snapshot, "t")
        assert "altered after the snapshot" in failure.value.message + failure.value.hint
        assert "run the backup again" in failure.value.hint


def test_whoever_ignores_ddl_gets_the_rows_of_the_snapshot_where_the_server_still_reads_them(
    lab: Laboratory, tmp_path: Path
) -> None:
    original, copy = lab.database(*ONE_TABLE), lab.name()

    def kept() -> tuple[Part, ...]:
        ignoring = source(lab, original, Options(ddl="ignore"))
        return keep(ignoring, tmp_path, meanwhile=lambda _: lab.run(original, INSTANT))

    if lab.brand is MYSQL:
        with pytest.raises(BackupFailed, match=rf"'{original}\.t'.*1412"):
            kept()
        return
    bring_back(MysqlTarget(lab.url(copy)), kept(), tmp_path)
    assert lab.ask(copy, "SELECT * FROM t") == [("1", "1"), ("2", "2")]


def test_ddl_that_is_blocked_waits_until_the_backup_has_ended(lab: Laboratory) -> None:
    original = lab.database(*ONE_TABLE)
    with source(lab, original, Options(ddl="block")).open(workers=1) as snapshot:
        read(snapshot, "t")
        with pytest.raises(pymysql.OperationalError, match="1205"):
            lab.run(original, "SET lock_wait_timeout = 1", "ALTER TABLE t ADD COLUMN b int")
        lab.run(original, "INSERT INTO t VALUES (3, 3)")
    lab.run(original, "SET lock_wait_timeout = 30", "ALTER TABLE t ADD COLUMN b int")


def test_a_table_without_a_snapshot_is_kept_still_until_it_has_been_read(
    lab: Laboratory, tmp_path: Path
) -> None:
    original, copy = lab.database(*LOOSE), lab.name()
    choices = Options(loose_tables="lock")
    with source(lab, original, choices).open(workers=2) as snapshot:
        assert snapshot.proof["locked_while_read"] == f"{original}.loose"
        assert next(iter(data_parts(snapshot))) == "loose"
        with pytest.raises(pymysql.OperationalError, match="1205"):
            lab.run(original, "SET lock_wait_timeout = 1", "INSERT INTO loose VALUES (2, 20)")
        assert b"(1,10)" in read(snapshot, "loose")
        lab.run(original, "SET lock_wait_timeout = 30", "INSERT INTO loose VALUES (2, 20)")
    parts = keep(source(lab, original, choices), tmp_path)
    bring_back(MysqlTarget(lab.url(copy)), parts, tmp_path)
    assert lab.checksums(copy) == lab.checksums(original)


def test_locking_tables_takes_a_grant_that_is_named(lab: Laboratory) -> None:
    original = lab.database(*LOOSE)
    user = lab.reader(original)
    url = lab.url(original, user=user)
    asked = MysqlSource(url, password=PASSWORD, choices=Options(loose_tables="lock"))
    with pytest.raises(GrantMissing, match="lacks LOCK TABLES"):
        asked.check()
    lab.run("mysql", f"GRANT {of_database(original, 'LOCK TABLES')} TO `{user}`@localhost")
    assert any("1 of them locked" in finding.detail for finding in asked.check())


def test_a_long_statement_is_waited_for_and_then_the_backup_refused(lab: Laboratory) -> None:
    original = lab.database(*ONE_TABLE)
    impatient = Options(long_query_seconds=1, wait_seconds=1)

    def sleep() -> None:
        # It is killed below, which one of the servers calls an error.
        with suppress(pymysql.Error):
            lab.ask(original, "SELECT SLEEP(300)")

    slow = threading.Thread(target=sleep)
    slow.start()
    try:
        until(lambda: bool(_sleeping(lab)))
        until(lambda: _opening_is_refused(lab, original, impatient))
    finally:
        for number in _sleeping(lab):
            lab.run("mysql", f"KILL QUERY {number}")
        slow.join()
    with source(lab, original, impatient).open(workers=1) as snapshot:
        assert b"(1,1)" in read(snapshot, "t")


def _opening_is_refused(lab: Laboratory, database: str, choices: Options) -> bool:
    try:
        with source(lab, database, choices).open(workers=1):
            return False
    except BackupFailed as error:
        return "cannot take the snapshot: statement of session" in error.message


def _sleeping(lab: Laboratory) -> list[str]:
    question = (
        "SELECT id FROM information_schema.processlist"
        " WHERE info LIKE 'SELECT SLEEP%' AND command = 'Query'"
    )
    return [number for (number,) in lab.ask("mysql", question)]


def test_a_lock_is_given_up_where_opening_takes_too_long(lab: Laboratory) -> None:
    original = lab.database(*ONE_TABLE)

    def late() -> datetime:
        """Asked for while the lock is held: as if opening took that long."""
        threading.Event().wait(2)
        return datetime.now(UTC)

    slow = MysqlSource(lab.url(original), choices=Options(hold_seconds=0.2), clock=late)
    refused = pytest.raises(BackupFailed, match="opening it took too long, so its lock")
    with refused, slow.open(workers=2):
        pass
    lab.run(original, "SET lock_wait_timeout = 10", "INSERT INTO t VALUES (3, 3)")
    with source(lab, original, Options()).open(workers=2) as snapshot:
        assert b"(3,3)" in read(snapshot, "t")


def test_nobody_joins_a_snapshot_that_has_ended_or_that_another_holds(lab: Laboratory) -> None:
    original = lab.database(*ONE_TABLE)
    asked = source(lab, original, Options())
    with asked.open(workers=1) as snapshot:
        name = snapshot.proof["snapshot"]
        gone = pytest.raises(SnapshotLost, match=f"nobody holds snapshot '{name}'")
        with gone, asked.open(workers=1, rejoin=name):
            pass


def test_a_stopped_replica_is_not_locked_at_all(lab: Laboratory) -> None:
    original = lab.database(*ONE_TABLE)
    begin, end = (
        (
            "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_USER='nobody'",
            "RESET SLAVE ALL",
        )
        if lab.brand is MARIADB
        else (
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_USER='nobody'",
            "RESET REPLICA ALL",
        )
    )
    lab.run("mysql", begin, "SET GLOBAL read_only = 1")
    try:
        with source(lab, original, Options()).open(workers=2) as snapshot:
            assert snapshot.proof["lock"] == "none, as this is a stopped replica"
            assert b"(2,2)" in read(snapshot, "t")
        lab.run("mysql", "SET GLOBAL read_only = 0")
        with source(lab, original, Options()).open(workers=2) as snapshot:
            assert "none" not in snapshot.proof["lock"]
    finally:
        lab.run("mysql", "SET GLOBAL read_only = 0", end)
