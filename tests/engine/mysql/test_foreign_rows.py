"""Tables with rows elsewhere: their definition is restored, and nothing is written there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest

from holdfast.model.backup import Selection
from holdfast.ports.source import Source
from holdfast.sources.mysql.dump.source import MysqlToolsSource
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.options import Options
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MARIADB, MysqlServer

SOURCES: dict[str, Callable[[str], Source]] = {
    "native": MysqlSource,
    "loose tables locked": lambda url: MysqlSource(url, options=Options(loose_tables="lock")),
    "one dump": MysqlToolsSource,
    "dumps by table": lambda url: MysqlToolsSource(url, as_tables=True),
}


def with_plugin(server: MysqlServer, name: str) -> None:
    try:
        server.run("mysql", f"INSTALL SONAME '{name}'")
    except pymysql.MySQLError as error:
        # 1968: it is installed already.
        if error.args[0] not in (1125, 1968):
            raise


@pytest.mark.parametrize("kind", SOURCES)
def test_a_restore_writes_into_no_table_of_another_server(
    server: MysqlServer, tmp_path: Path, kind: str
) -> None:
    original, copy = server.database(), server.name()
    server.run(original, "CREATE TABLE own (id int PRIMARY KEY)", "INSERT INTO own VALUES (1)")
    if server.brand is MARIADB:
        with_plugin(server, "ha_federatedx")
        with_plugin(server, "ha_blackhole")
        far = server.will_have_database("far_away")
        server.run("mysql", f"CREATE DATABASE {far}")
        server.run(
            far, "CREATE TABLE live (id int, v varchar(9))", "INSERT INTO live VALUES (1, 'a')"
        )
        server.run("mysql", "CREATE OR REPLACE USER far_login@localhost IDENTIFIED BY 'f'")
        server.run("mysql", f"GRANT ALL ON {far}.* TO far_login@localhost")
        server.run(
            original,
            "CREATE TABLE there (id int, v varchar(9)) ENGINE=FEDERATED"
            " CONNECTION='mysql://far_login:f@localhost/far_away/live'",
        )
    server.run(original, "CREATE TABLE hole (id int) ENGINE=BLACKHOLE")
    source = SOURCES[kind](server.url(original))
    assert any("stored elsewhere are not backed up" in note for note in source.plan().notes)
    assert [each.problem for each in source.check() if each.problem] == []
    parts = keep(source, tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    if server.brand is MARIADB:
        assert server.ask("far_away", "SELECT COUNT(*) FROM live") == [("1",)]
        assert server.ask(copy, "SELECT v FROM there") == [("a",)]
    definitions = [server.ask(database, "SHOW CREATE TABLE hole") for database in (original, copy)]
    assert definitions[0] == definitions[1]
    assert server.ask(copy, "SELECT COUNT(*) FROM own") == [("1",)]


def test_a_merge_of_other_tables_blocks_nobody_and_its_rows_come_back_once(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE one (id int PRIMARY KEY) ENGINE=MyISAM",
        "CREATE TABLE two (id int PRIMARY KEY) ENGINE=MyISAM",
        "CREATE TABLE both_of_them (id int PRIMARY KEY) ENGINE=MERGE UNION=(one, two)"
        " INSERT_METHOD=LAST",
        "INSERT INTO one VALUES (1), (2)",
        "INSERT INTO two VALUES (3)",
    )
    source = MysqlSource(server.url(original), options=Options(loose_tables="lock"))
    parts = keep(source, tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert server.ask(copy, "SELECT id FROM both_of_them ORDER BY id") == [("1",), ("2",), ("3",)]
    assert server.ask(copy, "SELECT COUNT(*) FROM two") == [("1",)]


def test_a_table_of_a_server_that_is_gone_does_not_keep_the_others_from_being_backed_up(
    server: MysqlServer, tmp_path: Path
) -> None:
    if server.brand is not MARIADB:
        pytest.skip("this MySQL has no FEDERATED")
    with_plugin(server, "ha_federatedx")
    far = server.will_have_database("gone_away")
    original = server.database(
        "CREATE TABLE own (id int PRIMARY KEY)", "INSERT INTO own VALUES (1)"
    )
    server.run("mysql", f"CREATE DATABASE {far}")
    server.run(far, "CREATE TABLE live (id int)")
    server.run("mysql", "CREATE OR REPLACE USER far_login@localhost IDENTIFIED BY 'f'")
    server.run("mysql", f"GRANT ALL ON {far}.* TO far_login@localhost")
    server.run(
        original,
        "CREATE TABLE there (id int) ENGINE=FEDERATED"
        " CONNECTION='mysql://far_login:f@localhost/gone_away/live'",
    )
    server.run(far, "DROP TABLE live")
    server.run("mysql", "FLUSH TABLES")
    everything = Options(databases=Selection(include=("*",)))
    listed = MysqlSource(server.url(original), options=everything).databases()
    assert original in [each.database for each in listed]
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    assert b"ENGINE=FEDERATED" in (tmp_path / "pre-data.sql").read_bytes()
    assert sum(part.rows or 0 for part in parts) == 1
