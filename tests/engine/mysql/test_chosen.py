"""One database, several or all, and single tables of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.backup import Selection
from holdfast.model.errors import BackupFailed, DatabaseUnreachable
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.mysql.server.options import Options
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MysqlServer, numbers, ticked

SMALL = ("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
LARGE = (*SMALL, "CREATE TABLE u (id int PRIMARY KEY, v longtext)")
SHOP = (
    "CREATE TABLE orders (id int PRIMARY KEY, note varchar(20))",
    "INSERT INTO orders VALUES (1, 'a'), (2, 'it''s')",
    "CREATE TABLE log_1 (id int PRIMARY KEY)",
    "INSERT INTO log_1 VALUES (1)",
    "CREATE TABLE log_2 (id int PRIMARY KEY, CONSTRAINT f FOREIGN KEY (id) REFERENCES log_1 (id))",
    "CREATE VIEW shown AS SELECT id FROM orders",
    "CREATE VIEW logged AS SELECT id FROM log_1",
    "CREATE VIEW twice_logged AS SELECT id FROM logged",
    "CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW SET NEW.note = 'x'",
    "CREATE PROCEDURE p() SELECT 1",
)


def source(
    server: MysqlServer,
    database: str = "",
    *,
    databases: Selection | None = None,
    tables: Selection | None = None,
) -> MysqlSource:
    return MysqlSource(server.url(database), options=Options(databases=databases, tables=tables))


def test_all_databases_of_a_server_are_those_that_are_not_its_own(server: MysqlServer) -> None:
    small, large = server.database(*SMALL), server.database(*LARGE)
    server.run(large, f"INSERT INTO u SELECT seq, REPEAT('x', 300) FROM {numbers(20_000)}")
    server.ask(large, "ANALYZE TABLE u")
    everything = source(server, databases=Selection(include=("*",))).databases()
    names = [each.database for each in everything]
    assert {small, large} <= set(names)
    assert names.index(large) < names.index(small)
    assert not {"mysql", "sys", "information_schema", "performance_schema"} & set(names)
    assert all(each.databases() == [each] for each in everything)


def test_a_list_and_patterns_are_taken_as_they_are_written(server: MysqlServer) -> None:
    one, other = server.database(*SMALL), server.database(*SMALL)
    listed = Selection(include=(one, f"{other[:-2]}*"), exclude=(one,))
    assert [each.database for each in source(server, databases=listed).databases()] == [other]
    missing = source(server, databases=Selection(include=("no such database",))).databases()
    with pytest.raises(DatabaseUnreachable, match="no such database"):
        missing[0].check()
    with pytest.raises(DatabaseUnreachable, match="no name matches the selection"):
        source(server, databases=Selection(include=("no_such_*",))).databases()


def test_each_of_several_databases_is_restored_alone(server: MysqlServer, tmp_path: Path) -> None:
    names = (server.database(*SMALL), server.database(*LARGE))
    for number, each in enumerate(source(server, databases=Selection(include=names)).databases()):
        folder, copy = tmp_path / str(number), server.name()
        bring_back(MysqlTarget(server.url(copy)), keep(each, folder), folder)
        assert server.checksums(copy) == server.checksums(each.database)


def test_tables_that_are_left_out_take_the_views_on_them_along(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*SHOP), server.name()
    chosen = source(server, original, tables=Selection(include=("*",), exclude=("log_*",)))
    proofs: list[dict[str, str]] = []
    parts = keep(chosen, tmp_path, meanwhile=lambda snapshot: proofs.append(snapshot.proof.texts()))
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert {name for (name,) in server.ask(copy, "SHOW TABLES")} == {"orders", "shown"}
    assert server.checksums(copy)["orders"] == server.checksums(original)["orders"]
    assert server.ask(copy, "SELECT note FROM orders WHERE id = 2") == [("it's",)]
    assert server.ask(copy, "SHOW TRIGGERS")[0][0] == "noted"
    assert proofs[0]["tables_left_out"] == "2: log_1, log_2"
    assert proofs[0]["views_broken_at_source"] == "logged, twice_logged"


def test_tables_that_are_named_come_with_their_triggers_and_nothing_else(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(*SHOP), server.name()
    chosen = source(server, original, tables=Selection(include=("orders",)))
    assert [str(table.relation) for table in chosen.plan().tables] == [f"{original}.orders"]
    bring_back(MysqlTarget(server.url(copy)), keep(chosen, tmp_path), tmp_path)
    assert server.ask(copy, "SHOW TABLES") == [("orders",)]
    assert len(server.ask(copy, "SHOW TRIGGERS")) == 1
    assert server.ask(copy, f"SHOW PROCEDURE STATUS WHERE Db = '{copy}'") == []


def test_a_table_that_was_named_and_is_not_there_fails_the_backup(server: MysqlServer) -> None:
    original = server.database(*SHOP)
    with pytest.raises(BackupFailed, match=r"cannot back up table 'ordres': .* none of that name"):
        source(server, original, tables=Selection(include=("ordres",))).check()
    assert server.ask(original, f"SELECT COUNT(*) FROM {ticked(original)}.orders") == [("2",)]
