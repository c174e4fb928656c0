"""A server on a restored folder: with which settings it is started, recognised, and ended."""

from __future__ import annotations

import os
import pwd
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.errors import RestoreFailed
from holdfast.model.recovery import ASIDE, NO_TARGET, NOT_OURS
from holdfast.runtime.files import opened
from holdfast.runtime.process import Outliving, User, outliving
from holdfast.sources.postgres.files.tree import CONTROL_FILE

PID_FILE = "postmaster.pid"
# An immediate shutdown: not even a checkpoint is written.
IMMEDIATE, IMMEDIATE_SECONDS = signal.SIGQUIT, 30.0
_ROOT = Path("/")
_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a running server writes into its postmaster.pid."""

    port: str
    socket_folder: str
    state: str


def require_ours(data: Path, cluster: str) -> None:
    """Raises `RestoreFailed` unless the folder `data` is `cluster` by its system identifier, and
    no server runs on it."""
    try:
        with (data / CONTROL_FILE).open("rb") as file:
            found = str(int.from_bytes(file.read(8), "little"))
    except OSError as error:
        cause = f"cannot read its {CONTROL_FILE}: {os.strerror(error.errno or 0)}"
        raise _not_ours(data, cause) from error
    if cluster and found != cluster:
        raise _not_ours(data, f"it is cluster {found}, and the backup is of {cluster}")
    if os.path.lexists(data / PID_FILE):
        raise _not_ours(data, f"it has a {PID_FILE}: a server runs there, or did")


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
        """Raises `RestoreFailed`, once it is ended, where it has gone to another folder than ours.

        A server works from its data directory, and goes there before it opens anything.
        """
        with suppress(OSError):
            place = Path(f"/proc/{self.pid}/cwd")
            if not (place.samefile(_ROOT) or place.samefile(self._data)):
                went_to = place.readlink()
                self.end()
                raise _not_ours(
                    self._data, f"the server opened '{went_to}' instead, and was ended at once"
                )

    def status(self) -> Status | None:
        """What it says of itself; None before it says anything."""
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
    """Start `argv` on `data` as the folder's owner, who owns its `log` too."""
    log.unlink(missing_ok=True)
    owner = owner_of(data)
    with os.fdopen(opened(log, _LOG_FLAGS), "wb") as file:
        if owner is not None:
            os.fchown(file.fileno(), owner.user, owner.group)
        return Postmaster(data, outliving(argv, log=file, user=owner))


def owner_of(data: Path) -> User | None:
    """Whom the folder belongs to, for root, as whom no server runs; None where we are he."""
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


# The first release that has no statistics collector, and the first without trigger files.
WITHOUT_STATISTICS_FOLDER, WITHOUT_TRIGGER_FILE = 15, 16


def expected(data: Path, socket_folder: Path) -> dict[str, str]:
    """What the operator's own options may say otherwise.

    Nobody reaches it but through its own folder; it logs where we look; it is let in early enough
    to be asked; it does not go on with somebody else's subscriptions, nor wait for an apply delay
    or for a standby.
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
    """What nothing overrules: its files are in `data`, nothing of another cluster is written or
    removed, and it recovers as `recovery` says and in no other way."""
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
    # In this order: an empty target behind one that is not would be refused.
    none = {name: value for name, value in NO_TARGET.items() if name not in recovery}
    return {**settings, **none, **ASIDE, **recovery}


def arguments(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def says_where_its_socket_is(options: Sequence[str]) -> bool:
    """Whether an operator's own words name the folder of the socket."""
    return any(
        word.startswith("-k") or "unix_socket_directories" in word.replace("-", "_")
        for word in options
    )
