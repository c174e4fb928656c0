"""One moment of a PostgreSQL database, as one pg_dump sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg

from holdfast.model.backup import Consistency, PartKind, PartPlan, Server
from holdfast.ports.source import PartStream, Snapshot
from holdfast.runtime.cleanup import Cancellation
from holdfast.sources.postgres.dump.pg_dump_archive import DumpProcess
from holdfast.sources.postgres.rows.snapshot import Texts
from holdfast.sources.postgres.server import database_properties
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.database_source import KIND
from holdfast.sources.postgres.server.login import CANCEL_SECONDS
from holdfast.sources.postgres.server.schema_dump import Globals
from holdfast.sources.postgres.server.shared_snapshot import Exported


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsSnapshot(Snapshot):
    """Made by `PostgresToolsSource.open`, which ends its session.

    `held` is the session with the snapshot; `dumping` is the pg_dump that has joined it.
    """

    found: Facts
    exported: Exported
    held: psycopg.Connection
    dumping: DumpProcess
    globals_: Globals
    used: Sequence[Tool]
    parts: Sequence[PartPlan] = field()
    notes: Sequence[str] = field()
    consistency: Consistency = Consistency.SNAPSHOT
    endings: Cancellation = field(default_factory=Cancellation)

    @property
    def server(self) -> Server:
        return Server(kind=KIND, version=self.found.version, database=self.found.database)

    @property
    def taken_at(self) -> datetime:
        return self.exported.taken_at.astimezone(UTC)

    @property
    def proof(self) -> dict[str, str]:
        passwords = "with" if self.found.may_read_passwords else "without"
        return {
            "snapshot": self.exported.name,
            "visible": self.exported.seen,
            "xmin": self.exported.xmin,
            "xmax": self.exported.xmax,
            "lsn": self.exported.lsn,
            "isolation": "repeatable read, read only",
            "sessions": f"one pg_dump inside snapshot {self.exported.name}",
            "server": self.found.version,
            **self.tools,
            "taken_at": self.taken_at.isoformat(),
            "outside": f"roles ({passwords} passwords) and sequences are read as of now",
            "not_taken": "; ".join(self.notes),
        }

    @property
    def tools(self) -> dict[str, str]:
        return {tool.path.name: tool.version for tool in self.used}

    def read(self, part: PartPlan) -> AbstractContextManager[PartStream]:
        if part.kind is PartKind.ARCHIVE:
            return self.dumping.reading(self.endings)
        if part.kind is PartKind.GRANTS:
            return self._read_settings()
        return self.globals_.read(self.endings)

    def abort(self) -> None:
        self.endings.abort()

    @contextmanager
    def _read_settings(self) -> Iterator[PartStream]:
        with self.endings.registered(lambda: self.held.cancel_safe(timeout=CANCEL_SECONDS)):
            yield Texts(
                self.held,
                database_properties.statements(self.held),
                f"settings of database '{self.found.database}'",
                user=self.found.login,
            )
