"""Files as streams of bytes while a server writes to them: pages checked, sizes held to."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import BackupFailed
from holdfast.model import Buffer
from holdfast.sources.postgres_physical.findings import Findings, ReadFile
from holdfast.sources.postgres_physical.page import PAGE_BYTES, PAGES_PER_SEGMENT, bad_pages
from holdfast.sources.postgres_physical.tree import Entry

CHUNK_BYTES = 1 << 20
FOLDER_MODE, FILE_MODE = 0o700, 0o600


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

    def file(self, entry: Entry) -> Iterator[Buffer]:
        """The bytes of one file; none where it has vanished, which is legal."""
        try:
            descriptor = self._open(entry)
        except FileNotFoundError:
            self.findings.vanished.add(entry.path)
            return
        try:
            yield from self._content(descriptor, entry)
            status = os.fstat(descriptor)
            self.findings.files[entry.path] = ReadFile(
                size_bytes=status.st_size, modified=status.st_mtime
            )
        finally:
            os.close(descriptor)

    def pack(self, entries: list[Entry]) -> Iterator[Buffer]:
        """A tar of files and folders."""
        for entry in entries:
            if entry.is_folder:
                self.findings.folders.append(entry.path)
                yield _header(entry.path, size_bytes=0, modified=0, is_folder=True)
            else:
                yield from self._member(entry)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _member(self, entry: Entry) -> Iterator[Buffer]:
        try:
            descriptor = self._open(entry)
        except FileNotFoundError:
            self.findings.vanished.add(entry.path)
            return
        try:
            status = os.fstat(descriptor)
            size_bytes, digest, done = status.st_size, hashlib.sha256(), 0
            yield _header(entry.path, size_bytes=size_bytes, modified=status.st_mtime)
            for chunk in self._content(descriptor, entry):
                # The header is gone already: what grows is cut, what shrinks is filled. WAL
                # has the rest of both.
                whole = memoryview(chunk)[: size_bytes - done]
                digest.update(whole)
                done += len(whole)
                yield whole
            if done < size_bytes:
                filling = bytes(size_bytes - done)
                digest.update(filling)
                yield filling
            yield bytes(-size_bytes % tarfile.BLOCKSIZE)
        finally:
            os.close(descriptor)
        self.findings.files[entry.path] = ReadFile(
            size_bytes=size_bytes, modified=status.st_mtime, sha256=digest.hexdigest()
        )

    def _open(self, entry: Entry) -> int:
        try:
            return os.open(self.data / entry.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(self.data / entry.path, error) from error

    def _content(self, descriptor: int, entry: Entry) -> Iterator[Buffer]:
        buffer = bytearray(min(CHUNK_BYTES, max(entry.size_bytes, PAGE_BYTES)))
        view, offset = memoryview(buffer), 0
        while size_bytes := self._read(descriptor, view, entry):
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


def _header(path: str, *, size_bytes: int, modified: float, is_folder: bool = False) -> bytes:
    member = tarfile.TarInfo(path)
    member.size, member.mtime = size_bytes, int(modified)
    member.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    member.mode = FOLDER_MODE if is_folder else FILE_MODE
    return member.tobuf(tarfile.PAX_FORMAT)
