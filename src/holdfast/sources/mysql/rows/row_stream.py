"""A table without a usable key: each row formatted by the server, in one stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.sources.mysql.rows.insert_text import Batch, Limits, long_row, present, statement
from holdfast.sources.mysql.server.columns import Column, raw_row, row_text
from holdfast.sources.mysql.server.names import quoted, select
from holdfast.sources.mysql.server.session import Row, Session
from holdfast.sources.mysql.server.tables import Table

# Hexadecimal doubles, quoting doubles, and latin1 may double again as UTF-8.
TEXT_PER_STORED_BYTE = 4


def read(session: Session, table: Table, limits: Limits) -> Iterator[Batch]:
    """Every row once, in the server's order; one that is too long comes column by column."""
    gathered: list[bytes] = []
    size_bytes = 0
    with session.streamed(_select(table, limits)) as rows:
        for text, *columns in rows:
            if text is not None:
                gathered.append(text)
                size_bytes += len(text)
            if text is None or size_bytes >= limits.statement_bytes:
                yield from _joined(table, gathered)
                gathered, size_bytes = [], 0
            if text is None:
                yield from long_row(table, _row(table, columns), limits)
    yield from _joined(table, gathered)


def _joined(table: Table, rows: Sequence[bytes]) -> Iterator[Batch]:
    if rows:
        yield Batch(statement(table, b",\n".join(rows)), len(rows))


def _row(table: Table, columns: Sequence[bytes | None]) -> Row:
    # A missing text without its columns would be a row lost.
    return tuple(columns) if columns else (present(table, None),)


def _select(table: Table, limits: Limits) -> str:
    """Text of a row and NULLs, or NULL and its columns where the text would be too long."""
    text = row_text(table.columns)
    long = [column for column in table.columns if column.long]
    if not long:
        return select(text, table.relation.name)
    too_long = f"{_size(long)} > {limits.longest_bytes // TEXT_PER_STORED_BYTE}"
    columns = ",".join(f"IF({too_long},{each},NULL)" for each in raw_row(table.columns))
    return select(f"IF({too_long},NULL,{text}),{columns}", table.relation.name)


def _size(columns: Sequence[Column]) -> str:
    return "+".join(f"IFNULL(LENGTH({quoted(column.name)}),0)" for column in columns)
