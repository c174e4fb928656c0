"""A folder to restore a cluster into: `file:///DIRECTORY?tablespaces=DIRECTORY`."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import parse_qs, unquote, urlsplit

from holdfast.errors import RestoreFailed, TargetNotEmpty, Unsupported
from holdfast.model import Part, PartKind
from holdfast.ports import Progress, RestoreRequest
from holdfast.proven import StoredParts
from holdfast.restored import Restored
from holdfast.sources.postgres_physical.combining import (
    combine,
    combiner,
    put_in_place,
    room_beside,
)
from holdfast.sources.postgres_physical.file_ranges import FileRange, require_whole
from holdfast.sources.postgres_physical.packing import FILE_MODE, FOLDER_MODE
from holdfast.sources.postgres_physical.reading import CHUNK_BYTES
from holdfast.sources.postgres_physical.recovery_files import write_settings
from holdfast.sources.postgres_physical.snapshot import LABEL_FILE, MAP_FILE
from holdfast.sources.postgres_physical.tree import CONTROL_FILE


class DirectoryTarget:
    """Obeys `ports.Target`: a data directory that a server can be started on.

    Folders must be empty or not there; `pg_control` comes last, so what a failure leaves, were
    it not removed, could never be started. Tablespaces go to `tablespaces/OID` each.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._data = Path(unquote(parts.path))
        if parts.netloc or not parts.path.startswith("/") or self._data == Path("/"):
            raise Unsupported(
                f"cannot restore into '{url}': it names no folder of this host",
                hint="write file:///var/lib/postgresql/restored",
            )
        asked = parse_qs(parts.query).get("tablespaces", [])
        beside = self._data.with_name(f"{self._data.name}-tablespaces")
        self._tablespaces = Path(asked[0]) if asked else beside

    @property
    def name(self) -> str:
        return f"file://{self._data}"

    @property
    def folder(self) -> Path:
        """The data directory."""
        return self._data

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        parts = _of_files(request)
        if request.earlier:
            self._combine(request, stored, progress)
            return Restored()
        # The one tar of pg_basebackup has its label inside, and no tablespaces.
        label = next((part for part in parts if part.details.get("path") == LABEL_FILE), None)
        told = label.details if label else {"tablespaces": "{}", "vanished": "[]"}
        folders = self._folders(json.loads(told["tablespaces"]))
        vanished = set(json.loads(told["vanished"]))
        _require_all_pieces(parts, vanished)
        made = [_require_empty(folder) for folder in (self._data, *folders.values())]
        work = _Work(self._data, stored, progress)
        try:
            self._prepare(folders)
            self._fill(work, parts, vanished, request)
        except BaseException:
            for folder, existed in zip((self._data, *folders.values()), made, strict=True):
                _empty(folder, remove=not existed)
            raise
        return Restored()

    def _combine(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> None:
        """Each backup of a chain into a folder of its own beside, and out of them this one, which
        is there whole or not at all."""
        _require_empty(self._data)
        tool = combiner(request.server_version)
        with room_beside(self._data) as room:
            folders = []
            for number, parts in enumerate((*request.earlier, request.parts)):
                folders.append(room / str(number))
                one = replace(request, parts=parts, earlier=(), settings=None)
                DirectoryTarget(folders[-1].as_uri()).restore(one, stored, progress)
            whole = room / "whole"
            combine(tool, folders, whole)
            if request.settings is not None:
                write_settings(whole, request.settings)
            os.sync()
            put_in_place(whole, self._data)

    def _folders(self, tablespaces: dict[str, str]) -> dict[str, Path]:
        return {oid: self._tablespaces / oid for oid in tablespaces}

    def _prepare(self, folders: dict[str, Path]) -> None:
        """Links first: files of tablespaces are then written through them."""
        try:
            (self._data / "pg_tblspc").mkdir(mode=FOLDER_MODE, parents=True)
            self._data.chmod(FOLDER_MODE)
            for oid, folder in folders.items():
                folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                (self._data / "pg_tblspc" / oid).symlink_to(folder)
        except OSError as error:
            raise _failed(self._data, error) from error

    def _fill(
        self, work: _Work, parts: Sequence[Part], vanished: set[str], request: RestoreRequest
    ) -> None:
        control = [part for part in parts if part.details.get("path") == CONTROL_FILE]
        others = [
            part
            for part in parts
            if part not in control
            # What is kept a second time, for others than a restore.
            and "inside" not in part.details
            and part.details.get("path") != MAP_FILE
            and part.details.get("path") not in vanished
        ]
        _side_by_side(others, work, workers=request.workers)
        if request.settings is not None:
            write_settings(self._data, request.settings)
        # The links are on the disk before the file that makes this a cluster. 20,000 files
        # one by one would take minutes.
        os.sync()
        for part in control:
            work.bring(part)
        os.sync()


class _Work:
    """Parts into files; `bring` is called by several workers."""

    def __init__(self, data: Path, stored: StoredParts, progress: Progress) -> None:
        self._data = data
        self._stored = stored
        self._progress = progress
        self._is_aborted = False

    def abort(self) -> None:
        self._is_aborted = True

    def bring(self, part: Part) -> None:
        try:
            if part.kind is PartKind.FILE_PACK:
                # What is in it says where it goes: that is believed only once it is proven.
                with self._stored.proven(part) as proven:
                    self._unpack(self._watched(proven, part))
            else:
                with self._stored.streamed(part) as chunks:
                    seen = self._watched(chunks, part)
                    self._write(part.details["path"], seen, FileRange.of(part.details))
        except (OSError, tarfile.TarError) as error:
            raise _failed(self._data / part.details.get("path", part.name), error) from error
        self._progress.part_done(part.name)

    def _watched(self, chunks: Iterable[bytes], part: Part) -> Iterator[bytes]:
        for chunk in chunks:
            if self._is_aborted:
                raise RestoreFailed(f"cannot restore '{part.name}': the restore was ended")
            yield chunk

    def _unpack(self, chunks: Iterator[bytes]) -> None:
        stream = _Stream(chunks)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK_BYTES) as pack:
            for member in pack:
                if member.isdir():
                    self._path(member.name).mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                else:
                    content = pack.extractfile(member)
                    if content is None:
                        raise tarfile.TarError(f"'{member.name}' is neither file nor folder")
                    self._write(member.name, _chunks_of(content))

    def _write(self, path: str, chunks: Iterator[bytes], piece: FileRange | None = None) -> None:
        """A file that nobody made before, or a piece of one that others are writing too."""
        target = self._path(path)
        target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(target, flags if piece else flags | os.O_EXCL, FILE_MODE)
        try:
            os.lseek(descriptor, piece.first if piece else 0, os.SEEK_SET)
            for chunk in chunks:
                _write_all(descriptor, chunk)
        finally:
            os.close(descriptor)

    def _path(self, path: str) -> Path:
        """Below the folder, whatever a pack says."""
        steps = PurePosixPath(path)
        if steps.is_absolute() or ".." in steps.parts:
            raise RestoreFailed(f"cannot restore '{path}': it leads out of the folder")
        return self._data / path


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


