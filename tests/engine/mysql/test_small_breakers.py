"""Small causes of failures: few connections, sequences, comments of routines."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from holdfast.model.backup import Relation
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.session import session
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MARIADB, PASSWORD, MysqlServer, differences, ticked


def test_a_login_with_two_connections_makes_a_backup(server: MysqlServer, tmp_path: Path) -> None:
    original = server.database("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    reader = server.reader(original)
    server.run("mysql", f"ALTER USER {ticked(reader)}@localhost WITH MAX_USER_CONNECTIONS 2")
    source = MysqlSource(server.url(original, user=reader), password=PASSWORD)
    workers = max(1, source.connections_free())
    assert workers == 1
    parts = keep(source, tmp_path, workers=workers)
    assert sum(part.rows or 0 for part in parts) == 1


def test_a_login_whose_last_connections_are_taken_does_without_second_sessions(
    server: MysqlServer, tmp_path: Path
) -> None:
    original = server.database("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    reader = server.reader(original)
    server.run("mysql", f"ALTER USER {ticked(reader)}@localhost WITH MAX_USER_CONNECTIONS 16")
    url = server.url(original, user=reader)
    address = Address.parse(url, password=PASSWORD)
    with ExitStack() as others:
        # Three are left: for the session that locks, and for one of each worker.
        for _ in range(13):
            others.enter_context(session(address))
        parts = keep(MysqlSource(url, password=PASSWORD), tmp_path, workers=2)
    assert sum(part.rows or 0 for part in parts) == 1


def test_a_single_table_brings_the_sequence_that_its_default_is_taken_from(
    server: MysqlServer, tmp_path: Path
) -> None:
    if server.brand is not MARIADB:
        pytest.skip("MySQL has no sequences")
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE SEQUENCE counter START WITH 40",
        "CREATE SEQUENCE unasked",
        "CREATE TABLE t (id int PRIMARY KEY DEFAULT NEXTVAL(counter), a int)",
        "INSERT INTO t (a) VALUES (1), (2)",
    )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    target, table = MysqlTarget(server.url(copy)), Relation(schema=original, name="t")
    bring_back(target, parts, tmp_path, tables=[table])
    assert server.ask(copy, "SELECT id FROM t ORDER BY id") == [("40",), ("41",)]
    names = server.ask(
        copy,
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = DATABASE() ORDER BY 1",
    )
    assert names == [("counter",), ("t",)]
    # An existing one continues from its own value.
    server.run(copy, "DO SETVAL(counter, 5000)")
    bring_back(target, parts, tmp_path, tables=[table], overwrite=True)
    assert int(server.ask(copy, "SELECT NEXTVAL(counter)")[0][0]) == 5001


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES"])
def test_comments_of_routines_and_events_keep_their_backslashes(
    server: MysqlServer, tmp_path: Path, mode: str
) -> None:
    original, copy = server.database(), server.name()
    slash = "\\" if mode else "\\\\"
    server.run(
        original,
        f"SET sql_mode = '{mode}'",
        f"CREATE PROCEDURE p() COMMENT 'one{slash}two ''q'' end' SELECT 'a {slash} COMMENT'",
        f"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE COMMENT 'x{slash}y' DO SELECT 1",
    )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    question = (
        "SELECT routine_comment FROM information_schema.routines WHERE routine_schema = DATABASE()"
    )
    assert server.ask(copy, question) == server.ask(original, question) == [("one\\two 'q' end",)]
    question = "SELECT event_comment FROM information_schema.events WHERE event_schema = DATABASE()"
    assert server.ask(copy, question) == server.ask(original, question) == [("x\\y",)]
    assert differences(server.described(copy), server.described(original)) == []
