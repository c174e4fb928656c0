"""The server makes the next range of rows while the caller has the last one."""

from __future__ import annotations

import re
import threading
from collections import deque

from holdfast.model.checksums import Policy, chosen
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.snapshot import RowsStream
from holdfast.sources.mysql.rows.table_rows import TableRows
from holdfast.sources.mysql.server.answers import Row, UncopiedRow
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.content_checksum import METHOD, Content, counted, question
from holdfast.sources.mysql.server.options import DdlCheck, KeptStill
from holdfast.sources.mysql.server.session import ServerVersion, Session
from holdfast.sources.mysql.server.tables import read_tables
from tests.support.mysql_server import MysqlServer, numbers
from tests.support.waiting import until

ROWS = 9_000


class Watched(Session):
    """A session that tells whether it waits for an answer."""

    is_asked = False

    def ask(self, sql: str | bytes) -> None:
        super().ask(sql)
        self.is_asked = True

    def answer(self) -> tuple[list[Row], int]:
        self.is_asked = False
        return super().answer()

    def uncopied_answer(self) -> tuple[list[UncopiedRow], int]:
        self.is_asked = False
        return super().uncopied_answer()


def opened(server: MysqlServer, key: str) -> tuple[Watched, TableRows]:
    database = server.database(
        f"CREATE TABLE t (id {key}, a varchar(1000))",
        f"INSERT INTO t SELECT seq, REPEAT('a', 1000) FROM {numbers(ROWS)}",
    )
    session = Watched.open(Address.parse(server.url(database)))
    assert isinstance(session, Watched)
    session.configure(group_concat_max_len=4 << 20)
    (table,) = read_tables(session, database)
    return session, TableRows(deque([session]), table, Limits.of(ServerVersion.of(session)))


def test_each_range_comes_after_the_next_was_asked_for(server: MysqlServer) -> None:
    for key in ("int PRIMARY KEY", "varchar(20) PRIMARY KEY"):
        session, rows = opened(server, key)
        seen = [(session.is_asked, batch.rows) for batch in rows.read(then=lambda: None)]
        assert sum(count for _, count in seen) == ROWS
        assert len(seen) > 5
        # The last range may turn out to be empty: it is asked for, too.
        assert all(is_asked for is_asked, _ in seen[:-1])
        assert not session.is_asked
        session.close()


def test_a_session_is_free_for_others_when_its_rows_are_left_early(server: MysqlServer) -> None:
    session, rows = opened(server, "int PRIMARY KEY")
    batches = iter(rows.read(then=lambda: None))
    next(batches)
    assert session.is_asked
    rows.drop()
    assert session.value("SELECT 7") == "7"
    session.close()


def test_the_next_table_of_a_pack_is_asked_for_before_the_last_rows_of_one(
    server: MysqlServer,
) -> None:
    names = ["a", "b", "c"]
    made = [f"CREATE TABLE {name} (id int PRIMARY KEY)" for name in names]
    database = server.database(*made, *(f"INSERT INTO {name} VALUES (1), (2)" for name in names))
    session = Watched.open(Address.parse(server.url(database)))
    assert isinstance(session, Watched)
    tables = read_tables(session, database)
    policies: list[Policy] = ["none", "all"]
    for policy in policies:
        sizes = {table.relation: table.data_bytes for table in tables}
        stream = RowsStream(
            [session],
            tables,
            Limits.of(ServerVersion.of(session)),
            guard=DdlCheck({}, KeptStill(session, []), ddl="ignore"),
            summing=Content(chosen(sizes, policy)),
        )
        asked = [session.is_asked for chunk in stream if bytes(chunk).startswith(b"INSERT")]
        assert asked == [True, True, False]
        assert [(each.relation.name, each.rows) for each in stream.members] == [
            (name, 2) for name in names
        ]
        summed = [f"{METHOD}:{counted(session.fetch(question(table))[0])[1]}" for table in tables]
        assert [each.checksum for each in stream.members] == (
            summed if policy == "all" else [""] * 3
        )
    session.close()


