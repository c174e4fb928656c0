"""Plans the parts of a database and the order of reading, and describes them for `plan`.

Huge tables are split into ranges of pages, so that no single worker is left with one at the end.
Small tables are packed, so that ten thousand tables become a few dozen parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from holdfast.model.backup import PartKind, PartPlan, Relation
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import CopiedRows, PostgresSchema, TablePack
from holdfast.model.units import size
from holdfast.ports.source import TablePlan
from holdfast.sources.packing import SMALL_TABLE_BYTES, known_by, packs
from holdfast.sources.postgres.rows.long_values import Slice
from holdfast.sources.postgres.rows.transport import Transport
from holdfast.sources.postgres.server.catalog_queries import (
    BIG_DATABASE_BYTES,
    Facts,
    Table,
    has_rows_to_take,
)
from holdfast.sources.postgres.server.sql_text import slug
from holdfast.sources.postgres.server.table_part import BINARY, TEXT, External, Pages, TablePart

GIB = 1 << 30
# Parts of 1 GiB keep all workers busy with a big database. In a smaller database they would leave
# its one big table to a single worker.
CHUNK_BYTES = GIB
CHUNK_BYTES_OF_SMALL = GIB // 4
# Long objects are read one by one; parts of about this size spread them over the workers.
LONG_OBJECTS_BYTES = 64 << 20
MOST_LONG_OBJECT_PARTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How rows become parts; sizes are those of tables in the database.

    Tables above `chunk_bytes` are split, those below `small_bytes` packed. With `keeps_blobs` long
    large objects become blobs. So do bytea values from `external_bytes` up; None: never.
    """

    chunk_bytes: int
    reason: str = ""
    small_bytes: int = SMALL_TABLE_BYTES
    keeps_blobs: bool = False
    external_bytes: int | None = None
    marker: bytes = b""

    def external(self, table: Table) -> External | None:
        if self.external_bytes is None or not table.bytea_columns or not table.toast_bytes:
            return None
        return External(
            columns=tuple(table.bytea_columns), size_bytes=self.external_bytes, marker=self.marker
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the database contains; `long_objects` become blobs, `slices` hold all others."""

    tables: Sequence[Table]
    sequences: Sequence[Relation]
    slices: Sequence[Slice]
    creation: Mapping[str, str]
    long_objects: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLayout:
    """The parts in reading order, and by name of the part what it is read from."""

    parts: tuple[PartPlan, ...]
    tables: dict[str, tuple[TablePart, ...]]
    slices: dict[str, Slice]
    long_objects: dict[str, tuple[int, ...]]
    with_blobs: dict[str, TablePart]


def chunk_bytes(found: Facts, asked: int | None) -> tuple[int, str]:
    """The size above which a table is split, and why."""
    if asked is not None:
        return asked, "as requested"
    if found.database_bytes < BIG_DATABASE_BYTES:
        return CHUNK_BYTES_OF_SMALL, f"the database is smaller than {size(BIG_DATABASE_BYTES)}"
    return CHUNK_BYTES, f"the database has {size(BIG_DATABASE_BYTES)} or more"


def lay_out(found: Facts, listing: Listing, *, shape: Shape, transport: str) -> PartLayout:
    """The tools' parts first, then rows and large objects, biggest first, then blobs and SQL.

    pg_dump reads the definitions of views and indexes from the current catalogs, not from those of
    the snapshot: the sooner it runs, the less can have changed. One run of it reads both sections,
    so the second section can wait.
    """
    schema = PostgresSchema(
        creation=dict(listing.creation),
        server_version_number=found.version_number,
        collation_version=found.collation_version or "",
    )
    tools = [
        PartPlan(name="pre-data.sql", kind=PartKind.PRE_DATA, details=schema),
        PartPlan(name="globals.sql", kind=PartKind.GLOBALS),
    ]
    taken = [table for table in listing.tables if has_rows_to_take(table, found)]
    rows = {
        plan.name: (plan, of)
        for plan, of in (
            *_of_big_tables(found, taken, shape=shape, transport=transport),
            *_of_small_tables(found, taken, shape),
        )
    }
    objects = [_large_objects(number, each) for number, each in enumerate(listing.slices, start=1)]
    bulk = [plan for plan, _ in rows.values()] + objects
    bulk.sort(key=lambda part: part.estimated_bytes, reverse=True)
    aside = dict(_with_blobs(found, taken, shape))
    blobs = [
        PartPlan(name=name, kind=PartKind.BLOBS, relation=part.relation, ancestors=part.ancestors)
        for name, part in aside.items()
    ]
    long = _groups(found, listing.long_objects)
    blobs += [PartPlan(name=name, kind=PartKind.BLOBS) for name in long]
    return PartLayout(
        parts=(*tools, *bulk, *blobs, *_last(found, listing.sequences)),
        tables={name: of for name, (_, of) in rows.items()},
        slices={plan.name: each for plan, each in zip(objects, listing.slices, strict=True)},
        long_objects=long,
        with_blobs=aside,
    )


def _last(found: Facts, sequences: Sequence[Relation]) -> Iterator[PartPlan]:
    yield PartPlan(name="post-data.sql", kind=PartKind.POST_DATA)
    yield PartPlan(name="database.sql", kind=PartKind.GRANTS)
    if found.has_large_objects:
        yield PartPlan(name="large-objects.sql", kind=PartKind.LARGE_OBJECTS)
    if sequences:
        yield PartPlan(name="sequences.sql", kind=PartKind.SEQUENCES)


def is_packed(table: Table, shape: Shape) -> bool:
    return table.size_bytes < min(shape.small_bytes, shape.chunk_bytes)


def pages_of(table: Table, shape: Shape) -> list[Pages]:
    """Ranges of about `chunk_bytes` each; none if one read is enough."""
    pieces = min(-(-table.size_bytes // shape.chunk_bytes), table.pages)
    if pieces < 2 or table.condition or not table.columns:
        return []
    bounds = [table.pages * piece // pieces for piece in range(pieces)]
    return [
        Pages(first=first, after=after)
        for first, after in zip(bounds, [*bounds[1:], None], strict=True)
    ]


def _of_big_tables(
    found: Facts, taken: Sequence[Table], *, shape: Shape, transport: str
) -> Iterator[tuple[PartPlan, tuple[TablePart, ...]]]:
    big = [table for table in taken if not is_packed(table, shape)]
    for number, table in enumerate(big, start=1):
        whole = table.part(found.encoding, external=shape.external(table))
        ranges = pages_of(table, shape)
        name = f"data/{number:05d}-{slug(table.relation)}"
        planned = partial(_plan, compress=not is_stored_plain(table, whole), transport=transport)
        if not ranges:
            yield planned(f"{name}.copy", whole, table.size_bytes), (whole,)
        for piece, pages in enumerate(ranges, start=1):
            part = whole.in_pages(pages)
            size_bytes = table.size_bytes // len(ranges)
            yield planned(f"{name}-{piece:04d}.copy", part, size_bytes), (part,)


def _plan(
    name: str, part: TablePart, size_bytes: int, *, compress: bool, transport: str
) -> PartPlan:
    return PartPlan(
        name=name,
        kind=PartKind.DATA,
        relation=part.relation,
        ancestors=part.ancestors,
        estimated_bytes=size_bytes,
        details=part.details(transport=transport),
        compress=compress,
    )


def is_stored_plain(table: Table, part: TablePart) -> bool:
    return table.is_incompressible and part.format == BINARY


def _of_small_tables(
    found: Facts, taken: Sequence[Table], shape: Shape
) -> Iterator[tuple[PartPlan, tuple[TablePart, ...]]]:
    small = [table for table in taken if is_packed(table, shape)]
    for number, pack in enumerate(packs(small, size_of=_size_of), start=1):
        plan = PartPlan(
            name=f"data/pack-{number:05d}.sql",
            kind=PartKind.DATA,
            estimated_bytes=sum(map(_size_of, pack)),
            details=TablePack(
                transport="wire", tables_sha256=known_by([str(table.relation) for table in pack])
            ),
        )
        yield (
            plan,
            tuple(
                table.part(found.encoding, form=TEXT, external=shape.external(table))
                for table in pack
            ),
        )


def _size_of(table: Table) -> int:
    return table.size_bytes


def _large_objects(number: int, objects: Slice) -> PartPlan:
    return PartPlan(
        name=f"large-objects/{number:05d}.copy",
        kind=PartKind.LARGE_OBJECTS,
        estimated_bytes=objects.estimated_bytes,
        details=CopiedRows(format=BINARY),
    )


def _groups(found: Facts, long_objects: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Deal the objects out in turn: their lengths are unknown, except that all are long."""
    wanted = -(-found.large_object_bytes // LONG_OBJECTS_BYTES)
    count = min(len(long_objects), MOST_LONG_OBJECT_PARTS, wanted)
    return {
        f"blobs/large-objects-{number + 1:05d}.txt": tuple(long_objects[number::count])
        for number in range(count)
    }


def _with_blobs(
    found: Facts, taken: Sequence[Table], shape: Shape
) -> Iterator[tuple[str, TablePart]]:
    """Tables whose long values become blobs; their bytes are counted with the rows."""
    for number, table in enumerate(taken, start=1):
        external = shape.external(table)
        if external is not None:
            name = f"blobs/{number:05d}-{slug(table.relation)}.txt"
            yield name, table.part(found.encoding, external=external)


def table_plans(
    found: Facts, tables: Sequence[Table], *, transport: Transport, shape: Shape
) -> tuple[TablePlan, ...]:
    return tuple(
        TablePlan(
            relation=table.relation,
            estimated_bytes=table.size_bytes if has_rows_to_take(table, found) else 0,
            estimated_rows=table.estimated_rows,
            method=_method(found, table, transport=transport, shape=shape),
            reason=_reason(found, table, shape),
        )
        for table in tables
    )


def _method(found: Facts, table: Table, *, transport: Transport, shape: Shape) -> str:
    if not has_rows_to_take(table, found):
        return "schema only"
    if is_packed(table, shape):
        return "copy text over wire, packed"
    part = table.part(found.encoding, external=shape.external(table))
    ranges = pages_of(table, shape)
    pieces = f", {len(ranges)} ranges" if ranges else ""
    aside = ", blobs separately" if part.external else ""
    plain = ", not compressed" if is_stored_plain(table, part) else ""
    return f"copy {part.format} over {transport.name}{pieces}{aside}{plain}"


def _reason(found: Facts, table: Table, shape: Shape) -> str:
    if table.is_foreign:
        return "its rows are on another server"
    if table.is_unlogged and found.is_standby:
        return "a standby has no rows of unlogged tables"
    if table.extension:
        return f"configuration of extension '{table.extension}'"
    if is_packed(table, shape):
        return "small tables share a part"
    if shape.external(table):
        return "long values that are already stored are not stored again"
    if table.is_incompressible:
        return "mostly long bytea, and a sample of it did not shrink"
    if table.format(found.encoding) == BINARY:
        return "mostly long bytea: text would take twice the bytes"
    return "text restores into any later version"
