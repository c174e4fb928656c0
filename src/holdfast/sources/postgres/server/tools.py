"""Finding pg_dump, pg_dumpall and psql that are new enough for a server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.errors import ToolMissing
from holdfast.runtime.process import output_of

DEBIAN_BINARIES = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program of the PostgreSQL client package."""

    path: Path
    version: str
    major: int


def find(name: str, server_major: int, server_version: str, folders: Sequence[Path]) -> Tool:
    """The one of the server's own major version, else the oldest that is newer.

    Raises `ToolMissing` naming both versions. Where no `folders` are named, Debian's versioned
    ones come before PATH: its /usr/bin/pg_dump is a slow wrapper that picks a cluster by itself.
    """
    found: list[Tool] = []
    for candidates in _candidates(name, folders):
        found += [_asked(path) for path in candidates]
        fitting = sorted((tool for tool in found if tool.major >= server_major), key=_age)
        if fitting:
            return fitting[0]
    hint = f"install the client package, on Debian: apt install postgresql-client-{server_major}"
    if not found:
        raise ToolMissing(f"cannot run '{name}': it is not installed", hint=hint)
    newest = max(found, key=_age)
    raise ToolMissing(
        f"cannot use '{newest.path}' for server {server_version}: it is version {newest.version},"
        " older than the server",
        hint=hint,
    )


def _age(tool: Tool) -> int:
    return tool.major


def _candidates(name: str, folders: Sequence[Path]) -> Iterator[list[Path]]:
    """Places in the order in which they are preferred, the next only where one is not enough."""
    if folders:
        yield [folder / name for folder in folders if (folder / name).is_file()]
        return
    yield list(DEBIAN_BINARIES.glob(f"*/bin/{name}"))
    on_path = shutil.which(name)
    if on_path is not None:
        yield [Path(on_path)]


def _asked(path: Path) -> Tool:
    said = output_of([str(path), "--version"])
    match = _VERSION.search(said)
    if match is None:
        raise ToolMissing(f"cannot use '{path}': it does not tell its version")
    return Tool(path=path, version=match[1] + match[2], major=int(match[1]))
