"""A PostgreSQL database read by the built-in engine: rows by COPY, definitions by pg_dump."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import psycopg

from holdfast.model.backup import Buffer, PartKind, PartPlan, Relation
from holdfast.model.checksums import Policy
from holdfast.model.errors import HoldfastError, SnapshotLost
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import PostgresProof
from holdfast.model.units import size
from holdfast.ports.sessions import HeldKind, Holder, Holding
from holdfast.ports.source import Finding, PartStream, Snapshot, TablePlan
from holdfast.runtime import events
from holdfast.runtime.cleanup import Cancellation, afterwards
from holdfast.sources.keepalive import Keepalive, held_session, release_session
from holdfast.sources.packing import SMALL_TABLE_BYTES
from holdfast.sources.postgres.rows import long_values, part_plan, transport
from holdfast.sources.postgres.rows.checksummed_rows import (
    Contents,
    ContentSums,
    CopyPack,
    SummedRows,
    contents,
)
from holdfast.sources.postgres.rows.copy_command import CopyCommand
from holdfast.sources.postgres.rows.part_plan import Listing, PartLayout, Shape
from holdfast.sources.postgres.rows.transport import CopyOut, Transport, Wanted
from holdfast.sources.postgres.server import catalog_queries, database_properties, shared_snapshot
from holdfast.sources.postgres.server.catalog_queries import Facts, Table
from holdfast.sources.postgres.server.database_source import (
    DatabaseSnapshot,
    DatabaseSource,
    Opening,
    not_taken,
)
from holdfast.sources.postgres.server.schema_dump import Schema, schema_archive
from holdfast.sources.postgres.server.shared_snapshot import Exported, Sessions

# A larger large object becomes a blob, stored once for all backups that hold it.
LONG_OBJECT_BYTES = 1 << 20
# The parts that holdfast writes itself, in a session inside the snapshot; their names in messages.
_TEXTS = {
    PartKind.SEQUENCES: "sequences",
    PartKind.GRANTS: "settings",
    PartKind.LARGE_OBJECTS: "large objects",
    PartKind.BLOBS: "long values",
}


@dataclass(kw_only=True, eq=False, repr=False)
class PostgresSource(DatabaseSource):
    """A backup uses one session to hold the snapshot, one per worker, and one more for each
    running pg_dump.

    Tables above `chunk_bytes` are split (None: chosen by the size of the database), those below
    `small_bytes` packed. Bytea values from `external_bytes` up become blobs (None: never).
    `checksums` selects the tables that get one. With `elsewhere` a held session holds the
    snapshot, which then outlives this process.
    """

    engine = "native"

    transport: Wanted = "auto"
    chunk_bytes: int | None = None
    external_bytes: int | None = None
    small_bytes: int = SMALL_TABLE_BYTES
    elsewhere: Holder | None = None
    checksums: Policy = "auto"

    def connections_free(self) -> int:
        # The held session uses a connection too.
        beside = 0 if self.elsewhere is None else 1
        return max(0, super().connections_free() - beside)

    def _choice(self, connection: psycopg.Connection, found: Facts) -> Finding:  # noqa: ARG002  # of any database
        with transport.chosen(self.transport, connection) as way:
            return Finding(subject="transport", detail=f"{way.name}: {way.reason}")

    def _planned(
        self,
        connection: psycopg.Connection,
        found: Facts,
        listed: Sequence[Table],
        *,
        locked: Collection[int],
    ) -> tuple[Sequence[TablePlan], Sequence[str]]:
        listed = catalog_queries.sampled(connection, listed, found, without=locked)
        shape = self._shape(found, keeps_blobs=True)
        with transport.chosen(self.transport, connection) as way:
            tables = part_plan.table_plans(found, listed, transport=way, shape=shape)
        return tables, (
            f"rows travel over {way.name}: {way.reason}",
            f"tables are split above {size(shape.chunk_bytes)}: {shape.reason}",
            str(contents(connection, found, listed, policy=self.checksums)),
        )

    def _begun(self, opening: Opening) -> Snapshot:
        held, found, stack = opening.held, opening.found, opening.stack
        with ExitStack() as unclaimed:
            # Before the snapshot: a failed trial would abort its transaction.
            way = stack.enter_context(transport.chosen(self.transport, held))
            holding = stack.enter_context(self._held_elsewhere(opening.rejoin))
            if holding is not None and not opening.rejoin:
                unclaimed.enter_context(afterwards(holding.abort))
            cancellation = Cancellation()
            exported, (schema, sessions, listing, shape) = self._exported(
                opening, holding, cancellation
            )
            snapshot = PostgresSnapshot(
                opening=opening,
                exported=exported,
                globals_=self._globals_of(opening),
                not_taken=not_taken(held, found, listing.tables),
                cancellation=cancellation,
                sessions=sessions,
                transport=way,
                schema=schema,
                layout=part_plan.lay_out(found, listing, shape=shape, transport=way.name),
                sequences=listing.sequences,
                contents=contents(held, found, listing.tables, policy=self.checksums),
                holding=holding,
            )
            # The caller now owns the snapshot and must release it.
            unclaimed.pop_all()
        return snapshot

    @contextmanager
    def _held_elsewhere(self, session_id: str) -> Iterator[Holding | None]:
        """The held session of the snapshot, kept alive during the block; None without
        `elsewhere`."""
        if self.elsewhere is None:
            yield None
            return
        holding = held_session(
            self.elsewhere, HeldKind.SNAPSHOT, rejoin=session_id, database=self.database
        )
        with Keepalive(holding, lost=_warn_of_loss).at_work():
            yield holding

    def _exported(
        self, opening: Opening, holding: Holding | None, cancellation: Cancellation
    ) -> tuple[Exported, tuple[Schema, Sessions, Listing, Shape]]:
        """The snapshot, sessions in it, what it shows, and a pg_dump that has locked all tables.

        The sessions are opened and the tables listed while pg_dump locks them. For a rejoined
        snapshot pg_dump is not started yet.
        """
        archive = opening.stack.enter_context(schema_archive())
        shape = self._shape(opening.found, keeps_blobs=opening.blobs is not None)

        def begin(exported: Exported) -> tuple[Schema, Sessions, Listing, Shape]:
            schema = Schema(
                self.login,
                pg_dump=opening.programs.pg_dump,
                snapshot=exported.name,
                found=opening.found,
                archive=archive,
                cancellation=cancellation,
            )
            # The definitions of a rejoined snapshot may be stored already.
            if not opening.rejoin:
                opening.stack.enter_context(afterwards(schema.end))
                schema.begin()
            sessions = Sessions(opening.held, snapshot=exported.name, seen=exported.seen)
            # Sessions of a snapshot whose locks came too late end here: another one is taken.
            with ExitStack() as opened:
                opened.enter_context(sessions.opened(self.login, count=opening.workers))
                listing = self._listing(opening.held, opening.found, shape)
                schema.wait_for_locks(opening.held)
                opening.stack.enter_context(opened.pop_all())
            return schema, sessions, listing, shape

        return shared_snapshot.begun_under_snapshot(
            opening.held, self.login, take=lambda: self._taken(opening, holding), begin=begin
        )

    def _taken(self, opening: Opening, holding: Holding | None) -> Exported:
        held, user = opening.held, opening.found.login
        if holding is None:
            if opening.rejoin:
                return shared_snapshot.rejoin_snapshot(held, self.login, opening.rejoin, user=user)
            return shared_snapshot.take_snapshot(held, self.login, user=user)
        # The held session exported the snapshot, and knows its LSN and time.
        begun = holding.begun
        if holding.ended is not None:
            ended = f"cannot rejoin session '{holding.session_id}': it has ended"
            raise SnapshotLost(ended)
        seen = shared_snapshot.rejoin_snapshot(held, self.login, begun.snapshot, user=user)
        return replace(seen, lsn=begun.start_lsn, taken_at=begun.begun_at)

    def _listing(self, held: psycopg.Connection, found: Facts, shape: Shape) -> Listing:
        aside = (
            long_values.long_objects(held, found, LONG_OBJECT_BYTES)
            if shape.keeps_blobs and found.has_large_objects
            else []
        )
        return Listing(
            tables=catalog_queries.sampled(held, catalog_queries.tables(held), found),
            sequences=[each.relation for each in catalog_queries.sequences(held)],
            slices=long_values.slices(
                held,
                found,
                chunk_bytes=shape.chunk_bytes,
                without=aside,
                longest_bytes=LONG_OBJECT_BYTES,
            ),
            creation=database_properties.creation_options(held),
            long_objects=aside,
        )

    def _shape(self, found: Facts, *, keeps_blobs: bool) -> Shape:
        size_bytes, reason = part_plan.chunk_bytes(found, self.chunk_bytes)
        return Shape(
            chunk_bytes=size_bytes,
            reason=reason,
            small_bytes=self.small_bytes,
            keeps_blobs=keeps_blobs,
            external_bytes=self.external_bytes if keeps_blobs else None,
            marker=b"holdfast blob " + secrets.token_bytes(16),
        )


def _warn_of_loss(error: HoldfastError) -> None:
    """Warn only: the workers' sessions have the snapshot, and only a resume needs the held one."""
    events.warning("held_session_lost", reason=error.message)


