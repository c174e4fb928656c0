"""Tables whose rows are elsewhere: their definition comes back, and nothing is written there."""

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
from tests.engine.mysql.laboratory import MARIADB, Laboratory
from tests.support.loop import bring_back, keep

SOURCES: dict[str, Callable[[str], Source]] = {
    "native": MysqlSource,
    "loose tables locked": lambda url: MysqlSource(url, choices=Options(loose_tables="lock")),
    "one dump": MysqlToolsSource,
    "dumps by table": lambda url: MysqlToolsSource(url, as_tables=True),
}


def with_plugin(lab: Laboratory, name: str) -> None:
    try:
        lab.run("mysql", f"INSTALL SONAME '{name}'")
    except pymysql.MySQLError as error:
        # 1968: it is installed already.
        if error.args[0] not in (1125, 1968):
            raise


@pytest.mark.parametrize("kind", SOURCES)
def test_a_restore_writes_into_no_table_of_another_server(
    lab: Laboratory, tmp_path: Path, kind: str
) -> None:
    original, copy = lab.database(), lab.name()
    lab.run(original, "CREATE TABLE own (id int PRIMARY KEY)", "INSERT INTO own VALUES (1)")
    if lab.brand is MARIADB:
        with_plugin(lab, "ha_federatedx")
        with_plugin(lab, "ha_blackhole")
        far = lab.will_have_database("far_away")
        lab.run("mysql", f"CREATE DATABASE {far}")
        lab.run(far, "CREATE TABLE live (id int, v varchar(9))", "INSERT INTO live VALUES (1, 'a')")
        lab.run("mysql", "CREATE OR REPLACE USER far_login@localhost IDENTIFIED BY 'f'")
        lab.run("mysql", f"GRANT ALL ON {far}.* TO far_login@localhost")
        lab.run(
            original,
            "CREATE TABLE there (id int, v varchar(9)) ENGINE=FEDERATED"
            " CONNECTION='mysql://far_login:f@localhost/far_away/live'",
        )
    lab.run(original, "CREATE TABLE hole (id int) ENGINE=BLACKHOLE")
    source = SOURCES[kind](lab.url(original))
    assert any("stay where they are" in note for note in source.plan().notes)
    assert [each.problem for each in source.check() if each.problem] == []
    parts = keep(source, tmp_path)
    bring_back(MysqlTarget(lab.url(copy)), parts, tmp_path)
    if lab.brand is MARIADB:
        assert lab.ask("far_away", "SELECT COUNT(*) FROM live") == [("1",)]
        assert lab.ask(copy, "SELECT v FROM there") == [("a",)]
    definitions = [lab.ask(database, "SHOW CREATE TABLE hole") for database in (original, copy)]
    assert definitions[0] == definitions[1]
    assert lab.ask(copy, "SELECT COUNT(*) FROM own") == [("1",)]


def test_a_merge_of_other_tables_blocks_nobody_and_its_rows_come_back_once(
    lab: Laboratory, tmp_path: Path
) -> None:
    original, copy = lab.database(), lab.name()
    lab.run(
        original,
        "CREATE TABLE one (id int PRIMARY KEY) ENGINE=MyISAM",
        "CREATE TABLE two (id int PRIMARY KEY) ENGINE=MyISAM",
        "CREATE TABLE both_of_them (id int PRIMARY KEY) ENGINE=MERGE UNION=(one, two)"
        " INSERT_METHOD=LAST",
        "INSERT INTO one VALUES (1), (2)",
        "INSERT INTO two VALUES (3)",
    )
    source = MysqlSource(lab.url(original), choices=Options(loose_tables="lock"))
    parts = keep(source, tmp_path)
    bring_back(MysqlTarget(lab.url(copy)), parts, tmp_path)
    assert lab.ask(copy, "SELECT id FROM both_of_them ORDER BY id") == [("1",), ("2",), ("3",)]
    assert lab.ask(copy, "SELECT COUNT(*) FROM two") == [("1",)]


def test_a_table_of_a_server_that_is_gone_does_not_keep_the_others_from_being_backed_up(
    lab: Laboratory, tmp_path: Path
) -> None:
    if lab.brand is not MARIADB:
        pytest.skip("this MySQL has no FEDERATED")
    with_plugin(lab, "ha_federatedx")
    far = lab.will_have_database("gone_away")
    original = lab.database("CREATE TABLE own (id int PRIMARY KEY)", "INSERT INTO own VALUES (1)")
    lab.run("mysql", f"CREATE DATABASE {far}")
    lab.run(far, "CREATE TABLE live (id int)")
    lab.run("mysql", "CREATE OR REPLACE USER far_login@localhost IDENTIFIED BY 'f'")
    lab.run("mysql", f"GRANT ALL ON {far}.* TO far_login@localhost")
    lab.run(
        original,
        "CREATE TABLE there (id int) ENGINE=FEDERATED"
        " CONNECTION='mysql://far_login:f@localhost/gone_away/live'",
    )
    lab.run(far, "DROP TABLE live")
    lab.run("mysql", "FLUSH TABLES")
    everything = Options(databases=Selection(include=("*",)))
    listed = MysqlSource(lab.url(original), choices=everything).databases()
    assert original in [each.database for each in listed]
    parts = keep(MysqlSource(lab.url(original)), tmp_path)
    assert b"ENGINE=FEDERATED" in (tmp_path / "pre-data.sql").read_bytes()
    assert sum(part.rows or 0 for part in parts) == 1
