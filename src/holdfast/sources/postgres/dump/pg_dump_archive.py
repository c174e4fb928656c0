"""The one pg_dump that backs up a whole database: its arguments, its process and its parts.

pg_dump starts with the snapshot, before another session can queue for a lock, and is read later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from holdfast.model.backup import Codec, Part, PartKind, PartPlan, Relation
from holdfast.model.errors import VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import PostgresDump
from holdfast.model.stored_json import MANIFEST, parsed
from holdfast.model.units import size
from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.process import Child, ChildFailed, running
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.catalog_queries import Facts, Table, has_rows_to_take
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.preflight import TRY_SECONDS
from holdfast.sources.postgres.server.schema_dump import Dump, of_its_own, wait_for_locks
from holdfast.sources.postgres.server.sql_text import slug

CUSTOM = "custom"
PLAIN = "plain"
SUFFIXES = {CUSTOM: ".dump", PLAIN: ".sql"}


GLOBALS = "globals"
DATABASE = "database"
# This many zstd threads are faster than one pg_dump, which writes some hundred MB/s; more threads
# would only cost memory.
MOST_THREADS = 4

# pg_dump compresses in the thread that reads: above this level compression limits the speed.
HIGHEST_LEVEL = 6
# The first version with a compression other than zlib.
KNOWS_ZSTD = 16
Arguments = Callable[[Login], list[str]]
"""Returns the command line of pg_dump for a login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """The compression that the job asks for; the level is capped at `HIGHEST_LEVEL`."""

    codec: Codec
    level: int

    def option(self, pg_dump: Tool) -> str:
        """The option for this version of pg_dump; zlib if it does not support the codec."""
        level = min(self.level, HIGHEST_LEVEL)
        if self.codec is Codec.NONE:
            return "--compress=0"
        if self.codec is Codec.ZSTD and pg_dump.major >= KNOWS_ZSTD:
            return f"--compress=zstd:{level}"
        return f"--compress={level}"


def format_for(found: Facts, *, plain_from_bytes: int) -> tuple[str, str]:
    """The format for a database of this size, and why."""
    if found.database_bytes < plain_from_bytes:
        return CUSTOM, f"the database is smaller than {size(plain_from_bytes)}"
    return PLAIN, (
        f"the database has {size(plain_from_bytes)} or more: pg_dump would compress it on a"
        " single core"
    )


def arguments(
    pg_dump: Tool, login: Login, *, form: str, snapshot: str, compression: Compression
) -> list[str]:
    """The command line that dumps the whole database inside `snapshot` to standard output."""
    shape = (
        ["--format=custom", compression.option(pg_dump)]
        if form == CUSTOM
        else ["--format=plain", "--compress=0"]
    )
    return [
        str(pg_dump.path),
        "--no-password",
        *shape,
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={TRY_SECONDS}s",
        f"--dbname={login.steady_conninfo()}",
    ]


class DumpProcess:
    """The pg_dump process for `login`, with the command line that `arguments` returns."""

    def __init__(self, login: Login, arguments: Arguments) -> None:
        self._login = of_its_own(login)
        self._subject = f"database '{login.database}'"
        self._arguments = arguments
        self._begun: Child | None = None

    @contextmanager
    def begun(self, held: psycopg.Connection) -> Iterator[None]:
        """Start pg_dump and wait until it has locked every table; it runs until the block ends.

        Its output waits in a pipe until it is read. Raises `LockTimedOut`, and other errors of
        pg_dump.
        """
        with self._running() as child:
            wait_for_locks(held, self._login, is_running=lambda: child.is_running)
            if not child.is_running:
                self._require_well(child)
            self._begun = child
            yield

    @contextmanager
    def reading(self, cancellation: Cancellation) -> Iterator[Dump]:
        """The output of pg_dump; a second read starts a new process."""
        child, self._begun = self._begun, None
        if child is not None:
            with cancellation.registered(child.end):
                yield Dump(child, self._subject, cancellation.aborted)
            return
        with self._running() as again, cancellation.registered(again.end):
            yield Dump(again, self._subject, cancellation.aborted)

    @contextmanager
    def _running(self) -> Iterator[Child]:
        with running(self._arguments(self._login), env=self._login.environment()) as child:
            yield child

    def _require_well(self, child: Child) -> None:
        try:
            child.finish()
        except ChildFailed as error:
            raise failures.dumping(error, self._subject) from error


def parts_of(
    found: Facts,
    tables: Sequence[Table],
    creation: Mapping[str, str],
    *,
    form: str,
    pg_dump: Tool,
    workers: int,
) -> tuple[PartPlan, ...]:
    """The parts, the archive first: it takes longest, and it must join the snapshot."""
    dump = PartPlan(
        name=f"{_stem(found.database)}{SUFFIXES[form]}",
        kind=PartKind.ARCHIVE,
        estimated_bytes=found.database_bytes,
        details=PostgresDump(
            format=form,
            creation=dict(creation),
            server_version_number=found.version_number,
            collation_version=found.collation_version or "",
            pg_dump_major=pg_dump.major,
            tables=_encoded(table for table in tables if has_rows_to_take(table, found)),
        ),
        compress=form == PLAIN,
        compress_threads=min(workers, MOST_THREADS) if form == PLAIN else 0,
    )
    return (
        dump,
        PartPlan(name=f"{GLOBALS}.sql", kind=PartKind.GLOBALS),
        # A dump without --create omits the database's owner, comment, settings and grants.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A table with rows in the archive; `oid` is its number in the table of contents."""

    oid: int
    relation: Relation
    ancestors: tuple[Relation, ...]

    @property
    def relations(self) -> tuple[Relation, ...]:
        return (self.relation, *self.ancestors)


def details_of(part: Part) -> PostgresDump:
    """The details that the manifest holds about the archive; raises `VerifyFailed`."""
    if not isinstance(part.details, PostgresDump):
        raise _wrong(part, "the manifest has no details of it")
    return part.details


def tables_in(part: Part) -> list[Listed]:
    """The tables whose rows the archive holds; raises `VerifyFailed`."""
    tables = details_of(part).tables
    try:
        return [_listed(row) for row in parsed(tables, MANIFEST)]
    except (TypeError, ValueError) as error:
        raise _wrong(part, f"its 'tables' is '{tables[:60]}'") from error


def _wrong(part: Part, why: str) -> VerifyFailed:
    return VerifyFailed(
        f"cannot trust archive '{part.name}': {why}",
        hint="this backup is damaged: restore from another one",
    )


def _listed(row: Iterable[Any]) -> Listed:
    oid, schema, name, ancestors = row
    pairs = [(schema, name), *(tuple(each) for each in ancestors if isinstance(each, list))]
    if not isinstance(oid, int) or not all(_is_name(pair) for pair in pairs):
        raise ValueError("it is not a table")
    own, *above = (Relation(schema=str(first), name=str(second)) for first, second in pairs)
    return Listed(oid=oid, relation=own, ancestors=tuple(above))


def _is_name(pair: tuple[object, ...]) -> bool:
    return len(pair) == 2 and all(isinstance(each, str) for each in pair)
