"""The tables of a database as a reader needs them: columns, a key to read along, sizes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Literal

from holdfast.model.backup import Relation
from holdfast.model.errors import GrantMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.connection import StatementFailed
from holdfast.sources.mysql.server.session import Session

GENERATED = re.compile(r"\b(VIRTUAL|STORED|PERSISTENT) GENERATED\b", re.IGNORECASE)
TRANSACTIONAL = "InnoDB"
# Engines that show rows of other tables, servers or files, or store none: an INSERT at restore
# would write there. In capitals.
ENGINES_WITHOUT_ROWS = {
    *("FEDERATED", "MRG_MYISAM", "MERGE", "CONNECT", "SPIDER", "BLACKHOLE"),
    *("S3", "SPHINX", "OQGRAPH", "SEQUENCE", "EXAMPLE"),
}
TABLES = """
    SELECT table_name, table_type, COALESCE(engine, '')
    FROM information_schema.tables
    WHERE table_schema = %s AND table_type NOT IN ('VIEW', 'SEQUENCE', 'TEMPORARY', 'SYSTEM VIEW')
    ORDER BY table_name"""
# What InnoDB stores when it has counted; `information_schema.tables` opens every table.
KEPT_SIZES = """
    SELECT table_name, n_rows, clustered_index_size * @@innodb_page_size
    FROM mysql.innodb_table_stats WHERE database_name = %s"""
SIZES = """
    SELECT table_name, COALESCE(table_rows, 0), COALESCE(data_length, 0)
    FROM information_schema.tables WHERE table_schema = %s{one}"""
COLUMNS = """
    SELECT table_name, column_name, data_type, COALESCE(character_set_name, ''),
           COALESCE(collation_name, ''), is_nullable, extra
    FROM information_schema.columns WHERE table_schema = %s
    ORDER BY table_name, ordinal_position"""
# Without the type of an index, for which MariaDB would open every table.
UNIQUE_KEYS = """
    SELECT table_name, index_name, COALESCE(column_name, ''), COALESCE(sub_part, ''), nullable
    FROM information_schema.statistics
    WHERE table_schema = %s{one} AND non_unique = 0
    ORDER BY table_name, index_name <> 'PRIMARY', index_name, seq_in_index"""
UNORDERED_KEYS = """
    SELECT index_name FROM information_schema.statistics
    WHERE table_schema = %s AND table_name = %s AND non_unique = 0 AND index_type <> 'BTREE'"""
PRIMARY = "PRIMARY"
Sizes = Literal["current", "kept"]
# Up to so many tables, the server is asked about each rather than about all of the database.
FEW_TABLES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A unique index whose columns are never NULL, in order."""

    index: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table; `columns` leaves out generated columns."""

    relation: Relation
    kind: str
    engine: str
    columns: tuple[Column, ...]
    key: Key | None
    rows: int
    row_bytes: int
    data_bytes: int

    @property
    def owns_rows(self) -> bool:
        """Whether the table stores rows of its own; otherwise only its definition is backed up."""
        return self.engine.upper() not in ENGINES_WITHOUT_ROWS

    @property
    def method(self) -> str:
        if not self.owns_rows:
            return "definition-only"
        return "key-ranges" if self.key else "streamed-rows"

    @property
    def reason(self) -> str:
        if not self.owns_rows:
            return f"engine {self.engine} stores no rows in this table"
        if self.key is None:
            return (
                "no unique key without NULL to split by: rows formatted by the server, one stream"
            )
        names = ", ".join(column.name for column in self.key.columns)
        return f"ranges of {self.key.index} ({names}), many rows formatted into one value"


@dataclass(slots=True)
class _Index:
    """A unique index while its columns are being gathered."""

    name: str
    columns: list[Column] = field(default_factory=list)
    usable: bool = True


def listed_tables(session: Session, database: str) -> list[Table]:
    """Every base table of `database`, by name, without its columns, keys and sizes."""
    return [
        _table(database, name, kind=kind, engine=engine)
        for name, kind, engine in session.text(TABLES, database)
    ]


def tables_with_columns(session: Session, database: str) -> list[Table]:
    """Every base table of `database`, by name, without its keys and sizes."""
    columns = _columns(session, database)
    return [
        replace(table, columns=tuple(columns[table.relation.name].values()))
        for table in listed_tables(session, database)
    ]


def read_tables(session: Session, database: str, *, sizes: Sizes = "current") -> list[Table]:
    """Every base table of `database`, by name.

    The server opens each table for its current size. A `kept` one may be some seconds old.
    """
    found = tables_with_columns(session, database)
    keys, known = _keys(session, found), _sizes(session, found, sizes)
    return [
        replace(
            table,
            key=keys.get(table.relation.name),
            rows=rows,
            row_bytes=data_bytes // rows if rows else 0,
            data_bytes=data_bytes,
        )
        for table in found
        for rows, data_bytes in [known.get(table.relation.name, (0, 0))]
    ]


def _table(database: str, name: str, *, kind: str, engine: str) -> Table:
    return Table(
        relation=Relation(schema=database, name=name),
        kind=kind,
        engine=engine,
        columns=(),
        key=None,
        rows=0,
        row_bytes=0,
        data_bytes=0,
    )


def _sizes(session: Session, found: Sequence[Table], sizes: Sizes) -> dict[str, tuple[int, int]]:
    """The estimated rows and bytes of tables, by name."""
    kept = _kept_sizes(session, found) if sizes == "kept" else {}
    others = [table for table in found if table.relation.name not in kept]
    asked = _asked(session, SIZES, found=found, wanted=others)
    return kept | {name: (int(rows), int(data_bytes)) for name, rows, data_bytes in asked}


def _kept_sizes(session: Session, found: Sequence[Table]) -> dict[str, tuple[int, int]]:
    """The same where InnoDB keeps it: not for partitions, nor where the login may not read it."""
    try:
        rows = session.text(KEPT_SIZES, found[0].relation.schema) if found else []
    except (GrantMissing, StatementFailed):
        return {}
    known = {table.relation.name for table in found if table.engine == TRANSACTIONAL}
    return {name: (int(many), int(size)) for name, many, size in rows if name in known}


def _asked(
    session: Session, question: str, *, found: Sequence[Table], wanted: Sequence[Table]
) -> list[tuple[str, ...]]:
    """The answer to `question` about those of the `wanted` tables that have rows of their own.

    The server opens a table to answer, and may not reach one whose rows are stored elsewhere.
    """
    owning = [table.relation for table in wanted if table.owns_rows]
    are_many = len(owning) == len(found) or len(owning) > FEW_TABLES
    if owning and are_many and all(table.owns_rows for table in found):
        names = {relation.name for relation in owning}
        rows = session.text(question.format(one=""), owning[0].schema)
        return [row for row in rows if row[0] in names]
    one = question.format(one=" AND table_name = %s")
    return [row for each in owning for row in session.text(one, each.schema, each.name)]


def _columns(session: Session, database: str) -> dict[str, dict[str, Column]]:
    columns: dict[str, dict[str, Column]] = defaultdict(dict)
    for table, name, data_type, charset, collation, nullable, extra in session.text(
        COLUMNS, database
    ):
        if not GENERATED.search(extra):
            columns[table][name] = Column(
                name=name,
                data_type=data_type.lower(),
                charset=charset,
                collation=collation,
                nullable=nullable == "YES",
            )
    return columns


def _keys(session: Session, found: Sequence[Table]) -> dict[str, Key]:
    """The first usable key of tables, by name: the primary key where that is one."""
    rows = _asked(session, UNIQUE_KEYS, found=found, wanted=found)
    keys = _first_usable(rows, found)
    unordered: set[tuple[str, ...]] = set()
    for table in found:
        name, key = table.relation.name, keys.get(table.relation.name)
        if key and (table.engine != TRANSACTIONAL or key.index != PRIMARY):
            unusable = session.text(UNORDERED_KEYS, table.relation.schema, name)
            unordered |= {(name, index) for (index,) in unusable}
    if not unordered:
        return keys
    return _first_usable([row for row in rows if row[:2] not in unordered], found)


def _first_usable(rows: Sequence[tuple[str, ...]], found: Sequence[Table]) -> dict[str, Key]:
    columns = {
        table.relation.name: {column.name: column for column in table.columns} for table in found
    }
    indexes: dict[tuple[str, str], _Index] = {}
    for table, index_name, column_name, prefix, nullable in rows:
        index = indexes.setdefault((table, index_name), _Index(index_name))
        column = columns.get(table, {}).get(column_name)
        if column is None or prefix or nullable == "YES" or not column.usable_as_key:
            index.usable = False
        else:
            index.columns.append(column)
    keys: dict[str, Key] = {}
    for (table, _), index in indexes.items():
        if index.usable:
            # The first wins: PRIMARY sorts before all others.
            keys.setdefault(table, Key(index=index.name, columns=tuple(index.columns)))
    return keys
