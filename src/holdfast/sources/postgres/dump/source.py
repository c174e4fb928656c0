"""A PostgreSQL database as the stock artefacts of pg_dump and pg_dumpall."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psycopg

from holdfast.model.backup import Codec, Consistency, Selection, Server
from holdfast.model.errors import SnapshotLost
from holdfast.ports.source import Blobs, Finding, Snapshot, Source, SourcePlan, TablePlan
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.dump import pg_dump_archive
from holdfast.sources.postgres.dump.pg_dump_archive import HIGHEST_LEVEL, Compression, DumpProcess
from holdfast.sources.postgres.dump.snapshot import ToolsSnapshot
from holdfast.sources.postgres.rows.part_plan import BIG_DATABASE_BYTES
from holdfast.sources.postgres.rows.snapshot import KIND
from holdfast.sources.postgres.rows.source import APPLICATION_NAME
from holdfast.sources.postgres.server import (
    catalog_queries,
    database_properties,
    databases,
    preflight,
    shared_snapshot,
)
from holdfast.sources.postgres.server.catalog_queries import Facts, Table, has_rows_to_take
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.failures import LockTimedOut
from holdfast.sources.postgres.server.inspection import Inspector
from holdfast.sources.postgres.server.locks import Queue, in_the_way, waits
from holdfast.sources.postgres.server.login import LOCK_WAIT_SECONDS, Login
from holdfast.sources.postgres.server.schema_dump import Globals
from holdfast.sources.postgres.server.shared_snapshot import Exported


class PostgresToolsSource(Source):
    """A backup uses one session to hold the snapshot, one for pg_dump and one for pg_dumpall.
    From `plain_from_bytes` up a database is dumped as plain SQL, which the pipeline compresses;
    below it pg_dump compresses with `codec` and `level`. Long values stay in the dump.
    """

    engine = "tools"

    def __init__(
        self,
        *,
        dsn: str,
        password: str | None = None,
        application_name: str = APPLICATION_NAME,
        tool_folders: Sequence[Path] = (),
        lock_wait_seconds: int = LOCK_WAIT_SECONDS,
        plain_from_bytes: int = BIG_DATABASE_BYTES,
        codec: Codec = Codec.GZIP,
        level: int = HIGHEST_LEVEL,
        selection: Selection | None = None,
    ) -> None:
        login = Login.parse(
            dsn,
            password=password,
            application_name=application_name,
            lock_wait_seconds=lock_wait_seconds,
        )
        self._examiner = Inspector(login=login, tool_folders=tuple(tool_folders))
        self._plain_from_bytes = plain_from_bytes
        self._compression = Compression(codec=codec, level=level)
        self._selection = selection

        def one_of(dsn: str) -> PostgresToolsSource:
            return PostgresToolsSource(
                dsn=dsn,
                password=password,
                application_name=application_name,
                tool_folders=tool_folders,
                lock_wait_seconds=lock_wait_seconds,
                plain_from_bytes=plain_from_bytes,
                codec=codec,
                level=level,
            )

        self._dsn = dsn
        self._one_of = one_of

    @property
    def _login(self) -> Login:
        return self._examiner.login

    @property
    def database(self) -> str:
        return self._login.database

    def databases(self) -> Sequence[PostgresToolsSource]:
        if self._selection is None:
            return [self]
        return databases.each_of(self._selection, self._login, self._dsn, self._one_of)

    def lag_seconds(self) -> float | None:
        return databases.lag_seconds(self._login)

    def check(self) -> list[Finding]:
        with self._examiner.session() as connection:
            found, used = self._examiner.rehearsed(connection)
            form, reason = self._form(found)
            return preflight.findings(
                found,
                used,
                free=preflight.connections_free(connection),
                readable="all tables, sequences and large objects",
                own=Finding(subject="format", detail=f"{form}: {reason}"),
            )

    def connections_free(self) -> int:
        return self._examiner.connections_free()

    def plan(self) -> SourcePlan:
        with self._examiner.session() as connection:
            found = catalog_queries.facts(connection)
            blockers = in_the_way(connection)
            listed = catalog_queries.tables(connection, locked=[each.oid for each in blockers])
            form, reason = self._form(found)
            return SourcePlan(
                server=Server(kind=KIND, version=found.version, database=found.database),
                tables=tuple(_planned(table, found, form) for table in listed),
                consistency=Consistency.SNAPSHOT,
                notes=(
                    f"one pg_dump writes the whole database in format {form}: {reason}",
                    self._who_compresses(form),
                    *catalog_queries.notes(found, listed),
                    *catalog_queries.hidden(connection),
                    *waits(blockers),
                ),
            )

    @contextmanager
    def open(
        self,
        *,
        workers: int,
        blobs: Blobs | None = None,  # noqa: ARG002  # a stock artefact holds all of its values
        rejoin: str = "",
    ) -> Iterator[Snapshot]:
        if rejoin:
            raise SnapshotLost(
                "a dump that pg_dump writes in one piece cannot be gone on with half way"
            )
        with self._login.session() as held, ExitStack() as stack:
            with self._examiner.translated(held):
                found = self._examiner.examined(held)
                used = self._examiner.tools(found)
                exported, dumping = self._begun(held, found, used[0], stack)
                snapshot = self._snapshot(held, found, exported, used, workers, dumping)
            with afterwards(snapshot.abort):
                yield snapshot

    def _begun(
        self, held: psycopg.Connection, found: Facts, dump: Tool, stack: ExitStack
    ) -> tuple[Exported, DumpProcess]:
        """The snapshot, and a pg_dump under it that has locked all tables."""
        waiting = Queue(self._login)
        form, _ = self._form(found)
        while True:
            exported = shared_snapshot.take_snapshot(held, self._login, user=found.login)
            arguments = partial(
                pg_dump_archive.arguments,
                dump,
                form=form,
                snapshot=exported.name,
                compression=self._compression,
            )
            dumping = DumpProcess(self._login, arguments)
            try:
                stack.enter_context(dumping.begun(held))
            except LockTimedOut:
                held.execute("ROLLBACK")
                waiting.wait()
            else:
                return exported, dumping

    def _snapshot(
        self,
        held: psycopg.Connection,
        found: Facts,
        exported: Exported,
        used: Sequence[Tool],
        workers: int,
        dumping: DumpProcess,
    ) -> ToolsSnapshot:
        dump, dumpall = used
        form, _ = self._form(found)
        listed = catalog_queries.tables(held)
        creation = database_properties.creation_options(held)
        return ToolsSnapshot(
            found=found,
            exported=exported,
            held=held,
            dumping=dumping,
            globals_=Globals(
                self._login,
                pg_dumpall=dumpall,
                found=found,
                of_everybody=database_properties.settings_of_everybody(held),
            ),
            used=used,
            parts=pg_dump_archive.parts_of(
                found, listed, creation, form=form, pg_dump=dump, workers=workers
            ),
            notes=(*catalog_queries.notes(found, listed), *catalog_queries.hidden(held)),
        )

    def _form(self, found: Facts) -> tuple[str, str]:
        return pg_dump_archive.format_for(found, plain_from_bytes=self._plain_from_bytes)

    def _who_compresses(self, form: str) -> str:
        if form == pg_dump_archive.PLAIN:
            return "the dump is compressed by us, as the job says"
        level = min(self._compression.level, HIGHEST_LEVEL)
        return f"pg_dump compresses by itself, at level {level} (never above {HIGHEST_LEVEL})"


def _planned(table: Table, found: Facts, form: str) -> TablePlan:
    taken = has_rows_to_take(table, found)
    return TablePlan(
        relation=table.relation,
        estimated_bytes=table.size_bytes if taken else 0,
        estimated_rows=table.estimated_rows,
        method=f"pg_dump {form}" if taken else "schema only",
        reason="the engine is tools" if taken else "it has no rows here",
    )
