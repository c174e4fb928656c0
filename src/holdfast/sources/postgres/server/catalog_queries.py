"""What a database contains, read from its catalogs and from a sample of its long values.

Pictures and archives do not compress: a compressor spends a second on every few hundred megabytes
and saves nothing. A sample of the values finds such tables.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import psycopg
from psycopg.rows import class_row

from holdfast.model.backup import Relation
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.server import database_properties, table_part
from holdfast.sources.postgres.server.sql_text import identifier, qualified
from holdfast.sources.postgres.server.table_part import BINARY, TEXT, External, TablePart

# Types whose binary form has been the same in every supported version and on every platform.
_STABLE_IN_BINARY = """
bool bytea int2 int4 int8 oid float4 float8 numeric text varchar bpchar uuid json jsonb
date time timestamp timestamptz
"""

# The size is that of rows and long values alone: the server asks the file system for each fork of
# each file, and `pg_table_size` would make it ask seven times as often.
# CREATE EXTENSION restores an extension's own tables; only those that it declares as
# configuration (extconfig) hold rows of the user.
_TABLES = """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name,
       c.relkind = 'f' AS is_foreign, c.relpersistence = 'u' AS is_unlogged,
       size.heap_bytes + size.toast_bytes AS size_bytes, size.toast_bytes,
       CASE WHEN am.amname IS DISTINCT FROM 'heap' THEN 0
            ELSE size.heap_bytes / current_setting('block_size')::int END AS pages,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attgenerated = '' AND a.atttypid = 'bytea'::regtype
             ORDER BY a.attnum) AS bytea_columns,
       NOT EXISTS (SELECT FROM pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 AND a.atttypid <> ALL (%(stable)s::regtype[])) AS is_stable_in_binary,
       greatest(c.reltuples, 0)::bigint AS estimated_rows,
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0
               AND NOT a.attisdropped AND a.attgenerated = ''
             ORDER BY a.attnum) AS columns,
       ARRAY(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0
               AND NOT a.attisdropped AND a.attgenerated = ''
             ORDER BY a.attnum) AS types,
       coalesce(e.extname::text, '') AS extension,
       coalesce(config.condition, '') AS condition,
       ARRAY(SELECT ARRAY[pn.nspname::text, p.relname::text]
             FROM pg_partition_ancestors(c.oid) WITH ORDINALITY AS above (oid, level)
             JOIN pg_class p ON p.oid = above.oid JOIN pg_namespace pn ON pn.oid = p.relnamespace
             WHERE above.oid <> c.oid ORDER BY above.level) AS ancestors,
       EXISTS (SELECT FROM pg_partition_ancestors(c.oid) AS above (oid)
               JOIN pg_partitioned_table split ON split.partrelid = above.oid
               JOIN pg_attribute a ON a.attrelid = above.oid AND a.attnum = ANY (split.partattrs)
               JOIN pg_type t ON t.oid = a.atttypid
               WHERE split.partstrat = 'h' AND t.typtype = 'e') AS is_routed_by_enum
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
     AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid
LEFT JOIN LATERAL unnest(e.extconfig, e.extcondition) AS config (oid, condition)
     ON config.oid = c.oid
CROSS JOIN LATERAL (
    SELECT CASE WHEN c.oid = ANY (%(locked)s)
                THEN c.relpages * current_setting('block_size')::bigint
                ELSE coalesce(pg_relation_size(c.oid), 0) END AS heap_bytes,
           CASE WHEN c.oid = ANY (%(locked)s) THEN 0
                ELSE coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) END AS toast_bytes
) AS size
WHERE c.relkind IN ('r', 'f') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (e.oid IS NULL OR config.oid IS NOT NULL)
ORDER BY size_bytes DESC, schema, name
"""

_NAMED = """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind::text = ANY (%s) AND c.relpersistence <> 't'
  AND NOT (c.relkind = 'S' AND c.relpersistence = 'u' AND pg_is_in_recovery())
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
      SELECT FROM pg_depend d
      JOIN pg_extension e ON e.oid = d.refobjid AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        AND d.refclassid = 'pg_extension'::regclass)
ORDER BY schema, name
"""

_SERVER = """
SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
       current_setting('server_version_num')::int AS version_number,
       current_database()::text AS database, current_user::text AS login,
       pg_encoding_to_char(d.encoding)::text AS encoding,
       pg_is_in_recovery() AS is_standby,
       EXISTS (SELECT FROM pg_largeobject_metadata) AS has_large_objects,
       pg_table_size('pg_largeobject') AS large_object_bytes,
       pg_database_size(d.oid) AS database_bytes,
       has_table_privilege('pg_largeobject', 'SELECT') AS may_read_pages_of_large_objects,
       has_table_privilege('pg_authid', 'SELECT') AS may_read_passwords,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
       (SELECT count(*) FROM pg_subscription s WHERE s.subdbid = d.oid) AS subscriptions
