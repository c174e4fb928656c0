"""The checksum of a table's content, which the server computes: equal rows give equal numbers.

It shares no expression with how a backup reads rows, and one query computes it over all of them.
Each row becomes a text in which every value is delimited. The checksum is the sum, in any order, of
the first 64 bits of the SHA-256 of these texts. MD5 is no choice, as MySQL no longer has it. The
server's own CHECKSUM TABLE depends on its version, and gives some different rows the same number.
"""

from __future__ import annotations

import threading
from collections.abc import Generator

from holdfast.model.checksums import Chosen
from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.server import typed_json
from holdfast.sources.mysql.server.answers import Row
from holdfast.sources.mysql.server.columns import BYTES, MOMENTS, TEXTS, WHOLE_NUMBERS, Column
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.sql import quoted, select
from holdfast.sources.mysql.server.tables import Table

METHOD = "mysql-rows/1"
# The same, with the types of the values in MySQL's JSON documents. Tables without JSON columns use
# the first method.
WITH_TYPES = "mysql-rows/2"
METHODS = (METHOD, WITH_TYPES)
TOO_SMALL = "max_allowed_packet is too small for one of its rows"
LARGER = "SET GLOBAL max_allowed_packet = 67108864"
# The text of NULL; no other value's text begins with it.
NULL = "'N'"


class Content:
    """Obeys `rows.snapshot.TableChecksums` for the tables that were chosen.

    `strange_json` counts, by column, MySQL's JSON documents with values of unknown types. A restore
    brings such values back as their text says.
    """

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._lock = threading.Lock()
        self.strange_json: dict[str, int] = {}

    def asks(self, table: Table) -> bool:
        return table.relation in self._chosen.tables or any(
            column.is_json for column in table.columns
        )

    def beside_rows(self, table: Table) -> str:
        """The expression for a query that reads all rows of the table.

        Empty where the table gets no checksum, or needs queries of its own.
        """
        is_apart = any(column.is_json for column in table.columns)
        return "" if is_apart or table.relation not in self._chosen.tables else total(table)

    def told(self, table: Table, found: int, *, size_bytes: int) -> str:
        """What `checksum` returns, where the expression of `beside_rows` gave `found`."""
        covers = self._chosen.covers(table.relation, size_bytes=size_bytes)
        return f"{METHOD}:{found}" if covers else ""

    def checksum(
        self, session: Session, table: Table, *, size_bytes: int
    ) -> Generator[bytes, None, str]:
        for column in table.columns:
            if column.is_json:
                rows, _ = yield from session.awaited(strange_json(table, column))
                self._note(f"{table.relation.name}.{column.name}", int(rows[0][0] or b"0"))
        if not self._chosen.covers(table.relation, size_bytes=size_bytes):
            return ""
        method = method_for(table)
        rows, warnings = yield from session.awaited(question(table, method))
        if not warnings:
            return f"{method}:{counted(rows)[1]}"
        if self._chosen.policy == "all":
            raise BackupFailed(
                f"cannot compute a checksum of table '{table.relation}': {TOO_SMALL}", hint=LARGER
            )
        return ""

    def _note(self, column: str, count: int) -> None:
        if count:
            with self._lock:
                self.strange_json[column] = count

    @property
    def json_told(self) -> str:
        """The columns that `strange_json` counts, for a proof and a note."""
        with self._lock:
            found = sorted(self.strange_json.items())
        return ", ".join(f"{column} ({count})" for column, count in found)


def strange_json(table: Table, column: Column) -> str:
    """The query that counts documents with a value whose type is unknown and not in its text."""
    name = column.name
    is_strange = typed_json.since(f"{typed_json.unknown(name)} > 0 AND", "", "")
    where = f"WHERE {typed_json.is_more_than_text(name)} AND {is_strange} TRUE"
    return select("COUNT(*)", table.relation.name, where)


def method_for(table: Table) -> str:
    """The most precise method for the table."""
    return WITH_TYPES if any(column.is_json for column in table.columns) else METHOD


def question(table: Table, method: str = METHOD) -> str:
    """The query for the number of rows and their sum by one of the `METHODS`."""
    return select(f"COUNT(*),{total(table, method)}", table.relation.name)


def total(table: Table, method: str = METHOD) -> str:
    """The expression for the sum over rows; NULL where there are none."""
    pieces = ",".join(piece(column, method) for column in table.columns)
    # Rows without a column are all equal: their number is enough.
    text = f"CONCAT_WS(',',{pieces})" if pieces else "''"
    return f"SUM(CAST(CONV(LEFT(SHA2({text},256),16),16,10) AS UNSIGNED))"


def counted(rows: list[Row]) -> tuple[int, int]:
    """The number of rows and their sum, from the answer to `question`."""
    count, total = rows[0]
    return int(count or b"0"), int(total or b"0")


def piece(column: Column, method: str = METHOD) -> str:
    """One value as delimited text: numbers hold no comma, other values have a known length."""
    text = _document(column.name, method) if column.is_json else _text(column)
    return f"IFNULL({text},{NULL})"


def _document(name: str, method: str) -> str:
    if method == METHOD:
        # As it is on a server that was given only its text.
        return f"SHA2(CAST({typed_json.again(name)} AS CHAR CHARACTER SET utf8mb4),256)"
    types = f"IFNULL(SHA2({typed_json.types_of_any(name)},256),'')"
    return f"CONCAT(SHA2({typed_json.text(name)},256),{types})"


def _text(column: Column) -> str:
    name, kind = quoted(column.name), column.data_type
    if kind in WHOLE_NUMBERS | MOMENTS | {"double"}:
        return f"CONCAT({name})"
    if kind == "float":
        # Six digits with the sign, also of a zero; then all digits without the sign, as MySQL
        # cuts the text at 22 characters.
        return f"CONCAT({name},'=',ABS({name}*1e0))"
    if kind == "bit":
        return f"CONCAT(CAST({name} AS UNSIGNED))"
    if kind in ("enum", "set"):
        # Also by number, as '' may be a member or the error value.
        return f"CONCAT(CAST({name} AS UNSIGNED),'=',{_bounded(f'CAST({name} AS BINARY)')})"
    if column.long or kind == "vector":
        # A row's text must fit into a packet: a digest stands for a value that may be long.
        return f"SHA2({name},256)"
    if kind in TEXTS | BYTES:
        return _bounded(f"CAST({name} AS BINARY)")
    return _bounded(f"CAST(CONCAT({name}) AS BINARY)")


def _bounded(value: str) -> str:
    return f"CONCAT(LENGTH({value}),':',{value})"
