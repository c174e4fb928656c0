"""The snapshot and the locks under it, of ours and of pg_dump's, taken before anybody can queue.

A session that queues for an exclusive lock is let in as soon as all who have a lock are done; and
whoever comes later waits behind it. So all who will read have their locks by the end of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import psycopg

from holdfast.model.errors import SnapshotLost
from holdfast.ports.sessions import Holding
from holdfast.runtime.cleanup import Cancellation
from holdfast.sources.postgres.server import shared_snapshot
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.failures import LockTimedOut
from holdfast.sources.postgres.server.locks import Queue
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.schema_dump import Schema, SchemaArchive
from holdfast.sources.postgres.server.shared_snapshot import Exported


@dataclass
class SnapshotLocks:
    """Takes a snapshot in `held`, and has pg_dump begin to read under it."""

    login: Login
    held: psycopg.Connection
    found: Facts
    used: Sequence[Tool]
    archive: SchemaArchive
    endings: Cancellation
    _begun: list[Schema] = field(default_factory=list)

    def taken(self, rejoin: str, holding: Holding | None) -> tuple[Exported, Schema]:
        """The snapshot, and what reads definitions under it; `rejoin` and `holding` name one that
        somebody else holds."""
        waiting = Queue(self.login)
        while True:
            exported = self._exported(rejoin, holding)
            schema = Schema(
                self.login,
                pg_dump=self.used[0],
                snapshot=exported.name,
                found=self.found,
                archive=self.archive,
            )
            if rejoin:
                # Its definitions may be stored already.
                return exported, schema
            self._begun.append(schema)
            try:
                schema.begin(self.held, self.endings)
            except LockTimedOut:
                # Whoever queues is behind us: what we hold would never be let go otherwise.
                self.held.execute("ROLLBACK")
                waiting.wait()
            else:
                return exported, schema

    def end(self) -> None:
        """Nothing of it goes on."""
        self.endings.abort()
        for schema in self._begun:
            schema.end()

    def _exported(self, rejoin: str, holding: Holding | None) -> Exported:
        if holding is not None:
            return self._shared(holding)
        if rejoin:
            return shared_snapshot.rejoin_snapshot(
                self.held, self.login, rejoin, user=self.found.login
            )
        return shared_snapshot.take_snapshot(self.held, self.login, user=self.found.login)

    def _shared(self, holding: Holding) -> Exported:
        """The snapshot that `holding` exports, with the moment at which it was taken."""
        begun = holding.begun
        if holding.ended is not None:
            ended = f"session '{holding.session_id}' has ended, and its snapshot with it"
            raise SnapshotLost(ended)
        seen = shared_snapshot.rejoin_snapshot(
            self.held, self.login, begun.snapshot, user=self.found.login
        )
        return replace(seen, lsn=begun.start_lsn, taken_at=begun.begun_at)
