"""Throw-away servers of MySQL and MariaDB: an empty one for rows, and one on restored files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from holdfast.model.backup import Manifest
from holdfast.model.drill import Answer, DrillFinding, Outcome, ProofRow
from holdfast.model.errors import DrillFailed, ToolMissing
from holdfast.model.restore import StoredParts
from holdfast.ports.drill import DrillRoom, DrillServer
from holdfast.ports.target import RestoreOptions, Target
from holdfast.runtime.isolation import network_finding
from holdfast.sources.mysql.drill.checks import SYSTEM, answered, checked_tables
from holdfast.sources.mysql.drill.host_gaps import LIBRARIES, LOGIN_LIBRARIES, HostGaps, needs_of
from holdfast.sources.mysql.drill.instance import Instance, printed_options
from holdfast.sources.mysql.dump.programs import (
    BackedUp,
    Program,
    find_server,
    find_unpacking,
    installer_of,
)
from holdfast.sources.mysql.files.datadir import DatadirTarget, holds_files
from holdfast.sources.mysql.restore.target import MysqlTarget

SETTINGS_FILE = "backup-my.cnf"
MOST_SETTINGS_BYTES = 1 << 16
SYSTEM_DATABASE = "mysql"
# Values that fit the old server's files (`backup-my.cnf`), and no others.
OF_FILES = (
    "innodb_page_size",
    "innodb_data_file_path",
    "innodb_undo_tablespaces",
    "innodb_checksum_algorithm",
    "innodb_log_file_size",
)
LENGTHS_BYTES = 3
_NAMED = re.compile(rb"[A-Za-z0-9_-]+\.so\b")
# Everything else that a server loads at its start may log, listen, or reach other servers.
ADMITTED = {f"{name}.so" for name in (*LIBRARIES.values(), *LOGIN_LIBRARIES.values())}


class _OwnServer(DrillServer):
    """What both kinds have in common once their server runs."""

    def __init__(self, manifest: Manifest, room: DrillRoom, *, is_files: bool) -> None:
        server = manifest.server
        self._manifest = manifest
        self._room = room
        self._backed_up = BackedUp(kind=server.kind, version=server.version, is_files=is_files)
        self._instance: Instance | None = None
        self._version = ""

    @property
    def _ready(self) -> Instance:
        if self._instance is None:
            raise DrillFailed("cannot use a throw-away server before it was made")
        return self._instance

    def _missing(self, error: ToolMissing) -> list[DrillFinding]:
        """The finding for a host without a server that the backup can be restored into."""
        subject = f"server {self._backed_up.wanted}"
        return [DrillFinding(subject=subject, problem=error.message, hint=error.hint)]

    def _checked(self, database: str = "") -> Iterator[ProofRow]:
        """The rows of CHECK TABLE; raises `DrillFailed` if the server ends over a table."""
        with self._ready.session() as asking:
            yield from checked_tables(asking, database)

    def _default_database(self) -> str:
        raise NotImplementedError

    def ask(self, sql: str, *, database: str, timeout_seconds: float) -> Answer:
        with self._ready.session(database or self._default_database()) as asking:
            return answered(asking, sql, timeout_seconds=timeout_seconds)

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


class MysqlDrillServer(_OwnServer):
    """Restores rows into an empty server of the backup's kind, and its version or a later one."""

    def __init__(self, manifest: Manifest, room: DrillRoom) -> None:
        super().__init__(manifest, room, is_files=False)
        self._libraries: Sequence[str] = ()
        self._database = manifest.server.database

    def problems(self, stored: StoredParts) -> Sequence[DrillFinding]:
        try:
            program = self._program()
        except ToolMissing as error:
            return self._missing(error)
        needs = needs_of(self._manifest.parts, stored)
        gaps = HostGaps(program, needs, printed=partial(printed_options, program, self._room))
        self._libraries = gaps.libraries()
        return [*gaps.found(), *network_finding(self._room.user)]

    def _program(self) -> Program:
        program = find_server(self._backed_up)
        installer_of(program)
        return program

    def prepare(self) -> None:
        instance = self._instance = Instance(self._room, self._program())
        instance.initialize()
        plugins = [f"--plugin-load-add={name}" for name in self._libraries]
        self._version = instance.start(options=plugins)

    def target(self, database: str) -> Target:
        self._database = database
        return MysqlTarget(self._ready.url(database), password=self._ready.password)

    @property
    def options(self) -> RestoreOptions:
        return RestoreOptions(globals=True)

    def prove(self) -> Iterable[ProofRow]:
        return self._checked(self._database)

    def _default_database(self) -> str:
        return self._database


