"""One moment of a PostgreSQL database, read part by part from many threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime

import psycopg

from holdfast.model.backup import Buffer, Consistency, PartKind, PartPlan, Relation, Server
from holdfast.ports.sessions import Holding
from holdfast.ports.source import Blobs, PartStream, Snapshot
from holdfast.runtime.cleanup import Cancellation, afterwards
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
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.database_source import KIND
from holdfast.sources.postgres.server.login import CANCEL_SECONDS
from holdfast.sources.postgres.server.schema_dump import Globals, Schema, Texts
from holdfast.sources.postgres.server.shared_snapshot import Exported, Sessions

Write = Callable[[psycopg.Connection, PartPlan], Iterator[Buffer]]
"""Who writes the text of a part, in a session inside the snapshot."""


class PostgresSnapshot(Snapshot):
    """Made by `PostgresSource.open`, which ends its sessions; `holding` keeps it for later runs."""

    consistency = Consistency.SNAPSHOT

    def __init__(
        self,
        *,
        found: Facts,
        exported: Exported,
        sessions: Sessions,
        transport: Transport,
        schema: Schema,
        endings: Cancellation,
        globals_: Globals,
        tools: Sequence[Tool],
        layout: PartLayout,
        sequences: Sequence[Relation],
        blobs: Blobs | None,
        notes: Sequence[str],
        contents: Contents,
        holding: Holding | None = None,
    ) -> None:
        self._found = found
        self._exported = exported
        self._sessions = sessions
        self._transport = transport
        self._schema = schema
        self._globals = globals_
        self._tools = tools
        self._layout = layout
        self._sequences = sequences
        self._blobs = blobs
        self._notes = notes
        self._holding = holding
        self._endings = endings
        self._contents = contents
        self._summing = ContentSums(
            contents.chosen, contents.types, user=found.login, aborted=endings.aborted
        )

    @property
    def server(self) -> Server:
        return Server(kind=KIND, version=self._found.version, database=self._found.database)

    @property
    def taken_at(self) -> datetime:
        return self._exported.taken_at.astimezone(UTC)

    @property
    def proof(self) -> dict[str, str]:
        count = self._sessions.count
        passwords = "with" if self._found.may_read_passwords else "without"
        held = {"exported": self._exported.name} if self._holding else {}
        return held | {
            # What a later run rejoins it by.
            "snapshot": self._holding.session_id if self._holding else self._exported.name,
            "visible": self._exported.seen,
            "xmin": self._exported.xmin,
            "xmax": self._exported.xmax,
            "lsn": self._exported.lsn,
            "isolation": "repeatable read, read only",
            "sessions": f"{count} of {count} see {self._exported.seen}",
            "outside": f"roles ({passwords} passwords) and sequences are read as of now",
            "content": str(self._contents),
            "not_taken": "; ".join(self._notes),
        }

    @property
    def tools(self) -> dict[str, str]:
        return {tool.path.name: tool.version for tool in self._tools}

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self._layout.parts

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        if part.kind is PartKind.DATA:
            return self._read_rows(part)
        if part.kind is PartKind.LARGE_OBJECTS and part.name in self._layout.slices:
            return self._read_slice(part)
        if part.kind in self._written_here:
            return self._read_text(part)
        if part.kind is PartKind.GLOBALS:
            return self._globals.read(self._endings)
        return self._schema.read(part)

    def abort(self) -> None:
        self._endings.abort()

    def let_go(self, *, finished: bool) -> None:
        if self._holding is not None:
            let_go(self._holding, finished=finished)

    @contextmanager
    def _read_rows(self, part: PartPlan) -> Iterator[PartStream]:
        tables = self._layout.tables[part.name]
        if part.relation is None:
            relations = [table.relation for table in tables]
            with self._lent(f"table '{relations[0]}'", relations) as session:
                pack = CopyPack(
                    session,
                    tables,
                    summing=self._summing,
                    user=self._found.login,
                    aborted=self._endings.aborted,
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
        copy_out = self._layout.slices[part.name].copy_out
        subject = f"large objects of database '{self._found.database}'"
        with (
            self._lent(subject) as session,
            self._reading(session, copy_out, subject) as stream,
        ):
            yield stream

    def _reading(
        self, session: psycopg.Connection, copy_out: CopyOut, subject: str
    ) -> AbstractContextManager[CopyCommand]:
        return self._transport.reading(
            session,
            copy_out,
            subject=subject,
            user=self._found.login,
            aborted=self._endings.aborted,
        )

    @property
    def _written_here(self) -> dict[PartKind, tuple[str, Write]]:
        """What each part is called in messages, and who writes it."""
        return {
            PartKind.SEQUENCES: (
                "sequences",
                lambda session, _: database_properties.sequence_statements(
                    session, self._sequences
                ),
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
            else f"{what} of database '{self._found.database}'"
        )
        tables = [part.relation] if part.relation else []
        with self._lent(subject, tables) as session:
            yield Texts(session, write(session, part), subject, user=self._found.login)

    def _keep_long_values(self, session: psycopg.Connection, part: PartPlan) -> Iterator[Buffer]:
        if self._blobs is None:
            raise ValueError("a snapshot without a place for blobs has no parts of them")
        if part.relation is None:
            oids = self._layout.long_objects[part.name]
            return long_values.of_large_objects(session, oids, self._blobs)
        return long_values.of_table(session, self._layout.with_blobs[part.name], self._blobs)

    @contextmanager
    def _lent(self, subject: str, tables: Sequence[Relation] = ()) -> Iterator[psycopg.Connection]:
        with (
            self._sessions.lent(subject, tables) as session,
            self._endings.registered(lambda: session.cancel_safe(timeout=CANCEL_SECONDS)),
        ):
            yield session
