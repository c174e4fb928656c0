"""One table's rows as a part: how they are read, what a restore must know, and their checksum.

The checksum is one number that the server computes; equal rows have equal checksums. It is
independent of how a backup reads rows: it uses another expression, and one query for all rows.
Each row becomes a text with clear boundaries between values. The server's own 64-bit hash of that
text is summed over all rows, in any order. The texts come from the output functions of the types,
never from casts, which anybody may define. Sessions have the settings that these functions need.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg

from holdfast.model.backup import Member, Part, Relation
from holdfast.model.errors import VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import PostgresTable
from holdfast.model.values import Span
from holdfast.sources.postgres.server.sql_text import identifier, literal, qualified

TEXT = "text"
BINARY = "binary"

METHOD = "postgres-rows/1"
# Added to the sum for each row, so that the sum is never negative.
EACH_ROW = 1 << 63
# Types whose text is never empty and holds no comma.
BARE = frozenset(
    """
    smallint integer bigint oid real double|precision numeric boolean date uuid interval
    time|without|time|zone time|with|time|zone timestamp|without|time|zone
    timestamp|with|time|zone inet cidr macaddr macaddr8 pg_lsn
    """.replace("|", "\0").split()
)
TEXTS = frozenset({"text", "character\0varying"})
_MODIFIER = re.compile(r"\([0-9,-]+\)")
# A function takes at most 100 arguments, and each comma between two values is one.
MOST_VALUES = 48
COMMA = ", ',', "
# The hash is the same in every version, but differs on processors of the other byte order.
_PROBE = "SELECT hashtextextended('holdfast' COLLATE \"C\", 0)"
_FOUND_BY_PROBE = 1940128942939898253
_NEEDED = (
    *("hashtextextended(text,bigint)", "sha256(bytea)", 'concat("any")', 'num_nulls("any")'),
    *("sum(bigint)", "count()"),
)
_REFUSED = """
SELECT name FROM unnest(%s::text[]) AS name WHERE NOT has_function_privilege(name, 'EXECUTE')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Span):
    """A range of a table's pages.

    The last range has no end, so that rows beyond the counted pages are in exactly one range. A
    row's place (ctid) does not change within a snapshot.
    """

    def condition(self) -> str:
        lower = f"ctid >= '({self.first},0)'"
        return lower if self.after is None else f"{lower} AND ctid < '({self.after},0)'"


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """Values of `columns` (all bytea) from `size_bytes` up, which are stored as blobs.

    The rows hold `marker` and the value's SHA-256 in their place. Each snapshot has a new random
    marker, so no earlier value can look like one.
    """

    columns: tuple[str, ...]
    size_bytes: int
    marker: bytes

    def expression(self, column: str) -> str:
        name = identifier(column)
        if column not in self.columns:
            return name
        mark = f"'\\x{self.marker.hex()}'::pg_catalog.bytea"
        short = f"pg_catalog.octet_length({name}) < {self.size_bytes}"
        # A comparison with NULL is not true, so NULL is tested separately.
        return (
            f"CASE WHEN {name} IS NULL OR {short} THEN {name}"
            f" ELSE {mark} || pg_catalog.sha256({name}) END"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePart:
    """The rows of one table, without those of its children.

    `condition` is the WHERE clause of an extension's configuration table. `ancestors` are the
    partitioned tables above a partition, nearest first. `load_through` is set if rows must be
    routed again, because the hash of an enum differs between databases. With `pages` it is only a
    range of the table. `column_types` is `digest_of` its columns.
    """

    relation: Relation
    columns: tuple[str, ...]
    encoding: str
    format: str = TEXT
    condition: str = ""
    ancestors: tuple[Relation, ...] = ()
    load_through: Relation | None = None
    pages: Pages | None = None
    external: External | None = None
    column_types: str = ""

    @property
    def selected(self) -> str:
        """The WHERE clause; empty for all rows."""
        return self.condition or (f"WHERE {self.pages.condition()}" if self.pages else "")

    def copy_out(self, destination: str) -> str:
        """The COPY that reads the rows; `destination` is `STDOUT` or a quoted path."""
        options = f"TO {destination} (FORMAT {self.format}, ENCODING {literal(self.encoding)})"
        where = self.selected
        if not where and self.external is None:
            return f"COPY {qualified(self.relation)}{self._column_list()} {options}"
        columns = ", ".join(self._expression(column) for column in self.columns)
        rows = f"SELECT {columns} FROM ONLY {qualified(self.relation)} {where}".rstrip()  # noqa: S608  # names are quoted, the condition is the extension author's own SQL
        return f"COPY ({rows}) {options}"

    def copy_in(self, *, freeze: bool = False, source: str = "STDIN") -> str:
        """The COPY that loads the rows; `source` is `STDIN` or a quoted path."""
        into = qualified(self.load_through or self.relation)
        options = f"FORMAT {self.format}, ENCODING {literal(self.encoding)}"
        options += ", FREEZE" if freeze else ""
        return f"COPY {into}{self._column_list()} FROM {source} ({options})"

    @property
    def owns_every_row(self) -> bool:
        """Whether the restored table holds only the rows of its own parts."""
        return not self.condition and self.load_through is None

    def in_pages(self, pages: Pages) -> TablePart:
        return replace(self, pages=pages)

    def _expression(self, column: str) -> str:
        return self.external.expression(column) if self.external else identifier(column)

    def _column_list(self) -> str:
        # Without a list the server omits generated columns itself; `()` is invalid SQL.
        if not self.columns:
            return ""
        return f" ({', '.join(identifier(column) for column in self.columns)})"

    def details(self, *, transport: str = "") -> PostgresTable:
        """The details that `of` reads; `statement` serves a restore by hand with psql."""
        return replace(self.member_details(), statement=self.copy_in(), transport=transport)

    def member_details(self) -> PostgresTable:
        """The details for a member of a pack, whose script holds the statement itself."""
        to, aside = self.load_through, self.external
        return PostgresTable(
            format=self.format,
            columns=self.columns,
            encoding=self.encoding,
            condition=self.condition,
            load_through=(to.schema, to.name) if to else (),
            pages=self.pages.span if self.pages else None,
            blobs_in=aside.columns if aside else (),
            blobs_from_bytes=aside.size_bytes if aside else 0,
            blob_marker=aside.marker if aside else b"",
            column_types=self.column_types,
        )

    @staticmethod
    def of(part: Part | Member) -> TablePart:
        """Read back what `details` and the plan wrote into the manifest; raises `VerifyFailed`."""
        found = part.details
        if part.relation is None or not isinstance(found, PostgresTable):
            raise VerifyFailed(
                f"cannot trust rows of '{part.relation}': the part does not describe how to read"
                " them"
                if part.relation
                else "cannot trust a part of rows: it names no table",
                hint="this backup is damaged: restore from another one",
            )
        return TablePart(
            relation=part.relation,
            columns=found.columns,
            encoding=found.encoding,
            format=found.format,
            condition=found.condition,
            ancestors=part.ancestors,
            load_through=_relation(found),
            pages=Pages(first=found.pages.first, after=found.pages.after) if found.pages else None,
            external=_external(found),
            column_types=found.column_types,
        )


def _relation(found: PostgresTable) -> Relation | None:
    if not found.load_through:
        return None
    schema, name = found.load_through
    return Relation(schema=schema, name=name)


def _external(found: PostgresTable) -> External | None:
    if not found.blob_marker:
        return None
    return External(
        columns=found.blobs_in, size_bytes=found.blobs_from_bytes, marker=found.blob_marker
    )


def obstacle(session: psycopg.Connection) -> str:
    """Why the checksums of this server cannot be compared with others; empty if they can."""
    refused = session.execute(_REFUSED, [list(_NEEDED)]).fetchone()
    if refused:
        return f"the login may not call the function {refused[0]}"
    if session.execute(_PROBE.encode()).fetchone() != (_FOUND_BY_PROBE,):
        return "the server's processor has another byte order, so its hashes differ"
    return ""


def digest_of(columns: Mapping[str, str]) -> str:
    """A short digest of columns and types: rows of other types cannot be compared as text."""
    text = "\n".join(f"{name}\n{kind}" for name, kind in sorted(columns.items()))
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:16]


