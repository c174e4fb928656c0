"""The rows of one table, by the way of reading that suits it."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.sources.mysql.rows import key_ranges, row_stream
from holdfast.sources.mysql.rows.insert_text import Batch, Limits
from holdfast.sources.mysql.server.failures import StatementFailed, table_failed
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.tables import Table


def read_rows(session: Session, table: Table, limits: Limits) -> Iterator[Batch]:
    """All rows of `table`; raises `BackupFailed` naming it."""
    try:
        if table.key is None:
            yield from row_stream.read(session, table, limits)
        else:
            yield from key_ranges.read(session, table, table.key, limits)
    except StatementFailed as error:
        raise table_failed(str(table.relation), error) from error