def _side_by_side(parts: Sequence[Part], work: _Work, *, workers: int) -> None:
    """The first failure is the one that is raised; the others are its consequence."""
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        under_way = [pool.submit(work.bring, part) for part in parts]
        try:
            for done in as_completed(under_way):
                done.result()
        except BaseException:
            work.abort()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _chunks_of(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _of_files(request: RestoreRequest) -> Sequence[Part]:
    """Raises `Unsupported` for what a cluster's files cannot do."""
    if request.tables or request.data_only or request.globals or request.overwrite:
        raise Unsupported(
            "cannot restore a part of a cluster, nor write over one: its files belong together",
            hint="restore all of it into an empty folder, start a server there, and copy from it",
        )
    return request.parts


def _require_all_pieces(parts: Sequence[Part], vanished: set[str]) -> None:
    """Raises `VerifyFailed` where a file would come back with a hole."""
    pieces: defaultdict[str, list[FileRange]] = defaultdict(list)
    for part in parts:
        piece = FileRange.of(part.details)
        if piece is not None and part.details["path"] not in vanished:
            pieces[part.details["path"]].append(piece)
    for path, found in pieces.items():
        require_whole(path, found)


def _require_empty(folder: Path) -> bool:
    """Whether `folder` is there; raises `TargetNotEmpty` where something is in it."""
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                raise TargetNotEmpty(
                    f"cannot restore into '{folder}': it contains files",
                    hint="name another folder: a cluster is never written over",
                )
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(folder, error) from error
    return True


def _empty(folder: Path, *, remove: bool) -> None:
    """Take away what a failed restore has made; never hides why it failed."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()
        if remove:
            folder.rmdir()


def _failed(path: Path, error: OSError | tarfile.TarError) -> RestoreFailed:
    cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    return RestoreFailed(
        f"cannot restore '{path}': {cause}", hint="is there room, and is the folder yours?"
    )