def question(table: TablePart, types: Mapping[str, str], *, label: int = 0) -> str:
    """The query for `label`, the number of rows, and the sum of their hashes."""
    source = f"ONLY {qualified(table.relation)}"
    # Partitions may have their columns in different orders.
    pieces = [piece(column, types[column]) for column in sorted(table.columns)]
    number = f'hashtextextended({_joined(pieces)} COLLATE "C", 0)'
    where = f" {table.selected}" if table.selected else ""
    return f"SELECT {label}, count(*), coalesce(sum({number}), 0) FROM {source}{where}"  # noqa: S608  # names are quoted, the condition is the extension author's own SQL


def checksum(rows: int, total: int) -> str:
    """The checksum in the form of the manifest, from the answer to `question`."""
    return f"{METHOD}:{total + rows * EACH_ROW}"


def piece(column: str, kind: str) -> str:
    """The expression for one value as text without commas, empty only for NULL."""
    name, plain = identifier(column), _MODIFIER.sub("", kind).replace(" ", "\0")
    if plain in BARE:
        return name
    if plain in TEXTS:
        return f'hashtextextended({name} COLLATE "C", 0)'
    if plain == "bytea":
        # sha256() needs no text form, so a long value takes no extra memory.
        return f"sha256({name})"
    # Not IS NULL, which is true of a composite value of NULLs.
    return f'CASE num_nulls({name}) WHEN 0 THEN hashtextextended(concat({name}) COLLATE "C", 0) END'


def _joined(pieces: Sequence[str]) -> str:
    """All values with commas between; without columns an empty text, as the count says all."""
    groups = [f"concat({COMMA.join(each)})" for each in _grouped(pieces)]
    if not groups:
        return "''"
    return groups[0] if len(groups) == 1 else f"concat({COMMA.join(groups)})"


def _grouped(pieces: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(pieces), MOST_VALUES):
        yield pieces[first : first + MOST_VALUES]
