"""The order of tables with foreign keys, and proof that no unchosen table was changed.

Foreign keys set the order of tables and which keys must be deferred. A key may also delete or
change rows of unchosen tables, and a trigger may do anything. So before the commit, the restore
queries what else the transaction has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

import psycopg

from holdfast.model.backup import Relation
from holdfast.model.errors import HoldfastError, TargetNotEmpty, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.postgres.server.sql_text import identifier, qualified

# A partition inherits its keys from the root, and they change with the root's.
_KEYS = """
SELECT k.oid::bigint, k.conname::text, n.nspname::text, c.relname::text, other_n.nspname::text,
       other.relname::text, k.condeferrable,
       ARRAY(SELECT ARRAY[below_n.nspname::text, below.relname::text]
             FROM pg_partition_tree(k.conrelid) AS tree
             JOIN pg_class below ON below.oid = tree.relid
             JOIN pg_namespace below_n ON below_n.oid = below.relnamespace),
       ARRAY(SELECT ARRAY[below_n.nspname::text, below.relname::text]
             FROM pg_partition_tree(k.confrelid) AS tree
             JOIN pg_class below ON below.oid = tree.relid
             JOIN pg_namespace below_n ON below_n.oid = below.relnamespace)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class other ON other.oid = k.confrelid
JOIN pg_namespace other_n ON other_n.oid = other.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY n.nspname, c.relname, k.conname
"""

# Assumes MATCH SIMPLE, as nearly all keys have: a row with any NULL in its key refers to nothing.
_ORPHANS = """
SELECT format('SELECT count(*) FROM %%I.%%I AS c WHERE %%s AND NOT EXISTS'
              ' (SELECT FROM %%I.%%I AS o WHERE %%s)', n.nspname, c.relname,
              string_agg(format('c.%%I IS NOT NULL', a.attname), ' AND '),
              other_n.nspname, other.relname,
              string_agg(format('o.%%I OPERATOR(%%I.%%s) c.%%I', other_a.attname, op_n.nspname,
                                op.oprname, a.attname), ' AND '))
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class other ON other.oid = k.confrelid
JOIN pg_namespace other_n ON other_n.oid = other.relnamespace
CROSS JOIN LATERAL unnest(k.conkey, k.confkey, k.conpfeqop) AS part (own, others, equal)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.own
JOIN pg_attribute other_a ON other_a.attrelid = k.confrelid AND other_a.attnum = part.others
JOIN pg_operator op ON op.oid = part.equal JOIN pg_namespace op_n ON op_n.oid = op.oprnamespace
WHERE k.oid = %s::oid GROUP BY n.nspname, c.relname, other_n.nspname, other.relname
"""

TABLES_NAMED = 8
# The changes of this transaction alone: its row counts, and the tables that it truncated. TRUNCATE
# takes the strongest lock and leaves another file. Large objects are rows of two catalogs.
_CHANGED = """
SELECT n.nspname::text, c.relname::text,
       pg_stat_get_xact_tuples_inserted(c.oid), pg_stat_get_xact_tuples_updated(c.oid),
       pg_stat_get_xact_tuples_deleted(c.oid), locked.relation IS NOT NULL,
       pg_relation_filenode(c.oid)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (SELECT DISTINCT relation FROM pg_locks
           WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
             AND mode = 'AccessExclusiveLock') AS locked ON locked.relation = c.oid
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND (n.nspname NOT IN ('pg_catalog', 'information_schema')
       OR c.oid IN ('pg_largeobject'::regclass, 'pg_largeobject_metadata'::regclass))
"""
_COUNTED = "SELECT current_setting('track_counts')::bool"
_COUNT = "SET LOCAL track_counts = on"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """One key from `tables` to `others`; both include all partitions of a partitioned table."""

    oid: int
    name: str
    table: Relation
    other: Relation
    is_deferrable: bool
    tables: frozenset[Relation]
    others: frozenset[Relation]

    def joins(self, table: Relation, other: Relation) -> bool:
        return table in self.tables and other in self.others

    def has_rows(self, connection: psycopg.Connection) -> bool:
        """Whether the referring table has rows; True if the login may not read it."""
        query = f"SELECT FROM {qualified(self.table)} LIMIT 1"  # quoted name
        try:
            with connection.transaction():
                return connection.execute(query.encode()).fetchone() is not None
        except psycopg.errors.InsufficientPrivilege:
            return True

    def deferrable(self) -> str:
        return f"{self._altered()} DEFERRABLE"

    def as_it_was(self) -> str:
        return f"{self._altered()} NOT DEFERRABLE"

    def _altered(self) -> str:
        return f"ALTER TABLE {qualified(self.table)} ALTER CONSTRAINT {identifier(self.name)}"

    def __str__(self) -> str:
        return f"foreign key '{self.name}' of table '{self.table}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Tables, each after those that it refers to, except through the `circular` keys."""

    tables: tuple[Relation, ...]
    circular: tuple[ForeignKey, ...]


