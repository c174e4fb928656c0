"""Parts of a cluster into its files: alone, in pieces, or out of a tar."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import IO

from holdfast.cleanup import afterwards, noted_on
from holdfast.errors import RestoreFailed, VerifyFailed
from holdfast.model import Part, PartKind
from holdfast.ports import Progress
from holdfast.proven import StoredParts
from holdfast.sources.postgres_physical.file_ranges import FileRange
from holdfast.sources.postgres_physical.reading import CHUNK_BYTES
from holdfast.sources.postgres_physical.restore_folders import RestoreFolders, restore_failed
from holdfast.sources.postgres_physical.snapshot import MAP_FILE
from holdfast.sources.postgres_physical.tree import OF_A_SERVER, SIGNALS

PATH = "path"
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
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            under_way = [pool.submit(self.bring, part) for part in parts]
            try:
                for done in as_completed(under_way):
                    done.result()
            except BaseException as error:
                self._is_aborted = True
                with noted_on(error):
                    pool.shutdown(wait=False, cancel_futures=True)
                raise

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
                    self._write(path_of(part), seen, FileRange.of(part.details))
        except (OSError, tarfile.TarError) as error:
            path = self._folders.data / part.details.get(PATH, part.name)
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
                    self._folders.make_folder(name)
                elif content is not None:
                    self._write(name, _chunks_of(content))
                else:
                    raise tarfile.TarError(f"'{name}' is neither file nor folder")

    def _write(self, path: str, chunks: Iterator[bytes], piece: FileRange | None = None) -> None:
        """A file that nobody made before, or a piece of one that others are writing too."""
        if path in _NOT_BROUGHT:
            for _ in chunks:
                pass
            return
        descriptor = self._folders.create(path, is_piece=piece is not None)
        with afterwards(os.close, descriptor):
            os.lseek(descriptor, piece.first if piece else 0, os.SEEK_SET)
            for chunk in chunks:
                if path == MAP_FILE and chunk:
                    # A server that starts would make links to what it names, wherever that is.
                    raise tarfile.TarError("it names places outside of the folder")
                _write_all(descriptor, chunk)


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


def path_of(part: Part) -> str:
    """Where a part's file belongs; raises `VerifyFailed` where nobody says."""
    try:
        return part.details[PATH]
    except KeyError as error:
        raise VerifyFailed(f"cannot trust part '{part.name}': it does not name its file") from error


def _chunks_of(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