def two_sessions(server: MysqlServer, database: str) -> list[Watched]:
    opened = [Watched.open(Address.parse(server.url(database))) for _ in range(2)]
    watched = [session for session in opened if isinstance(session, Watched)]
    for session in watched:
        session.configure(group_concat_max_len=4 << 20)
    return watched


def test_one_session_makes_the_next_rows_while_another_one_sends_its_own(
    server: MysqlServer,
) -> None:
    for key in ("int PRIMARY KEY", "varchar(20) PRIMARY KEY"):
        database = server.database(
            f"CREATE TABLE t (id {key}, a varchar(1000))",
            f"INSERT INTO t SELECT seq, REPEAT('a', 1000) FROM {numbers(ROWS)}",
            "ANALYZE TABLE t",
        )
        sessions = two_sessions(server, database)
        (table,) = read_tables(sessions[0], database)
        idle: deque[Session] = deque(sessions)
        rows = TableRows(idle, table, Limits.of(ServerVersion.of(sessions[0])))
        seen = []
        made = b""
        for batch in rows.read(then=lambda: None):
            seen.append((sum(each.is_asked for each in sessions), batch.rows))
            made += bytes(batch.sql)
        assert sum(count for _, count in seen) == ROWS
        assert max(asked for asked, _ in seen[:-1]) == 2
        assert not any(each.is_asked for each in sessions)
        assert list(idle) in (sessions, sessions[::-1])
        found = re.findall(rb"^(?:VALUES\n)?\('?(\d+)", made, re.M)
        in_order = sorted(str(number) for number in range(1, ROWS + 1))
        wanted = in_order if "varchar" in key else [str(each) for each in range(1, ROWS + 1)]
        assert [each.decode() for each in found] == wanted
        for session in sessions:
            session.close()


def test_rows_that_suddenly_are_longer_are_read_in_pieces_by_both_sessions(
    server: MysqlServer,
) -> None:
    """Ranges that were asked for with the length of earlier rows are cut by the server."""
    database = server.database(
        "CREATE TABLE t (id int PRIMARY KEY, a longtext)",
        f"INSERT INTO t SELECT seq, REPEAT('a', IF(seq < 3000, 100, 2000)) FROM {numbers(ROWS)}",
    )
    sessions = two_sessions(server, database)
    (table,) = read_tables(sessions[0], database)
    for session in sessions:
        session.configure(group_concat_max_len=1 << 20)
    rows = TableRows(deque(sessions), table, Limits.of(ServerVersion.of(sessions[0])))
    made = b"".join(bytes(batch.sql) for batch in rows.read(then=lambda: None))
    found = re.findall(rb"\((\d+),'", made)
    assert [int(each) for each in found] == list(range(1, ROWS + 1))
    for session in sessions:
        session.close()


def test_a_table_that_somebody_waits_to_alter_is_read_by_the_session_that_began(
    server: MysqlServer,
) -> None:
    """A second session would wait behind the ALTER, which waits for the first one."""
    database = server.database(
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(1000))",
        f"INSERT INTO t SELECT seq, REPEAT('a', 1000) FROM {numbers(ROWS)}",
        "ANALYZE TABLE t",
    )
    first, second = sessions = two_sessions(server, database)
    (table,) = read_tables(first, database)
    for session in sessions:
        session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    idle: deque[Session] = deque(sessions)
    rows = TableRows(idle, table, Limits.of(ServerVersion.of(second)))
    rows.begin()
    altering = threading.Thread(target=server.run, args=(database, "ALTER TABLE t ADD b int"))
    altering.start()
    waiting = (
        "SELECT COUNT(*) FROM information_schema.processlist"
        " WHERE state = 'Waiting for table metadata lock' AND info LIKE 'ALTER TABLE t %'"
    )
    until(lambda: server.ask("mysql", waiting) == [("1",)])
    seen = [(second.is_asked, batch.rows) for batch in rows.read(then=lambda: None)]
    assert sum(count for _, count in seen) == ROWS
    assert not any(is_asked for is_asked, _ in seen)
    assert second.value("SELECT @@lock_wait_timeout") == "300"
    assert sorted(map(id, idle)) == sorted(map(id, sessions))
    for session in sessions:
        session.close()
    altering.join()
