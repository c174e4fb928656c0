"""What a configuration that came back says for another place, where a server goes by it alone.

`holdfast restore --start` overrules all of it. Whoever starts the server by hand has to know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from holdfast.model.recovery import NO_TARGET
from holdfast.sources.postgres.files.recovery_files import (
    CONFIG_FILE,
    SETTINGS_FILE,
    SIGNAL_FILE,
    STANDBY_FILE,
)

MOST_BYTES, MOST_DEPTH = 1 << 20, 10
# Files and folders that a server writes, or lets people in by.
ELSEWHERE = ("hba_file", "ident_file", "external_pid_file", "stats_temp_directory", "log_directory")
_LINE = re.compile(r"\s*([\w.]+)(?:\s*=\s*|\s+)('(?:[^'\\]|\\.|'')*'|[^\s#]+)")
_OFF = {"off", "false", "no", "0"}


def notes_on(data: Path) -> tuple[str, ...]:
    """In the order in which they matter; nothing of what is overruled already."""
    found = dict(_settings(data / CONFIG_FILE, 0))
    found |= dict(_settings(data / SETTINGS_FILE, 0))
    return tuple(_notes(data, found))


def _notes(data: Path, found: Mapping[str, str]) -> Iterator[str]:
    by_hand = "a server that is started by hand, without --start,"
    where = found.get("data_directory", "")
    if where and not _is_below(data, where):
        yield f"{by_hand} opens '{where}': so says data_directory in its configuration"
    named = [f"{each} = '{found[each]}'" for each in ELSEWHERE if _leads_out(data, found, each)]
    if named:
        yield f"{by_hand} uses files elsewhere: {', '.join(named)}"
    if found.get("archive_mode", "off").lower() not in _OFF:
        yield (
            f"{by_hand} archives under the names of the one that it was taken from:"
            f" archive_mode = {found['archive_mode']}"
        )
    if (data / STANDBY_FILE).exists():
        yield f"{by_hand} is a standby, as the one that it was taken from: {STANDBY_FILE}"
    is_recovering = any((data / each).exists() for each in (STANDBY_FILE, SIGNAL_FILE))
    targets = [f"{each} = '{found[each]}'" for each in NO_TARGET if found.get(each)]
    if targets and is_recovering and len(targets) > 1:
        yield f"{by_hand} refuses several targets: {', '.join(targets)}"
    elif targets:
        yield f"of an earlier recovery its configuration still says {', '.join(targets)}"


def _leads_out(data: Path, found: Mapping[str, str], name: str) -> bool:
    value = found.get(name, "")
    return value.startswith("/") and not _is_below(data, value)


def _is_below(data: Path, value: str) -> bool:
    return Path(value) == data or data in Path(value).parents


def _settings(path: Path, depth: int) -> Iterator[tuple[str, str]]:
    """Of a file and all that it includes, as far as they can be read; the last one counts."""
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
