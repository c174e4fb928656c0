"""Rows that look like SQL are loaded as values, and a failure names its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.backup import PartKind
from holdfast.model.errors import RestoreFailed
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MysqlServer

ENDS = (
    ";\n",
    "x');\nINSERT INTO `t` (`id`,`a`) VALUES\n(99,'y",
    "\\';\n",
    '\\\\\';\n-- holdfast: rows of table "t"\n;\n',
    "'';\nDROP TABLE t;\n",
    '";\n`;\n/* ;\n',
    "é;\nü",
)


@pytest.mark.parametrize("key", ["PRIMARY KEY", ""], ids=["ranges", "stream"])
@pytest.mark.parametrize("kind", ["varchar(99)", "mediumtext"])
def test_values_with_the_end_of_a_statement_in_them_come_back(
    server: MysqlServer, tmp_path: Path, kind: str, key: str
) -> None:
    original, copy = server.database(f"CREATE TABLE t (id int {key}, a {kind})"), server.name()
    with server.connect(original) as connection, connection.cursor() as cursor:
        for number, text in enumerate(ENDS):
            cursor.execute("INSERT INTO t VALUES (%s, %s)", [number, text])
        if kind == "mediumtext":
            # Too long for one statement: it is built in a variable.
            cursor.execute("INSERT INTO t VALUES (99, REPEAT(';\n''', 2000000))")
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    (table,) = bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert table.rows_found == len(ENDS) + (kind == "mediumtext")
    assert server.checksums(copy) == server.checksums(original)
    assert server.ask(copy, "SELECT COUNT(DISTINCT id) FROM t") == [(str(table.rows_found),)]


def test_a_row_that_the_server_refuses_names_its_table(server: MysqlServer, tmp_path: Path) -> None:
    original, copy = server.database("CREATE TABLE t (id int PRIMARY KEY)"), server.name()
    server.run(original, "INSERT INTO t VALUES (1), (2)")
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    (data,) = [part for part in parts if part.kind is PartKind.DATA]
    file = tmp_path / data.key
    file.write_bytes(file.read_bytes().replace(b"(2)", b"(1)"))
    # Some releases of MariaDB sort the first rows of a table, and notice equal keys at the end.
    named = rf"cannot restore table '{original}\.t': .*\(error (1062|1180)\)"
    with pytest.raises(RestoreFailed, match=named):
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert copy not in server.databases()
