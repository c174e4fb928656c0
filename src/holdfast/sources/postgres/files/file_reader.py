"""Reads files that the server is writing to; verifies page checksums and keeps sizes fixed."""

from __future__ import annotations

import os
import resource
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path

from crc32c import crc32c

from holdfast.model.backup import Buffer
from holdfast.model.errors import BackupFailed, ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime.beneath import Beneath
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.sources.postgres.files.checksum_results import ChecksumResults, ReadFile
from holdfast.sources.postgres.files.entries import Entry
from holdfast.sources.postgres.files.page import PAGE_BYTES, PAGES_PER_SEGMENT, Suspect
from holdfast.sources.postgres.files.part_plan import WHOLE, FileRange

# As the buffer of small files: with less, numpy does too little in each call.
CHUNK_BYTES = 2 << 20
# How often a page with a wrong checksum is read again while it changes.
TRIES = 10
# O_NONBLOCK: opening a pipe without a writer would block for ever.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


# Far more than a buffer of files takes that are in the page cache.
TURN_SECONDS = 1.0


def _blocks_read() -> int:
    """How often this thread had to read from a disk."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


class Turn:
    """Lets one worker at a time read small files, as long as they are in the page cache.

    Each file takes some steps of Python between short calls of the kernel. Two threads that do this
    at once hand the interpreter's lock to each other at each call, and both together are slower
    than one of them. Where files come from a disk, which answers many readers at once, nobody
    waits.
    """

    def __init__(
        self, *, seconds: float = TURN_SECONDS, blocks_read: Callable[[], int] = _blocks_read
    ) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds
        self._blocks_read = blocks_read
        self._needs_disk = False

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the end of another block, unless the last one had to read from a disk."""
        before = self._blocks_read()
        with ExitStack() as stack:
            if not self._needs_disk and self._lock.acquire(timeout=self._seconds):
                stack.enter_context(afterwards(self._lock.release))
            yield
        self._needs_disk = self._blocks_read() > before


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads files below `data`, and with `checks_pages` verifies their pages.

    A wrong page is bad if its LSN is before `start`, else doubtful until the backup ends. `look` is
    called between chunks and raises if the backup cannot continue. Links are followed only to
    files of `owner`; a path that is itself a link is followed only if it is in `links`. Readers of
    one backup share a `turn`.
    """

    data: Path
    start: int
    checks_pages: bool
    findings: ChecksumResults
    look: Callable[[], None]
    owner: int
    links: Collection[str] = ()
    turn: Turn = field(default_factory=Turn)

    def file(self, entry: Entry, piece: FileRange = WHOLE) -> Iterator[Buffer]:
        """Yields the bytes of one file or a piece of it; nothing if the server has dropped it."""
        try:
            descriptor = self.opened(entry.path, size_bytes=entry.size_bytes)
        except FileNotFoundError:
            self.findings.vanished.add(entry.path)
            return
        done, crc = 0, 0
        with afterwards(os.close, descriptor):
            for chunk in self._whole_piece(descriptor, entry, piece):
                done, crc = done + len(chunk), crc32c(chunk, crc)
                yield chunk
            modified = modified_at(os.fstat(descriptor))
        self.findings.add_file(
            entry.path,
            ReadFile(size_bytes=done, modified=modified, crc32c=crc, first=piece.first),
        )

    def _whole_piece(self, descriptor: int, entry: Entry, piece: FileRange) -> Iterator[Buffer]:
        """Yields zeros for the missing end of a file that shrank: WAL replay truncates it again."""
        done = piece.first
        for chunk in self.content(descriptor, entry, piece):
            done += len(chunk)
            yield chunk
        while piece.after is not None and done < piece.after:
            filling = bytes(min(CHUNK_BYTES, piece.after - done))
            done += len(filling)
            yield filling

    def opened(self, path: str, *, size_bytes: int = 0) -> int:
        """A descriptor of the file `path`; raises `FileNotFoundError` if it has vanished."""
        try:
            descriptor = os.open(f"{self.data}/{path}", self.flags(path))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unreadable(self.data / path, error) from error
        with on_failure(os.close, descriptor):
            self.require_own(path, os.fstat(descriptor))
        if size_bytes > CHUNK_BYTES:
            # Asks the kernel to read further ahead; a failure costs only speed.
            with suppress(OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return descriptor

    def flags(self, path: str) -> int:
        """How to open `path`: a link is followed only if it is known."""
        return _OPEN_FLAGS if path not in self.links else _OPEN_FLAGS ^ os.O_NOFOLLOW

    def require_own(self, path: str, found: os.stat_result) -> None:
        """Raises `BackupFailed` if a link leads to a file that the server's owner does not own.

        This process may read more than that owner may, and a restore would hand it out.
        """
        if found.st_uid == self.owner and stat.S_ISREG(found.st_mode):
            return
        try:
            there = Beneath(self.data).stat(path)
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, found) or not stat.S_ISREG(found.st_mode):
            raise BackupFailed(
                f"cannot read '{self.data / path}': a link leads there, and"
                " it is not a regular file of the server's owner",
                hint="chown it to the owner of the data directory, or replace the link with it",
            )

    def content(self, descriptor: int, entry: Entry, piece: FileRange = WHOLE) -> Iterator[Buffer]:
        """Yields the bytes of an open file up to its present end, and checks their pages."""
        buffer = bytearray(min(CHUNK_BYTES, max(entry.size_bytes, PAGE_BYTES)))
        view, offset = memoryview(buffer), os.lseek(descriptor, piece.first, os.SEEK_SET)
        end = sys.maxsize if piece.after is None else piece.after
        while size_bytes := self.read(descriptor, view[: end - offset], entry.path):
            self.look()
            chunk = view[:size_bytes]
            if self.checks_pages and entry.segment >= 0:
                self._check(descriptor, entry, chunk, offset=offset)
            yield chunk
            offset += size_bytes

    def read(self, descriptor: int, view: memoryview, path: str) -> int:
        """Read into `view`; returns the number of bytes, 0 at the end of the file."""
        try:
            return os.readv(descriptor, [view])
        except OSError as error:
            raise unreadable(self.data / path, error) from error

    def _check(self, descriptor: int, entry: Entry, chunk: memoryview, *, offset: int) -> None:
        from holdfast.sources.postgres.files import page_checksums  # loads numpy

        whole = len(chunk) // PAGE_BYTES * PAGE_BYTES
        first = entry.segment * PAGES_PER_SEGMENT + offset // PAGE_BYTES
        found = list(page_checksums.suspects_among([(chunk[:whole], first)]))
        still = [each for one in found for each in still_wrong(descriptor, one)]
        self.note(entry.path, whole // PAGE_BYTES, still)

    def note(self, path: str, checked: int, suspects: Sequence[Suspect] = ()) -> None:
        """Record suspects: bad if older than the backup, else doubtful until it has ended."""
        self.findings.add_pages(
            path,
            checked=checked,
            bad=[each.block for each in suspects if each.lsn < self.start],
            doubtful=[(each.block, each.lsn) for each in suspects if each.lsn >= self.start],
        )


def still_wrong(descriptor: int, found: Suspect) -> Iterator[Suspect]:
    """Yields the page if it stays wrong when read again.

    A torn read turns right. A page that reads the same twice is not being written, so it is wrong.
    """
    from holdfast.sources.postgres.files import page_checksums  # loads numpy

    block, before = found.block, b""
    for _ in range(TRIES):
        page = os.pread(descriptor, PAGE_BYTES, block % PAGES_PER_SEGMENT * PAGE_BYTES)
        again = page_checksums.suspect(page, block) if len(page) == PAGE_BYTES else None
        if again is None:
            return
        found = again
        if page == before:
            break
        before = page
    yield found


def modified_at(status: os.stat_result) -> int:
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
    # Loads the driver, which the process that reads packs does not need.
    from holdfast.sources.postgres.server.catalog_queries import is_incompressible

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


# The server's file and its folder, the repository's file and its folder, and one in reserve.
FILES_PER_WORKER = 5
# Open files of the interpreter, two sessions and the logs.
FILES_BESIDE = 64


def require_open_files(workers: int) -> None:
    """Raises `ConfigInvalid` if `workers` need more open files than this process may have."""
    needed = workers * FILES_PER_WORKER + FILES_BESIDE
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and needed > allowed:
        most = max(1, (allowed - FILES_BESIDE) // FILES_PER_WORKER)
        raise ConfigInvalid(
            f"cannot start {workers} workers: they need {needed} open files, {allowed} are allowed",
            hint=f"set max_concurrent_processes to {most} or less, or raise LimitNOFILE"
            " (ulimit -n)",
        )
