"""Start a server on a restored folder, and wait until it reaches the target of its recovery."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import psycopg

from holdfast.model.errors import (
    AccessDenied,
    ConfigInvalid,
    DatabaseUnreachable,
    DeadlineExceeded,
    GrantMissing,
    HoldfastError,
    RestoreFailed,
    ToolMissing,
)
from holdfast.model.recovery import Action, Reached, Recovery
from holdfast.runtime.process import ChildFailed, output_of
from holdfast.sources.postgres.files.postmaster import (
    Postmaster,
    Status,
    arguments,
    expected,
    forced,
    launched,
    owner_of,
    require_ours,
    says_where_its_socket_is,
)
from holdfast.sources.postgres.files.restored_settings import (
    CONFIG_FILE,
    write_missing_configuration,
)
from holdfast.sources.postgres.server import client_programs
from holdfast.sources.postgres.server.login import Login

LOOK_SECONDS = 0.2
TOLD_EVERY_SECONDS = 10.0
LOG_LINES = 4
VERSION_BYTES = 16
# The longest path of a Unix socket in bytes: sun_path has 108, one of them for the final NUL.
LONGEST_SOCKET_PATH = 107
LONGEST_SOCKET_NAME = ".s.PGSQL.65535"
# A server refuses to replay WAL with lower values than the primary had. Keys: the names that
# pg_controldata prints; values: the settings.
LEAST = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
# "the database system is starting up" is also FATAL: it answers our own early connections.
_GRAVE = re.compile(r"\b(FATAL|PANIC):(?!\s+the database system is )")
_REPLAYED = """
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()::text,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END,
       to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')
