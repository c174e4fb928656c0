"""Every byte that a server accepts in a character set is restored unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MARIADB, MysqlServer

# First and second bytes of two-byte characters, and invalid bytes.
HALVES = (0x00, 0x20, 0x27, 0x40, 0x5C, 0x7E, 0x80, 0x81, 0x8F, 0xA0, 0xA1, 0xC3, 0xED, 0xFE, 0xFF)


def values() -> Iterator[str]:
    """Every byte, pairs of them, and some longer ones, in hexadecimal."""
    yield from (f"{byte:02x}" for byte in range(256))
    yield from (f"{one:02x}{two:02x}" for one in HALVES for two in HALVES)
    yield from (
        "eda080",
        "f09f9880",
        "f4908080",
        "e28280",
        "00d8",
        "d83dde00",
        "8fa1a1",
        "81308130",
    )


def bytes_of(server: MysqlServer, database: str, table: str) -> list[tuple[str, ...]]:
    return server.ask(database, f"SELECT id, HEX(v), HEX(long_v) FROM {table} ORDER BY id")


def test_every_byte_comes_back_in_every_character_set(server: MysqlServer, tmp_path: Path) -> None:
    charsets = [row[0] for row in server.ask("mysql", "SHOW CHARACTER SET") if row[0] != "binary"]
    original, copy = server.database("SET sql_mode = ''"), server.name()
    rows = ",".join(f"({number}, x'{value}', x'{value}')" for number, value in enumerate(values()))
    for charset in charsets:
        server.run(
            original,
            "SET sql_mode = ''",
            (
                f"CREATE TABLE in_{charset} (id int PRIMARY KEY,"
                f" v varchar(9) CHARACTER SET {charset} NOT NULL,"
                f" long_v text CHARACTER SET {charset})"
            ),
            f"CREATE TABLE no_key_{charset} LIKE in_{charset}",
            f"ALTER TABLE no_key_{charset} DROP PRIMARY KEY",
            f"INSERT IGNORE INTO in_{charset} VALUES {rows}",
            f"INSERT INTO no_key_{charset} SELECT * FROM in_{charset}",
        )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    tables = [f"{kind}_{charset}" for charset in charsets for kind in ("in", "no_key")]
    different = [
        table
        for table in tables
        if bytes_of(server, copy, table) != bytes_of(server, original, table)
    ]
    assert different == []


def test_a_key_of_bytes_that_are_no_character_is_walked_along(
    server: MysqlServer, tmp_path: Path
) -> None:
    if server.brand is not MARIADB:
        pytest.skip("MySQL takes no such bytes in ascii")
    original, copy = server.database("SET sql_mode = ''"), server.name()
    filler = "REPEAT('f', 3000)"
    server.run(
        original,
        "CREATE TABLE t (k varbinary(4), v varchar(9) CHARACTER SET ascii, f text)",
        "ALTER TABLE t MODIFY k varchar(4) CHARACTER SET ascii COLLATE ascii_bin NOT NULL",
        "ALTER TABLE t ADD PRIMARY KEY (k)",
        *(
            f"INSERT INTO t VALUES (x'{one:02x}{two:02x}', x'{two:02x}', {filler})"
            for one in range(0x70, 0xA0)
            for two in range(0x60, 0xC0, 3)
        ),
        "ANALYZE TABLE t",
    )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    question = "SELECT HEX(k), HEX(v) FROM t ORDER BY k"
    assert server.ask(copy, question) == server.ask(original, question)
