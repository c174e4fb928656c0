"""Each mistake has its own error with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.backup import Relation
from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    RestoreFailed,
    TargetNotEmpty,
    Unsupported,
)
from holdfast.ports.source import Finding
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MARIADB, MYSQL, PASSWORD, MysqlServer, numbers, of_database

ONE_TABLE = ("CREATE TABLE t (id int PRIMARY KEY, a int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
DATABASE_RIGHTS = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")


def test_a_missing_grant_is_named_with_the_statement_that_gives_it(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)
    for absent in (*server.brand.whole_server, *DATABASE_RIGHTS):
        whole_server = [f"{each} ON *.*" for each in server.brand.whole_server if each != absent]
        rights = of_database(original, *(each for each in DATABASE_RIGHTS if each != absent))
        user = server.account(*whole_server, rights, "SELECT ON `mysql`.*")
        source = MysqlSource(server.url(original, user=user), password=PASSWORD)
        with pytest.raises(GrantMissing, match=f"lacks {absent} ") as failure:
            source.check()
        server.run("mysql", failure.value.hint)
        source.check()


def test_what_the_login_cannot_see_before_it_locks_is_told_with_the_grant(
    server: MysqlServer,
) -> None:
    original = server.database(*ONE_TABLE)
    user = server.account(
        *(f"{each} ON *.*" for each in server.brand.whole_server),
        of_database(original, *DATABASE_RIGHTS),
        "SELECT ON `mysql`.*",
    )
    source = MysqlSource(server.url(original, user=user), password=PASSWORD)

    def seen() -> Finding:
        return next(each for each in source.check() if each.subject == "sight")

    assert "lacks PROCESS to see long statements" in seen().problem
    assert "to see the lag of a replica" in seen().problem
    for statement in seen().hint.split("; "):
        server.run("mysql", statement)
    assert seen().problem == ""


def test_a_wrong_password_is_told_from_a_server_that_is_down(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE)
    user = server.account()
    with pytest.raises(AccessDenied, match="cannot connect"):
        MysqlSource(server.url(original, user=user), password="guess").check()
    nowhere = "mysql://root@localhost/shop?unix_socket=/nonexistent/mysqld.sock"
    with pytest.raises(DatabaseUnreachable, match="nonexistent"):
        MysqlSource(nowhere).check()
    with pytest.raises(DatabaseUnreachable, match="no such database"):
        MysqlSource(server.url("no such database")).check()


def test_tables_that_no_snapshot_holds_still_are_refused_by_name(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE, "CREATE TABLE loose (id int) ENGINE=MyISAM")
    for attempt in (
        MysqlSource(server.url(original)).check,
        MysqlSource(server.url(original)).plan,
    ):
        with pytest.raises(Unsupported, match=r"loose' \(MyISAM\)"):
            attempt()
    server.run(original, "DROP TABLE loose")
    MysqlSource(server.url(original)).check()
    if server.brand is MYSQL:
        # It has no system versioning.
        return
    server.run(original, "ALTER TABLE t ADD SYSTEM VERSIONING")
    with pytest.raises(Unsupported, match="history would be lost"):
        MysqlSource(server.url(original)).check()


def test_the_plan_says_how_each_table_is_read_and_why(server: MysqlServer) -> None:
    original = server.database(*ONE_TABLE, "CREATE TABLE bag (a int)")
    plan = MysqlSource(server.url(original)).plan()
    methods = {table.relation.name: table.method for table in plan.tables}
    assert methods == {"t": "key-ranges", "bag": "streamed-rows"}
    assert "no unique key" in next(t.reason for t in plan.tables if t.relation.name == "bag")
    assert plan.server.kind == server.brand.name


def test_the_plan_sees_what_came_since_the_last_one(server: MysqlServer) -> None:
    original = server.database("CREATE TABLE t (id int PRIMARY KEY)")
    source = MysqlSource(server.url(original))
    assert source.plan().tables[0].estimated_rows == 0
    server.run(original, f"INSERT INTO t SELECT seq FROM {numbers(5000)}")
    assert source.plan().tables[0].estimated_rows > 2500


def test_existing_data_is_never_overwritten_unasked(server: MysqlServer, tmp_path: Path) -> None:
    original, full = server.database(*ONE_TABLE), server.database("CREATE TABLE mine (id int)")
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    target = MysqlTarget(server.url(full))
    with pytest.raises(TargetNotEmpty, match="it is not empty"):
        bring_back(target, parts, tmp_path)
    assert server.ask(full, "SHOW TABLES") == [("mine",)]
    bring_back(target, parts, tmp_path, overwrite=True)
    assert server.ask(full, "SHOW TABLES") == [("t",)]
    with pytest.raises(TargetNotEmpty, match="it has 't'"):
        bring_back(target, parts, tmp_path, tables=[Relation(schema=original, name="t")])


def test_a_part_that_fails_names_its_table_and_leaves_no_database(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*ONE_TABLE), server.name()
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    (broken,) = [part for part in parts if part.relation]
    file = tmp_path / broken.key
    file.write_bytes(file.read_bytes().replace(b"(2,", b"(1,"))
    with pytest.raises(
        RestoreFailed, match=r"cannot restore table .*\.t': .*\(error \d+\)"
    ) as failure:
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert "was dropped again" in failure.value.hint
    assert copy not in server.databases()


def test_rows_that_went_missing_are_noticed(server: MysqlServer, tmp_path: Path) -> None:
    original, copy = server.database(*ONE_TABLE), server.name()
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    (data,) = [part for part in parts if part.relation]
    file = tmp_path / data.key
    file.write_bytes(file.read_bytes().replace(b",\n(2,2)", b""))
    with pytest.raises(RestoreFailed, match="has 1 rows instead of 2"):
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)


def test_a_login_without_the_rights_to_restore_is_refused_before_anything_changes(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*ONE_TABLE), server.name()
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    user = server.account("SELECT ON *.*")
    with pytest.raises(GrantMissing, match="may not create databases"):
        bring_back(MysqlTarget(server.url(copy, user=user), password=PASSWORD), parts, tmp_path)
    assert copy not in server.databases()


@contextmanager
def larger_packets(server: MysqlServer) -> Iterator[int]:
    """Four times the packet for new sessions; the usual size."""
    ((usual,),) = server.ask("mysql", "SELECT @@GLOBAL.max_allowed_packet")
    server.run("mysql", f"SET GLOBAL max_allowed_packet = {4 * int(usual)}")
    try:
        yield int(usual)
    finally:
        server.run("mysql", f"SET GLOBAL max_allowed_packet = {usual}")


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
def test_a_value_larger_than_any_packet_fails_by_its_table_and_is_never_left_out(
    server: MysqlServer, tmp_path: Path, key: str
) -> None:
    original = server.database(f"CREATE TABLE giants (id int {key}, story longtext)")
    with larger_packets(server) as usual:
        server.run(original, f"INSERT INTO giants VALUES (1, REPEAT('x', {usual} + 1000))")
        larger = keep(MysqlSource(server.url(original)), tmp_path / "larger")
    source = MysqlSource(server.url(original))
    if server.brand is MARIADB:
        with pytest.raises(BackupFailed, match="giants") as failure:
            keep(source, tmp_path / "usual")
        assert "max_allowed_packet" in failure.value.hint
    else:
        # MySQL sends a stored value of any size.
        kept = keep(source, tmp_path / "usual")
        assert sum(part.plain_bytes for part in kept) > usual
    copy = server.name()
    with pytest.raises(RestoreFailed, match=r"giants.*max_allowed_packet"):
        bring_back(MysqlTarget(server.url(copy)), larger, tmp_path / "larger")
    assert copy not in server.databases()
    with larger_packets(server):
        bring_back(MysqlTarget(server.url(copy)), larger, tmp_path / "larger")
        assert server.checksums(copy) == server.checksums(original)
