"""Reads many small files into one tar, a buffer of them at a time.

What Python does for each file decides how long a cluster of many tables takes. So a file is one
open, one read straight to its place in the tar, and one record; folders stay open, and the pages of
a whole buffer are checked together.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress

from crc32c import crc32c

from holdfast.model.backup import Buffer
from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.files.checksum_results import ReadFile
from holdfast.sources.postgres.files.entries import Entries, Entry, holds_relations, segment_of
from holdfast.sources.postgres.files.file_reader import (
    CHUNK_BYTES,
    Reader,
    modified_at,
    still_wrong,
    unreadable,
)
from holdfast.sources.postgres.files.packing import (
    END,
    FOLDER_MODE,
    Arena,
    Gathered,
    header,
    padding_bytes,
)
from holdfast.sources.postgres.files.page import PAGE_BYTES, PAGES_PER_SEGMENT, Suspect

# The fixed cost of a check is small against that of its pages, and all of them fit into the cache.
ARENA_BYTES = CHUNK_BYTES
_FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NONE = -1
# A path, and its entry if it need not be opened.
Member = tuple[str, Entry | None]


def packed(reader: Reader, entries: Entries) -> Iterator[Buffer]:
    """Yields a tar of files and folders, and notes in the findings of `reader` what they hold."""
    pack = _Pack(reader)
    with afterwards(pack.close):
        yield from pack.chunks(entries.members)


class _Pack:
    """One tar in the making, and the folder that is open at present."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._arena = Arena(size_bytes=ARENA_BYTES)
        self._folder: str | None = None
        self._descriptor = _NONE
        self._holds_relations = False

    def close(self) -> None:
        if self._descriptor != _NONE:
            descriptor, self._descriptor = self._descriptor, _NONE
            os.close(descriptor)

    def chunks(self, members: Iterator[Member]) -> Iterator[Buffer]:
        left: Member | None = None
        while True:
            # With the checks: numpy asks for the interpreter's lock hundreds of times a buffer.
            with self._reader.turn.taken():
                left = self._filled(members)
                self._check()
            yield from self._emptied()
            if left is None:
                break
            if not self._takes(*left):
                yield from self._streamed(left[0])
        yield END

    def _filled(self, members: Iterator[Member]) -> Member | None:
        """Fill the arena; the first member that has no room in it, or None at the end."""
        for path, known in members:
            if not self._takes(path, known):
                return path, known
        return None

    def _takes(self, path: str, known: Entry | None) -> bool:
        return self._gather(path) if known is None else self._add_known(known)

    def _add_known(self, entry: Entry) -> bool:
        """Add a folder, or an empty file without a look at it; False if the arena has no room."""
        path, modified = entry.path, entry.modified
        mode = self._mode(path) if entry.is_folder else stat.S_IFREG | entry.mode
        head = header(path, size_bytes=0, modified=modified, mode=mode)
        if self._arena.place(head, 0) is None:
            return False
        if entry.is_folder:
            self._reader.findings.folders.append(path)
        else:
            self._reader.findings.files[path] = [ReadFile(0, modified, crc32c(b""))]
        return True

    def _mode(self, path: str) -> int:
        """The mode of a folder, or the default if the server has no such folder now."""
        with suppress(OSError):
            return (self._reader.data / path).stat().st_mode
        return FOLDER_MODE

    def _gather(self, path: str) -> bool:
        """Read a whole file into the arena; False if it has no room. A vanished file is noted."""
        folder, _, name = path.rpartition("/")
        reader = self._reader
        try:
            if folder != self._folder or self._descriptor == _NONE:
                self._enter(folder)
            descriptor = os.open(name, reader.flags(path), dir_fd=self._descriptor)
        except FileNotFoundError:
            reader.findings.vanished.add(path)
            return True
        except OSError as error:
            raise unreadable(reader.data / path, error) from error
        with afterwards(os.close, descriptor):
            status = os.fstat(descriptor)
            reader.require_own(path, status)
            size_bytes, modified = status.st_size, modified_at(status)
            head = header(path, size_bytes=size_bytes, modified=modified, mode=status.st_mode)
            start = self._arena.used + len(head)
            content = self._arena.place(head, size_bytes)
            if content is None:
                return False
            done = self._fill(descriptor, path, content)
        reader.findings.files[path] = [ReadFile(size_bytes, modified, crc32c(content))]
        if done >= PAGE_BYTES and self._holds_relations and (segment := segment_of(name)) >= 0:
            pages, first = done // PAGE_BYTES, segment * PAGES_PER_SEGMENT
            self._arena.gathered.append(Gathered(path, start, pages, first))
        return True

    def _enter(self, folder: str) -> None:
        self.close()
        self._descriptor = os.open(self._reader.data / folder, _FOLDER_FLAGS)
        self._folder = folder
        self._holds_relations = self._reader.checks_pages and holds_relations(folder)

    def _fill(self, descriptor: int, path: str, content: memoryview) -> int:
        """Read the file to its end; returns how many bytes it has.

        Zeros replace what it lost since its size was asked: WAL replay truncates it again.
        """
        size_bytes = len(content)
        done = self._reader.read(descriptor, content, path) if size_bytes else 0
        while done < size_bytes:
            read = self._reader.read(descriptor, content[done:], path)
            if not read:
                content[done:] = bytes(size_bytes - done)
                break
            done += read
        return done

    def _streamed(self, path: str) -> Iterator[Buffer]:
        """Yields a file that is larger than the arena."""
        try:
            descriptor = self._reader.opened(path)
        except FileNotFoundError:
            self._reader.findings.vanished.add(path)
            return
        with afterwards(os.close, descriptor):
            status = os.fstat(descriptor)
            size_bytes, modified = status.st_size, modified_at(status)
            yield header(path, size_bytes=size_bytes, modified=modified, mode=status.st_mode)
            crc = yield from self._fixed(descriptor, Entry(path, size_bytes), size_bytes)
        yield bytes(padding_bytes(size_bytes))
        self._reader.findings.files[path] = [ReadFile(size_bytes, modified, crc)]

    def _fixed(
        self, descriptor: int, entry: Entry, size_bytes: int
    ) -> Generator[Buffer, None, int]:
        """Yields exactly `size_bytes`; returns their CRC.

        The header with the size is already sent, so a file that grew is cut and one that shrank is
        filled. WAL replay corrects both.
        """
        crc, done = 0, 0
        for chunk in self._reader.content(descriptor, entry):
            whole = memoryview(chunk)[: size_bytes - done]
            crc = crc32c(whole, crc)
            done += len(whole)
            yield whole
        while done < size_bytes:
            filling = bytes(min(ARENA_BYTES, size_bytes - done))
            crc, done = crc32c(filling, crc), done + len(filling)
            yield filling
        return crc

    def _emptied(self) -> Iterator[Buffer]:
        self._reader.look()
        if self._arena.used:
            yield self._arena.content
        self._arena.clear()

    def _check(self) -> None:
        """Verify all pages of the arena at once; a wrong page is read again from its file."""
        found = self._arena.gathered
        if not found:
            return
        from holdfast.sources.postgres.files import page_checksums  # loads numpy

        self._reader.findings.pages += sum(each.pages for each in found)
        places = [(each.start, each.pages, each.first_block) for each in found]
        for one in page_checksums.suspects_within(self._arena.content, places):
            path = found[one.piece].path
            self._reader.note(path, 0, list(self._still_in(path, one)))
        found.clear()

    def _still_in(self, path: str, found: Suspect) -> Iterator[Suspect]:
        try:
            descriptor = self._reader.opened(path)
        except FileNotFoundError:
            return
        with afterwards(os.close, descriptor):
            yield from still_wrong(descriptor, found)
