"""The content of a table as one number that the server computes, equal where the rows are.

It shares nothing with how rows are read for a backup: another expression, all rows in one question.
Each row becomes text in which every value is bounded, of that the server's own 64-bit hash, and
their sum over all rows, in whatever order. Texts are those of the types' output functions, never
of casts, which anybody may define; sessions have the settings that these depend on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

import psycopg

from holdfast.sources.postgres.server.sql_text import identifier, qualified
from holdfast.sources.postgres.server.table_part import TablePart

METHOD = "postgres-rows/1"
# What a row of the sum adds, so that it is never negative.
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
# A function takes a hundred arguments, and a comma stands between two values.
MOST_VALUES = 48
COMMA = ", ',', "
# The hash has been the same in every version; on a processor of the other byte order it is not.
_PROBE = "SELECT hashtextextended('holdfast' COLLATE \"C\", 0)"
_FOUND_BY_PROBE = 1940128942939898253
_NEEDED = (
    *("hashtextextended(text,bigint)", "sha256(bytea)", 'concat("any")', 'num_nulls("any")'),
    *("sum(bigint)", "count()"),
)
_REFUSED = """
SELECT name FROM unnest(%s::text[]) AS name WHERE NOT has_function_privilege(name, 'EXECUTE')
"""


def obstacle(session: psycopg.Connection) -> str:
    """Why the server cannot give numbers that compare with those of others; empty if it can."""
    refused = session.execute(_REFUSED, [list(_NEEDED)]).fetchone()
    if refused:
        return f"the login may not call the function {refused[0]}"
    if session.execute(_PROBE.encode()).fetchone() != (_FOUND_BY_PROBE,):
        return "the server's processor orders bytes differently, and its hash gives other numbers"
    return ""


def digest_of(columns: Mapping[str, str]) -> str:
    """A short name for columns with their types: texts of other types cannot be compared."""
    text = "\n".join(f"{name}\n{kind}" for name, kind in sorted(columns.items()))
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:16]


def question(table: TablePart, types: Mapping[str, str], *, label: int = 0) -> str:
    """Asks for `label`, the number of rows, and the sum of their hashes."""
    source = f"ONLY {qualified(table.relation)}"
    # The order in which partitions have their columns may differ.
    pieces = [piece(column, types[column]) for column in sorted(table.columns)]
    number = f'hashtextextended({_joined(pieces)} COLLATE "C", 0)'
    where = f" {table.selected}" if table.selected else ""
    return f"SELECT {label}, count(*), coalesce(sum({number}), 0) FROM {source}{where}"  # noqa: S608  # names are quoted, the condition is the extension author's own SQL


def checksum(rows: int, total: int) -> str:
    """What the server answered to `question`, as a manifest keeps it."""
    return f"{METHOD}:{total + rows * EACH_ROW}"


def piece(column: str, kind: str) -> str:
    """One value as text without a comma, which is empty for NULL and for nothing else."""
    name, plain = identifier(column), _MODIFIER.sub("", kind).replace(" ", "\0")
    if plain in BARE:
        return name
    if plain in TEXTS:
        return f'hashtextextended({name} COLLATE "C", 0)'
    if plain == "bytea":
        # Long values take no more memory than they have.
        return f"sha256({name})"
    # Not IS NULL, which is true of a composite value of NULLs.
    return f'CASE num_nulls({name}) WHEN 0 THEN hashtextextended(concat({name}) COLLATE "C", 0) END'


def _joined(pieces: Sequence[str]) -> str:
    """All of them with commas between; without any, rows are equal, and their number says all."""
    groups = [f"concat({COMMA.join(each)})" for each in _grouped(pieces)]
    if not groups:
        return "''"
    return groups[0] if len(groups) == 1 else f"concat({COMMA.join(groups)})"


def _grouped(pieces: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(pieces), MOST_VALUES):
        yield pieces[first : first + MOST_VALUES]
