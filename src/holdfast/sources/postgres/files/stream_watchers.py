"""Watches the tar of pg_basebackup as it streams, for bad pages and missing databases."""

from __future__ import annotations

import re
import struct
import tarfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import psycopg

from holdfast.model.backup import Buffer
from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.files.checksum_results import ChecksumResults
from holdfast.sources.postgres.files.entries import Entry
from holdfast.sources.postgres.files.page import PAGE_BYTES, PAGES_PER_SEGMENT
from holdfast.sources.postgres.files.tree import is_servers_own, is_socket

BLOCK_BYTES = 512


class Watcher(Protocol):
    """Receives every regular file of a tar, in order."""

    def begin(self, name: str, size_bytes: int) -> None: ...

    def see(self, content: memoryview) -> None:
        """Take the next bytes of the current file; `content` is valid during this call only."""
        ...


class TarStream:
    """Parses a tar stream for `watcher`; ignores everything after an invalid header."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._head = bytearray()
        self._left = 0
        self._padding = 0
        self._is_lost = False

    def feed(self, chunk: Buffer) -> None:
        rest = memoryview(chunk)
        while rest and not self._is_lost:
            if self._left:
                here = rest[: self._left]
                self._watcher.see(here)
                self._left -= len(here)
                rest = rest[len(here) :]
            elif self._padding:
                passed = min(self._padding, len(rest))
                self._padding -= passed
                rest = rest[passed:]
            else:
                rest = self._through_head(rest)

    def _through_head(self, rest: memoryview) -> memoryview:
        missing = BLOCK_BYTES - len(self._head)
        self._head += rest[:missing]
        if len(self._head) == BLOCK_BYTES:
            self._begin_member()
        return rest[missing:]

    def _begin_member(self) -> None:
        head = bytes(self._head)
        self._head.clear()
        if not any(head):
            # A block of zeros ends the tar.
            return
        try:
            member = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            self._is_lost = True
            return
        self._left = member.size if member.isreg() else 0
        self._padding = -self._left % BLOCK_BYTES
        if member.isreg():
            self._watcher.begin(member.name, member.size)


# The prefix and magic number of a file with changed blocks only; their numbers come first
# (basebackup_incremental.h).
INCREMENTAL = "INCREMENTAL."
MAGIC = 0xD3AE1F0D
_HEAD = struct.Struct("=III")
_NUMBER_BYTES = 4


class StreamPages:
    """Obeys `Watcher`: adds wrong pages with an LSN from `start` on to `findings`, as doubtful.

    `start` is an LSN before the backup. The server itself verifies the older pages.
    """

    def __init__(self, start: int, findings: ChecksumResults) -> None:
        self._start = start
        self._path = ""
        self._segment = -1
        self._rest = bytearray()
        self._next_block = 0
        self._head_bytes = 0
        self._blocks: Sequence[int] | None = None
        self._findings = findings

    def begin(self, name: str, size_bytes: int) -> None:  # noqa: ARG002  # as others want it
        path = name.removeprefix("./")
        folder, _, last = path.rpartition("/")
        is_changed = last.startswith(INCREMENTAL)
        self._path = f"{folder}/{last.removeprefix(INCREMENTAL)}" if folder else last
        self._segment = Entry(path=self._path).segment
        self._rest.clear()
        self._next_block = 0
        self._head_bytes = _HEAD.size if is_changed else 0
        self._blocks = [] if is_changed else None

    def see(self, content: memoryview) -> None:
        if self._segment < 0:
            return
        self._rest += content
        while self._head_bytes and len(self._rest) >= self._head_bytes:
            self._through_head()
        if not self._head_bytes and self._segment >= 0:
            whole = len(self._rest) // PAGE_BYTES * PAGE_BYTES
            self._look(bytes(self._rest[:whole]))
            del self._rest[:whole]

    def _through_head(self) -> None:
        magic, count, _ = _HEAD.unpack(self._rest[: _HEAD.size])
        if magic != MAGIC or count > PAGES_PER_SEGMENT:
            # The format of an unknown release: its pages are not checked.
            self._segment, self._head_bytes = -1, 0
            return
        numbers = _HEAD.size + _NUMBER_BYTES * count
        # The header is padded so that the blocks begin at a multiple of the page size.
        wanted = -(-numbers // PAGE_BYTES) * PAGE_BYTES if count else numbers
        if self._head_bytes < wanted:
            self._head_bytes = wanted
            return
        self._blocks = array("I", self._rest[_HEAD.size : numbers]).tolist()
        del self._rest[:wanted]
        self._head_bytes = 0

    def _look(self, pages: bytes) -> None:
        from holdfast.sources.postgres.files import page_checksums  # loads numpy

        first = self._segment * PAGES_PER_SEGMENT
        for number, lsn in page_checksums.claims_from(pages, self._start):
            place = self._next_block + number
            block = first + (place if self._blocks is None else self._block_at(place))
            page = pages[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]
            if page_checksums.suspect(page, block):
                self._findings.add_pages(self._path, checked=0, doubtful=[(block, lsn)])
        self._next_block += len(pages) // PAGE_BYTES

    def _block_at(self, place: int) -> int:
        blocks = self._blocks or ()
        return blocks[place] if place < len(blocks) else place


_NAMED = re.compile(r'"\./([^"]+)"')
_DATABASE = re.compile(r"(?:\./)?base/([0-9]+)/PG_VERSION")
# Without databases of an interrupted drop. A cluster with other tablespaces was refused before.
_DATABASES = """
SELECT oid::text, datname FROM pg_database
WHERE datconnlimit <> -2 AND dattablespace = (SELECT oid FROM pg_tablespace
                                              WHERE spcname = 'pg_default')
"""


class DatabasesSent:
    """Obeys `Watcher`: collects the OIDs of the databases whose folders are in the tar."""

    def __init__(self) -> None:
        self.oids: set[str] = set()

    def begin(self, name: str, size_bytes: int) -> None:  # noqa: ARG002  # as others want it
        found = _DATABASE.fullmatch(name)
        if found:
            self.oids.add(found[1])

    def see(self, content: memoryview) -> None:
        """Ignores the content: the name is enough."""


def known_databases(connection: psycopg.Connection) -> dict[str, str]:
    """The names of the databases in the default tablespace, by OID."""
    return {str(oid): str(name) for oid, name in connection.execute(_DATABASES)}


def require_databases(sent: Iterable[str], known: Mapping[str, str]) -> None:
    """Raises `BackupFailed` if a database was not sent; `known` existed throughout the backup."""
    missing = sorted(f"'{known[oid]}' in 'base/{oid}'" for oid in known.keys() - set(sent))
    if missing:
        raise BackupFailed(
            f"cannot stream the cluster: the server sent nothing of database {', '.join(missing)}",
            hint="check that its folder exists; if it is a link, use engine native, which follows"
            " links",
        )


def left_out(stderr: str) -> list[str]:
    """Notes about what the server left out because it is neither file nor folder.

    Raises `BackupFailed` if that belongs to the server itself."""
    # The server logs each twice: when it adds up sizes, and when it sends.
    paths = [path for path in dict.fromkeys(_NAMED.findall(stderr)) if not is_socket(path)]
    own = [path for path in paths if is_servers_own(path)]
    if own:
        raise BackupFailed(
            f"cannot stream the cluster: the server leaves out '{own[0]}': it is a"
            " link or a special file",
            hint="use engine native, which follows links, or replace the link with what it points"
            " to",
        )
    return [f"left out: '{path}': a link or a special file" for path in paths]
