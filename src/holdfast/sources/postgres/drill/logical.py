"""A throw-away server for rows: made by initdb, filled by a restore, proved by itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from holdfast.model.backup import Manifest
from holdfast.model.drill import Answer, DrillFinding, ProofRow
from holdfast.model.restore import StoredParts
from holdfast.ports.drill import DrillRoom, DrillServer
from holdfast.ports.target import RestoreOptions
from holdfast.runtime.files import make_folder
from holdfast.runtime.isolation import network_finding, user_named
from holdfast.sources.postgres.drill import proofs
from holdfast.sources.postgres.drill.requirements import Requirements
from holdfast.sources.postgres.drill.restored_cluster import give
from holdfast.sources.postgres.drill.server_process import (
    PORT,
    SUPERUSER,
    PostgresProcess,
    settings_of,
)
from holdfast.sources.postgres.target import PostgresTarget

INITDB = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", f"--username={SUPERUSER}")
# An empty cluster needs no replication, and rows are loaded without WAL.
SETTINGS = {"wal_level": "minimal", "max_wal_senders": "0", "max_connections": "100"}


class LogicalDrillServer(DrillServer):
    """Restores one database into a cluster of its own, of the same major version or a later one."""

    def __init__(self, manifest: Manifest, room: DrillRoom) -> None:
        self._room = room
        self._data = Path(room.folder) / "data"
        self._needs = Requirements(manifest)
        self._process = PostgresProcess(room, self._data)
        self._preloaded: dict[str, str] = {}
        self._version = ""
        self._database = ""

    def problems(self, stored: StoredParts) -> Sequence[DrillFinding]:
        found = self._needs.findings(stored)
        if not any(each.blocks for each in found):
            self._preloaded = self._needs.preloaded(stored)
        return [*found, *network_finding(self._room.user)]

    def prepare(self) -> None:
        initdb = self._needs.program("initdb")
        make_folder(self._data)
        give(self._data, user_named(self._room.user))
        self._process.run([initdb, "-D", str(self._data), *INITDB], doing="make a cluster")
        settings = settings_of(self._room) | SETTINGS | self._preloaded
        self._process.start(self._needs.program("postgres"), settings)
        self._version = self._process.wait()

    def target(self, database: str) -> PostgresTarget:
        self._database = database
        login = self._process.login(database)
        return PostgresTarget(url=login.conninfo())

    @property
    def options(self) -> RestoreOptions:
        """All of the backup; its tablespaces are folders of another host."""
        return RestoreOptions(globals=True, tablespaces=False)

    def prove(self) -> Iterable[ProofRow]:
        self._process.require_running()
        return proofs.amcheck(self._process.login(self._database))

    def ask(self, sql: str, *, database: str, timeout_seconds: float) -> Answer:
        self._process.require_running()
        login = self._process.login(database or self._database)
        return proofs.answer(login, sql, timeout_seconds=timeout_seconds)

    @property
    def version(self) -> str:
        return self._version

    @property
    def connection(self) -> str:
        words = ("psql", "-h", self._room.listening, "-p", PORT, "-U", SUPERUSER, "-d")
        return shlex.join([*words, self._database])

    def abort(self) -> None:
        self._process.abort()

    def close(self, *, keep: bool = False) -> None:
        if not (keep and self._process.is_running):
            self._process.end()
