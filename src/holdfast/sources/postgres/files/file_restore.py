"""Parts of a cluster into its files: alone, in pieces, or out of a tar."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from holdfast.model.backup import Part, PartKind
from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.part_details import ClusterFile
from holdfast.model.part_gaps import path_of
from holdfast.model.restore import StoredParts
from holdfast.ports.run import Progress
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import write_all
from holdfast.runtime.worker_pool import WorkerPool
from holdfast.sources.postgres.files.file_reader import CHUNK_BYTES
from holdfast.sources.postgres.files.part_plan import FileRange, range_of
from holdfast.sources.postgres.files.restore_folders import RestoreFolders, restore_failed
from holdfast.sources.postgres.files.snapshot import MAP_FILE
from holdfast.sources.postgres.files.tree import OF_A_SERVER, SIGNALS

# As a file system has them.
HOLE_BYTES = 4096
# What a running server has written of itself, and what would make a standby of what comes back.
_NOT_BROUGHT = OF_A_SERVER | SIGNALS


class FileRestore:
    """Brings parts back below `folders`; `bring` is called by several workers."""

    def __init__(self, folders: RestoreFolders, stored: StoredParts, progress: Progress) -> None:
        self._folders = folders
        self._stored = stored
        self._progress = progress
        self._is_aborted = False

    def bring_all(self, parts: Sequence[Part], *, workers: int) -> None:
        """The first failure is the one that is raised; the others are its consequence."""
        # A file that was begun is there, and nobody makes it twice.
        WorkerPool(workers, abort=self._abort, tries=1).each(parts, self.bring)

    def _abort(self) -> None:
        self._is_aborted = True

    def bring(self, part: Part) -> None:
        """Raises `RestoreFailed`, and what `stored` raises."""
        try:
            if part.kind is PartKind.FILE_PACK:
                # What is in it says where it goes: that is believed only once it is proven.
                with self._stored.proven(part) as proven:
                    self._unpack(self._watched(proven, part))
            else:
                with self._stored.streamed(part) as chunks:
                    seen = self._watched(chunks, part)
                    self._write(_path_of(part), seen, how=_How.of(part))
        except (OSError, tarfile.TarError) as error:
            path = self._folders.data / (path_of(part) or part.name)
            raise restore_failed(path, error) from error
        self._progress.part_done(part.name)

    def _watched(self, chunks: Iterable[bytes], part: Part) -> Iterator[bytes]:
        for chunk in chunks:
            if self._is_aborted:
                raise RestoreFailed(f"cannot restore '{part.name}': the restore was ended")
            yield chunk

    def _unpack(self, chunks: Iterator[bytes]) -> None:
        with tarfile.open(fileobj=_Stream(chunks), mode="r|", bufsize=CHUNK_BYTES) as pack:
            for member in pack:
                # As pg_basebackup calls one of its folders.
                name = member.name.removeprefix("./")
                # Links, devices and pipes lead somewhere else: nobody has packed any.
                content = pack.extractfile(member) if member.isreg() else None
                if member.isdir():
                    self._folders.make_folder(name, mode=member.mode)
                elif content is not None:
                    self._write(name, _chunks_of(content), how=_How(mode=member.mode))
                else:
                    raise tarfile.TarError(f"'{name}' is neither file nor folder")

    def _write(self, path: str, chunks: Iterator[bytes], *, how: _How) -> None:
        """A file that nobody made before, or a piece of one that others are writing too."""
        if path in _NOT_BROUGHT:
            for _ in chunks:
                pass
            return
        descriptor = self._folders.create(path, is_piece=how.piece is not None, mode=how.mode)
        with afterwards(os.close, descriptor):
            os.lseek(descriptor, how.piece.first if how.piece else 0, os.SEEK_SET)
            for chunk in chunks:
                if path == MAP_FILE and chunk:
                    # A server that starts would make links to what it names, wherever that is.
                    raise tarfile.TarError("it names places outside of the folder")
                _write_all(descriptor, chunk, is_sparse=how.is_sparse)
            if how.is_sparse:
                _end_here(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """What of a file comes, with which rights, and whether it had holes."""

    piece: FileRange | None = None
    mode: int = 0
    is_sparse: bool = False

    @staticmethod
    def of(part: Part) -> _How:
        found = part.details
        if not isinstance(found, ClusterFile):
            return _How()
        return _How(piece=range_of(part), mode=found.mode, is_sparse=found.is_sparse)


class _Stream(io.RawIOBase):
    """Chunks as the file object that a streamed tar is read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        head, self._rest = self._rest[:size], self._rest[size:]
        return bytes(head)


def _path_of(part: Part) -> str:
    """Where a part's file belongs; raises `VerifyFailed` where nobody says."""
    if path := path_of(part):
        return path
    raise VerifyFailed(f"cannot trust part '{part.name}': it does not name its file")


def _chunks_of(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk


def _write_all(descriptor: int, chunk: bytes, *, is_sparse: bool) -> None:
    if not is_sparse:
        write_all(descriptor, chunk)
        return
    for first in range(0, len(chunk), HOLE_BYTES):
        block = chunk[first : first + HOLE_BYTES]
        if any(block):
            write_all(descriptor, block)
        else:
            os.lseek(descriptor, len(block), os.SEEK_CUR)


def _end_here(descriptor: int) -> None:
    """A hole at its end does not make a file longer, and other pieces of it may have."""
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if end > os.fstat(descriptor).st_size:
        os.pwrite(descriptor, b"\0", end - 1)
