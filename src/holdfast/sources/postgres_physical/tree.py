"""What a base backup of a data directory consists of: which files, and which are none of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTROL_FILE = "global/pg_control"
# As pg_basebackup has it: the server makes these anew, and their contents are of no use.
EMPTIED = {
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
}
# Folders that a server expects inside of those.
EXPECTED = ("pg_wal/archive_status",)
# A backup of a standby comes back as a server of its own, until somebody says otherwise.
SIGNALS = {"recovery.signal", "standby.signal"}
# What a running server writes of itself: somebody would believe it is running here.
OF_A_SERVER = {"postmaster.opts", "postmaster.pid"}
_LEFT_OUT = (
    SIGNALS
    | OF_A_SERVER
    | {
        "backup_label",
        "backup_label.old",
        "backup_manifest",
        "current_logfiles.tmp",
        "postgresql.auto.conf.tmp",
        "tablespace_map",
        "tablespace_map.old",
    }
)
_TEMPORARY = re.compile(r"pgsql_tmp.*|pg_internal\.init.*|t\d+_\d+(_[a-z]+)?(\.\d+)?")
_RELATION = re.compile(r"(\d+)(?:_(fsm|vm|init))?(?:\.(\d+))?")
_DATABASE = re.compile(r"base/\d+|pg_tblspc/\d+/PG_[^/]+/\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or folder by its path below the data directory.

    `segment` is which GiB of a relation the file is, -1 where it is none: pages of relations
    carry checksums.
    """

    path: str
    size_bytes: int = 0
    is_folder: bool = False
    segment: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A data directory; `version_folder` is the one of this release in each tablespace."""

    data: Path
    version_folder: str

    def entries(self) -> Iterator[Entry]:
        """Everything but `global/pg_control`, folders before what is in them; streamed.

        What vanishes meanwhile is left out. Raises `OSError` where a folder cannot be read.
        """
        for path in EXPECTED:
            yield Entry(path=path, is_folder=True)
        yield from self._below("")

    def _below(self, folder: str) -> Iterator[Entry]:
        try:
            with os.scandir(self.data / folder) as found:
                items = list(found)
        except FileNotFoundError:
            # Dropped since its parent was read.
            return
        unlogged = _unlogged(items) if _DATABASE.fullmatch(folder) else set()
        for item in items:
            path = f"{folder}/{item.name}" if folder else item.name
            if item.name in _LEFT_OUT or _TEMPORARY.fullmatch(item.name) or path == CONTROL_FILE:
                continue
            if folder == "pg_tblspc":
                yield from self._tablespace(path)
            elif item.is_dir(follow_symlinks=path == "pg_wal"):
                yield Entry(path=path, is_folder=True)
                if path not in EMPTIED:
                    yield from self._below(path)
            elif item.is_file(follow_symlinks=False):
                yield from _file(path, item, unlogged)

    def _tablespace(self, path: str) -> Iterator[Entry]:
        below = f"{path}/{self.version_folder}"
        if (self.data / below).is_dir():
            yield Entry(path=below, is_folder=True)
            yield from self._below(below)


def _file(path: str, item: os.DirEntry[str], unlogged: set[str]) -> Iterator[Entry]:
    try:
        size_bytes = item.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return
    relation = _RELATION.fullmatch(item.name) if _holds_relations(path) else None
    if relation is None:
        yield Entry(path=path, size_bytes=size_bytes)
    elif relation[1] not in unlogged or relation[2] == "init":
        yield Entry(path=path, size_bytes=size_bytes, segment=int(relation[3] or 0))


def _holds_relations(path: str) -> bool:
    folder = path.rpartition("/")[0]
    return folder == "global" or _DATABASE.fullmatch(folder) is not None


def _unlogged(items: list[os.DirEntry[str]]) -> set[str]:
    """Relations that a crash empties: the server keeps an empty `init` fork of each beside it."""
    forks = (_RELATION.fullmatch(item.name) for item in items)
    return {fork[1] for fork in forks if fork and fork[2] == "init"}