@dataclass(kw_only=True, eq=False, repr=False)
class PostgresSnapshot(DatabaseSnapshot):
    """Created by `PostgresSource.open`, which ends its sessions; `holding` keeps the snapshot for
    a later run that resumes."""

    sessions: Sessions
    transport: Transport
    schema: Schema
    layout: PartLayout
    sequences: Sequence[Relation]
    contents: Contents
    holding: Holding | None = None

    def __post_init__(self) -> None:
        self._summing = ContentSums(
            self.contents.chosen,
            self.contents.types,
            user=self.opening.found.login,
            aborted=self.cancellation.aborted,
        )

    def _with_evidence(self, proof: PostgresProof) -> PostgresProof:
        count, seen = self.sessions.count, self.exported.seen
        found = replace(
            proof, sessions=f"{count} of {count} see {seen}", content=str(self.contents)
        )
        if self.holding is None:
            return found
        # A later run rejoins the snapshot by the id of the held session, not by the server's name.
        return replace(found, exported=self.exported.name, snapshot=self.holding.session_id)

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self.layout.parts

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        if part.kind is PartKind.DATA:
            return self._read_rows(part)
        if part.kind is PartKind.LARGE_OBJECTS and part.name in self.layout.slices:
            return self._read_slice(part)
        if part.kind in _TEXTS:
            return self._read_text(part)
        if part.kind is PartKind.GLOBALS:
            return self.globals_.read(self.cancellation)
        return self.schema.read(part)

    def release(self, *, finished: bool) -> None:
        if self.holding is not None:
            release_session(self.holding, finished=finished)

    @contextmanager
    def _read_rows(self, part: PartPlan) -> Iterator[PartStream]:
        tables = self.layout.tables[part.name]
        if part.relation is None:
            relations = [table.relation for table in tables]
            with self._lent(f"table '{relations[0]}'", relations) as session:
                pack = CopyPack(
                    session,
                    tables,
                    summing=self._summing,
                    user=self.opening.found.login,
                    aborted=self.cancellation.aborted,
                )
                with afterwards(pack.close):
                    yield pack
            return
        table, subject = tables[0], f"table '{part.relation}'"
        with (
            self._lent(subject, [table.relation]) as session,
            self._reading(session, table.copy_out, subject) as stream,
        ):
            yield SummedRows(session, stream, table=table, summing=self._summing)

    @contextmanager
    def _read_slice(self, part: PartPlan) -> Iterator[PartStream]:
        copy_out = self.layout.slices[part.name].copy_out
        subject = self._of_database("large objects")
        with (
            self._lent(subject) as session,
            self._reading(session, copy_out, subject) as stream,
        ):
            yield stream

    def _reading(
        self, session: psycopg.Connection, copy_out: CopyOut, subject: str
    ) -> AbstractContextManager[CopyCommand]:
        return self.transport.reading(
            session,
            copy_out,
            subject=subject,
            user=self.opening.found.login,
            aborted=self.cancellation.aborted,
        )

    @contextmanager
    def _read_text(self, part: PartPlan) -> Iterator[PartStream]:
        tables = [part.relation] if part.relation else []
        subject = f"table '{part.relation}'" if tables else self._of_database(_TEXTS[part.kind])
        with self._lent(subject, tables) as session:
            yield self._texts(session, self._written(session, part), subject)

    def _written(self, session: psycopg.Connection, part: PartPlan) -> Iterator[Buffer]:
        if part.kind is PartKind.SEQUENCES:
            return database_properties.sequence_statements(session, self.sequences)
        if part.kind is PartKind.GRANTS:
            return database_properties.statements(session)
        if part.kind is PartKind.LARGE_OBJECTS:
            return long_values.statements(session)
        return self._keep_long_values(session, part)

    def _keep_long_values(self, session: psycopg.Connection, part: PartPlan) -> Iterator[Buffer]:
        if self.opening.blobs is None:
            raise ValueError("a snapshot without a blob store has no blob parts")
        if part.relation is None:
            oids = self.layout.long_objects[part.name]
            read = partial(self._large_object, session)
            return long_values.of_large_objects(oids, self.opening.blobs, read)
        return long_values.of_table(session, self.layout.with_blobs[part.name], self.opening.blobs)

    def _large_object(self, session: psycopg.Connection, oid: int) -> Iterator[Buffer]:
        knows_pages = self.opening.found.may_read_pages_of_large_objects
        wanted = long_values.LargeObject(oid=oid, knows_pages=knows_pages)
        with self._reading(session, wanted.copy_out, f"large object {oid}") as stream:
            yield from long_values.values_of(stream)

    @contextmanager
    def _lent(self, subject: str, tables: Sequence[Relation] = ()) -> Iterator[psycopg.Connection]:
        with self.sessions.lent(subject, tables) as session, self._cancelled(session):
            yield session
