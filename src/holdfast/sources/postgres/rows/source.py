"""A PostgreSQL database as a source of parts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from holdfast.model.backup import Consistency, Selection, Server
from holdfast.model.checksums import Policy
from holdfast.model.errors import HoldfastError
from holdfast.ports.sessions import RUN_LABEL, HeldKind, Holder, Holding
from holdfast.ports.source import Blobs, Finding, Snapshot, Source, SourcePlan
from holdfast.runtime import events
from holdfast.runtime.cleanup import Cancellation, afterwards
from holdfast.sources.keepalive import Keepalive, joined
from holdfast.sources.packing import SMALL_TABLE_BYTES
from holdfast.sources.postgres.rows import long_values, part_plan, transport
from holdfast.sources.postgres.rows.checksummed_rows import contents
from holdfast.sources.postgres.rows.part_plan import Shape
from holdfast.sources.postgres.rows.snapshot import KIND, PostgresSnapshot
from holdfast.sources.postgres.rows.snapshot_locks import SnapshotLocks
from holdfast.sources.postgres.rows.transport import Transport, Wanted
from holdfast.sources.postgres.server import (
    catalog_queries,
    database_properties,
    databases,
    preflight,
    sampling,
)
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.inspection import Inspector
from holdfast.sources.postgres.server.locks import in_the_way, waits
from holdfast.sources.postgres.server.login import LOCK_WAIT_SECONDS, Login
from holdfast.sources.postgres.server.schema_dump import Globals, Schema, schema_archive
from holdfast.sources.postgres.server.shared_snapshot import Exported, Sessions

APPLICATION_NAME = "holdfast"
# A large object above this is kept once for all backups that hold it.
LONG_OBJECT_BYTES = 1 << 20


class PostgresSource(Source):
    """A backup uses one session to hold the snapshot, one per worker, and one more for each
    pg_dump under way. `tool_folders` replaces the search for the client programs. Tables above
    `chunk_bytes` are split (None chooses by the size of the database), those below `small_bytes`
    packed; values of type bytea from `external_bytes` up are kept aside (None: never).
    `checksums` says of which tables the server sums up the content. With
    `elsewhere` the snapshot is held there, and outlives this process.
    """

    engine = "native"

    def __init__(
        self,
        *,
        dsn: str,
        password: str | None = None,
        application_name: str = APPLICATION_NAME,
        tool_folders: Sequence[Path] = (),
        lock_wait_seconds: int = LOCK_WAIT_SECONDS,
        transport: Wanted = "auto",
        chunk_bytes: int | None = None,
        external_bytes: int | None = None,
        small_bytes: int = SMALL_TABLE_BYTES,
        selection: Selection | None = None,
        elsewhere: Holder | None = None,
        checksums: Policy = "auto",
    ) -> None:
        login = Login.parse(
            dsn,
            password=password,
            application_name=application_name,
            lock_wait_seconds=lock_wait_seconds,
        )
        self._examiner = Inspector(login=login, tool_folders=tuple(tool_folders))
        self._wanted = transport
        self._chunk_bytes = chunk_bytes
        self._external_bytes = external_bytes
        self._small_bytes = small_bytes
        self._selection = selection
        self._elsewhere = elsewhere
        self._checksums = checksums

        def one_of(dsn: str) -> PostgresSource:
            return PostgresSource(
                dsn=dsn,
                password=password,
                application_name=application_name,
                tool_folders=tool_folders,
                lock_wait_seconds=lock_wait_seconds,
                transport=transport,
                chunk_bytes=chunk_bytes,
                external_bytes=external_bytes,
                small_bytes=small_bytes,
                elsewhere=elsewhere,
                checksums=checksums,
            )

        self._dsn = dsn
        self._one_of = one_of

    @property
    def _login(self) -> Login:
        return self._examiner.login

    @property
    def database(self) -> str:
        return self._login.database

    def databases(self) -> Sequence[PostgresSource]:
        if self._selection is None:
            return [self]
        return databases.each_of(self._selection, self._login, self._dsn, self._one_of)

    def lag_seconds(self) -> float | None:
        return databases.lag_seconds(self._login)

    def check(self) -> list[Finding]:
        with self._examiner.session() as connection:
            found, used = self._examiner.rehearsed(connection)
            with transport.chosen(self._wanted, connection) as way:
                return preflight.findings(
                    found,
                    used,
                    free=preflight.connections_free(connection),
                    readable=(
                        f"all {len(catalog_queries.lockable(connection))} tables, sequences and"
                        " large objects"
                    ),
                    own=Finding(subject="transport", detail=f"{way.name}: {way.reason}"),
                )

    def connections_free(self) -> int:
        # Whoever holds the snapshot for us has a session too.
        beside = 0 if self._elsewhere is None else 1
        return max(0, self._examiner.connections_free() - beside)

    def plan(self) -> SourcePlan:
        with self._examiner.session() as connection:
            found = catalog_queries.facts(connection)
            blockers = in_the_way(connection)
            locked = [each.oid for each in blockers]
            listed = catalog_queries.tables(connection, locked=locked)
            listed = sampling.sampled(connection, listed, found, without=locked)
            shape = self._shape(found, keeps_blobs=True)
            with transport.chosen(self._wanted, connection) as way:
                return SourcePlan(
                    server=Server(kind=KIND, version=found.version, database=found.database),
                    tables=part_plan.table_plans(found, listed, way, shape),
                    consistency=Consistency.SNAPSHOT,
                    notes=(
                        f"rows travel over {way.name}: {way.reason}",
                        f"tables are split above {shape.chunk_bytes} bytes: {shape.reason}",
                        str(contents(connection, found, listed, self._checksums)),
                        *catalog_queries.notes(found, listed),
                        *catalog_queries.hidden(connection),
                        *waits(blockers),
                    ),
                )

    @contextmanager
    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> Iterator[Snapshot]:
        with self._login.session() as held, ExitStack() as stack, ExitStack() as unheard:
            with self._examiner.translated(held):
                found = self._examiner.examined(held)
                used = self._examiner.tools(found)
                # Before the snapshot: a trial that fails would end its transaction.
                way = stack.enter_context(transport.chosen(self._wanted, held))
                holding = stack.enter_context(self._held_elsewhere(rejoin))
                if holding is not None and not rejoin:
                    unheard.enter_context(afterwards(holding.abort))
                endings, archive = Cancellation(), stack.enter_context(schema_archive())
                taking = SnapshotLocks(self._login, held, found, used, archive, endings)
                stack.enter_context(afterwards(taking.end))
                exported, schema = taking.taken(rejoin, holding)
                sessions = Sessions(held, snapshot=exported.name, seen=exported.seen)
            with sessions.opened(self._login, count=workers):
                with self._examiner.translated(held):
                    snapshot = self._snapshot(
                        held, found, exported, sessions, used, way, blobs, schema, endings, holding
                    )
                # From here on it is theirs who know of it to let it go.
                unheard.pop_all()
                with afterwards(snapshot.abort):
                    yield snapshot

    @contextmanager
    def _held_elsewhere(self, session_id: str) -> Iterator[Holding | None]:
        """The session that somebody else holds for us, where the job wants that."""
        if self._elsewhere is None:
            yield None
            return
        holding = (
            joined(self._elsewhere, session_id)
            if session_id
            else self._elsewhere.begin(
                HeldKind.SNAPSHOT, label=RUN_LABEL, fast=True, database=self.database
            )
        )
        tender = Keepalive(holding, lost=_tell_loss)
        with tender.at_work():
            yield holding

    def _snapshot(
        self,
        held: psycopg.Connection,
        found: Facts,
        exported: Exported,
        sessions: Sessions,
        used: Sequence[Tool],
        way: Transport,
        blobs: Blobs | None,
        schema: Schema,
        endings: Cancellation,
        holding: Holding | None,
    ) -> PostgresSnapshot:
        listed = sampling.sampled(held, catalog_queries.tables(held), found)
        numbered = [each.relation for each in catalog_queries.sequences(held)]
        creation = database_properties.creation_options(held)
        shape = self._shape(found, keeps_blobs=blobs is not None)
        aside = (
            long_values.long_objects(held, found, LONG_OBJECT_BYTES)
            if shape.keeps_blobs and found.has_large_objects
            else []
        )
        pieces = long_values.slices(held, found, chunk_bytes=shape.chunk_bytes, without=aside)
        return PostgresSnapshot(
            found=found,
            exported=exported,
            sessions=sessions,
            transport=way,
            schema=schema,
            endings=endings,
            globals_=self._globals(held, found, used),
            tools=used,
            layout=part_plan.lay_out(
                found,
                listed,
                numbered,
                pieces,
                creation,
                shape=shape,
                transport=way.name,
                long_objects=aside,
            ),
            sequences=numbered,
            blobs=blobs,
            notes=(*catalog_queries.notes(found, listed), *catalog_queries.hidden(held)),
            contents=contents(held, found, listed, self._checksums),
            holding=holding,
        )

    def _globals(self, held: psycopg.Connection, found: Facts, used: Sequence[Tool]) -> Globals:
        return Globals(
            self._login,
            pg_dumpall=used[1],
            found=found,
            of_everybody=database_properties.settings_of_everybody(held),
        )

    def _shape(self, found: Facts, *, keeps_blobs: bool) -> Shape:
        size_bytes, reason = part_plan.chunk_bytes(found, self._chunk_bytes)
        return Shape(
            chunk_bytes=size_bytes,
            reason=reason,
            small_bytes=self._small_bytes,
            keeps_blobs=keeps_blobs,
            external_bytes=self._external_bytes if keeps_blobs else None,
            marker=b"holdfast blob " + secrets.token_bytes(16),
        )


def _tell_loss(error: HoldfastError) -> None:
    """The workers have the snapshot in sessions of their own: only a resume needs the other."""
    events.warning("session_not_held_any_more", reason=error.message)
