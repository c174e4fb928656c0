"""What a plan says of each table: how its rows would travel, and why so."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.ports.source import TablePlan
from holdfast.sources.postgres.rows.part_plan import Shape, is_packed, is_stored_plain, pages_of
from holdfast.sources.postgres.rows.transport import Transport
from holdfast.sources.postgres.server.catalog_queries import Facts, Table, has_rows_to_take
from holdfast.sources.postgres.server.table_part import BINARY


def of_tables(
    found: Facts, tables: Sequence[Table], transport: Transport, shape: Shape
) -> tuple[TablePlan, ...]:
    return tuple(
        TablePlan(
            relation=table.relation,
            estimated_bytes=table.size_bytes if has_rows_to_take(table, found) else 0,
            estimated_rows=table.estimated_rows,
            method=_method(found, table, transport, shape),
            reason=_reason(found, table, shape),
        )
        for table in tables
    )


def _method(found: Facts, table: Table, transport: Transport, shape: Shape) -> str:
    if not has_rows_to_take(table, found):
        return "schema only"
    if is_packed(table, shape):
        return "copy text over wire, packed"
    part = table.part(found.encoding, external=shape.external(table))
    ranges = pages_of(table, shape)
    pieces = f", {len(ranges)} ranges" if ranges else ""
    aside = ", blobs aside" if part.external else ""
    plain = ", not compressed" if is_stored_plain(table, part) else ""
    return f"copy {part.format} over {transport.name}{pieces}{aside}{plain}"


def _reason(found: Facts, table: Table, shape: Shape) -> str:
    if table.is_foreign:
        return "its rows live on another server"
    if table.is_unlogged and found.is_standby:
        return "a standby has no rows of unlogged tables"
    if table.extension:
        return f"configuration of extension '{table.extension}'"
    if is_packed(table, shape):
        return "small tables share a part"
    if shape.external(table):
        return "values that were kept before are not stored again"
    if table.is_incompressible:
        return "mostly long bytea, and a sample of it does not become smaller"
    if table.format(found.encoding) == BINARY:
        return "mostly long bytea: text would take twice the bytes"
    return "text restores into any later version"
