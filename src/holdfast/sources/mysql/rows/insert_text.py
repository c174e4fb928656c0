"""INSERT statements of bounded size: what every way of reading a table ends in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.server.columns import column_list, raw_row
from holdfast.sources.mysql.server.names import quoted, select
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table
from holdfast.sources.mysql.server.version import ServerVersion

MIB = 1 << 20
# What makes a data part a complete script for any client; docs/restore-mysql.md counts its lines.
HEADER = b"""\
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
/*M!100201 SET SESSION check_constraint_checks = 0 */;
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some whole rows as SQL; `sql` is cut where one statement would be too much to hold."""

    sql: bytes
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large things may become."""

    statement_bytes: int
    """What is aimed at: larger gains nothing and costs memory on both sides."""
    longest_bytes: int
    """What no statement exceeds; also the server's `group_concat_max_len`."""
    piece_bytes: int
    """Raw bytes of a long value that one statement carries; twice that in hexadecimal."""

    @classmethod
    def of(cls, edition: ServerVersion) -> Limits:
        # Half a packet: at restore the statement's head needs room in the same packet.
        longest = min(edition.max_allowed_packet // 2, 4 * MIB)
        return cls(
            statement_bytes=min(MIB, longest // 2),
            longest_bytes=longest,
            piece_bytes=longest // 4,
        )


def mark(table: Table) -> bytes:
    """The line before a table's rows, for people."""
    return f"-- holdfast: rows of table {json.dumps(table.relation.name)}\n".encode()


def insert_head(table: Table) -> bytes:
    into = f"INSERT INTO {quoted(table.relation.name)} {column_list(table.columns)} VALUES\n"
    return into.encode()


def statement(table: Table, rows: bytes) -> bytes:
    """One INSERT of formatted rows.

    A bare carriage return or zero byte can only stand inside a string here; clients that are
    not in binary mode would drop the one before a line feed and refuse the other.
    """
    escaped = rows.replace(b"\r", b"\\r").replace(b"\0", b"\\0")
    return b"".join((insert_head(table), escaped, b";\n"))


def raw_rows(session: Session, table: Table, where: str, limits: Limits) -> Iterator[Batch]:
    """Rows too long for one statement: long values gathered in user variables, piece by piece."""
    what = ",".join(raw_row(table.columns))
    with session.streamed(select(what, table.relation.name, where)) as rows:
        for row in rows:
            yield from long_row(table, row, limits)


def long_row(table: Table, row: tuple[bytes | None, ...], limits: Limits) -> Iterator[Batch]:
    """One row as `raw_row` gives it."""
    values: list[bytes] = []
    types = iter(row[len(table.columns) :])
    for number, (column, value) in enumerate(zip(table.columns, row, strict=False)):
        typed = next(types) if column.is_json else None
        if not column.long:
            values.append(present(table, value))
        elif value is None:
            values.append(b"NULL")
        else:
            variable = f"@holdfast_{number}"
            yield from _gathered(variable, value, limits.piece_bytes)
            values.append(column.restored(variable, typed).encode())
    yield Batch(statement(table, b"(" + b",".join(values) + b")"), 1)


def _gathered(variable: str, value: bytes, piece_bytes: int) -> Iterator[Batch]:
    yield Batch(f"SET {variable} = x'{value[:piece_bytes].hex()}';\n".encode(), 0)
    for start in range(piece_bytes, len(value), piece_bytes):
        piece = value[start : start + piece_bytes].hex()
        yield Batch(f"SET {variable} = CONCAT({variable}, x'{piece}');\n".encode(), 0)
    if len(value) > piece_bytes:
        yield Batch(_whole(variable, len(value)), 0)


def _whole(variable: str, size_bytes: int) -> bytes:
    """An error unless the value is all there: CONCAT only warns, and gives NULL.

    What is no locale fails, and the server tells its text; a statement to be prepared would too,
    but servers may allow none (`max_prepared_stmt_count = 0`).
    """
    cause = f"max_allowed_packet is too small for a value of {size_bytes} bytes"
    check = f"IF(LENGTH({variable}) <=> {size_bytes}, @@SESSION.lc_time_names, '{cause}')"
    return f"SET SESSION lc_time_names = {check};\n".encode()


def present(table: Table, value: bytes | None) -> bytes:
    if value is None:
        raise BackupFailed(
            f"cannot read table '{table.relation}': the server left out a value of a row"
        )
    return value
