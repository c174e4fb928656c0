"""What a restored data directory needs so that a server started on it goes on by itself."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from holdfast.model.errors import RestoreFailed
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import opened, write_all

SIGNAL_FILE, STANDBY_FILE = "recovery.signal", "standby.signal"
SETTINGS_FILE, CONFIG_FILE, ACCESS_FILE = "postgresql.auto.conf", "postgresql.conf", "pg_hba.conf"
_OF_RECOVERY = re.compile(
    rb"\s*(restore_command|recovery_\w+|archive_mode|archive_cleanup_command|primary_conninfo"
    rb"|primary_slot_name)\b",
    re.IGNORECASE,
)


def write_settings(data: Path, settings: Mapping[str, str]) -> None:
    """Have the server go by `settings`, instead of what an earlier recovery had set; with a
    `restore_command` among them it recovers."""
    lines = [f"{name} = {quoted(value)}".encode() for name, value in settings.items()]
    path = data / SETTINGS_FILE
    try:
        before = path.read_bytes().splitlines() if path.exists() else []
        kept = [line for line in before if not _OF_RECOVERY.match(line)]
        _write(path, b"\n".join([*kept, b"# Written by holdfast restore.", *lines, b""]))
        # A copy of a standby would wait for its primary, or for what an earlier recovery wanted.
        for name in (STANDBY_FILE, SIGNAL_FILE):
            (data / name).unlink(missing_ok=True)
        if "restore_command" in settings:
            _write(data / SIGNAL_FILE, b"")
    except OSError as error:
        raise _failed(data, error) from error


def write_missing_configuration(data: Path, least: Mapping[str, str]) -> bool:
    """A configuration for a cluster that kept its own elsewhere, as Debian has it: reached through
    a socket in its folder only, by users of the host. Whether one was missing.

    Who may log in is written where that alone is missing. `least` are the settings below which its
    WAL cannot be replayed.
    """
    path = data / CONFIG_FILE
    try:
        if not (data / ACCESS_FILE).exists():
            _write(data / ACCESS_FILE, b"local all all peer\n")
        if path.exists():
            return False
        _write(path, _configuration(data, least))
    except OSError as error:
        raise _failed(data, error) from error
    return True


def _configuration(data: Path, least: Mapping[str, str]) -> bytes:
    lines = [
        "# Written by holdfast restore: the backup holds none.",
        "listen_addresses = ''",
        f"unix_socket_directories = {quoted(str(data))}",
        *(f"{name} = {value}" for name, value in least.items()),
        "",
    ]
    return "\n".join(lines).encode()


def quoted(value: str) -> str:
    """As a server's configuration wants it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _write(path: Path, content: bytes) -> None:
    descriptor = opened(path, os.O_WRONLY | os.O_TRUNC)
    with afterwards(os.close, descriptor):
        write_all(descriptor, content)
        os.fsync(descriptor)


def _failed(data: Path, error: OSError) -> RestoreFailed:
    return RestoreFailed(
        f"cannot write the settings of '{data}': {os.strerror(error.errno or 0)}",
        hint="is there room, and is the folder yours?",
    )
