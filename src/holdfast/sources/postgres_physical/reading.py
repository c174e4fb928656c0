"""Files as streams of bytes while a server writes to them: pages checked, sizes held to."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crc32c import crc32c

from holdfast.cleanup import afterwards
from holdfast.errors import BackupFailed
from holdfast.model import Buffer
from holdfast.sources.postgres_physical.file_ranges import WHOLE, FileRange
from holdfast.sources.postgres_physical.findings import Findings, ReadFile
from holdfast.sources.postgres_physical.packing import END, Arena, Gathered, header, padding_bytes
from holdfast.sources.postgres_physical.page import (
    PAGE_BYTES,
    PAGES_PER_SEGMENT,
    bad_among,
    bad_pages,
)
from holdfast.sources.postgres_physical.tree import Entry

CHUNK_BYTES = 1 << 20
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the files of one part below `data`; pages older than `start` are checked where
    `checks_pages`.

    `look` is called between chunks and raises where going on makes no sense any more.
    """

    data: Path
    start: int
    checks_pages: bool
    findings: Findings
    look: Callable[[], None]

    def file(self, entry: Entry, piece: FileRange = WHOLE) -> Iterator[Buffer]:
        """The bytes of one file, or a piece of it; none where it has vanished, which is legal."""
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
            modified = os.fstat(descriptor).st_mtime
        self.findings.add_file(
            entry.path,
            ReadFile(size_bytes=done, modified=modified, crc32c=crc, first=piece.first),
        )

    def _whole_piece(self, descriptor: int, entry: Entry, piece: FileRange) -> Iterator[Buffer]:
        """What a file that shrinks has no more of is filled: WAL has it shrink again."""
        done = piece.first
        for chunk in self._content(descriptor, entry, piece):
            done += len(chunk)
            yield chunk
        while piece.after is not None and done < piece.after:
            filling = bytes(min(CHUNK_BYTES, piece.after - done))
            done += len(filling)
            yield filling

    def pack(self, entries: list[Entry]) -> Iterator[Buffer]:
        """A tar of files and folders."""
        arena = Arena(size_bytes=CHUNK_BYTES)
        for entry in entries:
            if entry.is_folder:
                self.findings.folders.append(entry.path)
                head = header(entry.path, size_bytes=0, modified=0, is_folder=True)
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
            head = header(entry.path, size_bytes=size_bytes, modified=status.st_mtime)
            whole = len(head) + size_bytes + padding_bytes(size_bytes)
            if whole > arena.size_bytes:
                yield from self._emptied(arena)
                crc = yield from self._streamed(descriptor, entry, head, size_bytes)
            else:
                yield from self._room_for(whole, arena)
                arena.add(head)
                crc = self._gathered(descriptor, entry, size_bytes, arena)
        self.findings.add_file(
            entry.path,
            ReadFile(size_bytes=size_bytes, modified=status.st_mtime, crc32c=crc),
        )

    def _streamed(
        self, descriptor: int, entry: Entry, head: bytes, size_bytes: int
    ) -> Generator[Buffer, None, int]:
        crc, done = 0, 0
        yield head
        for chunk in self._content(descriptor, entry):
            # The header is gone already: what grows is cut, what shrinks is filled. WAL
            # has the rest of both.
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

    def _gathered(self, descriptor: int, entry: Entry, size_bytes: int, arena: Arena) -> int:
        """The same in one go, for files that fit."""
        content, done = arena.take(size_bytes), 0
        while done < size_bytes:
            read = self._read(descriptor, content[done:], entry)
            if not read:
                break
            done += read
        content[done:] = bytes(size_bytes - done)
        arena.add(bytes(padding_bytes(size_bytes)))
        if self.checks_pages and entry.segment >= 0:
            whole = done // PAGE_BYTES * PAGE_BYTES
            arena.gathered.append(Gathered(entry.path, entry.segment, content[:whole]))
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
        """All pages of an arena in one stride; a bad one is looked for in its file again."""
        pieces = [(each.content, each.segment * PAGES_PER_SEGMENT) for each in gathered]
        bad: dict[str, list[int]] = {}
        for number, block in bad_among(pieces, before=self.start):
            each = gathered[number]
            if self._is_bad_still(each.path, block):
                bad.setdefault(each.path, []).append(block)
        for each in gathered:
            checked = len(each.content) // PAGE_BYTES
            self.findings.add_pages(each.path, checked=checked, bad=bad.get(each.path, []))

    def _is_bad_still(self, path: str, block: int) -> bool:
        try:
            descriptor = self._open(Entry(path=path))
        except FileNotFoundError:
            return False
        with afterwards(os.close, descriptor):
            return self._is_bad_again(descriptor, block)

    def _open(self, entry: Entry) -> int:
        try:
            # Plain text: of tens of thousands of files a path each takes as long as the opening.
            descriptor = os.open(f"{self.data}/{entry.path}", _OPEN_FLAGS)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(self.data / entry.path, error) from error
        if entry.size_bytes > CHUNK_BYTES:
            # The kernel then reads further ahead; where it cannot, nothing is lost.
            with suppress(OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return descriptor

    def _content(self, descriptor: int, entry: Entry, piece: FileRange = WHOLE) -> Iterator[Buffer]:
        buffer = bytearray(min(CHUNK_BYTES, max(entry.size_bytes, PAGE_BYTES)))
        view, offset = memoryview(buffer), os.lseek(descriptor, piece.first, os.SEEK_SET)
        end = sys.maxsize if piece.after is None else piece.after
        while size_bytes := self._read(descriptor, view[: end - offset], entry):
            self.look()
            chunk = view[:size_bytes]
            if self.checks_pages and entry.segment >= 0:
                self._check(descriptor, entry, chunk, offset)
            yield chunk
            offset += size_bytes

    def _read(self, descriptor: int, view: memoryview, entry: Entry) -> int:
        try:
            return os.readv(descriptor, [view])
        except OSError as error:
            raise unreadable(self.data / entry.path, error) from error

    def _check(self, descriptor: int, entry: Entry, chunk: memoryview, offset: int) -> None:
        """A page that was caught half written is right when it is read again."""
        whole = len(chunk) // PAGE_BYTES * PAGE_BYTES
        first = entry.segment * PAGES_PER_SEGMENT + offset // PAGE_BYTES
        found = list(bad_pages(chunk[:whole], first_block=first, before=self.start))
        bad = [block for block in found if self._is_bad_again(descriptor, block)]
        self.findings.add_pages(entry.path, checked=whole // PAGE_BYTES, bad=bad)

    def _is_bad_again(self, descriptor: int, block: int) -> bool:
        page = os.pread(descriptor, PAGE_BYTES, block % PAGES_PER_SEGMENT * PAGE_BYTES)
        again = bad_pages(page, first_block=block, before=self.start)
        return len(page) == PAGE_BYTES and next(again, None) is not None


def unreadable(path: Path, error: OSError) -> BackupFailed:
    """Why a file of the server cannot be read, and what to do about it."""
    return BackupFailed(
        f"cannot read '{path}': {os.strerror(error.errno or 0)}",
        hint="run the job as the server's own user, or as a member of its group (initdb -g)",
    )