"""


class ClusterStarter:
    """Obeys `model.recovery.ServerStarter` for the cluster in `data`; `login` is the job's.

    The server runs as the folder's owner, because it refuses to run as root, and in the release
    of the files. `options` are the operator's own arguments for it, as one shell-quoted string.
    """

    def __init__(self, data: Path, *, login: Login, options: str = "") -> None:
        self._data = data
        self._login = login
        self._options = _words(options)
        self._log = data.with_name(f"{data.name}-start.log")

    def check(self, version: str) -> None:
        self._tool("postgres", version.partition(".")[0])
        self._require_owner()

    def start(
        self,
        recovery: Recovery | None,
        *,
        cluster: str,
        within: timedelta,
        tell: Callable[[str], None],
    ) -> Reached:
        self._log.unlink(missing_ok=True)
        require_ours(self._data, cluster)
        if write_missing_configuration(self._data, self._least()):
            tell(f"the backup holds no {CONFIG_FILE}: holdfast wrote one")
        self._give_to_owner()
        argv = self._argv(recovery, tell)
        self._require_settings(argv)
        tell(f"starting a server on '{self._data}'; it logs to '{self._log}'")
        try:
            server = launched(argv, self._data, self._log)
        except OSError as error:
            raise self._failed(f"its log '{self._log}': {os.strerror(error.errno or 0)}") from error
        return self._waited(
            server, recovery, ends=time.monotonic() + within.total_seconds(), tell=tell
        )

    def _argv(self, recovery: Recovery | None, tell: Callable[[str], None]) -> list[str]:
        """The command line; settings that nothing may overrule come last, where they win."""
        major = int(self._major())
        asked = recovery.settings if recovery else {}
        folder = self._data
        if not says_where_its_socket_is(self._options):
            folder = self._socket_folder()
            tell(f"it accepts connections only through its socket in '{folder}'")
        return [
            *(self._tool("postgres"), "-D", str(self._data)),
            *arguments(expected(self._data, folder)),
            *self._options,
            *arguments(forced(self._data, asked, major=major)),
        ]

    def _socket_folder(self) -> Path:
        """The data directory, or a private temporary folder if the socket's path is too long."""
        if len(os.fsencode(self._data / LONGEST_SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return self._data
        folder = Path(tempfile.mkdtemp(prefix="holdfast-"))
        owner = owner_of(self._data)
        if owner is not None:
            os.chown(folder, owner.user, owner.group)
        return folder

    def _require_settings(self, argv: Sequence[str]) -> None:
        """Have `postgres -C` parse the command line and configuration, before a real start.

        Raises `RestoreFailed` if it refuses them or would open another data directory.
        """
        program, *words = argv
        said = output_of(
            [*self._as_owner(), program, "-C", "data_directory", *words],
            translate=lambda error: RestoreFailed(
                f"cannot start a server on '{self._data}': {error.stderr or error.message}",
                hint="its configuration came with the backup; --start-options '-c"
                " NAME=VALUE' overrides a setting",
            ),
        )
        try:
            is_ours = Path(said.strip()).samefile(self._data)
        except OSError:
            is_ours = False
        if not is_ours:
            raise self._failed(f"it would open '{said.strip()}' instead")

    def _waited(
        self,
        server: Postmaster,
        recovery: Recovery | None,
        *,
        ends: float,
        tell: Callable[[str], None],
    ) -> Reached:
        told, told_at = "", 0.0
        while True:
            server.require_here()
            reached, doing = self._look(server, recovery)
            if reached is not None:
                return reached
            if doing != told and (time.monotonic() - told_at >= TOLD_EVERY_SECONDS or not told):
                tell(doing)
                told, told_at = doing, time.monotonic()
            if time.monotonic() >= ends:
                raise DeadlineExceeded(
                    f"cannot wait longer for the server on '{self._data}': {doing}",
                    hint=f"it still runs; see '{self._log}', and raise --start-timeout",
                )
            time.sleep(LOOK_SECONDS)

    def _look(self, server: Postmaster, recovery: Recovery | None) -> tuple[Reached | None, str]:
        """The state that was reached, or None and a description of what is waited for."""
        if not server.is_running:
            return self._ended(recovery), ""
        goal = f"until {recovery.told}" if recovery else "that came with the backup"
        status = server.status()
        # With hot_standby the state is "ready" as soon as it is consistent, long before the target.
        if status is None or status.state != "ready":
            return None, f"not consistent yet: replaying WAL {goal}"
        try:
            in_recovery, lsn, paused, at = self._replayed(status)
        except (AccessDenied, GrantMissing) as error:
            raise self._failed(
                "it runs and is consistent, but refuses the query for its progress:"
                f" {error.message}"
            ) from error
        except (DatabaseUnreachable, ChildFailed, psycopg.Error):
            return None, "consistent; it does not answer now"
        if paused == "paused":
            return self._reached("paused", lsn), ""
        if not in_recovery:
            return self._reached("open"), ""
        return None, f"consistent; replaying WAL {goal}, now at {lsn}" + (f", {at}" if at else "")

    def _replayed(self, status: Status) -> tuple[bool, str, str, str]:
        """Whether it is in recovery, the LSN replayed last, the pause state, and the time of the
        last replayed transaction."""
        if os.geteuid() == 0:
            return self._replayed_by_psql(status)
        with self._own_login(status).session() as session:
            in_recovery, *told = session.execute(_REPLAYED).fetchone() or (True, "", "", "")
        lsn, paused, at = (each or "" for each in told)
        return in_recovery, lsn, paused, at

    @cached_property
    def _psql(self) -> str:
        """Found once: `_replayed_by_psql` runs it several times a second during the replay."""
        return self._tool("psql")

    def _replayed_by_psql(self, status: Status) -> tuple[bool, str, str, str]:
        """`_replayed` for root, which `peer` does not let in: psql runs as the folder's owner."""
        place = ["-h", status.socket_folder or "127.0.0.1", "-p", status.port, "-d", "postgres"]
        argv = [*self._as_owner(), self._psql, "-XAt", "-F|", *place, "-c", _REPLAYED]
        in_recovery, lsn, paused, at = output_of(argv).strip().split("|")
        return in_recovery == "t", lsn, paused, at

    def _ended(self, recovery: Recovery | None) -> Reached:
        wanted = recovery is not None and recovery.action is Action.SHUTDOWN
        if wanted and self._control().get("Database cluster state") == "shut down in recovery":
            return self._reached("shut down")
        raise self._failed("the server ended")

    def _reached(self, state: str, lsn: str = "") -> Reached:
        return Reached(state=state, lsn=lsn, log=str(self._log))

    def _own_login(self, status: Status) -> Login:
        place = {"host": status.socket_folder or "127.0.0.1", "port": status.port}
        return self._login.with_settings(**place, dbname="postgres")

    def _control(self) -> dict[str, str]:
        said = output_of([self._tool("pg_controldata"), "-D", str(self._data)])
        lines = (line.partition(":") for line in said.splitlines())
        return {name.strip(): value.strip() for name, _, value in lines}

    def _least(self) -> dict[str, str]:
        control = self._control()
        return {
            setting: control[f"{name} setting"]
            for name, setting in LEAST.items()
            if f"{name} setting" in control
        }

    def _tool(self, name: str, major: str = "") -> str:
        major = major or self._major()
        found = client_programs.find(name, int(major), major)
        if found.major != int(major):
            raise ToolMissing(
                f"cannot start a server of version {major}: only {name} {found.version} is"
                " installed",
                hint=f"install it, on Debian: apt install postgresql-{major}",
            )
        return str(found.path)

    def _major(self) -> str:
        """The release of the files, from PG_VERSION; raises `RestoreFailed`."""
        try:
            return str(int((self._data / "PG_VERSION").read_text()[:VERSION_BYTES]))
        except (OSError, ValueError) as error:
            raise self._failed("its PG_VERSION is missing or unreadable") from error

    def _give_to_owner(self) -> None:
        """As root, give all restored files to the folder's owner, which the server runs as."""
        if os.geteuid() != 0:
            return
        self._require_owner()
        owner = self._data.stat()
        spaces = [path.resolve() for path in (self._data / "pg_tblspc").iterdir()]
        for folder in (self._data, *spaces):
            for step, folders, files in os.walk(folder):
                for name in (*folders, *files):
                    os.lchown(Path(step, name), owner.st_uid, owner.st_gid)
            os.lchown(folder, owner.st_uid, owner.st_gid)

    def _require_owner(self) -> None:
        """Raises `RestoreFailed` if the server would run as root, which it refuses."""
        if os.geteuid() != 0 or (self._data.is_dir() and self._data.stat().st_uid != 0):
            return
        raise RestoreFailed(
            f"cannot start a server on '{self._data}': root owns the folder, and PostgreSQL refuses"
            " to run as root",
            hint=f"restore as the server's user, or first: install -d -o postgres '{self._data}'",
        )

    def _as_owner(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return ["runuser", "-u", pwd.getpwuid(self._data.stat().st_uid).pw_name, "--"]

    def _failed(self, cause: str) -> HoldfastError:
        said = [cause, *self._last_words()]
        return RestoreFailed(
            f"cannot start a server on '{self._data}': {': '.join(said[:2])}"
            + "".join(f" | {line}" for line in said[2:]),
            hint=f"'{self._log}' has the details",
        )

    def _last_words(self) -> list[str]:
        """The last lines that the server logged before it ended."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return []
        return last_words(lines)


def last_words(lines: Sequence[str]) -> list[str]:
    """The last few lines of the log up to the one after the last FATAL or PANIC; else none.

    The line before it often names the cause.
    """
    grave = [number for number, line in enumerate(lines) if _GRAVE.search(line)]
    return list(lines[: grave[-1] + 2][-LOG_LINES:]) if grave else []


def _words(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        raise ConfigInvalid(
            f"cannot parse --start-options '{options}': {error}",
            hint="example: --start-options '-p 5433'",
        ) from error
