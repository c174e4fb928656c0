"""Reads files that the server is writing to; verifies page checksums and keeps sizes fixed."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crc32c import crc32c

from holdfast.model.backup import Buffer
from holdfast.model.errors import BackupFailed
from holdfast.runtime.beneath import Beneath
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.sources.postgres.files.checksum_results import ChecksumResults, ReadFile
from holdfast.sources.postgres.files.packing import (
    END,
    FOLDER_MODE,
    Arena,
    Gathered,
    header,
    padding_bytes,
)
from holdfast.sources.postgres.files.page import (
    PAGE_BYTES,
    PAGES_PER_SEGMENT,
    Suspect,
    suspect,
    suspects_among,
)
from holdfast.sources.postgres.files.part_plan import WHOLE, FileRange
from holdfast.sources.postgres.files.tree import Entry
from holdfast.sources.postgres.server.catalog_queries import is_incompressible

CHUNK_BYTES = 1 << 20
# How often a page with a wrong checksum is read again while it changes.
TRIES = 10
# O_NONBLOCK: opening a pipe without a writer would block for ever.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the files of one part below `data`, and with `checks_pages` verifies their pages.

    A wrong page is bad if its LSN is before `start`, else doubtful until the backup ends. `look` is
    called between chunks and raises if the backup cannot continue. Links are followed only to
    files of `owner`; a path that is itself a link is followed only if it is in `links`.
    """

    data: Path
    start: int
    checks_pages: bool
    findings: ChecksumResults
    look: Callable[[], None]
    owner: int
    links: Collection[str] = ()

    def file(self, entry: Entry, piece: FileRange = WHOLE) -> Iterator[Buffer]:
        """Yields the bytes of one file or a piece of it; nothing if the server has dropped it."""
        try:
            descriptor = self._open(entry)
        except FileNotFoundError:
            self.findings.vanished.add(entry.path)
            return
        done, crc = 0, 0
        with afterwards(os.close, descriptor):
            for chunk in self._whole_piece(descriptor, entry, piece):
                done, crc = done + len(chunk), crc32c(chunk, crc)
                yield chunk
            modified = _modified(os.fstat(descriptor))
        self.findings.add_file(
            entry.path,
            ReadFile(size_bytes=done, modified=modified, crc32c=crc, first=piece.first),
        )

    def _whole_piece(self, descriptor: int, entry: Entry, piece: FileRange) -> Iterator[Buffer]:
        """Yields zeros for the missing end of a file that shrank: WAL replay truncates it again."""
        done = piece.first
        for chunk in self._content(descriptor, entry, piece):
            done += len(chunk)
            yield chunk
        while piece.after is not None and done < piece.after:
            filling = bytes(min(CHUNK_BYTES, piece.after - done))
            done += len(filling)
            yield filling

    def pack(self, entries: Iterable[Entry]) -> Iterator[Buffer]:
        """Yields a tar of files and folders."""
        arena = Arena(size_bytes=CHUNK_BYTES)
        for entry in entries:
            if entry.is_folder:
                self.findings.folders.append(entry.path)
                head = header(entry.path, size_bytes=0, modified=0, mode=self._folder_mode(entry))
                yield from self._room_for(len(head), arena)
                arena.add(head)
            else:
                yield from self._member(entry, arena)
        yield from self._room_for(len(END), arena)
        arena.add(END)
        yield from self._emptied(arena)

    def _member(self, entry: Entry, arena: Arena) -> Iterator[Buffer]:
        try:
            descriptor = self._open(entry)
        except FileNotFoundError:
            self.findings.vanished.add(entry.path)
            return
        with afterwards(os.close, descriptor):
            status = os.fstat(descriptor)
            size_bytes = status.st_size
            modified, mode = _modified(status), status.st_mode
            head = header(entry.path, size_bytes=size_bytes, modified=modified, mode=mode)
            whole = len(head) + size_bytes + padding_bytes(size_bytes)
            if whole > arena.size_bytes:
                yield from self._emptied(arena)
                crc = yield from self._streamed(descriptor, entry, head, size_bytes=size_bytes)
            else:
                yield from self._room_for(whole, arena)
                arena.add(head)
                crc = self._gathered(descriptor, entry, size_bytes, into=arena)
        self.findings.add_file(
            entry.path,
            ReadFile(size_bytes=size_bytes, modified=modified, crc32c=crc),
        )

    def _streamed(
        self, descriptor: int, entry: Entry, head: bytes, *, size_bytes: int
    ) -> Generator[Buffer, None, int]:
        crc, done = 0, 0
        yield head
        for chunk in self._content(descriptor, entry):
            # The header with the size is already sent, so a file that grew is cut and one that
            # shrank is filled. WAL replay corrects both.
            whole = memoryview(chunk)[: size_bytes - done]
            crc = crc32c(whole, crc)
            done += len(whole)
            yield whole
        if done < size_bytes:
            filling = bytes(size_bytes - done)
            crc = crc32c(filling, crc)
            yield filling
        yield bytes(padding_bytes(size_bytes))
        return crc

    def _gathered(self, descriptor: int, entry: Entry, size_bytes: int, *, into: Arena) -> int:
        """Read a whole file into the arena; returns its CRC. For files that fit."""
        content, done = into.take(size_bytes), 0
        while done < size_bytes:
            read = self._read(descriptor, content[done:], entry)
            if not read:
                break
            done += read
        content[done:] = bytes(size_bytes - done)
        into.add(bytes(padding_bytes(size_bytes)))
        if self.checks_pages and entry.segment >= 0:
            whole = done // PAGE_BYTES * PAGE_BYTES
            into.gathered.append(Gathered(entry.path, entry.segment, content[:whole]))
        return crc32c(content)

    def _room_for(self, size_bytes: int, arena: Arena) -> Iterator[Buffer]:
        if not arena.has_room(size_bytes):
            yield from self._emptied(arena)

    def _emptied(self, arena: Arena) -> Iterator[Buffer]:
        self.look()
        self._check_gathered(arena.gathered)
        if arena.used:
            yield arena.content
        arena.clear()

    def _check_gathered(self, gathered: list[Gathered]) -> None:
        """Verify all pages of an arena at once; a wrong page is read again from its file."""
        pieces = [(each.content, each.segment * PAGES_PER_SEGMENT) for each in gathered]
        found: dict[str, list[Suspect]] = {}
        for one in suspects_among(pieces):
            path = gathered[one.piece].path
            found.setdefault(path, []).extend(self._still_in(path, one))
        for each in gathered:
            self._note(each.path, len(each.content) // PAGE_BYTES, found.get(each.path, []))

    def _still_in(self, path: str, found: Suspect) -> Iterator[Suspect]:
        try:
            descriptor = self._open(Entry(path=path))
        except FileNotFoundError:
            return
        with afterwards(os.close, descriptor):
            yield from _still_wrong(descriptor, found)

    def _note(self, path: str, checked: int, found: Iterable[Suspect]) -> None:
        """Record suspects: bad if older than the backup, else doubtful until it has ended."""
        suspects = list(found)
        self.findings.add_pages(
            path,
            checked=checked,
            bad=[each.block for each in suspects if each.lsn < self.start],
            doubtful=[(each.block, each.lsn) for each in suspects if each.lsn >= self.start],
        )

    def _folder_mode(self, entry: Entry) -> int:
        """The mode of a folder, or the default if the server has no such folder now."""
        with suppress(OSError):
            return (self.data / entry.path).stat().st_mode
        return FOLDER_MODE

    def _open(self, entry: Entry) -> int:
        followed = os.O_NOFOLLOW if entry.path in self.links else 0
        try:
            # Not a Path: for tens of thousands of files, building it takes as long as opening them.
            descriptor = os.open(f"{self.data}/{entry.path}", _OPEN_FLAGS ^ followed)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(self.data / entry.path, error) from error
        with on_failure(os.close, descriptor):
            self._require_own(entry, os.fstat(descriptor))
        if entry.size_bytes > CHUNK_BYTES:
            # Asks the kernel to read further ahead; a failure costs only speed.
            with suppress(OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return descriptor

    def _require_own(self, entry: Entry, found: os.stat_result) -> None:
        """Raises `BackupFailed` if a link leads to a file that the server's owner does not own.

        This process may read more than that owner may, and a restore would hand it out.
        """
        if found.st_uid == self.owner and stat.S_ISREG(found.st_mode):
            return
        try:
            there = Beneath(self.data).stat(entry.path)
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, found) or not stat.S_ISREG(found.st_mode):
            raise BackupFailed(
                f"cannot read '{self.data / entry.path}': a link leads there, and"
                " it is not a regular file of the server's owner",
                hint="chown it to the owner of the data directory, or replace the link with it",
            )

    def _content(self, descriptor: int, entry: Entry, piece: FileRange = WHOLE) -> Iterator[Buffer]:
        buffer = bytearray(min(CHUNK_BYTES, max(entry.size_bytes, PAGE_BYTES)))
        view, offset = memoryview(buffer), os.lseek(descriptor, piece.first, os.SEEK_SET)
        end = sys.maxsize if piece.after is None else piece.after
        while size_bytes := self._read(descriptor, view[: end - offset], entry):
            self.look()
            chunk = view[:size_bytes]
            if self.checks_pages and entry.segment >= 0:
                self._check(descriptor, entry, chunk, offset=offset)
            yield chunk
            offset += size_bytes

    def _read(self, descriptor: int, view: memoryview, entry: Entry) -> int:
        try:
            return os.readv(descriptor, [view])
        except OSError as error:
            raise unreadable(self.data / entry.path, error) from error

    def _check(self, descriptor: int, entry: Entry, chunk: memoryview, *, offset: int) -> None:
        whole = len(chunk) // PAGE_BYTES * PAGE_BYTES
        first = entry.segment * PAGES_PER_SEGMENT + offset // PAGE_BYTES
        found = list(suspects_among([(chunk[:whole], first)]))
        still = [each for one in found for each in _still_wrong(descriptor, one)]
        self._note(entry.path, whole // PAGE_BYTES, still)


def _still_wrong(descriptor: int, found: Suspect) -> Iterator[Suspect]:
    """Yields the page if it stays wrong when read again.

    A torn read turns right. A page that reads the same twice is not being written, so it is wrong.
    """
    block, before = found.block, b""
    for _ in range(TRIES):
        page = os.pread(descriptor, PAGE_BYTES, block % PAGES_PER_SEGMENT * PAGE_BYTES)
        again = suspect(page, block) if len(page) == PAGE_BYTES else None
        if again is None:
            return
        found = again
        if page == before:
            break
        before = page
    yield found


def _modified(status: os.stat_result) -> int:
    """The mtime in seconds, at least 0: neither tar nor manifest has times before 1970."""
    return max(0, int(status.st_mtime))


def unreadable(path: Path, error: OSError) -> BackupFailed:
    """The error for a file of the server that cannot be read, with its remedy."""
    return BackupFailed(
        f"cannot read '{path}': {os.strerror(error.errno or 0)}",
        hint="run the job as the server's own user, or as a member of its group (initdb -g)",
    )


# Below this size, taking a sample costs as much as it saves.
SAMPLED_FILE_BYTES = 16 << 20
# Few places: each may be a seek, and a cluster may have ten thousand such files.
PLACES, PLACE_BYTES = 4, 4 * PAGE_BYTES


def is_worth_compressing(data: Path, entry: Entry) -> bool:
    """Whether samples from across the file compress; errors are left to the later full read."""
    if entry.size_bytes < SAMPLED_FILE_BYTES:
        return True
    sample = b""
    with suppress(OSError):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(data / entry.path, flags)
        with afterwards(os.close, descriptor):
            step = entry.size_bytes // PLACES
            sample = b"".join(
                os.pread(descriptor, PLACE_BYTES, step * number) for number in range(PLACES)
            )
    return not is_incompressible(sample)
