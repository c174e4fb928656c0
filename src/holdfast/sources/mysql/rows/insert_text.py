"""INSERT statements of bounded size: what every way of reading a table ends in.

QUOTE and CONCAT copy every value several times: a third of the server's work. Where no value holds
what needs escaping, plain arguments of GROUP_CONCAT give the very same text. Whether one did hold
it shows in the text: then there are more quotes than the rows account for, or a backslash, or a
byte that is no ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.server.columns import Column, column_list
from holdfast.sources.mysql.server.session import ServerVersion
from holdfast.sources.mysql.server.sql import quoted
from holdfast.sources.mysql.server.tables import Table

MIB = 1 << 20
# What makes a data part a complete script for any client; docs/restore-mysql.md counts its lines.
HEADER = b"""\
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
/*M!100201 SET SESSION check_constraint_checks = 0 */;
"""
MOST_RANGES_SKIPPED = 64


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
    def of(cls, version: ServerVersion) -> Limits:
        # Half a packet: at restore the statement's head needs room in the same packet.
        longest = min(version.max_allowed_packet // 2, 4 * MIB)
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


def long_row(table: Table, row: tuple[bytes | None, ...], limits: Limits) -> Iterator[Batch]:
    """One row as `columns.raw_row` asks for it."""
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


def arguments(columns: Sequence[Column]) -> str:
    """What GROUP_CONCAT is given for a row: `'(',a,',''',b,''')'`."""
    merged: list[str] = []
    text = "("
    for piece, is_text in _pieces(columns):
        if is_text:
            text += piece
            continue
        merged += [_literal(text), piece] if text else [piece]
        text = ""
    return ",".join([*merged, _literal(text + ")")])


def counts(columns: Sequence[Column]) -> list[str]:
    """What has to be asked besides, to know how many values are quoted."""
    return [f"COUNT({quoted(column.name)})" for column in columns if _may_be_missing(column)]


def is_true(value: bytes, *, rows: int, counted: Sequence[int], columns: Sequence[Column]) -> bool:
    """Whether `value` is what escaping would have given, too."""
    always = sum(1 for column in columns if column.is_quoted and not column.nullable)
    expected = 2 * (rows * always + sum(counted))
    if value.count(b"'") != expected or b"\\" in value:
        return False
    return value.isascii() or not any(column.is_ascii for column in columns)


class Luck:
    """Whether the next range is worth a try, learnt from the last ones."""

    def __init__(self) -> None:
        self._skip = 0
        self._after_next = 1

    def try_next(self) -> bool:
        if self._skip == 0:
            return True
        self._skip -= 1
        return False

    def learn(self, *, was_true: bool) -> None:
        """A text full of quotes costs one try in `MOST_RANGES_SKIPPED`."""
        if was_true:
            self._after_next = 1
            return
        self._skip = self._after_next
        self._after_next = min(2 * self._after_next, MOST_RANGES_SKIPPED)


def _may_be_missing(column: Column) -> bool:
    return column.is_quoted and column.nullable


def _pieces(columns: Sequence[Column]) -> Iterator[tuple[str, bool]]:
    """Expressions, and the text between them."""
    for number, column in enumerate(columns):
        if number:
            yield ",", True
        bare = column.bare
        if bare is None:
            yield column.literal, False
        elif column.nullable:
            yield f"IFNULL(CONCAT('''',{bare},''''),'NULL')", False
        else:
            yield from (("'", True), (bare, False), ("'", True))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
