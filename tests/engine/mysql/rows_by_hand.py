"""The content of every table as one digest each, worked out here: no code of the product, and no
checksum of the server's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pymysql

from tests.support.mysql_server import MysqlServer, ticked

COLUMNS = """
    SELECT c.table_name, c.column_name, c.data_type
    FROM information_schema.columns c
    JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = DATABASE() AND t.table_type = 'BASE TABLE'
    ORDER BY c.table_name, c.ordinal_position"""
# Bytes as they are stored.
STORED = {
    *("char", "varchar", "tinytext", "text", "mediumtext", "longtext"),
    *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"),
    *("point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometry", "geometrycollection", "geomcollection"),
}
_DOCUMENT = "CAST({} AS CHAR CHARACTER SET utf8mb4)"
SESSION = (
    "SET SESSION sql_mode = '', time_zone = '+00:00', character_set_results = 'utf8mb4', "
    "sql_select_limit = 18446744073709551615"
)


def content(server: MysqlServer, database: str) -> dict[str, str]:
    """Every table's rows, whatever their order, hidden and computed columns among them."""
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(SESSION)
        cursor.execute(COLUMNS)
        values: dict[str, list[str]] = {}
        for table, column, kind in cursor.fetchall():
            values.setdefault(table, []).extend(_told(ticked(column), str(kind).lower()))
        return {
            table: _digest(cursor, table, [*told, *_types(cursor, table, told)])
            for table, told in values.items()
        }


def _told(column: str, kind: str) -> list[str]:
    """Expressions that distinguish all values of a column."""
    if kind in STORED:
        return [f"HEX({column})"]
    if kind == "float":
        return [f"CONCAT({column})", f"CONCAT({column} * 1e0)"]
    if kind in ("enum", "set"):
        return [f"{column} + 0", f"HEX({column})"]
    if kind == "bit":
        return [f"CAST({column} AS UNSIGNED)"]
    if kind == "json":
        return [_DOCUMENT.format(column)]
    return [f"CONCAT({column})"]


def _types(cursor: pymysql.cursors.Cursor, table: str, told: list[str]) -> Iterator[str]:
    """Expressions for the type of the value at each path of a JSON document."""
    before, after = _DOCUMENT.split("{}")
    for expression in told:
        if not (expression.startswith(before) and expression.endswith(after)):
            continue
        cursor.execute(f"SELECT {expression} FROM {ticked(table)}")
        texts = [row[0] for row in cursor.fetchall() if row[0] is not None]
        column = expression.removeprefix(before).removesuffix(after)
        for path in sorted({path for text in texts for path in _paths(json.loads(text))}):
            literal = cursor.connection.escape(path)
            yield f"JSON_TYPE(JSON_EXTRACT({column}, {literal}))"


def _paths(document: object, at: str = "$") -> Iterator[str]:
    yield at
    if isinstance(document, dict):
        for key, value in document.items():
            yield from _paths(value, f"{at}.{json.dumps(key, ensure_ascii=False)}")
    if isinstance(document, list):
        for number, value in enumerate(document):
            yield from _paths(value, f"{at}[{number}]")


def _digest(cursor: pymysql.cursors.Cursor, table: str, told: list[str]) -> str:
    cursor.execute(f"SELECT {', '.join(told)} FROM {ticked(table)}")
    rows = sorted(repr(row) for row in cursor.fetchall())
    return f"{len(rows)}:{hashlib.sha256(repr(rows).encode()).hexdigest()}"
