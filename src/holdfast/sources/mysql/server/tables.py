"""The tables of a database as a reader needs them: columns, a key to read along, sizes."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from holdfast.model.backup import Relation
from holdfast.sources.mysql.server.columns import Column
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
SIZES = """
    SELECT table_name, COALESCE(table_rows, 0), COALESCE(avg_row_length, 0),
           COALESCE(data_length, 0)
    FROM information_schema.tables WHERE table_schema = %s{one}"""
COLUMNS = """
    SELECT table_name, column_name, data_type, COALESCE(character_set_name, ''),
           COALESCE(collation_name, ''), is_nullable, extra
    FROM information_schema.columns WHERE table_schema = %s
    ORDER BY table_name, ordinal_position"""
UNIQUE_KEYS = """
    SELECT table_name, index_name, COALESCE(column_name, ''), COALESCE(sub_part, ''), nullable
    FROM information_schema.statistics
    WHERE table_schema = %s{one} AND non_unique = 0 AND index_type = 'BTREE'
    ORDER BY table_name, index_name <> 'PRIMARY', index_name, seq_in_index"""


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


def read_tables(session: Session, database: str) -> list[Table]:
    """Every base table of `database`, by name."""
    found = session.text(TABLES, database)
    columns = _columns(session, database)
    keys = _keys(_asked(session, UNIQUE_KEYS, database, found=found), columns)
    sizes = {name: tuple(size) for name, *size in _asked(session, SIZES, database, found=found)}
    tables: list[Table] = []
    for name, kind, engine in found:
        rows, row_bytes, data_bytes = map(int, sizes.get(name, ("0", "0", "0")))
        tables.append(
            Table(
                relation=Relation(schema=database, name=name),
                kind=kind,
                engine=engine,
                columns=tuple(columns[name].values()),
                key=keys.get(name),
                rows=rows,
                row_bytes=row_bytes,
                data_bytes=data_bytes,
            )
        )
    return tables


def _asked(
    session: Session, question: str, database: str, *, found: list[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """The answer to `question` about the tables with rows of their own.

    The server opens a table to answer, and may not reach one whose rows are stored elsewhere.
    """
    owning = [name for name, _, engine in found if engine.upper() not in ENGINES_WITHOUT_ROWS]
    if len(owning) == len(found):
        return session.text(question.format(one=""), database)
    one = question.format(one=" AND table_name = %s")
    return [row for name in owning for row in session.text(one, database, name)]


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


def _keys(rows: list[tuple[str, ...]], columns: dict[str, dict[str, Column]]) -> dict[str, Key]:
    indexes: dict[tuple[str, str], _Index] = {}
    for table, index_name, column_name, prefix, nullable in rows:
        index = indexes.setdefault((table, index_name), _Index(index_name))
        column = columns[table].get(column_name)
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
