"""Which parts a database becomes, and in which order they are best read."""

from __future__ import annotations

import json
from collections.abc import Sequence

from holdfast.model import PartKind, PartPlan, Relation
from holdfast.ports import TablePlan
from holdfast.sources.postgres_native.inventory import Facts, Table, has_rows_to_take
from holdfast.sources.postgres_native.quoting import slug
from holdfast.sources.postgres_native.table_part import BINARY
from holdfast.sources.postgres_native.transport import Transport

CREATION = "creation"
TRANSPORT = "transport"
SERVER_VERSION = "server_version_number"


def parts(
    found: Facts,
    tables: Sequence[Table],
    sequences: Sequence[Relation],
    creation: dict[str, str],
    *,
    transport: str,
) -> list[PartPlan]:
    """The tools' parts first, then data, biggest first.

    pg_dump asks the catalogs of now for what a view or an index looks like, not those of the
    snapshot: the sooner it runs, the less can have changed.
    """
    schema = {CREATION: json.dumps(creation), SERVER_VERSION: str(found.version_number)}
    tools = [
        PartPlan(name="pre-data.sql", kind=PartKind.PRE_DATA, details=schema),
        PartPlan(name="post-data.sql", kind=PartKind.POST_DATA),
        PartPlan(name="globals.sql", kind=PartKind.GLOBALS),
    ]
    bulk = _data(found, tables, transport)
    if found.has_large_objects:
        bulk.append(
            PartPlan(
                name="large-objects.sql",
                kind=PartKind.LARGE_OBJECTS,
                estimated_bytes=found.large_object_bytes,
            )
        )
    bulk.sort(key=lambda part: part.estimated_bytes, reverse=True)
    last = [PartPlan(name="database.sql", kind=PartKind.GRANTS)]
    if sequences:
        last.append(PartPlan(name="sequences.sql", kind=PartKind.SEQUENCES))
    return [*tools, *bulk, *last]


def _data(found: Facts, tables: Sequence[Table], transport: str) -> list[PartPlan]:
    taken = [table for table in tables if has_rows_to_take(table, found)]
    return [
        PartPlan(
            name=f"data/{number:05d}-{slug(table.relation)}.copy",
            kind=PartKind.DATA,
            relation=table.relation,
            estimated_bytes=table.size_bytes,
            ancestors=table.part(found.encoding).ancestors,
            details=table.part(found.encoding).details() | {TRANSPORT: transport},
        )
        for number, table in enumerate(taken, start=1)
    ]


def table_plans(
    found: Facts, tables: Sequence[Table], transport: Transport
) -> tuple[TablePlan, ...]:
    return tuple(
        TablePlan(
            relation=table.relation,
            estimated_bytes=table.size_bytes if has_rows_to_take(table, found) else 0,
            estimated_rows=table.estimated_rows,
            method=_method(found, table, transport),
            reason=_reason(found, table),
        )
        for table in tables
    )


def _method(found: Facts, table: Table, transport: Transport) -> str:
    if not has_rows_to_take(table, found):
        return "schema only"
    return f"copy {table.format(found.encoding)} over {transport.name}"


def _reason(found: Facts, table: Table) -> str:
    if table.is_foreign:
        return "its rows live on another server"
    if table.is_unlogged and found.is_standby:
        return "a standby has no rows of unlogged tables"
    if table.extension:
        return f"configuration of extension '{table.extension}'"
    if table.format(found.encoding) == BINARY:
        return "mostly long bytea: text would take twice the bytes"
    return "text restores into any later version"
