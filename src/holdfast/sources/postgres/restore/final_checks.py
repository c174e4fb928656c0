"""The last steps of a restore: compare the content with the backup's checksums, then ANALYZE.

Statistics only advise the planner, so missing ones do not fail a restore.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import TypeVar

import psycopg

from holdfast.model import checksums
from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.checksums import Expected
from holdfast.model.errors import RestoreFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import FailedObject, RestoredTable
from holdfast.sources.failed_objects import ROWS, FailedObjects
from holdfast.sources.packing import SMALL_TABLE_BYTES
from holdfast.sources.postgres.restore import selection
from holdfast.sources.postgres.restore.session_pool import SessionPool
from holdfast.sources.postgres.server import failures, table_part
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.table_part import TablePart

TABLES_PER_QUESTION = 50
_ENCODING = "SELECT current_setting('server_encoding')::text"
_COLUMNS = """
SELECT n.nspname::text, c.relname::text,
       ARRAY(SELECT ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod)]
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname !~ '^pg_'
"""
# Biggest first. The statistics of a partitioned table cover all of its partitions, so it is never
# small.
_TO_ANALYZE = """
SELECT format('%%I.%%I', n.nspname, c.relname),
       CASE c.relkind WHEN 'p' THEN %s ELSE pg_relation_size(c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY 2 DESC
"""

Item = TypeVar("Item")
Columns = Mapping[Relation, Mapping[str, str]]
"""The type of each column of each table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """Tables with a checksum in the backup: together they must hold the `expected` rows.

    Usually one table. If rows are routed again on load, all partitions of `relation` that they may
    have reached.
    """

    relation: Relation
    tables: tuple[TablePart, ...]
    expected: Expected
    size_bytes: int

    @property
    def owns_every_row(self) -> bool:
        return all(table.owns_every_row for table in self.tables)


def summed(parts: Sequence[Part], wanted: Collection[Relation]) -> list[Summed]:
    """Those of `wanted` with a checksum in the backup whose method we can compute."""
    by_relation = checksums.expected(parts)
    tables: dict[Relation, dict[Relation, TablePart]] = {}
    sizes: Counter[Relation] = Counter()
    for piece in selection.pieces(selection.of_kind(parts, PartKind.DATA)):
        # A range stands for the whole table, whose checksum is computed at once.
        table = replace(TablePart.of(piece), pages=None)
        under = table.load_through or table.relation
        tables.setdefault(under, {})[table.relation] = table
        sizes[under] += piece.plain_bytes
    together = [
        Summed(
            relation=under,
            tables=tuple(found.values()),
            expected=_together(by_relation[each] for each in found if each in wanted),
            size_bytes=sizes[under],
        )
        for under, found in tables.items()
    ]
    return [each for each in together if each.expected.checksum.startswith(f"{table_part.METHOD}:")]


def _together(found: Iterable[Expected]) -> Expected:
    every = list(found)
    return Expected(
        rows=sum(each.rows for each in every),
        checksum=checksums.added(each.checksum for each in every),
    )


@dataclass
class ContentCheck:
    """Compares the tables of `wanted`; `notes` list those that cannot be compared.

    Worker threads may add results at the same time.
    """

    wanted: Sequence[Summed]
    tables: list[RestoredTable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, login: Login, *, workers: int) -> None:
        """Compare all of them in parallel. Raises `RestoreFailed` if one cannot be read."""
        if not self.wanted:
            return
        with login.session() as session:
            columns = _columns(session)
            comparable = self._comparable(session, columns)
        pool: SessionPool[Sequence[Summed]] = SessionPool(
            login, lambda asking, batch: self._ask(asking, batch, columns)
        )
        pool.run(_batches(comparable), workers=workers)

    def in_session(self, session: psycopg.Connection) -> None:
        """Compare all of them, as the transaction of `session` sees them."""
        if not self.wanted:
            return
        columns = _columns(session)
        for batch in _batches(self._comparable(session, columns)):
            self._ask(session, batch, columns)

    def _comparable(self, session: psycopg.Connection, columns: Columns) -> list[Summed]:
        """Those whose equal rows have the same text here as in the source database."""
        obstacle = table_part.obstacle(session)
        ((encoding,),) = session.execute(_ENCODING)
        found: list[Summed] = []
        for each in self.wanted:
            why = obstacle or _difference(each, columns, encoding)
            if why:
                self.notes.append(f"content of table '{each.relation}' is not compared: {why}")
            else:
                found.append(each)
        return found

    def _ask(self, session: psycopg.Connection, batch: Sequence[Summed], columns: Columns) -> None:
        questions = [
            table_part.question(table, columns[table.relation], label=number)
            for number, each in enumerate(batch)
            for table in each.tables
        ]
        counts: Counter[int] = Counter()
        totals: Counter[int] = Counter()
        try:
            for number, count, total in session.execute(" UNION ALL ".join(questions).encode()):
                counts[number] += count
                totals[number] += int(total)
        except psycopg.Error as error:
            subject = f"the content of table '{batch[0].relation}'"
            raise failures.restoring(failures.said(error), subject) from error
        with self._lock:
            self.tables += [
                RestoredTable(
                    relation=each.relation,
                    rows_expected=each.expected.rows,
                    rows_found=counts[number],
                    checksum_expected=each.expected.checksum,
                    checksum_found=table_part.checksum(counts[number], totals[number]),
                )
                for number, each in enumerate(batch)
            ]

    @property
    def wrong(self) -> list[RestoredTable]:
        return [table for table in self.tables if table.problem]

    def tell(self, failed: FailedObjects) -> None:
        """Note each difference, or raise `RestoreFailed` unless the restore keeps going."""
        for table in self.wrong:
            failed.met(
                FailedObject(
                    kind=ROWS, name=str(table.relation), statement="", cause=f"it {table.problem}"
                ),
                different(table),
            )

    def with_found(self, counted: Sequence[RestoredTable]) -> tuple[RestoredTable, ...]:
        """The counted tables, each replaced by the result of its comparison if there is one."""
        found = {table.relation: table for table in self.tables}
        return tuple(found.get(table.relation, table) for table in counted)


def different(table: RestoredTable) -> RestoreFailed:
    return RestoreFailed(
        f"cannot restore table '{table.relation}': it {table.problem}",
        hint="verify the backup; check whether a trigger or the text form of a type changes loaded"
        " values",
    )


def _columns(session: psycopg.Connection) -> Columns:
    return {
        Relation(schema=schema, name=name): dict(pairs)
        for schema, name, pairs in session.execute(_COLUMNS)
    }


def _difference(each: Summed, columns: Columns, encoding: str) -> str:
    """Why equal rows would have a different text here; empty if they would not."""
    for table in each.tables:
        if encoding != table.encoding:
            return f"the database has encoding {encoding} instead of {table.encoding}"
        here = columns.get(table.relation, {})
        kept = {name: here[name] for name in table.columns if name in here}
        if len(kept) < len(table.columns) or table_part.digest_of(kept) != table.column_types:
            return "its columns have other types"
    return ""


def _batches(wanted: Sequence[Summed]) -> list[Sequence[Summed]]:
    """One batch for each large table, biggest first, then small tables together."""
    large = [each for each in wanted if each.size_bytes >= SMALL_TABLE_BYTES]
    small = [each for each in wanted if each.size_bytes < SMALL_TABLE_BYTES]
    large.sort(key=lambda each: each.size_bytes, reverse=True)
    return [*([each] for each in large), *_groups(small)]


def _groups(small: Sequence[Item]) -> list[Sequence[Item]]:
    return [
        small[first : first + TABLES_PER_QUESTION]
        for first in range(0, len(small), TABLES_PER_QUESTION)
    ]


def analyze(login: Login, *, workers: int) -> tuple[str, ...]:
    """ANALYZE every table in parallel; notes name the tables that failed, and why."""
    missing: list[str] = []
    lock = threading.Lock()

    def learn(session: psycopg.Connection, tables: Sequence[str]) -> None:
        # The server takes each table in a transaction of its own.
        error = _error_of(session, f"ANALYZE {', '.join(tables)}", tables[0])
        if error and len(tables) > 1:
            for table in tables:
                learn(session, [table])
        elif error:
            with lock:
                missing.append(f"no statistics of table {tables[0]}: {failures.said(error)}")

    with login.session() as session:
        found = session.execute(_TO_ANALYZE, [SMALL_TABLE_BYTES])
        sizes = {str(name): int(size_bytes) for name, size_bytes in found}
    SessionPool(login, learn).run(_analyzed_together(sizes), workers=workers)
    return tuple(sorted(missing))


def _error_of(session: psycopg.Connection, statement: str, table: str) -> psycopg.Error | None:
    """Run the statement; its error if others of the session may still succeed."""
    try:
        session.execute(statement.encode())
    except psycopg.Error as error:
        if failures.ends_all(error, session):
            raise failures.restoring(failures.said(error), f"statistics of {table}") from error
        return error
    return None


def _analyzed_together(sizes: Mapping[str, int]) -> list[Sequence[str]]:
    """Each large table alone, then small ones together, in the order of `sizes`."""
    large = [[name] for name, size_bytes in sizes.items() if size_bytes >= SMALL_TABLE_BYTES]
    small = [name for name, size_bytes in sizes.items() if size_bytes < SMALL_TABLE_BYTES]
    return [*large, *_groups(small)]


def make_durable(login: Login) -> None:
    """Commit once with a wait for the disk, which makes all earlier commits durable."""
    with login.session() as session:
        try:
            session.execute("SELECT pg_current_xact_id()")
        except psycopg.Error as error:
            subject = f"database '{login.database}'"
            raise failures.restoring(failures.said(error), subject) from error
