"""INSERT statements of bounded size, the output of every way to read a table.

QUOTE and CONCAT copy every value several times, which is a third of the server's work. Where no
value needs escaping, plain arguments of GROUP_CONCAT give exactly the same text. The text itself
shows whether a value needed escaping: it then has more quotes than the rows account for, a
backslash, or a byte that is not ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from holdfast.model.errors import BackupFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.server.columns import Column, column_list
from holdfast.sources.mysql.server.session import ServerVersion
from holdfast.sources.mysql.server.sql import quoted
from holdfast.sources.mysql.server.tables import Table

MIB = 1 << 20
# Makes a data part a complete script for any client; docs/restore-mysql.md counts its lines.
HEADER = b"""\
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
/*M!100201 SET SESSION check_constraint_checks = 0 */;
"""
MOST_RANGES_SKIPPED = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """SQL, and the number of rows that it completes; a long row takes several batches."""

    sql: bytes
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Size limits of statements and values, in bytes."""

    statement_bytes: int
    """The target size of a statement: larger ones gain nothing and cost memory on both sides."""
    longest_bytes: int
    """The maximum size of a statement's rows; also the server's `group_concat_max_len`."""
    piece_bytes: int
    """Raw bytes of a long value that one statement carries; twice that in hexadecimal."""

    @classmethod
    def of(cls, version: ServerVersion) -> Limits:
        # Half a packet: in a restore the statement's head must fit into the same packet.
        longest = min(version.max_allowed_packet // 2, 4 * MIB)
        return cls(
            statement_bytes=min(MIB, longest // 2),
            longest_bytes=longest,
            piece_bytes=longest // 4,
        )


def mark(table: Table) -> bytes:
    """The comment line before a table's rows, for human readers."""
    return f"-- holdfast: rows of table {json.dumps(table.relation.name)}\n".encode()


def insert_head(table: Table) -> bytes:
    into = f"INSERT INTO {quoted(table.relation.name)} {column_list(table.columns)} VALUES\n"
    return into.encode()


@dataclass(frozen=True, slots=True)
class RowsText:
    """Formatted rows within the packet that brought them, from `start` to `end`.

    What `opens` the first row and `closes` the last one is not in the packet. A copy of a MiB takes
    a tenth of the time of its compression, so there is only one, the statement.
    """

    packet: bytes
    start: int
    end: int
    opens: bytes = b""
    closes: bytes = b""

    @classmethod
    def of(cls, rows: bytes) -> RowsText:
        return cls(rows, 0, len(rows))

    def __len__(self) -> int:
        return self.end - self.start

    def has(self, byte: bytes) -> bool:
        return self.packet.find(byte, self.start, self.end) >= 0

    def has_quotes(self, expected: int) -> bool:
        """Whether it has exactly that many quotes, with those that open and close rows."""
        beside = self.packet.count(b"'", 0, self.start) + self.packet.count(b"'", self.end)
        return _has_quotes(self.packet, expected + beside - (self.opens + self.closes).count(b"'"))

    def is_ascii(self) -> bool:
        return self.packet[self.start : self.end].isascii()

    def pieces(self) -> tuple[bytes | memoryview, ...]:
        return self.opens, memoryview(self.packet)[self.start : self.end], self.closes


def statement(table: Table, rows: RowsText) -> bytes:
    """One INSERT of formatted rows.

    An unescaped carriage return or zero byte occurs only inside a string here. Clients that are
    not in binary mode would drop a carriage return before a line feed and refuse a zero byte.
    """
    pieces = rows.pieces()
    if rows.has(b"\r") or rows.has(b"\0"):
        pieces = (b"".join(pieces).replace(b"\r", b"\\r").replace(b"\0", b"\\0"),)
    return b"".join((insert_head(table), *pieces, b";\n"))


def long_row(table: Table, row: tuple[bytes | None, ...], limits: Limits) -> Iterator[Batch]:
    """The statements of one row that was selected by `columns.raw_row`."""
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
    yield Batch(statement(table, RowsText.of(b"(" + b",".join(values) + b")")), 1)


def _gathered(variable: str, value: bytes, piece_bytes: int) -> Iterator[Batch]:
    yield Batch(f"SET {variable} = x'{value[:piece_bytes].hex()}';\n".encode(), 0)
    for start in range(piece_bytes, len(value), piece_bytes):
        piece = value[start : start + piece_bytes].hex()
        yield Batch(f"SET {variable} = CONCAT({variable}, x'{piece}');\n".encode(), 0)
    if len(value) > piece_bytes:
        yield Batch(_whole(variable, len(value)), 0)


def _whole(variable: str, size_bytes: int) -> bytes:
    """A statement that fails unless the value is complete: CONCAT only warns, and gives NULL.

    Setting an unknown locale fails, and the server's error shows its text. PREPARE would do that
    too, but servers may allow no prepared statements (`max_prepared_stmt_count = 0`).
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BareRows:
    """How GROUP_CONCAT prints rows without escaping.

    The text between two rows is the separator, as each further argument costs the server time. So
    the first row lacks what `opens` it, and the last row what `closes` it.
    """

    expression: str
    opens: bytes
    closes: bytes

    @classmethod
    def of(cls, columns: Sequence[Column]) -> BareRows:
        merged: list[str] = []
        opens, text = "", "("
        for piece, is_text in _pieces(columns):
            if is_text:
                text += piece
                continue
            if not merged:
                opens = text
            elif text:
                merged.append(_literal(text))
            merged.append(piece)
            text = ""
        closes = text + ")"
        separator = _literal(f"{closes},\n{opens}")
        return cls(
            expression=f"GROUP_CONCAT({','.join(merged)} SEPARATOR {separator})",
            opens=opens.encode(),
            closes=closes.encode(),
        )

    def whole(self, text: RowsText) -> RowsText:
        return replace(text, opens=self.opens, closes=self.closes)


def counts(columns: Sequence[Column]) -> list[str]:
    """The COUNTs to select as well, which tell how many values are quoted."""
    return [f"COUNT({quoted(column.name)})" for column in columns if _may_be_missing(column)]


def is_true(
    text: RowsText, *, rows: int, counted: Sequence[int], columns: Sequence[Column]
) -> bool:
    """Whether `text` is what escaping would have given."""
    always = sum(1 for column in columns if column.is_quoted and not column.nullable)
    expected = 2 * (rows * always + sum(counted))
    if text.has(b"\\") or not text.has_quotes(expected):
        return False
    return not any(column.is_ascii for column in columns) or text.is_ascii()


def _has_quotes(value: bytes, expected: int) -> bool:
    """Whether `value` has exactly that many quotes.

    `bytes.count` looks at each byte in turn, which takes a quarter of the time of compression;
    `replace` searches from one quote to the next.
    """
    if expected <= 0:
        return expected == 0 and b"'" not in value
    rest = value.replace(b"'", b" ", expected - 1)
    last = rest.find(b"'")
    return last >= 0 and rest.find(b"'", last + 1) < 0


class Luck:
    """Decides from the last results whether to try unescaped text for the next range."""

    def __init__(self) -> None:
        self._skip = 0
        self._after_next = 1

    def try_next(self) -> bool:
        if self._skip == 0:
            return True
        self._skip -= 1
        return False

    def learn(self, *, was_true: bool) -> None:
        """After each failed try, skip twice as many ranges, at most `MOST_RANGES_SKIPPED`."""
        if was_true:
            self._after_next = 1
            return
        self._skip = self._after_next
        self._after_next = min(2 * self._after_next, MOST_RANGES_SKIPPED)


def _may_be_missing(column: Column) -> bool:
    return column.is_quoted and column.nullable


def _pieces(columns: Sequence[Column]) -> Iterator[tuple[str, bool]]:
    """The expressions of a row and the literal text between them; the flag marks text."""
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