def of_database(connection: psycopg.Connection) -> list[ForeignKey]:
    return [
        ForeignKey(
            oid=oid,
            name=name,
            table=Relation(schema=schema, name=table),
            other=Relation(schema=other_schema, name=other),
            is_deferrable=is_deferrable,
            tables=_relations([[schema, table], *tables]),
            others=_relations([[other_schema, other], *others]),
        )
        for oid, name, schema, table, other_schema, other, is_deferrable, tables, others in (
            connection.execute(_KEYS)
        )
    ]


def _relations(pairs: Iterable[Sequence[str]]) -> frozenset[Relation]:
    return frozenset(Relation(schema=schema, name=name) for schema, name in pairs)


def order(tables: Iterable[Relation], keys: Sequence[ForeignKey]) -> Order:
    """Order the tables; a key counts as circular only if it must be ignored to find an order."""
    wanted = dict.fromkeys(tables)
    needs: dict[Relation, set[Relation]] = {table: set() for table in wanted}
    for key in keys:
        for table in key.tables & wanted.keys():
            needs[table] |= key.others & wanted.keys()
    broken = [(table, table) for table, others in needs.items() if table in others]
    for table, other in broken:
        needs[table].discard(other)
    while True:
        try:
            placed = tuple(TopologicalSorter(needs).static_order())
            break
        except CycleError as error:
            other, table, *_ = error.args[1]
            needs[table].discard(other)
            broken.append((table, other))
    circular = [key for key in keys if any(key.joins(*edge) for edge in broken)]
    return Order(tables=placed, circular=tuple(circular))


def orphans(connection: psycopg.Connection, key: ForeignKey) -> int:
    """How many rows refer to a row that does not exist."""
    query = connection.execute(_ORPHANS, [key.oid]).fetchone()
    found = connection.execute(str(query[0]).encode()).fetchone() if query else None
    return int(found[0]) if found else 0


def rows_behind(connection: psycopg.Connection, key: ForeignKey) -> int | None:
    """How many rows the referring table has; None if the login may not read it."""
    count = f"SELECT count(*) FROM {qualified(key.table)}"  # noqa: S608  # quoted name
    try:
        row = connection.execute(count.encode()).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a transaction has done to a table so far."""

    inserted: int
    updated: int
    deleted: int
    is_locked: bool
    file: int | None

    def since(self, before: Change) -> str:
        """Describe the change since `before`; empty if there is none."""
        said = [
            f"{count} rows {verb}"
            for count, verb in (
                (self.deleted - before.deleted, "deleted"),
                (self.updated - before.updated, "changed"),
                (self.inserted - before.inserted, "added"),
            )
            if count > 0
        ]
        if said:
            return ", ".join(said)
        return "truncated" if self.is_locked and self.file != before.file else ""


class UnchosenTables:
    """All tables except the `chosen` ones, as they were at the beginning of a transaction."""

    def __init__(self, connection: psycopg.Connection, chosen: Collection[Relation]) -> None:
        self._connection = connection
        self._chosen = frozenset(chosen)
        _require_counts(connection)
        self._before = self._changes()

    def require_untouched(self, doing: str) -> None:
        """Raises `TargetNotEmpty`, with names and counts, if any of them has changed."""
        changed = [
            f"'{relation}' ({said})"
            for relation, change in self._changes().items()
            if relation not in self._chosen
            and (said := change.since(self._before.get(relation, change)))
        ]
        if changed:
            raise touched(doing, changed)

    def _changes(self) -> dict[Relation, Change]:
        return {
            Relation(schema=schema, name=name): Change(
                inserted=inserted,
                updated=updated,
                deleted=deleted,
                is_locked=is_locked,
                file=file,
            )
            for schema, name, inserted, updated, deleted, is_locked, file in (
                self._connection.execute(_CHANGED)
            )
        }


def touched(doing: str, changed: Sequence[str]) -> HoldfastError:
    """The error that refuses `doing`, such as "replace rows of table 'public.customer'"."""
    return TargetNotEmpty(
        f"cannot {doing}: that would change rows of tables that were not chosen: {_some(changed)}",
        hint="nothing was changed; choose these tables too (--table), keep triggers from firing"
        " (--disable-triggers), or restore into another database and copy from there",
    )


def referred(doing: str, tables: Sequence[str], said: str) -> HoldfastError:
    """The error that refuses `doing`: rows of `tables` refer to rows that would be deleted."""
    return TargetNotEmpty(
        f"cannot {doing}: rows of tables that were not chosen refer to rows that would be deleted:"
        f" {_some(tables)}: {said}",
        hint="nothing was changed; choose these tables too (--table), or restore into another"
        " database and copy from there",
    )


def _some(named: Sequence[str]) -> str:
    shown = ", ".join(named[:TABLES_NAMED])
    return shown + (f" and {len(named) - TABLES_NAMED} more" if len(named) > TABLES_NAMED else "")


def _require_counts(connection: psycopg.Connection) -> None:
    row = connection.execute(_COUNTED).fetchone()
    if row and row[0]:
        return
    try:
        connection.execute(_COUNT)
    except psycopg.Error as error:
        raise Unsupported(
            "cannot restore rows into existing tables: the server counts no changes, so"
            " changes to other tables would not be detected",
            hint="set track_counts = on, or log in as a superuser",
        ) from error
