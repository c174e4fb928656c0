"""One moment of a PostgreSQL database, read part by part from many threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import psycopg

from holdfast.model.backup import Buffer, PartKind, PartPlan, Relation
from holdfast.model.proof import PostgresProof
from holdfast.ports.sessions import Holding
from holdfast.ports.source import PartStream
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.keepalive import let_go
from holdfast.sources.postgres.rows import long_values
from holdfast.sources.postgres.rows.checksummed_rows import (
    Contents,
    ContentSums,
    CopyPack,
    SummedRows,
)
from holdfast.sources.postgres.rows.copy_command import CopyCommand
from holdfast.sources.postgres.rows.part_plan import PartLayout
from holdfast.sources.postgres.rows.transport import CopyOut, Transport
from holdfast.sources.postgres.server import database_properties
from holdfast.sources.postgres.server.database_source import DatabaseSnapshot
from holdfast.sources.postgres.server.login import CANCEL_SECONDS
from holdfast.sources.postgres.server.schema_dump import Schema, Texts
from holdfast.sources.postgres.server.shared_snapshot import Sessions

Write = Callable[[psycopg.Connection, PartPlan], Iterator[Buffer]]
"""Who writes the text of a part, in a session inside the snapshot."""


@dataclass(kw_only=True, eq=False, repr=False)
class PostgresSnapshot(DatabaseSnapshot):
    """Made by `PostgresSource.open`, which ends its sessions; `holding` keeps it for later runs."""

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
        # What a later run rejoins it by is another name than the server's.
        return replace(found, exported=self.exported.name, snapshot=self.holding.session_id)

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self.layout.parts

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        if part.kind is PartKind.DATA:
            return self._read_rows(part)
        if part.kind is PartKind.LARGE_OBJECTS and part.name in self.layout.slices:
            return self._read_slice(part)
        if part.kind in self._written_here:
            return self._read_text(part)
        if part.kind is PartKind.GLOBALS:
            return self.globals_.read(self.cancellation)
        return self.schema.read(part)

    def let_go(self, *, finished: bool) -> None:
        if self.holding is not None:
            let_go(self.holding, finished=finished)

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
        subject = f"large objects of database '{self.opening.found.database}'"
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

    @property
    def _written_here(self) -> dict[PartKind, tuple[str, Write]]:
        """What each part is called in messages, and who writes it."""
        return {
            PartKind.SEQUENCES: (
                "sequences",
                lambda session, _: database_properties.sequence_statements(session, self.sequences),
            ),
            PartKind.GRANTS: (
                "settings",
                lambda session, _: database_properties.statements(session),
            ),
            PartKind.LARGE_OBJECTS: (
                "large objects",
                lambda session, _: long_values.statements(session),
            ),
            PartKind.BLOBS: ("long values", self._keep_long_values),
        }

    @contextmanager
    def _read_text(self, part: PartPlan) -> Iterator[PartStream]:
        what, write = self._written_here[part.kind]
        subject = (
            f"table '{part.relation}'"
            if part.relation
            else f"{what} of database '{self.opening.found.database}'"
        )
        tables = [part.relation] if part.relation else []
        with self._lent(subject, tables) as session:
            yield Texts(session, write(session, part), subject, user=self.opening.found.login)

    def _keep_long_values(self, session: psycopg.Connection, part: PartPlan) -> Iterator[Buffer]:
        if self.opening.blobs is None:
            raise ValueError("a snapshot without a place for blobs has no parts of them")
        if part.relation is None:
            oids = self.layout.long_objects[part.name]
            return long_values.of_large_objects(session, oids, self.opening.blobs)
        return long_values.of_table(session, self.layout.with_blobs[part.name], self.opening.blobs)

    @contextmanager
    def _lent(self, subject: str, tables: Sequence[Relation] = ()) -> Iterator[psycopg.Connection]:
        with (
            self.sessions.lent(subject, tables) as session,
            self.cancellation.registered(lambda: session.cancel_safe(timeout=CANCEL_SECONDS)),
        ):
            yield session
