"""Whether long values are worth compressing: pictures and archives already are as small as can be.

A compressor spends a second on every few hundred megabytes of them and gives back what it got.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import psycopg

from holdfast.sources.postgres.server.catalog_queries import Facts, Table, has_rows_to_take
from holdfast.sources.postgres.server.sql_text import identifier, qualified
from holdfast.sources.postgres.server.table_part import BINARY

# Below this the question costs as much as the answer saves.
SAMPLED_TABLE_BYTES = 16 << 20
ROWS = 16
VALUE_BYTES = 64 << 10
# Less than this says nothing about a table.
LEAST_BYTES = 64 << 10
# What is left of a sample that is not worth compressing.
SMALLEST_RATIO = 0.97


def sampled(
    connection: psycopg.Connection,
    listed: Iterable[Table],
    found: Facts,
    *,
    without: Collection[int] = (),
) -> list[Table]:
    """The same tables, those marked whose rows would not become smaller.

    Only tables that travel in binary are asked, as text even noise compresses, to half; and none
    of those numbered in `without`.
    """
    return [
        replace(table, is_incompressible=_is_incompressible(connection, table))
        if table.oid not in without and _is_worth_asking(table, found)
        else table
        for table in listed
    ]


def is_incompressible(sample: bytes) -> bool:
    """Whether deflate at its fastest finds next to nothing to save."""
    if len(sample) < LEAST_BYTES:
        return False
    return len(zlib.compress(sample, 1)) > len(sample) * SMALLEST_RATIO


def _is_worth_asking(table: Table, found: Facts) -> bool:
    return (
        table.toast_bytes >= SAMPLED_TABLE_BYTES
        and table.pages > 0
        and table.format(found.encoding) == BINARY
        and has_rows_to_take(table, found)
    )


def _is_incompressible(connection: psycopg.Connection, table: Table) -> bool:
    columns = ", ".join(
        f"pg_catalog.substring({identifier(column)}, 1, {VALUE_BYTES})"
        for column in table.bytea_columns
    )
    rows = connection.execute(
        f"SELECT {columns} FROM ONLY {qualified(table.relation)}"  # noqa: S608  # names are quoted
        " WHERE ctid = ANY (%s::pg_catalog.tid[])",
        [_places(table.pages)],
        binary=True,
    ).fetchall()
    return is_incompressible(b"".join(value for row in rows for value in row if value))


def _places(pages: int) -> Sequence[str]:
    """The first row of pages all over the table; one that is dead is simply not there."""
    count = min(ROWS, pages)
    return [f"({pages * number // count},1)" for number in range(count)]
