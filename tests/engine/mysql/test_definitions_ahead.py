"""Definitions are read while another session describes the tables, and none is lost or stale."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from holdfast.model.backup import PartKind
from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.rows import source
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.connection import Address, StatementFailed
from holdfast.sources.mysql.server.definition_text import tables_shown
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table, listed_tables
from tests.support.loop import keep
from tests.support.mysql_server import MysqlServer

PATIENCE_SECONDS = 60.0


class Noticed(Session):
    """Tells when it was first asked for a definition."""

    was_asked = threading.Event()

    def ask(self, sql: str | bytes) -> None:
        super().ask(sql)
        if "SHOW CREATE" in str(sql):
            self.was_asked.set()


def sessions(server: MysqlServer, database: str) -> list[Session]:
    address = Address.parse(server.url(database))
    Noticed.was_asked.clear()
    return [Session.open(address), Noticed.open(address)]


def test_other_sessions_read_definitions_while_the_first_does_something_else(
    server: MysqlServer,
) -> None:
    opened = sessions(server, server.database("CREATE TABLE t (a int)", "CREATE TABLE u (a int)"))
    seen: list[bool] = []

    def beside(_: Session) -> None:
        seen.append(Noticed.was_asked.wait(PATIENCE_SECONDS))

    shown = tables_shown(opened, ["t", "gone", "u"], beside=beside)
    assert seen == [True]
    assert list(shown) == ["t", "u"]
    assert all(sql.startswith(b"CREATE TABLE `") for sql in shown.values())
    with pytest.raises(BackupFailed, match="cannot read the definition of table 'gone'"):
        tables_shown(opened, ["t", "gone"])
    for each in opened:
        each.close()


def test_a_failure_beside_ends_the_sessions(server: MysqlServer) -> None:
    opened = sessions(server, server.database("CREATE TABLE t (a int)"))

    def beside(session: Session) -> None:
        session.run("SELECT * FROM no_such_table")

    with pytest.raises(StatementFailed, match="no_such_table"):
        tables_shown(opened, ["t"], beside=beside)
    assert not any(each.alive for each in opened)
    for each in opened:
        each.close()


@pytest.mark.parametrize("ddl", ["detect", "ignore"])
def test_a_table_that_comes_or_goes_before_the_snapshot_is_backed_up_as_it_is_then(
    server: MysqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ddl: str
) -> None:
    """Tables are listed once before the snapshot, and once in it."""
    database = server.database("CREATE TABLE goes (a int)", "CREATE TABLE stays (a int)")

    def listed(session: Session, name: str) -> list[Table]:
        found = listed_tables(session, name)
        server.run(database, "DROP TABLE goes", "CREATE TABLE comes (a int)")
        return found

    monkeypatch.setattr(source, "listed_tables", listed)
    options = Options(ddl="detect" if ddl == "detect" else "ignore")
    parts = keep(MysqlSource(server.url(database), options=options), tmp_path)
    named = {each.relation.name for part in parts for each in part.members}
    named |= {part.relation.name for part in parts if part.relation}
    assert named == {"comes", "stays"}
    (made,) = [part for part in parts if part.kind is PartKind.PRE_DATA]
    assert made.plain_bytes > 0
