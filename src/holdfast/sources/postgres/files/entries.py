"""Files and folders of a cluster by their paths, held in a few bytes each."""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Self

import zstandard

from holdfast.model.errors import BackupFailed
from holdfast.runtime.cleanup import afterwards

NO_SEGMENT = -1
RELATION = re.compile(r"(\d+)(?:_(fsm|vm|init))?(?:\.(\d+))?")
DATABASE = re.compile(r"base/\d+|pg_tblspc/\d+/PG_[^/]+/\d+")


class Entry(NamedTuple):
    """A file or folder by its path below the data directory; a file also has size and mode.

    Only an empty file of a relation has `modified`: nobody has to open it, because all that is
    written to it from now on is in the WAL of the backup.

    A tuple: there may be a million, and it is made in a fifth of the time of a dataclass.
    """

    path: str
    size_bytes: int = 0
    is_folder: bool = False
    mode: int = 0
    is_sparse: bool = False
    modified: int = 0

    @property
    def segment(self) -> int:
        """The number of the 1-GiB segment if the file is part of a relation, else -1.

        Only pages of relations carry checksums.
        """
        folder, _, name = self.path.rpartition("/")
        return segment_of(name) if holds_relations(folder) else NO_SEGMENT


def holds_relations(folder: str) -> bool:
    return folder == "global" or DATABASE.fullmatch(folder) is not None


def segment_of(name: str) -> int:
    """As `Entry.segment`, of a file in a folder that holds relations."""
    if name.isascii() and name.isdecimal():
        return 0
    relation = RELATION.fullmatch(name)
    return int(relation[3] or 0) if relation else NO_SEGMENT


LEVEL = 1
# The one character that no file name contains.
_END = "\0"
# Above the 12 bits of a mode.
_FOLDER, _SPARSE, _MODE = 1 << 12, 1 << 13, (1 << 12) - 1


# Of a path, in bytes (PATH_MAX), with the character that ends it.
_PATH_BYTES = 4096
# An empty name in a path, `.` or `..`.
_LEADS_OUT = re.compile(rb"(?:^|[/\0])\.{0,2}(?=[/\0]|\Z)")
# Several times those of a pack. It bounds the memory that a hostile text can ask for.
MOST_ENTRIES = 10_000


class PackedEntries(NamedTuple):
    """How many entries one part has, their paths, and their numbers, both compressed."""

    number: int
    paths: bytes
    numbers: bytes


class Entries:
    """The files and folders of one part, compressed and in order; may be iterated repeatedly."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._count = len(entries)
        self._form = _form(self._count)
        paths = _END.join([entry.path for entry in entries])
        sizes = [entry.size_bytes for entry in entries]
        times = [entry.modified for entry in entries]
        self._paths = _compressed(_bytes(paths))
        self._numbers = _compressed(self._form.pack(*sizes, *times, *map(_kind, entries)))

    @property
    def packed(self) -> PackedEntries:
        """What `unpacked` makes the same entries of."""
        return PackedEntries(self._count, self._paths, self._numbers)

    @classmethod
    def unpacked(cls, packed: PackedEntries) -> Self:
        """Raises `ValueError` if it is malformed, or if a path leads out of the data directory."""
        if not 0 < packed.number <= MOST_ENTRIES:
            raise ValueError(f"it has {packed.number} files in one part")
        made = cls(())
        made._count, made._paths, made._numbers = packed
        made._form = _form(packed.number)
        if len(_decompressed(packed.numbers, most_bytes=made._form.size)) != made._form.size:
            raise ValueError("its numbers are not those of its files")
        paths = _decompressed(packed.paths, most_bytes=packed.number * _PATH_BYTES)
        if paths.count(_END.encode()) != packed.number - 1 or _LEADS_OUT.search(paths):
            raise ValueError("its paths are not those of files in the data directory")
        return made

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        for path, size_bytes, modified, kind in self._unpacked():
            is_folder, is_sparse = bool(kind & _FOLDER), bool(kind & _SPARSE)
            yield Entry(path, size_bytes, is_folder, kind & _MODE, is_sparse, modified)

    @property
    def members(self) -> Iterator[tuple[str, Entry | None]]:
        """Each path, and its entry if that is a folder or a file that nobody has to open."""
        for path, _, modified, kind in self._unpacked():
            is_folder = kind & _FOLDER != 0
            is_known = is_folder or modified
            entry = Entry(path, 0, is_folder, kind & _MODE, modified=modified) if is_known else None
            yield path, entry

    def _unpacked(self) -> Iterator[tuple[str, int, int, int]]:
        paths = zstandard.decompress(self._paths).decode(errors="surrogateescape").split(_END)
        numbers, count = self._form.unpack(zstandard.decompress(self._numbers)), self._count
        # Without entries, the joined text has still one empty path, which is dropped here.
        columns = numbers[:count], numbers[count : 2 * count], numbers[2 * count :]
        return zip(paths, *columns, strict=False)


def _form(count: int) -> struct.Struct:
    return struct.Struct(f"={2 * count}q{count}H")


def _decompressed(packed: bytes, *, most_bytes: int) -> bytes:
    """Raises `ValueError` if `packed` is malformed, or holds more than `most_bytes`."""
    try:
        if not 0 <= zstandard.frame_content_size(packed) <= most_bytes:
            raise ValueError(f"it holds more than {most_bytes} bytes")
        return zstandard.decompress(packed)
    except zstandard.ZstdError as error:
        raise ValueError(f"it is not compressed: {error}") from error


def _compressed(content: bytes) -> bytes:
    # Copied: what zstandard returns keeps the memory of the longest possible result.
    return bytes(memoryview(zstandard.ZstdCompressor(level=LEVEL).compress(content)))


def _kind(entry: Entry) -> int:
    return entry.mode | entry.is_folder * _FOLDER | entry.is_sparse * _SPARSE


# Above this number of paths, a set would take more memory than a run should.
PATHS_IN_MEMORY = 100_000


class Paths:
    """A set of paths; a large one is in an anonymous temporary SQLite file, so that memory stays
    bounded."""

    def __init__(self, *, in_memory: int) -> None:
        self._most = in_memory
        self._few = set[str]()
        self._database: sqlite3.Connection | None = None

    def add(self, paths: Iterable[str]) -> None:
        self._few.update(paths)
        if len(self._few) > self._most:
            if self._database is None:
                self._database = sqlite3.connect("")
                self._database.execute("CREATE TABLE path (path BLOB PRIMARY KEY) WITHOUT ROWID")
            rows = ((_bytes(path),) for path in self._few)
            self._database.executemany("INSERT OR IGNORE INTO path VALUES (?)", rows)
            self._few.clear()

    def __contains__(self, path: str) -> bool:
        if self._database is None or path in self._few:
            return path in self._few
        found = self._database.execute("SELECT 1 FROM path WHERE path = ?", (_bytes(path),))
        return found.fetchone() is not None

    def close(self) -> None:
        if self._database is not None:
            self._database.close()


@contextmanager
def paths(*, in_memory: int = PATHS_IN_MEMORY) -> Iterator[Paths]:
    """An empty set, deleted when the block ends; SQLite errors become `BackupFailed`."""
    try:
        found = Paths(in_memory=in_memory)
        with afterwards(found.close):
            yield found
    except sqlite3.Error as error:
        raise BackupFailed(
            f"cannot store the list of copied files: {error}",
            hint="check the free space of the folder for temporary files (SQLITE_TMPDIR, TMPDIR)",
        ) from error


def _bytes(path: str) -> bytes:
    return path.encode(errors="surrogateescape")
