"""Which files are in which part, in a few bytes each: a cluster may have a million of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import zstandard

from holdfast.model.errors import BackupFailed
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.files.tree import Entry

LEVEL = 1
# What no name has in it.
_END = b"\0"


class Entries:
    """Files and folders of one part, in their order; read as often as wanted."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        packed = [_packed(entry) for entry in entries]
        self._packed = zstandard.ZstdCompressor(level=LEVEL).compress(b"".join(packed))
        self._count = len(packed)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        fields = zstandard.decompress(self._packed).split(_END)
        for at in range(0, len(fields) - 1, 3):
            path, size_bytes, kind = fields[at : at + 3]
            is_folder, is_sparse, mode = kind.split()
            yield Entry(
                path=path.decode(errors="surrogateescape"),
                size_bytes=int(size_bytes),
                is_folder=is_folder == b"1",
                is_sparse=is_sparse == b"1",
                mode=int(mode),
            )


def _packed(entry: Entry) -> bytes:
    kind = b"%d %d %d" % (entry.is_folder, entry.is_sparse, entry.mode)
    return b"%b\0%d\0%b\0" % (_bytes(entry.path), entry.size_bytes, kind)


class Paths:
    """A set of paths in a file without a name, of which only some pages are in memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE path (path BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, paths: Iterable[str]) -> None:
        rows = ((_bytes(path),) for path in paths)
        self._database.executemany("INSERT OR IGNORE INTO path VALUES (?)", rows)

    def __contains__(self, path: str) -> bool:
        found = self._database.execute("SELECT 1 FROM path WHERE path = ?", (_bytes(path),))
        return found.fetchone() is not None

    def close(self) -> None:
        self._database.close()


@contextmanager
def paths() -> Iterator[Paths]:
    """An empty set, gone after the block."""
    try:
        found = Paths()
        with afterwards(found.close):
            yield found
    except sqlite3.Error as error:
        raise BackupFailed(
            f"cannot keep the list of what is copied already: {error}",
            hint="is there room in the folder for temporary files (SQLITE_TMPDIR, TMPDIR)?",
        ) from error


def _bytes(path: str) -> bytes:
    return path.encode(errors="surrogateescape")
