"""The throw-away server as a process: its settings, its start, its log and its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

import psycopg

from holdfast.model.errors import (
    AccessDenied,
    BackupFailed,
    DatabaseUnreachable,
    DrillFailed,
    GrantMissing,
    HoldfastError,
)
from holdfast.ports.drill import DrillRoom
from holdfast.runtime.cleanup import Cancellation
from holdfast.runtime.files import opened
from holdfast.runtime.isolation import isolated, user_named
from holdfast.runtime.process import ChildFailed, running
from holdfast.runtime.server_process import ServerProcess, environment, last_words
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.login import Login

SUPERUSER = DATABASE = "postgres"
PORT = "5432"
APPLICATION_NAME = "holdfast-drill"
LOG = "server.log"
START_SECONDS = 120.0
# Immediate shutdown: the data need not be consistent afterwards.
IMMEDIATE, STOP_SECONDS = signal.SIGQUIT, 30.0
MIB = 1 << 20
_FATAL = "FATAL:"
_GRAVE = (_FATAL, "PANIC:")
# "... is starting up", "... is not yet accepting connections", "... is in recovery mode"
_NOT_READY = "the database system is"
# Neither database nor role may choose libraries: a missing one would keep us out for ever.
_LOAD_NOTHING = "-c session_preload_libraries= -c local_preload_libraries="
_NEW_LOG = os.O_WRONLY | os.O_CREAT


def settings_of(room: DrillRoom) -> dict[str, str]:
    """Settings of every throw-away server: unreachable, unarchived, without jobs, not durable."""
    return {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_directories": room.listening,
        "unix_socket_permissions": "0700",
        "external_pid_file": "",
        "logging_collector": "off",
        "log_destination": "stderr",
        "lc_messages": "C",
        "archive_mode": "off",
        "archive_command": "",
        "primary_conninfo": "",
        "primary_slot_name": "",
        "synchronous_standby_names": "",
        "max_logical_replication_workers": "0",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "shared_buffers": f"{_share(room, 4, least=16, most=256)}MB",
        "maintenance_work_mem": f"{_share(room, 8, least=16, most=512)}MB",
        # In the data directory, so that nothing of a killed server stays elsewhere.
        "dynamic_shared_memory_type": "mmap",
        "temp_tablespaces": "",
    }


def _share(room: DrillRoom, part: int, *, least: int, most: int) -> int:
    """One `part` of the memory that the drill may use, in MiB."""
    if not room.memory_bytes:
        return most
    return max(least, min(most, room.memory_bytes // MIB // part))


class PostgresProcess:
    """One server on the data directory `data` in the drill's room."""

    def __init__(self, room: DrillRoom, data: Path) -> None:
        self._room = room
        self._data = data
        self._user = user_named(room.user)
        self._log = Path(room.folder) / LOG
        self._own = [Path(each) for each in dict.fromkeys((room.folder, room.sockets))]
        self._hidden = [Path(each) for each in room.hidden]
        self._process: ServerProcess | None = None
        # Nothing begins after `abort`: nobody watches the drill from then on.
        self._work = Cancellation()
        # The names to log in by; the first that is a superuser is `superuser` from then on.
        self.superusers: Sequence[str] = (SUPERUSER,)
        self.superuser = SUPERUSER
        # The databases to log in to; the first that lets us in is `database` from then on.
        self.databases: Sequence[str] = (DATABASE,)
        self.database = DATABASE

    def run(self, argv: Sequence[str], *, doing: str) -> None:
        """Run a program on the data directory.

        Raises `DrillFailed`, `ToolMissing`, and `BackupFailed` after `abort`.
        """
        home = Path(self._room.home)
        try:
            with (
                running(argv, env=environment(home), cwd=home, user=self._user) as child,
                self._work.registered(child.end),
            ):
                for _ in child.chunks():
                    pass
        except ChildFailed as error:
            if self._work.aborted.is_set():
                raise BackupFailed(f"cannot {doing}: the drill was ended") from error
            raise DrillFailed(f"cannot {doing}: {error.stderr or error.message}") from error

    def start(self, postgres: str, settings: Mapping[str, str]) -> None:
        """Start the server without waiting for it; raises `ToolMissing`, `BackupFailed`."""
        os.close(opened(self._log, _NEW_LOG))
        said = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        argv = [postgres, "-D", str(self._data), *said]
        with self._work.registered(self._stop):
            self._process = ServerProcess.started(
                isolated(argv, self._user, own=self._own, hidden=self._hidden),
                folder=Path(self._room.home),
                notices_in=Path(self._room.sockets),
                log=self._log,
                user=self._user,
                # Clients inside the server, such as foreign tables, default to the server itself.
                env={"PGHOST": self._room.listening, "PGPORT": PORT, "LC_ALL": "C"},
            )

    def wait(self, *, seconds: float = START_SECONDS) -> str:
        """Wait until the server answers; its version.

        Raises `DrillFailed` if it does not, and `BackupFailed` after `abort`.
        """
        versions: list[str] = []

        def is_ready() -> bool:
            versions.extend(self._versions())
            return bool(versions)

        # An end that came while it started found no process to stop.
        with self._work.registered(self._stop):
            if self._process is None or not self._process.wait(is_ready, within_seconds=seconds):
                ended = not self.is_running
                late = f"it did not answer within {seconds:g} s"
                raise self.failed("it ended" if ended else late)
        return versions[0]

    def _versions(self) -> list[str]:
        """The version, once the server admits a superuser; nothing while it admits nobody.

        Raises `DrillFailed` if it refuses every superuser in every database, and so would for ever.
        """
        cause = ""
        for name, database in product(self.superusers, self.databases):
            self.superuser, self.database = name, database
            try:
                with self.login().session() as session:
                    told = session.info.parameter_status
                    if told("is_superuser") == "on":
                        return [told("server_version") or ""]
                    cause = f"'{name}' is no superuser"
            except (DatabaseUnreachable, AccessDenied, GrantMissing) as error:
                if _is_not_ready(error):
                    # The next database would be asked later: it may be ready by then.
                    return []
                cause = error.message
        raise self.failed(f"it admits no superuser: {cause}")

    def require_running(self) -> None:
        """Raises `DrillFailed` with the last lines of the log if the server has ended."""
        if not self.is_running:
            raise self.failed("it ended")

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    def failed(self, cause: str) -> DrillFailed:
        """The error that names `cause` and the last things that the server logged."""
        said = " | ".join([cause, *last_words(self._log, _is_grave)])
        return DrillFailed(f"cannot use the throw-away server in '{self._data}': {said}")

    def login(self, database: str = "") -> Login:
        """The login to `database`, else to the one that let us in first."""
        login = Login.parse("", password=None, application_name=APPLICATION_NAME)
        return login.with_settings(
            host=self._room.listening,
            port=PORT,
            user=self.superuser,
            dbname=database or self.database,
            options=_LOAD_NOTHING,
        )

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        """A session in the database that let us in; raises `DrillFailed` if the server ends it."""
        try:
            with self.login().session() as session:
                yield session
        except psycopg.Error as error:
            raise self.failed(failures.said(error)) from error

    def abort(self) -> None:
        """Stop whatever runs at once, from any thread; `end` reaps the server."""
        self._work.abort()
        self._stop()

    def _stop(self) -> None:
        process = self._process
        if process is not None and process.is_running:
            with suppress(ProcessLookupError):
                os.kill(process.pid, IMMEDIATE)

    def end(self) -> None:
        """Stop the server and reap it."""
        if self._process is not None:
            self._process.end(IMMEDIATE, within_seconds=STOP_SECONDS)
            self._process.close()


def _is_not_ready(error: HoldfastError) -> bool:
    """Whether the server does not answer yet, or says that it still starts."""
    return _FATAL not in error.message or _NOT_READY in error.message


def _is_grave(line: str) -> bool:
    return any(word in line for word in _GRAVE)
