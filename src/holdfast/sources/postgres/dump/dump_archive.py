"""What the backup of a database is: the artefact of pg_dump and what it leaves out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.model.backup import Part, PartKind, PartPlan, Relation
from holdfast.model.part_details import Details
from holdfast.sources.postgres.rows.part_plan import COLLATION_VERSION, CREATION, SERVER_VERSION
from holdfast.sources.postgres.server.catalog_queries import Facts, Table, has_rows_to_take
from holdfast.sources.postgres.server.quoting import slug
from holdfast.sources.postgres.server.tools import Tool

CUSTOM = "custom"
PLAIN = "plain"
SUFFIXES = {CUSTOM: ".dump", PLAIN: ".sql"}

FORMAT = "format"
PG_DUMP_MAJOR = "pg_dump_major"
TABLES = "tables"

GLOBALS = "globals"
DATABASE = "database"
# A single pg_dump writes some hundred MB a second, which this many threads of zstd outrun;
# each more would only cost memory.
MOST_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A table with rows in the artefact, by the number that its table of contents has."""

    oid: int
    relation: Relation
    ancestors: tuple[Relation, ...]

    @property
    def relations(self) -> tuple[Relation, ...]:
        return (self.relation, *self.ancestors)


def format_for(found: Facts, *, plain_from_bytes: int) -> tuple[str, str]:
    """The format for a database of this size, and why."""
    if found.database_bytes < plain_from_bytes:
        return CUSTOM, f"the database is below {plain_from_bytes} bytes"
    return PLAIN, (
        f"the database has {plain_from_bytes} bytes or more: pg_dump would compress it on a"
        " single core"
    )


def parts_of(
    found: Facts,
    tables: Sequence[Table],
    creation: Mapping[str, str],
    *,
    form: str,
    pg_dump: Tool,
    workers: int,
) -> tuple[PartPlan, ...]:
    """The artefact first: it takes longest, and it has to join the snapshot."""
    dump = PartPlan(
        name=f"{_stem(found.database)}{SUFFIXES[form]}",
        kind=PartKind.ARCHIVE,
        estimated_bytes=found.database_bytes,
        details={
            FORMAT: form,
            CREATION: json.dumps(dict(creation)),
            SERVER_VERSION: str(found.version_number),
            PG_DUMP_MAJOR: str(pg_dump.major),
            TABLES: _encoded(table for table in tables if has_rows_to_take(table, found)),
            **({COLLATION_VERSION: found.collation_version} if found.collation_version else {}),
        },
        compress=form == PLAIN,
        compress_threads=min(workers, MOST_THREADS) if form == PLAIN else 0,
    )
    return (
        dump,
        PartPlan(name=f"{GLOBALS}.sql", kind=PartKind.GLOBALS),
        # What a dump leaves to CREATE DATABASE: owner, comment, settings and grants.
        PartPlan(name=f"{DATABASE}.sql", kind=PartKind.GRANTS),
    )


def _stem(database: str) -> str:
    stem = slug(database)
    return f"{stem}-dump" if stem in (GLOBALS, DATABASE) else stem


def _encoded(tables: Iterable[Table]) -> str:
    return json.dumps(
        [[table.oid, table.schema, table.name, table.ancestors] for table in tables],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def tables_in(part: Part) -> list[Listed]:
    """The tables whose rows the artefact holds; raises `VerifyFailed`."""
    details = Details(part)
    try:
        return [_listed(*row) for row in details.json(TABLES)]
    except (TypeError, ValueError) as error:
        raise details.wrong(TABLES) from error


def _listed(oid: object, schema: object, name: object, ancestors: Iterable[object]) -> Listed:
    pairs = [(schema, name), *(tuple(each) for each in ancestors if isinstance(each, list))]
    if not isinstance(oid, int) or not all(_is_name(pair) for pair in pairs):
        raise ValueError("it is no table")
    own, *above = (Relation(schema=str(first), name=str(second)) for first, second in pairs)
    return Listed(oid=oid, relation=own, ancestors=tuple(above))


def _is_name(pair: tuple[object, ...]) -> bool:
    return len(pair) == 2 and all(isinstance(each, str) for each in pair)
