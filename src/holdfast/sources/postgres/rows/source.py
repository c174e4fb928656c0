"""A PostgreSQL database as the built-in engine reads it: rows by COPY, definitions by pg_dump."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import psycopg

from holdfast.model.checksums import Policy
from holdfast.model.errors import HoldfastError, SnapshotLost
from holdfast.model.units import size
from holdfast.ports.sessions import RUN_LABEL, HeldKind, Holder, Holding
from holdfast.ports.source import Finding, Snapshot, TablePlan
from holdfast.runtime import events
from holdfast.runtime.cleanup import Cancellation, afterwards
from holdfast.sources.keepalive import Keepalive, joined
from holdfast.sources.packing import SMALL_TABLE_BYTES
from holdfast.sources.postgres.rows import long_values, part_plan, transport
from holdfast.sources.postgres.rows.checksummed_rows import contents
from holdfast.sources.postgres.rows.part_plan import Listing, Shape
from holdfast.sources.postgres.rows.snapshot import PostgresSnapshot
from holdfast.sources.postgres.rows.transport import Wanted
from holdfast.sources.postgres.server import catalog_queries, database_properties, shared_snapshot
from holdfast.sources.postgres.server.catalog_queries import Facts, Table
from holdfast.sources.postgres.server.database_source import (
    DatabaseSource,
    Opening,
    not_taken,
)
from holdfast.sources.postgres.server.schema_dump import Schema, schema_archive
from holdfast.sources.postgres.server.shared_snapshot import Exported, Sessions

# A large object above this is kept once for all backups that hold it.
LONG_OBJECT_BYTES = 1 << 20


@dataclass(kw_only=True, eq=False, repr=False)
class PostgresSource(DatabaseSource):
    """A backup uses one session to hold the snapshot, one per worker, and one more for each
    pg_dump under way.

    Tables above `chunk_bytes` are split (None chooses by the size of the database), those below
    `small_bytes` packed; values of type bytea from `external_bytes` up are kept aside (None:
    never). `checksums` says of which tables the server sums up the content. With `elsewhere` the
    snapshot is held there, and outlives this process.
    """

    engine = "native"

    transport: Wanted = "auto"
    chunk_bytes: int | None = None
    external_bytes: int | None = None
    small_bytes: int = SMALL_TABLE_BYTES
    elsewhere: Holder | None = None
    checksums: Policy = "auto"

    def connections_free(self) -> int:
        # Whoever holds the snapshot for us has a session too.
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
        with ExitStack() as unheard:
            # Before the snapshot: a trial that fails would end its transaction.
            way = stack.enter_context(transport.chosen(self.transport, held))
            holding = stack.enter_context(self._held_elsewhere(opening.rejoin))
            if holding is not None and not opening.rejoin:
                unheard.enter_context(afterwards(holding.abort))
            cancellation = Cancellation()
            exported, schema = self._exported(opening, holding, cancellation)
            sessions = Sessions(held, snapshot=exported.name, seen=exported.seen)
            stack.enter_context(sessions.opened(self.login, count=opening.workers))
            shape = self._shape(found, keeps_blobs=opening.blobs is not None)
            listing = self._listing(held, found, shape)
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
            # From here on it is theirs who know of it to let it go.
            unheard.pop_all()
        return snapshot

    @contextmanager
    def _held_elsewhere(self, session_id: str) -> Iterator[Holding | None]:
        """The session that somebody else holds for us, where the job wants that."""
        if self.elsewhere is None:
            yield None
            return
        holding = (
            joined(self.elsewhere, session_id)
            if session_id
            else self.elsewhere.begin(
                HeldKind.SNAPSHOT, label=RUN_LABEL, fast=True, database=self.database
            )
        )
        keepalive = Keepalive(holding, lost=_tell_loss)
        with keepalive.at_work():
            yield holding

    def _exported(
        self, opening: Opening, holding: Holding | None, cancellation: Cancellation
    ) -> tuple[Exported, Schema]:
        """The snapshot, and a pg_dump under it that has locked all tables."""
        archive = opening.stack.enter_context(schema_archive())

        def begin(exported: Exported) -> Schema:
            schema = Schema(
                self.login,
                pg_dump=opening.programs.pg_dump,
                snapshot=exported.name,
                found=opening.found,
                archive=archive,
                cancellation=cancellation,
            )
            # Of one that is rejoined the definitions may be stored already.
            if not opening.rejoin:
                opening.stack.enter_context(afterwards(schema.end))
                schema.begin(opening.held)
            return schema

        return shared_snapshot.begun_under_snapshot(
            opening.held, self.login, take=lambda: self._taken(opening, holding), begin=begin
        )

    def _taken(self, opening: Opening, holding: Holding | None) -> Exported:
        held, user = opening.held, opening.found.login
        if holding is None:
            if opening.rejoin:
                return shared_snapshot.rejoin_snapshot(held, self.login, opening.rejoin, user=user)
            return shared_snapshot.take_snapshot(held, self.login, user=user)
        # The one that somebody else exports, with the moment at which it was taken.
        begun = holding.begun
        if holding.ended is not None:
            ended = f"session '{holding.session_id}' has ended, and its snapshot with it"
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
            slices=long_values.slices(held, found, chunk_bytes=shape.chunk_bytes, without=aside),
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


def _tell_loss(error: HoldfastError) -> None:
    """The workers have the snapshot in sessions of their own: only a resume needs the other."""
    events.warning("session_not_held_any_more", reason=error.message)
