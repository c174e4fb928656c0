"""Views, whatever the order of their names, and views that cannot be created."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.model.backup import Part
from holdfast.model.errors import RestoreFailed
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from tests.support.loop import keep, restored
from tests.support.mysql_server import MysqlServer, differences, ticked


def kept(
    server: MysqlServer, original: str, folder: Path
) -> tuple[tuple[Part, ...], dict[str, Any]]:
    told: dict[str, Any] = {}

    def look(snapshot: Any) -> None:
        told["proof"] = snapshot.proof.texts()
        told["notes"] = snapshot.notes

    return keep(MysqlSource(server.url(original)), folder, meanwhile=look), told


def test_views_come_back_after_those_that_they_read_however_they_name_them(
    server: MysqlServer, tmp_path: Path
) -> None:
    other = server.database("CREATE TABLE z_view (a int)", "CREATE TABLE apart (a int)")
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE base (a int PRIMARY KEY)",
        "INSERT INTO base VALUES (1), (2)",
        "CREATE VIEW z_view AS SELECT * FROM base WHERE a > 0",
        (
            "CREATE VIEW a_view AS SELECT STRAIGHT_JOIN b.a"
            " FROM base b STRAIGHT_JOIN z_view z ON z.a = b.a"
        ),
        f"CREATE VIEW b_view AS SELECT z.a FROM {ticked(other)}.z_view z JOIN z_view y ON 1 = 1",
        "CREATE VIEW c_view AS SELECT a FROM z_view WITH CHECK OPTION",
        f"CREATE VIEW d_view AS SELECT (SELECT MAX(a) FROM z_view) AS m FROM {ticked(other)}.apart",
    )
    parts, _ = kept(server, original, tmp_path)
    found = restored(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert (found.failed, found.notes) == ((), ())
    assert differences(server.described(copy), server.described(original)) == []
    # A view that was created over a stand-in would not accept rows.
    server.run(copy, "INSERT INTO c_view VALUES (3)")
    stock = server.database()
    for name in ("pre-data.sql", "post-data.sql"):
        server.load(stock, (tmp_path / name).read_bytes())
    assert server.ask(stock, "SELECT COUNT(*) FROM a_view") == [("0",)]


def test_a_view_whose_definer_is_gone_comes_back_and_so_do_views_that_read_it(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database("CREATE TABLE base (a int PRIMARY KEY)"), server.name()
    gone = server.account(f"SELECT ON {ticked(original)}.*")
    server.run(
        original,
        f"CREATE DEFINER = {ticked(gone)}@localhost VIEW v_gone AS SELECT a FROM base",
        "CREATE VIEW a_reader AS SELECT a FROM v_gone",
    )
    server.forget(gone)
    parts, told = kept(server, original, tmp_path)
    assert list(told["notes"]) == []
    found = restored(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert (found.failed, found.notes) == ((), ())
    views = (
        "SELECT table_name, definer FROM information_schema.views WHERE table_schema = DATABASE()"
    )
    assert sorted(server.ask(copy, views)) == sorted(server.ask(original, views))
    assert len(server.ask(copy, views)) == 2


def test_a_view_that_cannot_be_read_is_told_at_the_end_of_backup_and_of_restore(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE gone (a int)",
        "CREATE VIEW orphan AS SELECT a, '-- two\nlines' AS words FROM gone",
        "DROP TABLE gone",
    )
    parts, told = kept(server, original, tmp_path)
    assert list(told["notes"]) == ["views that cannot be read, kept as text: orphan"]
    found = restored(MysqlTarget(server.url(copy)), parts, tmp_path)
    (note,) = found.notes
    assert note.startswith("view 'orphan' was not restored: the source could not read it either")


def test_one_object_that_cannot_be_made_does_not_cost_the_others(
    server: MysqlServer, tmp_path: Path
) -> None:
    elsewhere = server.database("CREATE FUNCTION far(n int) RETURNS int DETERMINISTIC RETURN n")
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE base (a int PRIMARY KEY)",
        "INSERT INTO base VALUES (1), (2)",
        f"CREATE VIEW lost AS SELECT {ticked(elsewhere)}.far(a) AS b FROM base",
        "CREATE VIEW on_lost AS SELECT b FROM lost",
        "CREATE VIEW whole AS SELECT a FROM base",
        "CREATE FUNCTION near(n int) RETURNS int DETERMINISTIC RETURN n",
    )
    parts, _ = kept(server, original, tmp_path)
    server.drop(elsewhere)
    target = MysqlTarget(server.url(copy))
    with pytest.raises(RestoreFailed) as failure:
        restored(target, parts, tmp_path)
    assert "view 'lost'" in failure.value.message
    assert "--keep-going" in failure.value.hint
    assert copy not in server.databases()
    found = restored(target, parts, tmp_path, keep_going=True)
    assert next((each.kind, each.name) for each in found.failed) == ("view", "lost")
    assert {each.name for each in found.failed} == {"lost", "on_lost"}
    assert server.ask(copy, "SELECT * FROM whole ORDER BY a") == [("1",), ("2",)]
    assert [table.problem for table in found.tables] == [""]
    # Once the cause is fixed, the statements create the missing views.
    server.run("mysql", f"CREATE DATABASE {ticked(elsewhere)}")
    server.run(elsewhere, "CREATE FUNCTION far(n int) RETURNS int DETERMINISTIC RETURN n")
    script = found.preamble + "".join(each.statement for each in found.failed)
    server.load(copy, script.encode())
    assert server.ask(copy, "SELECT b FROM on_lost ORDER BY b") == [("1",), ("2",)]


def test_a_table_whose_rows_are_refused_does_not_cost_the_others_of_its_pack(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        *(f"CREATE TABLE {name} (a int PRIMARY KEY)" for name in "abc"),
        *(f"INSERT INTO {name} VALUES (1), (2)" for name in "abc"),
    )
    parts, _ = kept(server, original, tmp_path)
    (pack,) = (tmp_path / part.key for part in parts if part.members)
    text = pack.read_bytes()
    place = text.index(b"(1),\n(2)", text.index(b"INTO `b`"))
    pack.write_bytes(text[:place] + b"(1),\n(1)" + text[place + 8 :])
    found = restored(MysqlTarget(server.url(copy)), parts, tmp_path, keep_going=True)
    assert [(each.kind, each.name) for each in found.failed] == [("rows", f"{original}.b")]
    assert {table.relation.name for table in found.tables} == {"a", "c"}
    assert server.ask(copy, "SELECT COUNT(*) FROM c") == [("2",)]