FROM pg_database d WHERE d.datname = current_database()
"""


UTF8 = "UTF8"
# A database of at least this size counts as big and is read differently.
BIG_DATABASE_BYTES = 5 * 10**9

# Below this the sample costs as much as it saves.
SAMPLED_TABLE_BYTES = 16 << 20
ROWS = 16
VALUE_BYTES = 64 << 10
# A smaller sample says nothing about a table.
LEAST_BYTES = 64 << 10
# A sample that compresses to no less than this ratio is not worth compressing.
SMALLEST_RATIO = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The server and the database as this login sees them."""

    version: str
    version_number: int
    database: str
    login: str
    encoding: str
    is_standby: bool
    has_large_objects: bool
    large_object_bytes: int
    database_bytes: int
    may_read_pages_of_large_objects: bool
    may_read_passwords: bool
    is_superuser: bool
    subscriptions: int
    collation_version: str = ""

    @property
    def major(self) -> int:
        return self.version_number // 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table with rows of its own: ordinary, partition, foreign or an extension's.

    `pages` counts the pages of the heap itself, 0 where rows cannot be selected by page.
    `is_incompressible` is the result of a sample (`sampled`).
    """

    oid: int
    schema: str
    name: str
    is_foreign: bool
    is_unlogged: bool
    size_bytes: int
    toast_bytes: int
    pages: int
    bytea_columns: list[str]
    is_stable_in_binary: bool
    estimated_rows: int
    columns: list[str]
    types: list[str]
    extension: str
    condition: str
    ancestors: list[list[str]]
    is_routed_by_enum: bool
    is_incompressible: bool = False

    @property
    def relation(self) -> Relation:
        return Relation(schema=self.schema, name=self.name)

    @property
    def types_by_column(self) -> dict[str, str]:
        return dict(zip(self.columns, self.types, strict=True))

    def format(self, encoding: str) -> str:
        """Binary where long values make up most of a table with bytea: text would double them.

        Binary also needs types whose binary form is the same everywhere, and a database in UTF-8:
        COPY sends binary text in the session's encoding, which is UTF-8.
        """
        is_mostly_long = self.bytea_columns and self.toast_bytes * 2 > self.size_bytes
        return BINARY if is_mostly_long and self.is_stable_in_binary and encoding == UTF8 else TEXT

    def part(self, encoding: str, *, form: str = "", external: External | None = None) -> TablePart:
        """All rows as one part; `form` overrides the format, and `external` requires text."""
        if external is not None:
            form = TEXT
        ancestors = tuple(Relation(schema=schema, name=name) for schema, name in self.ancestors)
        return TablePart(
            relation=self.relation,
            columns=tuple(self.columns),
            encoding=encoding,
            format=form or self.format(encoding),
            condition=self.condition,
            ancestors=ancestors,
            load_through=ancestors[-1] if self.is_routed_by_enum else None,
            external=external,
            column_types=table_part.digest_of(self.types_by_column),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A table or sequence by OID and by name."""

    oid: int
    schema: str
    name: str

    @property
    def relation(self) -> Relation:
        return Relation(schema=self.schema, name=self.name)


def facts(connection: psycopg.Connection) -> Facts:
    with connection.cursor(row_factory=class_row(Facts)) as cursor:
        found = cursor.execute(_SERVER).fetchone()
    if found is None:
        raise psycopg.OperationalError("the server did not return the properties of its database")
    return replace(found, collation_version=database_properties.collation_version(connection))


def tables(connection: psycopg.Connection, *, locked: Sequence[int] = ()) -> list[Table]:
    """Every table with rows of the user, biggest first.

    The size of a table whose OID is in `locked` is that of its last ANALYZE: a query for the
    current size would wait for the holder of the lock.
    """
    wanted = {"stable": _STABLE_IN_BINARY.split(), "locked": list(locked)}
    with connection.cursor(row_factory=class_row(Table)) as cursor:
        return cursor.execute(_TABLES, wanted).fetchall()


def has_rows_to_take(table: Table, found: Facts) -> bool:
    """Whether there are rows to back up: not of foreign tables, nor unlogged on a standby."""
    return not table.is_foreign and not (table.is_unlogged and found.is_standby)


def lockable(connection: psycopg.Connection) -> list[Named]:
    """Every table that must not change while rows are read.

    Partitioned tables hold no rows, but pg_dump and the layout of the partitions depend on them.
    """
    return _named(connection, "r", "p")


def sequences(connection: psycopg.Connection) -> list[Named]:
    return _named(connection, "S")


def _named(connection: psycopg.Connection, *kinds: str) -> list[Named]:
    with connection.cursor(row_factory=class_row(Named)) as cursor:
        return cursor.execute(_NAMED, [list(kinds)]).fetchall()


def sampled(
    connection: psycopg.Connection,
    listed: Iterable[Table],
    found: Facts,
    *,
    without: Collection[int] = (),
) -> list[Table]:
    """The same tables, with those marked whose rows would not compress.

    Only tables copied in binary are sampled, because as text even noise compresses to half.
    Tables whose OID is in `without` are not sampled.
    """
    return [
        replace(table, is_incompressible=_is_incompressible(connection, table))
        if table.oid not in without and _is_worth_asking(table, found)
        else table
        for table in listed
    ]


def is_incompressible(sample: bytes) -> bool:
    """Whether deflate at its fastest level saves almost nothing."""
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
    """Row addresses spread over the table, the first of each page; a dead row yields nothing."""
    count = min(ROWS, pages)
    return [f"({pages * number // count},1)" for number in range(count)]