class MysqlFilesDrillServer(_OwnServer):
    """Unpacks and prepares a copy of `mariadb-backup`, and starts a server of its release there."""

    def __init__(self, manifest: Manifest, room: DrillRoom) -> None:
        super().__init__(manifest, room, is_files=True)
        self._left_out: Sequence[str] = ()

    def problems(self, _stored: StoredParts) -> Sequence[DrillFinding]:
        try:
            find_server(self._backed_up)
            find_unpacking(self._backed_up.version)
        except ToolMissing as error:
            return self._missing(error)
        return network_finding(self._room.user)

    def prepare(self) -> None:
        self._instance = Instance(self._room, find_server(self._backed_up))

    def target(self, _database: str) -> Target:
        return DatadirTarget(self._ready.place.data.as_uri())

    @property
    def holds_every_database(self) -> bool:
        return True

    def recover(self) -> None:
        instance = self._ready
        data = instance.place.data
        libraries = forget_plugins(data)
        self._left_out = sorted(libraries - ADMITTED)
        options = [f"--{name}={value}" for name, value in settings_in(data).items()]
        # Last: its user may put links there from now on.
        instance.give_data()
        options += [f"--plugin-load-add={name}" for name in sorted(libraries & ADMITTED)]
        self._version = instance.start(options=options)

    def prove(self) -> Iterable[ProofRow]:
        if self._left_out:
            told = f"not loaded, as a drill needs none of them: {', '.join(self._left_out)}"
            yield ProofRow(name="plugins", outcome=Outcome.SKIPPED, detail=told)
        yield from self._checked()

    def _default_database(self) -> str:
        """The one database that users made; without one, or with several, the server's own."""
        with self._ready.session() as asking:
            named = asking.text("SELECT schema_name FROM information_schema.schemata")
        made = [name for (name,) in named if name not in SYSTEM]
        return made[0] if len(made) == 1 else SYSTEM_DATABASE


def server_for(manifest: Manifest, room: DrillRoom) -> DrillServer:
    """The throw-away server for a backup of rows, or of files."""
    is_files = holds_files(manifest.parts)
    return (MysqlFilesDrillServer if is_files else MysqlDrillServer)(manifest, room)


def settings_in(data: Path) -> Mapping[str, str]:
    """The settings that the files need, as the copy of `mariadb-backup` names them.

    Raises `DrillFailed` for a file outside of the server's folder.
    """
    try:
        with (data / SETTINGS_FILE).open("rb") as file:
            text = file.read(MOST_SETTINGS_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return {}
    return dict(_known(text))


def _known(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = (each.strip() for each in line.partition("="))
        if name in OF_FILES and value:
            if ".." in value:
                raise DrillFailed(
                    f"cannot start a throw-away server: '{name}' in '{SETTINGS_FILE}' leads out of"
                    f" its folder: '{value[:200]}'"
                )
            yield name, value


def forget_plugins(data: Path) -> set[str]:
    """The libraries that the table of plugins names; without its files the server loads none.

    They are read from the file: no server that would load them runs yet.
    """
    found: set[str] = set()
    for path in (data / SYSTEM_DATABASE).glob("plugin.*"):
        found |= libraries_in(path.read_bytes())
        path.unlink()
    return found


def libraries_in(rows: bytes) -> set[str]:
    """The libraries in the rows of an Aria table: lengths of a name and a library, then both."""
    return {_library(rows, match).decode() for match in _NAMED.finditer(rows)}


def _library(rows: bytes, match: re.Match[bytes]) -> bytes:
    head = rows[max(0, match.start() - LENGTHS_BYTES) : match.start()]
    if len(head) == LENGTHS_BYTES and head[0] + head[1] == len(match[0]):
        return match[0][head[0] :]
    return match[0]
