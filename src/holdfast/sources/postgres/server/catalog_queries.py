"""What is in a database, as its catalogs tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg.rows import class_row

from holdfast.model.backup import Relation
from holdfast.sources.postgres.server import content_checksum, database_properties
from holdfast.sources.postgres.server.table_part import BINARY, TEXT, External, TablePart

# Types whose binary form has been the same in every supported version and on every platform.
_STABLE_IN_BINARY = """
bool bytea int2 int4 int8 oid float4 float8 numeric text varchar bpchar uuid json jsonb
date time timestamp timestamptz
"""

# An extension's own tables come back with CREATE EXTENSION; only those that it declared as
# configuration (extconfig) hold rows that are the user's.
_TABLES = """
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name,
       c.relkind = 'f' AS is_foreign, c.relpersistence = 'u' AS is_unlogged,
       CASE WHEN c.oid = ANY (%(locked)s) THEN c.relpages * current_setting('block_size')::bigint
            ELSE coalesce(pg_table_size(c.oid), 0) END AS size_bytes,
       CASE WHEN c.oid = ANY (%(locked)s) THEN 0
            ELSE coalesce(pg_table_size(nullif(c.reltoastrelid, 0)), 0) END AS toast_bytes,
       CASE WHEN am.amname IS DISTINCT FROM 'heap' THEN 0
            WHEN c.oid = ANY (%(locked)s) THEN c.relpages
            ELSE pg_relation_size(c.oid) / current_setting('block_size')::int END AS pages,
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

# The condition under which the view pg_user_mappings shows options, which pg_dump reads.
_HIDDEN_MAPPINGS = """
SELECT m.usename::text, m.srvname::text FROM pg_user_mappings m
JOIN pg_foreign_server s ON s.oid = m.srvid
WHERE m.umoptions IS NULL
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND NOT CASE WHEN m.umuser = 0 THEN pg_has_role(s.srvowner, 'USAGE')
               ELSE m.usename = current_user AND (pg_has_role(s.srvowner, 'USAGE')
                    OR has_server_privilege(s.oid, 'USAGE')) END
ORDER BY 2, 1
"""


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

    `pages` are those of the heap itself, 0 where rows have no page that could be asked for.
    `is_incompressible` is what a sample showed (`sampling.sampled`).
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

        Only where every type has one binary form everywhere, and text needs no conversion:
        binary text comes in the session's encoding, which is UTF-8.
        """
        is_mostly_long = self.bytea_columns and self.toast_bytes * 2 > self.size_bytes
        return BINARY if is_mostly_long and self.is_stable_in_binary and encoding == UTF8 else TEXT

    def part(self, encoding: str, *, form: str = "", external: External | None = None) -> TablePart:
        """All rows as one part; `form` overrules the choice, values to keep as blobs need text."""
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
            column_types=content_checksum.digest_of(self.types_by_column),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A table or sequence by number and by name."""

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
        raise psycopg.OperationalError("the server does not know its own database")
    return replace(found, collation_version=database_properties.collation_version(connection))


def tables(connection: psycopg.Connection, *, locked: Sequence[int] = ()) -> list[Table]:
    """Biggest first; every table whose rows somebody put there.

    Of those numbered in `locked` the size is what the last ANALYZE saw: to ask for it now would
    wait for whoever holds the lock.
    """
    wanted = {"stable": _STABLE_IN_BINARY.split(), "locked": list(locked)}
    with connection.cursor(row_factory=class_row(Table)) as cursor:
        return cursor.execute(_TABLES, wanted).fetchall()


def has_rows_to_take(table: Table, found: Facts) -> bool:
    """Foreign rows live elsewhere; unlogged ones do not exist on a standby."""
    return not table.is_foreign and not (table.is_unlogged and found.is_standby)


def lockable(connection: psycopg.Connection) -> list[Named]:
    """Every table that must not change while rows are read.

    Partitioned tables hold no rows, but pg_dump and the shape of the partitions need them.
    """
    return _named(connection, "r", "p")


def sequences(connection: psycopg.Connection) -> list[Named]:
    return _named(connection, "S")


def _named(connection: psycopg.Connection, *kinds: str) -> list[Named]:
    with connection.cursor(row_factory=class_row(Named)) as cursor:
        return cursor.execute(_NAMED, [list(kinds)]).fetchall()


def hidden(connection: psycopg.Connection) -> tuple[str, ...]:
    """What pg_dump leaves out without a word, as this login may not see it."""
    return tuple(
        f"options of the user mapping of '{user}' for server '{server}' are not taken, passwords"
        " included: only a superuser may read them"
        for user, server in connection.execute(_HIDDEN_MAPPINGS)
    )


def notes(found: Facts, listed: Sequence[Table]) -> tuple[str, ...]:
    """What the backup will not hold, in words."""
    said = [
        f"rows of foreign table '{table.relation}' are not taken: they live on another server"
        for table in listed
        if table.is_foreign
    ]
    said += [
        f"rows of unlogged table '{table.relation}' are not taken: a standby has none"
        for table in listed
        if table.is_unlogged and found.is_standby
    ]
    if found.subscriptions and not found.is_superuser:
        said.append("subscriptions are not taken: only a superuser may read them")
    if not found.may_read_passwords:
        said.append("passwords of roles are not taken: the login may not read them")
    return tuple(said)
