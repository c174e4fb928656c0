"""Restores rows into existing tables with their constraints and triggers: all rows, or none.

One transaction loads all tables, each after those that it refers to. Foreign keys in a cycle have
no such order: the server checks them before the commit. Rows of other tables are never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from holdfast.model.backup import Part, Relation
from holdfast.model.errors import HoldfastError, TargetNotEmpty
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import RestoredTable
from holdfast.sources.postgres.restore import other_tables
from holdfast.sources.postgres.restore.final_checks import ContentCheck, different
from holdfast.sources.postgres.restore.other_tables import (
    ForeignKey,
    Order,
    UnchosenTables,
    referred,
)
from holdfast.sources.postgres.restore.rows import Packs, Piece, RowsIn
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.preflight import Queue
from holdfast.sources.postgres.server.sql_text import identifier, qualified
from holdfast.sources.postgres.server.table_part import TablePart

NO_TRIGGERS = "SET LOCAL session_replication_role = replica"
# Foreign key violation, restrict violation.
_REFERRED = ("23503", "23001")
_USUAL_PATH = """
SELECT set_config('search_path', reset_val, true) FROM pg_settings WHERE name = 'search_path'
"""
_TABLE = """
SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
_PARTITIONS = """
SELECT n.nspname::text, c.relname::text
FROM pg_class root JOIN pg_namespace root_n ON root_n.oid = root.relnamespace
CROSS JOIN LATERAL pg_partition_tree(root.oid) AS tree
JOIN pg_class c ON c.oid = tree.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE root_n.nspname = %s AND root.relname = %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingTables:
    """Loads `pieces`; if `replaces`, the rows of their tables are deleted first.

    `check` compares the content before the commit.
    """

    rows_in: RowsIn
    login: Login
    pieces: Sequence[tuple[Part, Piece]]
    replaces: bool
    check: ContentCheck

    def run(self, connection: psycopg.Connection) -> tuple[str, ...]:
        """Load the rows and return notes.

        Raises `RestoreFailed`, or `TargetNotEmpty` if other tables would change.
        """
        keys = other_tables.of_database(connection)
        try:
            with connection.transaction():
                self._bring_all(connection, keys)
        except _Referred as error:
            raise self._referred(connection, keys, error) from error.__cause__
        except psycopg.Error as error:
            raise failures.restoring(failures.said(error), f"rows of {self._named}") from error
        return (*self._unchecked(connection, keys), *_told(self.check.wrong))

    def _bring_all(self, connection: psycopg.Connection, keys: Sequence[ForeignKey]) -> None:
        if not self.rows_in.context.request.options.triggers:
            connection.execute(NO_TRIGGERS)
        others = UnchosenTables(connection, self._chosen(connection))
        order = other_tables.order(self._tables, keys)
        with (
            self._told(f"foreign keys of {self._named}"),
            _waiting(connection, self._to_wait_for(connection, order, keys)),
        ):
            if self.replaces:
                self._empty(connection, order)
                others.require_untouched(f"replace rows of {self._named}")
            self._fill(connection, order)
        others.require_untouched(f"restore rows of {self._named}")
        self.check.in_session(connection)
        for table in self.check.wrong:
            if not self._may_differ(table):
                raise different(table)

    def _may_differ(self, table: RestoredTable) -> bool:
        """Whether a difference is allowed: triggers may change rows, and others may add rows."""
        return (
            self.rows_in.context.request.options.triggers or table.rows_found > table.rows_expected
        )

    @property
    def _tables(self) -> list[Relation]:
        return list(dict.fromkeys(TablePart.of(piece).relation for _, piece in self.pieces))

    @property
    def _named(self) -> str:
        first, *rest = self._tables
        return f"table '{first}'" + (f" and {len(rest)} more" if rest else "")

    def _chosen(self, connection: psycopg.Connection) -> set[Relation]:
        """The tables of `pieces`; rows that are routed again may reach any partition."""
        chosen = set(self._tables)
        roots = {root for _, piece in self.pieces if (root := TablePart.of(piece).load_through)}
        for root in roots:
            rows = connection.execute(_PARTITIONS, [root.schema, root.name])
            chosen |= {Relation(schema=schema, name=name) for schema, name in rows}
        return chosen

    def _to_wait_for(
        self, connection: psycopg.Connection, order: Order, keys: Sequence[ForeignKey]
    ) -> list[ForeignKey]:
        """The circular keys, and if rows are replaced, also the keys of tables that refer to them.

        With triggers disabled the server checks no keys, so there are none to defer.
        """
        if not self.rows_in.context.request.options.triggers:
            return []
        of_others = [
            key for key in self._of_others(keys) if self.replaces and key.has_rows(connection)
        ]
        return list(dict.fromkeys((*order.circular, *of_others)))

    def _of_others(self, keys: Sequence[ForeignKey]) -> list[ForeignKey]:
        tables = set(self._tables)
        return [key for key in keys if key.others & tables and key.tables - tables]

    def _empty(self, connection: psycopg.Connection, order: Order) -> None:
        """Delete the rows of each table before those of the tables that it refers to."""
        whole = {
            table.relation
            for table in (TablePart.of(piece) for _, piece in self.pieces)
            if table.owns_every_row
        }
        for relation in reversed(order.tables):
            if relation in whole:
                with self._told(f"table '{relation}'"), _usual_path(connection):
                    # Not TRUNCATE: readers still see the old rows until the commit.
                    delete = f"DELETE FROM ONLY {qualified(relation)}"  # noqa: S608  # quoted name
                    connection.execute(delete.encode())

    def _fill(self, connection: psycopg.Connection, order: Order) -> None:
        place = {relation: number for number, relation in enumerate(order.tables)}
        packs = Packs(self.rows_in.context.stored)
        by_place = sorted(self.pieces, key=lambda each: place[TablePart.of(each[1]).relation])
        for part, piece in by_place:
            with (
                self._told(f"table '{piece.relation}'"),
                packs.opened(part, piece) as rows,
                _usual_path(connection),
            ):
                self.rows_in.fill(connection, piece, rows)
        for name in dict.fromkeys(part.name for part, _ in self.pieces):
            self.rows_in.context.progress.part_done(name)

    @contextmanager
    def _told(self, subject: str) -> Iterator[None]:
        """Translate errors about `subject`; a reference from an unchosen table is `_Referred`."""
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate in _REFERRED and self._is_of_others(error):
                raise _Referred from error
            cause = failures.said(error)
            if error.sqlstate == failures.LOCK_NOT_AVAILABLE:
                cause = f"{cause}: {Queue(self.login).told(())}"
            raise failures.restoring(cause, subject) from error
        except EOFError as error:
            raise failures.restoring(f"its part is cut short: {error}", subject) from error

    def _is_of_others(self, error: psycopg.Error) -> bool:
        """Whether the server names an unchosen table: its rows refer to deleted ones."""
        schema, name = error.diag.schema_name or "", error.diag.table_name or ""
        return Relation(schema=schema, name=name) not in self._tables

    def _referred(
        self, connection: psycopg.Connection, keys: Sequence[ForeignKey], error: _Referred
    ) -> HoldfastError:
        found = {
            key.table: other_tables.rows_behind(connection, key) for key in self._of_others(keys)
        }
        named = [
            f"'{table}' ({'?' if rows is None else rows} rows)"
            for table, rows in found.items()
            if rows != 0
        ]
        cause = error.__cause__
        said = failures.said(cause) if isinstance(cause, psycopg.Error) else ""
        return referred(f"replace rows of {self._named}", named, said)

    def _unchecked(
        self, connection: psycopg.Connection, keys: Sequence[ForeignKey]
    ) -> tuple[str, ...]:
        """Notes on rows with a missing reference: without triggers no key was checked."""
        if self.rows_in.context.request.options.triggers:
            return ()
        tables = set(self._tables)
        touched = [key for key in keys if (key.tables | key.others) & tables]
        counted = [(key, other_tables.orphans(connection, key)) for key in touched]
        return tuple(
            f"{count} rows of table '{key.table}' refer to rows of '{key.other}' that do"
            f" not exist: {key} was not checked, as no trigger fired"
            for key, count in counted
            if count
        )


def require_fillable(
    connection: psycopg.Connection,
    relation: Relation,
    *,
    into: str,
    may_hold_rows: bool,
    hint: str,
) -> None:
    """Raises `TargetNotEmpty` if the table does not exist, or holds rows and must not."""
    if connection.execute(_TABLE, [relation.schema, relation.name]).fetchone() is None:
        raise TargetNotEmpty(
            f"cannot restore into {into}: it has no table '{relation}'",
            hint="restore into a new database, or create the table there first",
        )
    if not may_hold_rows and _has_rows(connection, relation):
        raise TargetNotEmpty(
            f"cannot restore table '{relation}' into {into}: it holds rows", hint=hint
        )


def _has_rows(connection: psycopg.Connection, relation: Relation) -> bool:
    statement = f"SELECT FROM ONLY {qualified(relation)} LIMIT 1"  # quoted name
    try:
        return connection.execute(statement.encode()).fetchone() is not None
    except psycopg.Error as error:
        raise failures.restoring(failures.said(error), f"table '{relation}'") from error


def _told(wrong: Sequence[RestoredTable]) -> tuple[str, ...]:
    return tuple(
        f"table '{table.relation}' {table.problem}: its triggers or another session changed it"
        for table in wrong
    )


class _Referred(Exception):
    """A row that stays refers to a row to be deleted; the cause names it."""


@contextmanager
def _waiting(connection: psycopg.Connection, keys: Sequence[ForeignKey]) -> Iterator[None]:
    """Defer the keys to the end of the block, also those that are not deferrable.

    Such keys are altered for the block, if the login owns their table.
    """
    altered = [key for key in keys if not key.is_deferrable and _is_altered(connection, key)]
    waiting = [key for key in keys if key.is_deferrable or key in altered]
    if waiting:
        names = ", ".join(
            f"{identifier(key.table.schema)}.{identifier(key.name)}" for key in waiting
        )
        connection.execute(f"SET CONSTRAINTS {names} DEFERRED".encode())
    yield
    with _usual_path(connection):
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for key in altered:
        connection.execute(key.as_it_was().encode())


@contextmanager
def _usual_path(connection: psycopg.Connection) -> Iterator[None]:
    """Set the usual search path, which triggers and checks may need; empty after the block."""
    connection.execute(_USUAL_PATH)
    yield
    connection.execute("SET LOCAL search_path = ''")


def _is_altered(connection: psycopg.Connection, key: ForeignKey) -> bool:
    """Make the key deferrable; False if the login does not own its table.

    The server then checks the key row by row.
    """
    try:
        with connection.transaction():
            connection.execute(key.deferrable().encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True
