"""A throw-away server for rows: empty, of the backup's kind, and of its version or a later one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from holdfast.model.backup import Manifest
from holdfast.model.drill import Answer, DrillFinding, ProofRow
from holdfast.model.errors import DrillFailed, ToolMissing
from holdfast.model.restore import StoredParts
from holdfast.ports.drill import DrillRoom, DrillServer
from holdfast.sources.mysql.drill.checks import answered, checked_tables
from holdfast.sources.mysql.drill.host_gaps import HostGaps, no_room
from holdfast.sources.mysql.drill.instance import Instance, user_named
from holdfast.sources.mysql.drill.needs import needs_of
from holdfast.sources.mysql.drill.programs import BackedUp, find_server, installer_beside
from holdfast.sources.mysql.dump.programs import Program
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.server.connection import ConnectionLost
from holdfast.sources.mysql.server.session import MARIADB


class MysqlDrillServer(DrillServer):
    """Restores rows into an empty server, and has it check each table."""

    def __init__(self, manifest: Manifest, room: DrillRoom) -> None:
        server = manifest.server
        self._manifest = manifest
        self._room = room
        self._backed_up = BackedUp(kind=server.kind, version=server.version, is_files=False)
        self._libraries: Sequence[str] = ()
        self._database = server.database
        self._instance: Instance | None = None
        self._version = ""

    def problems(self, stored: StoredParts) -> Sequence[DrillFinding]:
        folder = Path(self._room.folder)
        try:
            program = self._program()
        except ToolMissing as error:
            return [missing_program(self._backed_up, error)]
        needs = needs_of(self._manifest.parts, stored)
        gaps = HostGaps(program, needs, folder=folder, user=user_named(self._room.user))
        found = [*gaps.found(), *no_room(folder, self._manifest.plain_bytes)]
        self._libraries = gaps.libraries()
        return found

    def _program(self) -> Program:
        program = find_server(self._backed_up)
        if program.kind == MARIADB:
            installer_beside(program)
        return program

    def prepare(self) -> None:
        instance = self._instance = Instance(self._room, self._program())
        instance.initialize()
        plugins = [f"--plugin-load-add={name}" for name in self._libraries]
        self._version = instance.start(options=plugins)

    def target(self, database: str) -> MysqlTarget:
        self._database = database
        return MysqlTarget(self._ready.url(database), password=self._ready.password)

    @property
    def _ready(self) -> Instance:
        if self._instance is None:
            raise DrillFailed("cannot use a throw-away server before it was made")
        return self._instance

    def prove(self) -> Iterable[ProofRow]:
        yield from proofs(self._ready, self._database)

    def ask(self, sql: str, *, database: str, timeout_seconds: float) -> Answer:
        return answer(self._ready, sql, database=database, timeout_seconds=timeout_seconds)

    @property
    def version(self) -> str:
        return self._version

    @property
    def connection(self) -> str:
        return self._instance.connection if self._instance else ""

    def abort(self) -> None:
        if self._instance is not None:
            self._instance.abort()

    def close(self, *, keep: bool = False) -> None:
        if self._instance is not None:
            self._instance.close(keep=keep)


def missing_program(backed_up: BackedUp, error: ToolMissing) -> DrillFinding:
    """The finding for a host without a server that the backup can be restored into."""
    return DrillFinding(
        subject=f"server {backed_up.wanted}", problem=error.message, hint=error.hint
    )


def proofs(instance: Instance, database: str = "") -> Iterator[ProofRow]:
    """The rows of CHECK TABLE; raises `DrillFailed` if the server ends over a table."""
    with instance.session() as asking:
        try:
            yield from checked_tables(asking, database)
        except ConnectionLost as error:
            raise instance.failed(error.message, doing="use") from error


def answer(instance: Instance, sql: str, *, database: str, timeout_seconds: float) -> Answer:
    """The answer to one check; raises `CheckRefused` and `DrillFailed`."""
    with instance.session(database) as asking:
        try:
            return answered(asking, sql, timeout_seconds=timeout_seconds)
        except ConnectionLost as error:
            raise instance.failed(error.message, doing="ask") from error
