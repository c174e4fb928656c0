"""The server process on a restored folder: its settings, its start, its status and its end."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.model.errors import RestoreFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.recovery import ASIDE, NO_TARGET, NOT_OURS
from holdfast.runtime.files import opened
from holdfast.runtime.process import Outliving, User, outliving
from holdfast.sources.postgres.files.tree import CONTROL_FILE

PID_FILE = "postmaster.pid"
# Immediate shutdown: the server does not write a checkpoint.
IMMEDIATE, IMMEDIATE_SECONDS = signal.SIGQUIT, 30.0
_ROOT = Path("/")
_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The fields of a running server's postmaster.pid."""

    port: str
    socket_folder: str
    state: str


def require_ours(data: Path, cluster: str) -> None:
    """Raises `RestoreFailed` unless `data` has the system identifier `cluster` and no server.

    An empty `cluster` matches every identifier.
    """
    try:
        with (data / CONTROL_FILE).open("rb") as file:
            found = str(int.from_bytes(file.read(8), "little"))
    except OSError as error:
        cause = f"cannot read its {CONTROL_FILE}: {os.strerror(error.errno or 0)}"
        raise _not_ours(data, cause) from error
    if cluster and found != cluster:
        raise _not_ours(data, f"it is cluster {found}, but the backup is of cluster {cluster}")
    if os.path.lexists(data / PID_FILE):
        raise _not_ours(data, f"it has a {PID_FILE}: a server runs there, or was not shut down")


class Postmaster:
    """The process of a server that was started on `data`."""

    def __init__(self, data: Path, process: Outliving) -> None:
        self._data = data
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.is_running

    def require_here(self) -> None:
        """End the server and raise `RestoreFailed` if it runs on another folder than `data`.

        Its working directory shows that: a server enters its data directory before it opens a
        file.
        """
        with suppress(OSError):
            place = Path(f"/proc/{self.pid}/cwd")
            if not (place.samefile(_ROOT) or place.samefile(self._data)):
                went_to = place.readlink()
                self.end()
                raise _not_ours(
                    self._data, f"the server opened '{went_to}' instead, and was stopped"
                )

    def status(self) -> Status | None:
        """The status in postmaster.pid; None before this server has written it."""
        with suppress(OSError, ValueError, IndexError):
            lines = (self._data / PID_FILE).read_text().splitlines()
            if int(lines[0]) == self.pid:
                return Status(
                    port=lines[3],
                    socket_folder=lines[4],
                    state=lines[7].strip() if len(lines) > 7 else "",
                )
        return None

    def end(self) -> None:
        self._process.end(IMMEDIATE, within_seconds=IMMEDIATE_SECONDS)


def launched(argv: list[str], data: Path, log: Path) -> Postmaster:
    """Start the server `argv` on `data` as the folder's owner, who also owns the new `log`."""
    log.unlink(missing_ok=True)
    owner = owner_of(data)
    with os.fdopen(opened(log, _LOG_FLAGS), "wb") as file:
        if owner is not None:
            os.fchown(file.fileno(), owner.user, owner.group)
        return Postmaster(data, outliving(argv, log=file, user=owner))


def owner_of(data: Path) -> User | None:
    """The user to run the server as: the folder's owner if we are root, else None."""
    if os.geteuid() != 0:
        return None
    found = data.stat()
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
        groups = tuple(os.getgrouplist(name, found.st_gid))
    except KeyError:
        groups = (found.st_gid,)
    return User(user=found.st_uid, group=found.st_gid, groups=groups)


def _not_ours(data: Path, cause: str) -> RestoreFailed:
    return RestoreFailed(
        f"cannot start a server on '{data}': {cause}",
        hint="restore the backup again, into an empty folder",
    )


# The first release without the statistics collector, and the first without trigger files.
WITHOUT_STATISTICS_FOLDER, WITHOUT_TRIGGER_FILE = 15, 16


def expected(data: Path, socket_folder: Path) -> dict[str, str]:
    """Settings that the operator's own options may overrule.

    The server listens on the socket in its folder only, and logs where we read it. It admits
    readers during recovery, so that we can ask for its progress. It does not apply logical
    subscriptions of the original, and waits for no apply delay and no synchronous standby.
    """
    return {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_folder),
        "hba_file": str(data / "pg_hba.conf"),
        "ident_file": str(data / "pg_ident.conf"),
        "log_directory": "log",
        "logging_collector": "off",
        "log_destination": "stderr",
        "hot_standby": "on",
        "recovery_min_apply_delay": "0",
        "max_logical_replication_workers": "0",
        "synchronous_standby_names": "",
    }


def forced(data: Path, recovery: Mapping[str, str], *, major: int) -> dict[str, str]:
    """Settings that nothing may overrule.

    The files are those in `data`, no file of another cluster is written or removed, and the server
    recovers exactly as `recovery` says.
    """
    settings = {
        "data_directory": str(data),
        "external_pid_file": "",
        "archive_command": "",
        **NOT_OURS,
        "restore_command": "",
    }
    if major < WITHOUT_STATISTICS_FOLDER:
        settings["stats_temp_directory"] = "pg_stat_tmp"
    if major < WITHOUT_TRIGGER_FILE:
        settings["promote_trigger_file"] = ""
    # Order matters: a server refuses an empty target after one that is set.
    none = {name: value for name, value in NO_TARGET.items() if name not in recovery}
    return {**settings, **none, **ASIDE, **recovery}


def arguments(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def says_where_its_socket_is(options: Sequence[str]) -> bool:
    """Whether the operator's own options set the folder of the socket."""
    return any(
        word.startswith("-k") or "unix_socket_directories" in word.replace("-", "_")
        for word in options
    )
