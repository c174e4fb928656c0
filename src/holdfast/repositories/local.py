"""A folder as a repository: temporary name, fsync of file and folder, then a link.

A link refuses to replace an existing object. Every name is resolved beneath the folder, and no
symbolic link is followed. So a user who can write to it cannot lead a backup, a prune or a restore,
which often run as root, to a file outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    ObjectMissing,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryRefused,
    RepositoryUnreachable,
)
from holdfast.ports.repository import Stored
from holdfast.repositories.object_keys import Listed, believed, is_plain, require_plain
from holdfast.repositories.page_cache import PageCache
from holdfast.runtime import kernel_calls
from holdfast.runtime.beneath import Beneath, NotBeneath, Owner
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.kernel import FAILING, FULL

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

CHUNK_BYTES = 1 << 20
FOLDER_ATTEMPTS = 100
# No job begins with a dot, so no key can collide with an unfinished file.
UNFINISHED = ".unfinished-"

_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


class LocalRepository:
    """Objects as files below `root`, readable by their owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._beneath = Beneath(root)

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        require_plain(key)
        folder = _above(key)
        unfinished = f"{folder}/{UNFINISHED}{kernel_calls.token_hex(8)}".lstrip("/")
        with afterwards(self._drop, unfinished):
            size_bytes = self._write_durably(unfinished, chunks, key)
            with self._errors_of("store", key):
                # A link fails where the name exists; a rename would replace it silently.
                self._beneath.link(unfinished, key)
        with self._errors_of("store", key):
            self._beneath.sync(folder)
        return Stored(key=key, size_bytes=size_bytes)

    def _write_durably(self, name: str, chunks: Iterable[Buffer], key: str) -> int:
        """Only our own calls are inside `_errors_of`: an error of `chunks` is not the store's."""
        size_bytes = 0
        with self._errors_of("store", key):
            descriptor = self._made(name)
        with afterwards(self._close, descriptor, key):
            cache = PageCache(descriptor)
            for chunk in chunks:
                with self._errors_of("store", key):
                    written = _write_all(descriptor, chunk)
                cache.passes(written)
                size_bytes += written
            with self._errors_of("store", key):
                os.fsync(descriptor)
            cache.ends()
        return size_bytes

    def _made(self, name: str) -> int:
        """A new file; tried again if a parallel delete removes its still empty folder."""
        owner = self._owner()
        for _ in range(FOLDER_ATTEMPTS):
            with suppress(FileNotFoundError):
                return self._create(name, owner)
        return self._create(name, owner)

    def _create(self, name: str, owner: Owner | None) -> int:
        self._beneath.make_folders(_above(name), owner=owner)
        return self._beneath.create(name, owner=owner)

    def _owner(self) -> Owner | None:
        """The owner for files that root stores by hand: the user whose timers will prune them."""
        if os.geteuid() != 0:
            return None
        found = self._root.stat()
        return Owner(user=found.st_uid, group=found.st_gid)

    def _drop(self, name: str) -> None:
        """Remove a name; errors are ignored in favour of the put's own.

        The name stays where names can only be added (chattr +a).
        """
        with suppress(OSError):
            self._beneath.unlink(name)

    def _close(self, descriptor: int, key: str) -> None:
        """Close a written file; a network file system may report a failed write only now."""
        with self._errors_of("store", key):
            os.close(descriptor)

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        require_plain(key)
        with self._errors_of("read", key):
            descriptor = self._beneath.open(key)
        with afterwards(os.close, descriptor):
            yield self._chunks(key, descriptor)

    def _chunks(self, key: str, descriptor: int) -> Iterator[bytes]:
        cache = PageCache(descriptor)
        with self._errors_of("read", key):
            while chunk := os.read(descriptor, CHUNK_BYTES):
                cache.passes(len(chunk))
                yield chunk

    def stat(self, key: str) -> Stored:
        require_plain(key)
        with self._errors_of("read", key):
            found = self._beneath.stat(key)
            if not stat.S_ISREG(found.st_mode):
                raise NotBeneath(errno.EINVAL, "it is not a file", key)
            return Stored(key=key, size_bytes=found.st_size)

    def list(self, prefix: str) -> Iterator[Stored]:
        if prefix:
            require_plain(prefix)
        yield from believed(self._walk(prefix), prefix, store=str(self._root))

    def _walk(self, prefix: str) -> Iterator[Listed]:
        """Files in order of key; a folder is open only while its names are read, at any depth.

        Names that begin with a dot are skipped, and so are entries other than files and folders.
        """
        ahead: list[tuple[str, int | None, str]] = [(prefix, None, "")]
        while ahead:
            name, size_bytes, version = ahead.pop()
            if size_bytes is not None:
                yield name, size_bytes, version
            elif not name or is_plain(name):
                with self._errors_of("list", prefix):
                    ahead.extend(self._inside(name))

    def _inside(self, folder: str) -> Sequence[tuple[str, int | None, str]]:
        """The entries in reverse order of key, in which a folder is its name with a slash."""
        try:
            entries = self._beneath.entries(folder)
        except (FileNotFoundError, NotADirectoryError):
            if not self._root.is_dir():
                raise
            return []
        beginning = f"{folder}/" if folder else ""
        found = [
            (f"{beginning}{entry.name}", entry.size_bytes, f"{entry.changed_ns:x}")
            for entry in entries
            if not entry.name.startswith(".") and (entry.is_folder or entry.size_bytes is not None)
        ]
        found.sort(key=lambda each: each[0] if each[1] is not None else f"{each[0]}/", reverse=True)
        return found

    def delete(self, key: str) -> None:
        require_plain(key)
        with self._errors_of("delete", key), suppress(FileNotFoundError):
            self._beneath.unlink(key)
            self._drop_empty_folders(_above(key))

    def sweep(self, prefix: str) -> int:
        require_plain(prefix)
        with self._errors_of("sweep", prefix):
            return self._sweep(prefix)

    def _sweep(self, folder: str) -> int:
        folders, swept = [folder], 0
        for each in folders:
            with suppress(FileNotFoundError, NotADirectoryError):
                for entry in self._beneath.entries(each):
                    if entry.is_folder and not entry.name.startswith("."):
                        folders.append(f"{each}/{entry.name}")
                    elif entry.name.startswith(UNFINISHED):
                        self._beneath.unlink(f"{each}/{entry.name}")
                        swept += 1
        for each in reversed(folders):
            self._drop_empty_folders(each)
        return swept

    def free_bytes(self) -> int | None:
        with self._errors_of("read the free space of", ""):
            room = os.statvfs(self._root)
            return room.f_bavail * room.f_frsize

    def check(self) -> str:
        key = f"check-{kernel_calls.token_hex(8)}"
        with on_failure(self._drop, key):
            self.put(key, [b"holdfast"])
        try:
            self.delete(key)
        except RepositoryReadOnly as error:
            return error.message
        return ""

    def _drop_empty_folders(self, folder: str) -> None:
        while folder:
            try:
                self._beneath.remove_folder(folder)
            except OSError:
                return
            folder = _above(folder)

    @contextmanager
    def _errors_of(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._translated(error, verb, key) from error

    def _translated(self, error: OSError, verb: str, key: str) -> HoldfastError:
        what = f"cannot {verb} '{key}' in '{self._root}'"
        if isinstance(error, NotBeneath):
            return _refused(error, what, verb)
        what = f"{what}: {os.strerror(error.errno or 0)}"
        if error.errno in FULL:
            return RepositoryFull(what, hint="free space, or prune old backups: holdfast prune")
        if error.errno in FAILING:
            return RepositoryUnreachable(
                what, hint="the disk or the network file system fails: see dmesg"
            )
        if error.errno in _READ_ONLY:
            return RepositoryReadOnly(
                what, hint=f"'{self._root}' must be writable for the user who runs holdfast"
            )
        if error.errno == errno.EEXIST:
            return AlreadyStored(what, hint="stored objects are never overwritten")
        if error.errno == errno.ENOENT and self._root.is_dir():
            return ObjectMissing(what, hint="run holdfast verify to see what else is missing")
        return RepositoryUnreachable(what, hint=f"check that '{self._root}' exists and is mounted")


def _above(key: str) -> str:
    return key.rpartition("/")[0]


def _refused(error: NotBeneath, what: str, verb: str) -> HoldfastError:
    """The error for a name that is refused.

    A failed read is damage to one object; a failed write stops the run.
    """
    cause = f"{what}: {error.strerror}"
    if verb == "read":
        return ObjectMissing(cause, hint="holdfast did not create it: find out who did")
    return RepositoryRefused(
        cause, hint="remove it; to keep backups on another disk, mount that disk there (bind)"
    )


def _write_all(descriptor: int, chunk: Buffer) -> int:
    view = memoryview(chunk)
    size_bytes = len(view)
    while view:
        view = view[os.write(descriptor, view) :]
    return size_bytes
