"""A server started on a restored folder, and watched until it is where its recovery leads."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import psycopg

from holdfast.errors import (
    AccessDenied,
    DatabaseUnreachable,
    DeadlineExceeded,
    GrantMissing,
    HoldfastError,
    RestoreFailed,
    ToolMissing,
)
from holdfast.process import ChildFailed, output_of
from holdfast.recovery import Action, Reached, Recovery
from holdfast.sources.postgres_native import tools
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_physical.recovery_files import (
    CONFIG_FILE,
    write_missing_configuration,
)

LOOK_SECONDS = 0.2
BEGINS_SECONDS = 10.0
TOLD_EVERY_SECONDS = 10.0
LOG_LINES = 4
# Below the primary's values a server refuses to replay its WAL: pg_controldata calls them so.
LEAST = {
    "max_connections": "max_connections",
    "max_worker_processes": "max_worker_processes",
    "max_wal_senders": "max_wal_senders",
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}
_GRAVE = re.compile(r"\b(FATAL|PANIC):")
_REPLAYED = """
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()::text,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END,
       to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    """What a running server writes into its postmaster.pid."""

    pid: int
    port: str
    socket_folder: str
    state: str


class ClusterStarter:
    """Obeys `recovery.Starter` for the cluster in `data`; `login` is the job's.

    The server runs as the folder's owner, as servers do not run as root, and is the version that
    the files are of. `options` are handed to it as they are.
    """

    def __init__(self, data: Path, *, login: Login, options: str = "") -> None:
        self._data = data
        self._login = login
        self._options = options
        self._log = data.with_name(f"{data.name}-start.log")

    def check(self, version: str) -> None:
        self._tool("pg_ctl", version.partition(".")[0])
        self._require_owner()

    def start(
        self, recovery: Recovery | None, *, within: timedelta, tell: Callable[[str], None]
    ) -> Reached:
        self._log.unlink(missing_ok=True)
        if write_missing_configuration(self._data, self._least()):
            tell(f"the backup held no {CONFIG_FILE}: one was written, its socket is in the folder")
        self._give_to_owner()
        tell(f"starting a server on '{self._data}'; it logs to '{self._log}'")
        self._start()
        return self._waited(recovery, time.monotonic() + within.total_seconds(), tell)

    def _start(self) -> None:
        argv = [*self._as_owner(), self._tool("pg_ctl"), "-D", str(self._data), "-s", "-W"]
        argv += ["-l", str(self._log), *(["-o", self._options] if self._options else []), "start"]
        output_of(argv, translate=lambda error: self._failed(error.stderr or error.message))
        # A moment passes before the server says that it is there; a bad setting ends it before.
        ends = time.monotonic() + BEGINS_SECONDS
        while self._status() is None and not self._last_words() and time.monotonic() < ends:
            time.sleep(LOOK_SECONDS)

    def _waited(
        self, recovery: Recovery | None, ends: float, tell: Callable[[str], None]
    ) -> Reached:
        told, told_at = "", 0.0
        while True:
            reached, doing = self._look(recovery)
            if reached is not None:
                return reached
            if doing != told and (time.monotonic() - told_at >= TOLD_EVERY_SECONDS or not told):
                tell(doing)
                told, told_at = doing, time.monotonic()
            if time.monotonic() >= ends:
                raise DeadlineExceeded(
                    f"cannot wait any longer for '{self._data}': {doing}",
                    hint=f"it still runs; see '{self._log}', and give it more with --start-timeout",
                )
            time.sleep(LOOK_SECONDS)

    def _look(self, recovery: Recovery | None) -> tuple[Reached | None, str]:
        """Where it is, once it is there, and else what is waited for."""
        status = self._status()
        if status is None or not _is_alive(status.pid):
            return self._ended(recovery), ""
        goal = f"until {recovery.told}" if recovery else "that came with the backup"
        # It lets readers in as soon as it is consistent, so "ready" says no more than that.
        if status.state != "ready":
            return None, f"not consistent yet: replaying WAL {goal}"
        try:
            in_recovery, lsn, paused, at = self._replayed(status)
        except (AccessDenied, GrantMissing) as error:
            raise self._failed(
                f"it is consistent and runs, but does not let us ask how far it is: {error.message}"
            ) from error
        except (DatabaseUnreachable, ChildFailed, psycopg.Error):
            return None, "consistent; it does not answer at this moment"
        if paused == "paused":
            return self._reached("paused", lsn), ""
        if not in_recovery:
            return self._reached("open"), ""
        return None, f"consistent; replaying WAL {goal}, now at {lsn}" + (f", {at}" if at else "")

    def _replayed(self, status: _Status) -> tuple[bool, str, str, str]:
        """Whether it recovers, how far it is, whether it pauses, and when that was."""
        if os.geteuid() == 0:
            return self._replayed_by_psql(status)
        with self._own_login(status).session() as session:
            in_recovery, *told = session.execute(_REPLAYED).fetchone() or (True, "", "", "")
        lsn, paused, at = (each or "" for each in told)
        return in_recovery, lsn, paused, at

    @cached_property
    def _psql(self) -> str:
        """Looked for once: it is asked several times a second, for as long as WAL is replayed."""
        return self._tool("psql")

    def _replayed_by_psql(self, status: _Status) -> tuple[bool, str, str, str]:
        """For root, whom `peer` does not let in: asked by the folder's owner, as himself."""
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

    def _status(self) -> _Status | None:
        """None where there is none, which is so before its first moment as after its last."""
        with suppress(OSError, ValueError, IndexError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return _Status(
                pid=int(lines[0]),
                port=lines[3],
                socket_folder=lines[4],
                state=lines[7].strip() if len(lines) > 7 else "",
            )
        return self._starting()

    def _starting(self) -> _Status | None:
        """Whether the file is only half written."""
        path = self._data / "postmaster.pid"
        if not path.exists():
            return None
        return _Status(pid=os.getpid(), port="", socket_folder="", state="")

    def _own_login(self, status: _Status) -> Login:
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
        major = major or (self._data / "PG_VERSION").read_text().strip()
        found = tools.find(name, int(major), major, ())
        if found.major != int(major):
            raise ToolMissing(
                f"cannot start a server of version {major}: only {name} {found.version} is here",
                hint=f"install it, on Debian: apt install postgresql-{major}",
            )
        return str(found.path)

    def _give_to_owner(self) -> None:
        """What root has restored into somebody's folder becomes his: the server runs as him."""
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
        self._log.touch(mode=0o600)
        os.chown(self._log, owner.st_uid, owner.st_gid)

    def _require_owner(self) -> None:
        """Servers do not run as root."""
        if os.geteuid() != 0 or (self._data.is_dir() and self._data.stat().st_uid != 0):
            return
        raise RestoreFailed(
            f"cannot start a server on '{self._data}': it would belong to root",
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
            hint=f"'{self._log}' has the rest",
        )

    def _last_words(self) -> list[str]:
        """What the server has logged of its end."""
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except OSError:
            return []
        grave = [number for number, line in enumerate(lines) if _GRAVE.search(line)]
        # What led to it is often said in the line before.
        return lines[: grave[-1] + 2][-LOG_LINES:] if grave else []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
