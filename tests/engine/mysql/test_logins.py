"""Only the first session of a backup lists the server's variables; all of them are prepared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.model.errors import Unsupported
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.connection import Address
from holdfast.sources.mysql.server.session import Session, session
from tests.support.mysql_server import MysqlServer

LIST = "SHOW SESSION VARIABLES"


@contextmanager
def global_value(server: MysqlServer, name: str, value: str) -> Iterator[None]:
    ((before,),) = server.ask("mysql", f"SELECT @@GLOBAL.{name}")
    server.run("mysql", f"SET GLOBAL {name} = {value}")
    try:
        yield
    finally:
        server.run("mysql", f"SET GLOBAL {name} = {before}")


def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that sessions send from now on."""
    asked: list[str] = []

    class Heard(Session):
        def ask(self, sql: str | bytes) -> None:
            asked.append(str(sql))
            super().ask(sql)

    monkeypatch.setattr("holdfast.sources.mysql.server.session.Session", Heard)
    return asked


def test_one_session_lists_the_variables_for_all_of_a_backup(
    server: MysqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = heard(monkeypatch)
    source = MysqlSource(server.url(server.database("CREATE TABLE t (a int PRIMARY KEY)")))
    assert source.connections_free() > 0
    with source.open(workers=2):
        pass
    assert asked.count(LIST) == 1
    # The session that counts connections, the one that locks, and two for each worker.
    assert sum(sql.startswith("SET SESSION sql_select_limit") for sql in asked) == 2 * 6


def test_after_a_failure_the_variables_are_listed_again(
    server: MysqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = heard(monkeypatch)
    source = MysqlSource(server.url(server.database("CREATE TABLE t (a int) ENGINE = MEMORY")))
    assert source.connections_free() > 0
    with pytest.raises(Unsupported), source.open(workers=2):
        pass
    assert source.connections_free() > 0
    assert asked.count(LIST) == 2


def test_a_variable_that_only_administrators_may_set_is_compared_in_each_session(
    server: MysqlServer,
) -> None:
    address = Address.parse(server.url(server.database()))
    with session(address) as first:
        known = first.variables
    with global_value(server, "max_error_count", "7"), session(address, known=known) as second:
        assert second.variables["max_error_count"] == "7"
        assert second.value("SELECT @@SESSION.max_error_count") == "64"
        assert second.variables.keys() == known.keys()
