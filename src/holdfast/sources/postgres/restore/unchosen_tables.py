"""Rows of tables that nobody chose: whatever a restore does, it must not change them.

A foreign key may delete or change them, a trigger may do anything. So nobody guesses what would:
before the transaction is committed, the server is asked what else it has changed in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import psycopg

from holdfast.model.backup import Relation
from holdfast.model.errors import HoldfastError, TargetNotEmpty, Unsupported

TABLES_NAMED = 8
# Of this transaction alone: what the session counted in it, and which tables it has truncated,
# which takes the strongest lock and leaves another file. Large objects are rows of two catalogs.
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
class Change:
    """What a transaction did to a table so far."""

    inserted: int
    updated: int
    deleted: int
    is_locked: bool
    file: int | None

    def since(self, before: Change) -> str:
        """In words; empty where nothing was done to it."""
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
    """All tables but the `chosen` ones, as they are at the beginning of a transaction."""

    def __init__(self, connection: psycopg.Connection, chosen: Collection[Relation]) -> None:
        self._connection = connection
        self._chosen = frozenset(chosen)
        _require_counts(connection)
        self._before = self._changes()

    def require_untouched(self, doing: str) -> None:
        """Raises `TargetNotEmpty`, with their names and counts, where `doing` changes any."""
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
    """Why `doing`, "replace rows of table 'public.customer'", was refused."""
    return TargetNotEmpty(
        f"cannot {doing}: that would change rows of tables that were not chosen: {_some(changed)}",
        hint="nothing was changed; choose these tables too (--table), keep triggers from firing"
        " (--disable-triggers), or restore into another database and copy from there",
    )


def referred(doing: str, tables: Sequence[str], said: str) -> HoldfastError:
    """Why `doing` was refused: rows of other `tables` refer to rows that would be gone."""
    return TargetNotEmpty(
        f"cannot {doing}: rows of tables that were not chosen refer to rows that would be gone:"
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
            "cannot restore rows into tables that stand: the server counts no changes, so rows of"
            " other tables could change unseen",
            hint="set track_counts = on, or log in as a superuser",
        ) from error
