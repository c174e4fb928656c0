"""Restores the files of a cluster from parts: whole files, ranges of files, and tars."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence

from holdfast.model.backup import Buffer, Part, PartKind
from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import ClusterFile
from holdfast.model.part_gaps import path_of
from holdfast.model.restore import StoredParts
from holdfast.ports.run import Progress
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import write_all
from holdfast.runtime.worker_pool import WorkerPool
from holdfast.sources.postgres.files.part_plan import FileRange, range_of
from holdfast.sources.postgres.files.restore_folders import (
    OpenFolder,
    RestoreFolders,
    restore_failed,
)
from holdfast.sources.postgres.files.snapshot import MAP_FILE
from holdfast.sources.postgres.files.tree import OF_A_SERVER, SIGNALS
from holdfast.sources.postgres.files.unpacking import members

# The usual block size of a file system: it stores no smaller hole.
HOLE_BYTES = 4096
# Files of a running server, and signal files that would start the restored cluster as a standby.
_NOT_BROUGHT = OF_A_SERVER | SIGNALS


class FileRestore:
    """Restores parts below `folders`; several workers may call `bring` at once."""

    def __init__(self, folders: RestoreFolders, stored: StoredParts, progress: Progress) -> None:
        self._folders = folders
        self._stored = stored
        self._progress = progress
        self._is_aborted = False

    def bring_all(self, parts: Sequence[Part], *, workers: int) -> None:
        """Restore all parts; raises the first failure only, as the others are its consequence."""
        # One try only: a file that was begun exists, and creating it again would fail.
        WorkerPool(workers, abort=self._abort, tries=1).each(parts, self.bring)

    def _abort(self) -> None:
        self._is_aborted = True

    def bring(self, part: Part) -> None:
        """Restore one part; raises `RestoreFailed`, and what `stored` raises."""
        try:
            if part.kind is PartKind.FILE_PACK:
                # A tar names the paths to write to: trust them only once its bytes are verified.
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
        here = OpenFolder(self._folders)
        with afterwards(here.close):
            for member in members(chunks):
                # pg_basebackup prefixes some of its names with "./".
                name = member.name.removeprefix("./")
                if member.is_folder:
                    self._folders.make_folder(name, mode=member.mode)
                elif name not in _NOT_BROUGHT:
                    descriptor = here.create(name, mode=member.mode)
                    with afterwards(os.close, descriptor):
                        for chunk in member.content:
                            _require_no_map(name, chunk)
                            write_all(descriptor, chunk)

    def _write(self, path: str, chunks: Iterator[bytes], *, how: _How) -> None:
        """Write a new file, or one range of a file that other workers write to as well."""
        if path in _NOT_BROUGHT:
            for _ in chunks:
                pass
            return
        descriptor = self._folders.create(path, is_piece=how.piece is not None, mode=how.mode)
        with afterwards(os.close, descriptor):
            os.lseek(descriptor, how.piece.first if how.piece else 0, os.SEEK_SET)
            for chunk in chunks:
                _require_no_map(path, chunk)
                _write_all(descriptor, chunk, is_sparse=how.is_sparse)
            if how.is_sparse:
                _end_here(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How to write a file: its range, if not whole, its mode, and whether it is sparse."""

    piece: FileRange | None = None
    mode: int = 0
    is_sparse: bool = False

    @staticmethod
    def of(part: Part) -> _How:
        found = part.details
        if not isinstance(found, ClusterFile):
            return _How()
        return _How(piece=range_of(part), mode=found.mode, is_sparse=found.is_sparse)


def _path_of(part: Part) -> str:
    """The path of a part's file; raises `VerifyFailed` if the part names none."""
    if path := path_of(part):
        return path
    raise VerifyFailed(f"cannot trust part '{part.name}': it does not name its file")


def _require_no_map(path: str, content: Buffer) -> None:
    if path == MAP_FILE and content:
        # A starting server would link to the places that the map names.
        raise tarfile.TarError("it names places outside of the folder")


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
    """Extend the file to the current position if it ends in a hole, which adds no length.

    Another range of the file may have made it longer already.
    """
    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    if end > os.fstat(descriptor).st_size:
        os.pwrite(descriptor, b"\0", end - 1)
