"""Walks a data directory for a base backup: what is copied, left out or followed."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import as_text
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.files.entries import DATABASE, RELATION, Entry

CONTROL_FILE = "global/pg_control"
LINKS = "pg_tblspc"
# As in pg_basebackup: stored empty, because the server recreates their contents.
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
# Subfolders of these that a server expects.
EXPECTED = ("pg_wal/archive_status",)
# Without these a server does not start, or starts without its data.
NEEDED = {
    *EMPTIED,
    *("base", "global", LINKS, "pg_commit_ts", "pg_logical", "pg_stat", "pg_twophase", "pg_xact"),
    *("pg_multixact", "pg_multixact/members", "pg_multixact/offsets", "PG_VERSION"),
}
# Left out, so that a backup of a standby is restored as an independent server.
SIGNALS = {"recovery.signal", "standby.signal"}
# A running server writes these; in a restored folder they would look as if it ran there.
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
# Links to these files, and to or below these folders, are followed, as the server follows them.
_OWN_FOLDERS = {each.partition("/")[0] for each in NEEDED}
_OWN_FILES = {
    "PG_VERSION",
    "pg_hba.conf",
    "pg_ident.conf",
    "postgresql.auto.conf",
    "postgresql.conf",
}
_TEMPORARY = re.compile(r"pgsql_tmp.*|pg_internal\.init.*|t\d+_\d+(_[a-z]+)?(\.\d+)?")
_SOCKET = re.compile(r"\.s\.PGSQL\.\d+(\.lock)?")
_OID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_BLOCK_BYTES = 512
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(kw_only=True)
class Seen:
    """What a walk found beside files and folders.

    `skipped` maps a path to the reason why it is not copied, `links` a followed link to its
    target, and `tablespaces` an OID to its location. `later_segments` are the files of relations
    after their first GiB that are not empty.
    """

    skipped: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    tablespaces: dict[str, str] = field(default_factory=dict)
    later_segments: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A data directory; `version_folder` is this release's folder in each tablespace."""

    data: Path
    version_folder: str

    def entries(self, seen: Seen | None = None) -> Iterator[Entry]:
        """Yields everything to copy except `global/pg_control`, each folder before its contents.

        Files that vanish during the walk are left out. What else is skipped, and links that are
        followed, go to `seen`. Raises `OSError` if a folder cannot be read.
        """
        for path in EXPECTED:
            yield Entry(path=path, is_folder=True)
        yield from self._below("", seen or Seen())

    def _below(self, folder: str, seen: Seen) -> Iterator[Entry]:
        is_database = DATABASE.fullmatch(folder) is not None
        unlogged = self._unlogged(folder) if is_database else set[str]()
        above = f"{folder}/" if folder else ""
        for item in self._items(folder):
            path = above + item.name
            if _is_left_out(path, item.name):
                continue
            if folder == LINKS:
                yield from self._tablespace(path, item, seen)
            elif item.is_symlink() and not self._follows(path, item, seen):
                continue
            elif item.is_dir():
                yield Entry(path=path, is_folder=True)
                if path not in EMPTIED:
                    yield from self._below(path, seen)
            elif item.is_file():
                entry = _file(path, item, unlogged, seen=seen)
                if entry is not None:
                    yield _as_known(entry, item) if is_database and not entry.size_bytes else entry
            else:
                _tell_odd(path, item, seen)

    def _items(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """The entries of `folder`, streamed: there may be a million of them.

        By its descriptor, as the kernel then need not follow the whole path of each.
        """
        try:
            descriptor = os.open(self.data / folder, _FOLDER_FLAGS)
        except FileNotFoundError:
            # The server dropped it after its parent was read.
            return
        with afterwards(os.close, descriptor), os.scandir(descriptor) as found:
            yield from found

    def _unlogged(self, folder: str) -> set[str]:
        """The filenodes of unlogged relations, which have an `init` fork; recovery empties them."""
        names = (item.name for item in self._items(folder) if "_init" in item.name)
        forks = map(RELATION.fullmatch, names)
        return {fork[1] for fork in forks if fork and fork[2] == "init"}

    def _follows(self, path: str, item: os.DirEntry[str], seen: Seen) -> bool:
        """Whether to follow the link at `path`: the server does, and its owner owns the target."""
        try:
            to, there = as_text(str((self.data / path).readlink())), item.stat()
        except FileNotFoundError:
            if os.path.lexists(self.data / path):
                seen.skipped[path] = "a link without a target"
            return False
        except OSError as error:
            seen.skipped[path] = f"a link that cannot be followed: {os.strerror(error.errno or 0)}"
            return False
        reason = self._obstacle(path, there)
        if reason:
            seen.skipped[path] = f"a link to '{to}', {reason}"
            return False
        seen.links[path] = to
        return True

    def _obstacle(self, path: str, there: os.stat_result) -> str:
        if not is_servers_own(path) and path not in _OWN_FILES:
            return "which is not one of the server's own"
        if there.st_uid != self.data.stat().st_uid:
            return "which does not belong to the owner of the data directory"
        real = Path(os.path.realpath(self.data / path))
        if (self.data / path).parent.resolve().is_relative_to(real):
            return "which leads to a folder above it"
        return ""

    def _tablespace(self, path: str, item: os.DirEntry[str], seen: Seen) -> Iterator[Entry]:
        below = f"{path}/{self.version_folder}"
        try:
            place = as_text(str((self.data / path).readlink())) if item.is_symlink() else path
        except FileNotFoundError:
            return
        if not _OID.fullmatch(item.name):
            seen.skipped[path] = "it is not a tablespace"
        elif not (self.data / below).is_dir():
            seen.skipped[path] = f"tablespace in '{place}', which has no '{self.version_folder}'"
        else:
            seen.tablespaces[item.name] = place
            yield Entry(path=below, is_folder=True)
            yield from self._below(below, seen)


def _file(path: str, item: os.DirEntry[str], unlogged: set[str], *, seen: Seen) -> Entry | None:
    """None for a file that vanished, or belongs to an unlogged relation."""
    relation = RELATION.fullmatch(item.name) if unlogged else None
    if relation and relation[1] in unlogged and relation[2] != "init":
        return None
    try:
        found = item.stat()
    except FileNotFoundError:
        return None
    size_bytes = found.st_size
    is_sparse = found.st_blocks * _BLOCK_BYTES < size_bytes
    entry = Entry(path, size_bytes, False, stat.S_IMODE(found.st_mode), is_sparse)  # noqa: FBT003
    if "." in item.name and size_bytes and entry.segment > 0:
        seen.later_segments.append(path)
    return entry


def _as_known(entry: Entry, item: os.DirEntry[str]) -> Entry:
    """An empty file with the time of its last change, if it belongs to a relation."""
    if not item.name.isdecimal():
        return entry
    # The entry remembers its status.
    return entry._replace(modified=max(0, int(item.stat().st_mtime)))


def _is_left_out(path: str, name: str) -> bool:
    # Nearly all files are named by a number, and none of those is left out.
    return not name[0].isdigit() and (
        name in _LEFT_OUT
        or _TEMPORARY.fullmatch(name) is not None
        or is_socket(path)
        or path == CONTROL_FILE
    )


def is_servers_own(path: str) -> bool:
    """Whether `path` is a folder that a server needs, or below one."""
    return path.partition("/")[0] in _OWN_FOLDERS


def is_socket(path: str) -> bool:
    """Whether `path` is the server's socket in its data directory, or the lock beside it."""
    return _SOCKET.fullmatch(path) is not None


def _tell_odd(path: str, item: os.DirEntry[str], seen: Seen) -> None:
    try:
        mode = item.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    seen.skipped[path] = f"{kinds.get(stat.S_IFMT(mode), 'a device')}, not a file"
