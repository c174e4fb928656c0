"""The content of a table as one number that the server computes, equal where the rows are.

It shares nothing with how rows are read for a backup: another expression, all rows in one question.
Each row becomes text in which every value is bounded, of that the first 64 bits of its SHA-256, and
their sum over all rows, in whatever order. Not MD5, which MySQL has no more, nor the server's own
CHECKSUM TABLE, whose numbers depend on its version and say the same of different rows.
"""

from __future__ import annotations

import threading
from collections.abc import Generator

from holdfast.checksums import Chosen
from holdfast.errors import BackupFailed
from holdfast.sources.mysql_native.columns import (
    BYTES,
    MOMENTS,
    TEXTS,
    WHOLE_NUMBERS,
    Column,
)
from holdfast.sources.mysql_native.names import quoted, select
from holdfast.sources.mysql_native.session import Row, Session
from holdfast.sources.mysql_native.tables import Table

METHOD = "mysql-rows/1"
TOO_SMALL = "max_allowed_packet is too small for one of its rows"
LARGER = "SET GLOBAL max_allowed_packet = 67108864"
# What no other value's text begins with.
NULL = "'N'"


class Content:
    """Obeys `streams.Summing` for the tables that were chosen.

    `reread_json` counts, by their columns, documents of MySQL that come back with other types:
    no text says that a number in them is a DECIMAL, or a string a date.
    """

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._lock = threading.Lock()
        self.reread_json: dict[str, int] = {}

    def checksum(
        self, session: Session, table: Table, *, size_bytes: int
    ) -> Generator[bytes, None, str]:
        for column in table.columns:
            if column.data_type == "json":
                rows, _ = yield from session.awaited(changed_json(table, column))
                self._note(f"{table.relation.name}.{column.name}", int(rows[0][0] or b"0"))
        if not self._chosen.covers(table.relation, size_bytes=size_bytes):
            return ""
        rows, warnings = yield from session.awaited(question(table))
        if not warnings:
            return f"{METHOD}:{counted(rows)[1]}"
        if self._chosen.policy == "all":
            raise BackupFailed(
                f"cannot compute a checksum of table '{table.relation}': {TOO_SMALL}", hint=LARGER
            )
        return ""

    def _note(self, column: str, count: int) -> None:
        if count:
            with self._lock:
                self.reread_json[column] = count

    @property
    def json_told(self) -> str:
        """The columns with such documents, for a proof and a note."""
        with self._lock:
            found = sorted(self.reread_json.items())
        return ", ".join(f"{column} ({count})" for column, count in found)


def changed_json(table: Table, column: Column) -> str:
    """How many documents are not the same once their text was read again."""
    name, text = quoted(column.name), _json_text(column)
    again = f"CAST({text} AS JSON)"
    as_text = f"CAST({again} AS CHAR CHARACTER SET utf8mb4)"
    changed = f"NOT ({name} <=> {again}) OR CAST({text} AS BINARY) <> CAST({as_text} AS BINARY)"
    return select("COUNT(*)", table.relation.name, f"WHERE {changed}")


def _json_text(column: Column) -> str:
    return f"CAST({quoted(column.name)} AS CHAR CHARACTER SET utf8mb4)"


def question(table: Table) -> str:
    """How many rows there are, and their sum."""
    pieces = ",".join(piece(column) for column in table.columns)
    # Without a column rows are equal, and their number says all.
    text = f"CONCAT_WS(',',{pieces})" if pieces else "''"
    number = f"CAST(CONV(LEFT(SHA2({text},256),16),16,10) AS UNSIGNED)"
    return select(f"COUNT(*),SUM({number})", table.relation.name)


def counted(rows: list[Row]) -> tuple[int, int]:
    """What the server answered to `question`."""
    count, total = rows[0]
    return int(count or b"0"), int(total or b"0")


def piece(column: Column) -> str:
    """One value as text that says where it ends: numbers hold no comma, others their length."""
    return f"IFNULL({_text(column)},{NULL})"


def _text(column: Column) -> str:
    name, kind = quoted(column.name), column.data_type
    if kind in WHOLE_NUMBERS | MOMENTS | {"double"}:
        return f"CONCAT({name})"
    if kind == "float":
        # Six digits and the sign, also of a zero; then all digits, which MySQL cuts off after 22
        # characters unless the sign stands apart.
        return f"CONCAT({name},'=',ABS({name}*1e0))"
    if kind == "bit":
        return f"CONCAT(CAST({name} AS UNSIGNED))"
    if kind in ("enum", "set"):
        # By number too: '' may be a member, or the error value.
        return f"CONCAT(CAST({name} AS UNSIGNED),'=',{_bounded(f'CAST({name} AS BINARY)')})"
    if kind == "json":
        # As any server has it that was given its text: see `changed_json`.
        again = f"CAST({_json_text(column)} AS JSON)"
        return f"SHA2(CAST({again} AS CHAR CHARACTER SET utf8mb4),256)"
    if column.long or kind == "vector":
        # All of a row has to fit into a packet: what may be long is there by its own digest.
        return f"SHA2({name},256)"
    if kind in TEXTS | BYTES:
        return _bounded(f"CAST({name} AS BINARY)")
    return _bounded(f"CAST(CONCAT({name}) AS BINARY)")


def _bounded(value: str) -> str:
    return f"CONCAT(LENGTH({value}),':',{value})"
