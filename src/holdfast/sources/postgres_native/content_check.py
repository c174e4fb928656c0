"""Tables after a restore, held against what the backup summed up of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import psycopg

from holdfast import checksums
from holdfast.checksums import Expected
from holdfast.errors import RestoreFailed
from holdfast.model import Part, PartKind, Relation
from holdfast.restored import FailedObject, RestoredTable
from holdfast.sources.failed_objects import ROWS, FailedObjects
from holdfast.sources.packs import SMALL_TABLE_BYTES
from holdfast.sources.postgres_native import content, failures, selection
from holdfast.sources.postgres_native.crew import Crew
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.table_part import TablePart

TABLES_PER_QUESTION = 50
_ENCODING = "SELECT current_setting('server_encoding')::text"
_COLUMNS = """
SELECT n.nspname::text, c.relname::text,
       ARRAY(SELECT ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod)]
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """A table with its checksum in the backup; `table` tells how it was computed.

    Partitions whose rows are routed anew are summed up together, as their root.
    """

    table: TablePart
    expected: Expected
    size_bytes: int

    @property
    def relation(self) -> Relation:
        return self.table.load_through or self.table.relation


def summed(parts: Sequence[Part], wanted: Iterable[Relation]) -> list[Summed]:
    """Those of `wanted` of which the backup has checksums that we can compute."""
    named, by_relation = set(wanted), checksums.expected(parts)
    found: dict[Relation, list[Summed]] = {}
    for piece in selection.pieces(selection.of_kind(parts, PartKind.DATA)):
        if piece.relation in named:
            # A range stands for the whole table, which is summed up at once.
            table = replace(TablePart.of(piece), pages=None)
            each = Summed(
                table=table, expected=by_relation[table.relation], size_bytes=piece.plain_bytes
            )
            found.setdefault(each.relation, []).append(each)
    together = [_together(each) for each in found.values()]
    return [each for each in together if each.expected.checksum.startswith(f"{content.METHOD}:")]


def _together(pieces: Sequence[Summed]) -> Summed:
    """One for all ranges of a table, or for all partitions of a root."""
    of_tables = {each.table.relation: each.expected for each in pieces}.values()
    return replace(
        pieces[0],
        expected=Expected(
            rows=sum(each.rows for each in of_tables),
            checksum=checksums.added(each.checksum for each in of_tables),
        ),
        size_bytes=sum(each.size_bytes for each in pieces),
    )


@dataclass
class ContentCheck:
    """Asks about tables of `wanted`; from any thread. `notes` say what cannot be compared."""

    wanted: Sequence[Summed]
    tables: list[RestoredTable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, login: Login, *, workers: int) -> None:
        """All of them, side by side. Raises `RestoreFailed` where one cannot be read."""
        with login.session() as session:
            comparable = self._comparable(session)
        types = {each.relation: columns for each, columns in comparable}
        crew: Crew[Sequence[Summed]] = Crew(
            login, lambda asking, each: self._ask(asking, each, types)
        )
        crew.run(_batches([each for each, _ in comparable]), workers=workers)

    def in_session(self, session: psycopg.Connection) -> None:
        """All of them, as the transaction of `session` sees them."""
        comparable = self._comparable(session)
        types = {each.relation: columns for each, columns in comparable}
        for batch in _batches([each for each, _ in comparable]):
            self._ask(session, batch, types)

    def _comparable(self, session: psycopg.Connection) -> list[tuple[Summed, Mapping[str, str]]]:
        """Those whose rows make the same text here as there, with the types of their columns."""
        if not self.wanted:
            return []
        obstacle = content.obstacle(session)
        ((encoding,),) = session.execute(_ENCODING)
        columns = {
            Relation(schema=schema, name=name): dict(pairs)
            for schema, name, pairs in session.execute(_COLUMNS)
        }
        found: list[tuple[Summed, Mapping[str, str]]] = []
        for each in self.wanted:
            here = columns.get(each.relation, {})
            why = obstacle or _difference(each.table, here, encoding)
            if why:
                self.notes.append(f"content of table '{each.relation}' is not compared: {why}")
            else:
                found.append((each, here))
        return found

    def _ask(
        self,
        session: psycopg.Connection,
        batch: Sequence[Summed],
        types: Mapping[Relation, Mapping[str, str]],
    ) -> None:
        questions = [
            content.question(each.table, types[each.relation], label=number, is_restored=True)
            for number, each in enumerate(batch)
        ]
        try:
            rows = session.execute(" UNION ALL ".join(questions).encode()).fetchall()
        except psycopg.Error as error:
            subject = f"the content of table '{batch[0].relation}'"
            raise failures.restoring(failures.said(error), subject) from error
        with self._lock:
            self.tables += [
                _found(batch[number], count, int(total)) for number, count, total in rows
            ]

    @property
    def wrong(self) -> list[RestoredTable]:
        return [table for table in self.tables if table.problem]

    def tell(self, failed: FailedObjects) -> None:
        """Note each that is wrong, or raise `RestoreFailed` where the restore is to end."""
        for table in self.wrong:
            failed.met(
                FailedObject(
                    kind=ROWS, name=str(table.relation), statement="", cause=f"it {table.problem}"
                ),
                different(table),
            )

    def with_found(self, counted: Sequence[RestoredTable]) -> tuple[RestoredTable, ...]:
        """The tables that were counted, with what was found of them here."""
        found = {table.relation: table for table in self.tables}
        return tuple(found.get(table.relation, table) for table in counted)


def different(table: RestoredTable) -> RestoreFailed:
    return RestoreFailed(
        f"cannot restore table '{table.relation}': it {table.problem}",
        hint="verify the backup; does a trigger or the text form of a type change what is loaded?",
    )


def _difference(table: TablePart, here: Mapping[str, str], encoding: str) -> str:
    """What makes other text of equal rows; empty where nothing does."""
    if encoding != table.encoding:
        return f"the database has encoding {encoding} instead of {table.encoding}"
    kept = {name: here[name] for name in table.columns if name in here}
    if len(kept) < len(table.columns) or content.digest_of(kept) != table.column_types:
        return "its columns have other types"
    return ""


def _found(each: Summed, count: int, total: int) -> RestoredTable:
    return RestoredTable(
        relation=each.relation,
        rows_expected=each.expected.rows,
        rows_found=count,
        checksum_expected=each.expected.checksum,
        checksum_found=content.checksum(count, total),
    )


def _batches(wanted: Sequence[Summed]) -> list[list[Summed]]:
    """Large tables alone, biggest first, and small ones together."""
    large = [each for each in wanted if each.size_bytes >= SMALL_TABLE_BYTES]
    small = [each for each in wanted if each.size_bytes < SMALL_TABLE_BYTES]
    large.sort(key=lambda each: each.size_bytes, reverse=True)
    groups = [
        small[first : first + TABLES_PER_QUESTION]
        for first in range(0, len(small), TABLES_PER_QUESTION)
    ]
    return [*([each] for each in large), *groups]
