"""One moment of a PostgreSQL database, read part by part from many threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime

import psycopg

from holdfast.model import Buffer, Consistency, PartKind, PartPlan, Relation, Server
from holdfast.ports import PartStream
from holdfast.sources.postgres_native import database_properties, failures, sequences
from holdfast.sources.postgres_native.copy_command import CANCEL_SECONDS
from holdfast.sources.postgres_native.dump import Dumper
from holdfast.sources.postgres_native.endings import Endings
from holdfast.sources.postgres_native.holder import Exported
from holdfast.sources.postgres_native.inventory import Facts
from holdfast.sources.postgres_native.sessions import Sessions
from holdfast.sources.postgres_native.table_part import TablePart
from holdfast.sources.postgres_native.tools import Tool
from holdfast.sources.postgres_native.transport import Transport

KIND = "postgres"


class Texts:
    """A short SQL text that we write ourselves; iterate once."""

    rows = None

    def __init__(
        self, session: psycopg.Connection, chunks: Iterator[Buffer], subject: str, *, user: str
    ) -> None:
        self._session = session
        self._chunks = chunks
        self._subject = subject
        self._user = user

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._chunks
        except psycopg.Error as error:
            gone = failures.session_is_gone(error, self._session)
            raise failures.reading(error, self._subject, gone=gone, user=self._user) from error


class PostgresSnapshot:
    """Obeys `ports.Snapshot`; made by `PostgresSource.open`, which ends its sessions."""

    consistency = Consistency.SNAPSHOT

    def __init__(
        self,
        *,
        found: Facts,
        exported: Exported,
        sessions: Sessions,
        transport: Transport,
        dumper: Dumper,
        tools: Sequence[Tool],
        parts: Sequence[PartPlan],
        tables: dict[str, TablePart],
        sequences: Sequence[Relation],
        notes: Sequence[str],
    ) -> None:
        self._found = found
        self._exported = exported
        self._sessions = sessions
        self._transport = transport
        self._dumper = dumper
        self._tools = tools
        self._parts = tuple(parts)
        self._tables = tables
        self._sequences = sequences
        self._notes = notes
        self._endings = Endings()

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
        return {
            "snapshot": self._exported.name,
            "visible": self._exported.seen,
            "xmin": self._exported.xmin,
            "xmax": self._exported.xmax,
            "lsn": self._exported.lsn,
            "isolation": "repeatable read, read only",
            "sessions": f"{count} of {count} see {self._exported.seen}",
            "outside": f"roles ({passwords} passwords) and sequences are read as of now",
            "not_taken": "; ".join(self._notes),
        }

    @property
    def tools(self) -> dict[str, str]:
        return {tool.path.name: tool.version for tool in self._tools}

    @property
    def parts(self) -> Sequence[PartPlan]:
        return self._parts

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        if part.kind is PartKind.DATA:
            return self._read_table(part)
        if part.kind is PartKind.SEQUENCES:
            return self._read_sequences()
        if part.kind is PartKind.GRANTS:
            return self._read_properties()
        return self._dumper.read(part, self._endings)

    def abort(self) -> None:
        self._endings.abort()

    @contextmanager
    def _read_table(self, part: PartPlan) -> Iterator[PartStream]:
        subject = f"table '{part.relation}'"
        with (
            self._lent(subject) as session,
            self._transport.reading(
                session,
                self._tables[part.name].copy_out,
                subject=subject,
                user=self._found.login,
                aborted=self._endings.aborted,
            ) as stream,
        ):
            yield stream

    @contextmanager
    def _read_sequences(self) -> Iterator[PartStream]:
        subject = f"sequences of database '{self._found.database}'"
        with self._lent(subject) as session:
            chunks = sequences.statements(session, self._sequences)
            yield Texts(session, chunks, subject, user=self._found.login)

    @contextmanager
    def _read_properties(self) -> Iterator[PartStream]:
        subject = f"settings of database '{self._found.database}'"
        with self._lent(subject) as session:
            chunks = database_properties.statements(session)
            yield Texts(session, chunks, subject, user=self._found.login)

    @contextmanager
    def _lent(self, subject: str) -> Iterator[psycopg.Connection]:
        with (
            self._sessions.lent(subject) as session,
            self._endings.registered(lambda: session.cancel_safe(timeout=CANCEL_SECONDS)),
        ):
            yield session
