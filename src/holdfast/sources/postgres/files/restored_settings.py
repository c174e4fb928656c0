"""The settings of a restored data directory: those of the recovery, and those of another host.

`holdfast restore --start` overrules the latter. An operator who starts the server by hand gets
notes on them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast.model.errors import RestoreFailed
from holdfast.model.recovery import NO_TARGET
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
    """Write `settings` for the server, in place of those of an earlier recovery.

    With a `restore_command` among them the server starts in recovery. Raises `RestoreFailed`.
    """
    lines = [f"{name} = {quoted(value)}".encode() for name, value in settings.items()]
    path = data / SETTINGS_FILE
    try:
        before = path.read_bytes().splitlines() if path.exists() else []
        kept = [line for line in before if not _OF_RECOVERY.match(line)]
        _write(path, b"\n".join([*kept, b"# Written by holdfast restore.", *lines, b""]))
        # Otherwise a copy of a standby would wait for its primary, or continue an old recovery.
        for name in (STANDBY_FILE, SIGNAL_FILE):
            (data / name).unlink(missing_ok=True)
        if "restore_command" in settings:
            _write(data / SIGNAL_FILE, b"")
    except OSError as error:
        raise _failed(data, error) from error


def write_missing_configuration(data: Path, least: Mapping[str, str]) -> bool:
    """Write a configuration if the backup holds none, as on Debian; returns whether it did.

    The server then listens only on a socket in its folder. `pg_hba.conf` is written if it is
    missing, also beside an existing configuration, and admits users of the host. `least` are the
    lowest values with which the WAL can be replayed. Raises `RestoreFailed`.
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
        "# Written by holdfast restore: the backup holds no configuration.",
        "listen_addresses = ''",
        f"unix_socket_directories = {quoted(str(data))}",
        *(f"{name} = {value}" for name, value in least.items()),
        "",
    ]
    return "\n".join(lines).encode()


def quoted(value: str) -> str:
    """`value` as a quoted string of a server's configuration."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _write(path: Path, content: bytes) -> None:
    descriptor = opened(path, os.O_WRONLY | os.O_TRUNC)
    with afterwards(os.close, descriptor):
        write_all(descriptor, content)
        os.fsync(descriptor)


def _failed(data: Path, error: OSError) -> RestoreFailed:
    return RestoreFailed(
        f"cannot write the settings of '{data}': {os.strerror(error.errno or 0)}",
        hint="check the free space and the owner of the folder",
    )


MOST_BYTES, MOST_DEPTH = 1 << 20, 10
# Settings that name files which the server writes, or by which it admits logins.
ELSEWHERE = ("hba_file", "ident_file", "external_pid_file", "stats_temp_directory", "log_directory")
_LINE = re.compile(r"\s*([\w.]+)(?:\s*=\s*|\s+)('(?:[^'\\]|\\.|'')*'|[^\s#]+)")
_OFF = {"off", "false", "no", "0"}


def notes_on(data: Path) -> tuple[str, ...]:
    """Notes on settings that mislead a server started by hand; the most important come first.

    A value that a later line overrides is ignored.
    """
    found = dict(_settings(data / CONFIG_FILE, 0))
    found |= dict(_settings(data / SETTINGS_FILE, 0))
    return tuple(_notes(data, found))


def _notes(data: Path, found: Mapping[str, str]) -> Iterator[str]:
    by_hand = "a server that is started by hand, without --start,"
    where = found.get("data_directory", "")
    if where and not _is_below(data, where):
        yield f"{by_hand} opens '{where}': its configuration sets data_directory"
    named = [f"{each} = '{found[each]}'" for each in ELSEWHERE if _leads_out(data, found, each)]
    if named:
        yield f"{by_hand} uses files elsewhere: {', '.join(named)}"
    if found.get("archive_mode", "off").lower() not in _OFF:
        yield (
            f"{by_hand} archives under the same names as the original server:"
            f" archive_mode = {found['archive_mode']}"
        )
    if (data / STANDBY_FILE).exists():
        yield f"{by_hand} is a standby, as the original server was: {STANDBY_FILE}"
    is_recovering = any((data / each).exists() for each in (STANDBY_FILE, SIGNAL_FILE))
    targets = [f"{each} = '{found[each]}'" for each in NO_TARGET if found.get(each)]
    if targets and is_recovering and len(targets) > 1:
        yield f"{by_hand} refuses several targets: {', '.join(targets)}"
    elif targets:
        yield f"its configuration still has the target of an earlier recovery: {', '.join(targets)}"


def _leads_out(data: Path, found: Mapping[str, str], name: str) -> bool:
    value = found.get(name, "")
    return value.startswith("/") and not _is_below(data, value)


def _is_below(data: Path, value: str) -> bool:
    return Path(value) == data or data in Path(value).parents


def _settings(path: Path, depth: int) -> Iterator[tuple[str, str]]:
    """Yields the settings of a file and its includes, in order: of two values the last one counts.

    Files that cannot be read are skipped.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(MOST_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        name, value = match[1].lower(), _unquoted(match[2])
        if name.startswith("include") and depth < MOST_DEPTH:
            for included in _included(name, path.parent / value):
                yield from _settings(included, depth + 1)
        else:
            yield name, value


def _included(how: str, path: Path) -> list[Path]:
    if how != "include_dir":
        return [path]
    try:
        return sorted(each for each in path.glob("*.conf") if not each.name.startswith("."))
    except OSError:
        return []


def _unquoted(value: str) -> str:
    if not value.startswith("'"):
        return value
    return re.sub(r"\\(.)|''", lambda found: found[1] or "'", value[1:-1])
