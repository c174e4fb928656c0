"""A folder: temporary name, fsync of file and folder, then a link that refuses to replace."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.errors import (
    AlreadyStored,
    HoldfastError,
    ObjectMissing,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.model import Buffer
from holdfast.ports import Stored

CHUNK_BYTES = 1 << 20
FOLDER_MODE = 0o700
FILE_MODE = 0o600
FOLDER_ATTEMPTS = 100
# No job begins with a dot, so no key can collide with what is not finished yet.
UNFINISHED = ".unfinished-"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class LocalRepository:
    """Objects as files below `root`, readable by their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._beginning = str(root).rstrip("/") + "/"

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        path = self._path(key)
        unfinished = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
        try:
            size_bytes = self._write_durably(unfinished, chunks, key)
            with self._errors_of("store", key):
                # A link fails where the name exists; a rename would replace it silently.
                os.link(unfinished, path)
                unfinished.unlink()
                _sync_folder(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)
        return Stored(key=key, size_bytes=size_bytes)

    def _write_durably(self, path: Path, chunks: Iterable[Buffer], key: str) -> int:
        """Only our own calls are inside `_errors_of`: what `chunks` raises is not the store's."""
        size_bytes = 0
        with self._errors_of("store", key):
            descriptor = self._made(path)
            self._give_to_owner(descriptor)
        try:
            for chunk in chunks:
                with self._errors_of("store", key):
                    size_bytes += _write_all(descriptor, chunk)
            with self._errors_of("store", key):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return size_bytes

    def _made(self, path: Path) -> int:
        """Whoever deletes beside us may take a folder away while there is nothing in it yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for _ in range(FOLDER_ATTEMPTS):
            with suppress(FileNotFoundError):
                self._make_folder(path.parent)
                return os.open(path, flags, FILE_MODE)
        self._make_folder(path.parent)
        return os.open(path, flags, FILE_MODE)

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        with self._errors_of("read", key):
            descriptor = os.open(self._place(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield self._chunks(key, descriptor)
        finally:
            os.close(descriptor)

    def _chunks(self, key: str, descriptor: int) -> Iterator[bytes]:
        with self._errors_of("read", key):
            while chunk := os.read(descriptor, CHUNK_BYTES):
                yield chunk

    def stat(self, key: str) -> Stored:
        with self._errors_of("read", key):
            return Stored(key=key, size_bytes=self._path(key).stat().st_size)

    def list(self, prefix: str) -> Iterator[Stored]:
        folder = self._path(prefix) if prefix else self._root
        with self._errors_of("list", prefix):
            yield from self._walk(folder)

    def _walk(self, folder: str | Path) -> Iterator[Stored]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            if not self._root.is_dir():
                raise
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path)
            elif not entry.name.startswith("."):
                # Of a million objects: no Path is made for each.
                key = entry.path.removeprefix(self._beginning)
                yield Stored(key=key, size_bytes=entry.stat(follow_symlinks=False).st_size)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._errors_of("delete", key), suppress(FileNotFoundError):
            path.unlink()
            self._drop_empty_folders(path.parent)

    def sweep(self, prefix: str) -> int:
        swept = 0
        with self._errors_of("sweep", prefix):
            for folder, _, names in os.walk(self._path(prefix), topdown=False):
                for name in names:
                    if name.startswith(UNFINISHED):
                        Path(folder, name).unlink(missing_ok=True)
                        swept += 1
                self._drop_empty_folders(Path(folder))
        return swept

    def free_bytes(self) -> int | None:
        with self._errors_of("ask the free space of", ""):
            room = os.statvfs(self._root)
            return room.f_bavail * room.f_frsize

    def check(self) -> None:
        key = f"check-{secrets.token_hex(8)}"
        try:
            self.put(key, [b"holdfast"])
        finally:
            if self._root.is_dir():
                self.delete(key)

    def _path(self, key: str) -> Path:
        return Path(self._place(key))

    def _place(self, key: str) -> str:
        """As text for what is asked of every object: a Path keeps each name that it ever saw.

        100,000 of them took 5 MB (`sys.intern` in pathlib).
        """
        if any(segment == "" or segment.startswith(".") for segment in key.split("/")):
            raise ObjectMissing(f"cannot use key '{key}': it is not a plain relative name")
        return self._beginning + key

    def _make_folder(self, folder: Path) -> None:
        """Create what is missing below the root; the root itself is the operator's to make."""
        missing: list[Path] = []
        while folder != self._root and not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for step in reversed(missing):
            step.mkdir(mode=FOLDER_MODE, exist_ok=True)
            descriptor = os.open(step, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._give_to_owner(descriptor)
            finally:
                os.close(descriptor)
            _sync_folder(step.parent)

    def _give_to_owner(self, descriptor: int) -> None:
        """What root stores by hand belongs to the user whose timers will prune it."""
        if os.geteuid() == 0:
            owner = self._root.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)

    def _drop_empty_folders(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    @contextmanager
    def _errors_of(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._translated(error, verb, key) from error

    def _translated(self, error: OSError, verb: str, key: str) -> HoldfastError:
        what = f"cannot {verb} '{key}' in '{self._root}': {os.strerror(error.errno or 0)}"
        if error.errno in _FULL:
            return RepositoryFull(what, hint="free some room, or prune old backups: holdfast prune")
        if error.errno in _READ_ONLY:
            return RepositoryReadOnly(
                what, hint=f"'{self._root}' must be writable for the user who runs holdfast"
            )
        if error.errno == errno.EEXIST:
            return AlreadyStored(what, hint="what is stored is never overwritten")
        if error.errno == errno.ENOENT and self._root.is_dir():
            return ObjectMissing(what, hint="run holdfast verify to see what else is missing")
        return RepositoryUnreachable(what, hint=f"is '{self._root}' there and mounted?")


def _write_all(descriptor: int, chunk: Buffer) -> int:
    view = memoryview(chunk)
    size_bytes = len(view)
    while view:
        view = view[os.write(descriptor, view) :]
    return size_bytes


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
