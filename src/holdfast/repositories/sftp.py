"""A folder on an SSH server: temporary name, fsync if offered, a rename that never replaces."""

from __future__ import annotations

import errno
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from posixpath import dirname
from typing import TYPE_CHECKING

import paramiko

from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    ObjectMissing,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.ports.repository import Stored
from holdfast.repositories.object_keys import (
    Listed,
    believed,
    is_content,
    is_plain,
    require_plain,
)
from holdfast.repositories.sftp_connections import SshConnections, SshLogin
from holdfast.repositories.sftp_session import SftpSession, WriteFailed
from holdfast.runtime.cleanup import afterwards, on_failure

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

CHUNK_BYTES = 1 << 20
# The private folders keep others out, so the modes of files need no request of their own.
FOLDER_MODE = 0o700
# No job begins with a dot, so no key can collide with an unfinished file.
UNFINISHED = ".unfinished-"


class SftpRepository:
    """Objects as files below `root` on the server, readable only by the login's user."""

    def __init__(self, login: SshLogin, *, root: str) -> None:
        self._connections = SshConnections(login)
        self._root = root.rstrip("/") or "/"
        self._name = f"sftp://{login.server}{self._root}"
        self._known_folders: set[str] = set()

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        path = self._path(key)
        folder = dirname(path)
        unfinished = f"{folder}/{UNFINISHED}{secrets.token_hex(8)}"
        source = _Source(chunks)
        try:
            with self._connections.session() as session, self._errors_of("store", key):
                size_bytes = self._written(session, source, unfinished=unfinished, path=path)
        except _SourceBroke:
            raise source.error from None
        return Stored(key=key, size_bytes=size_bytes)

    def _written(
        self, session: SftpSession, source: Iterable[Buffer], *, unfinished: str, path: str
    ) -> int:
        with on_failure(_discard, session, unfinished):
            file = self._created(session, unfinished)
            with afterwards(file.close):
                size_bytes = session.write_all(file, source)
                session.fsync(file)
            self._name_it(session, unfinished, path)
        return size_bytes

    def _created(self, session: SftpSession, path: str) -> paramiko.SFTPFile:
        """Create the file; a folder that was created before counts as there until that fails."""
        folder = dirname(path)
        if folder not in self._known_folders:
            self._make_folder(session, folder)
        try:
            return session.open(path, "wx")
        except FileNotFoundError:
            self._known_folders.clear()
            self._make_folder(session, folder)
            return session.open(path, "wx")

    def _make_folder(self, session: SftpSession, folder: str) -> None:
        """Create the missing folders below the root; the operator must create the root itself."""
        missing: list[str] = []
        step = folder
        while step != self._root and not _is_folder(session, step):
            missing.append(step)
            step = dirname(step)
        for step in reversed(missing):
            try:
                session.mkdir(step, FOLDER_MODE)
            except OSError:
                if not _is_folder(session, step):
                    raise
        self._known_folders.add(folder)

    def _name_it(self, session: SftpSession, unfinished: str, path: str) -> None:
        """Rename by SFTP's own request, which refuses to replace; the POSIX extension would."""
        try:
            session.rename(unfinished, path)
        except OSError as error:
            if error.errno is None and _exists(session, path):
                raise FileExistsError(errno.EEXIST, "File exists") from error
            raise

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        path = self._path(key)
        with self._connections.session() as session:
            with self._errors_of("read", key):
                file = session.open(path, "rb")
            with afterwards(_close, file):
                yield self._chunks(session, file, key)

    def _chunks(self, session: SftpSession, file: paramiko.SFTPFile, key: str) -> Iterator[bytes]:
        with self._connections.told(), self._errors_of("read", key):
            size_bytes, seen = file.stat().st_size or 0, 0
            gathered = bytearray()
            for piece in session.read_all(file, size_bytes):
                gathered += piece
                seen += len(piece)
                if len(gathered) >= CHUNK_BYTES or seen == size_bytes:
                    yield bytes(gathered)
                    gathered.clear()
        if seen != size_bytes:
            raise RepositoryUnreachable(
                f"cannot read '{key}' in '{self._name}': {seen} of {size_bytes} bytes arrived",
                hint="trying again may work",
            )

    def stat(self, key: str) -> Stored:
        path = self._path(key)
        with self._connections.session() as session, self._errors_of("read", key):
            return Stored(key=key, size_bytes=session.stat(path).st_size or 0)

    def list(self, prefix: str) -> Iterator[Stored]:
        yield from believed(self._objects(prefix), prefix, store=self._name)

    def _objects(self, prefix: str) -> Iterator[Listed]:
        folder = self._path(prefix) if prefix else self._root
        with self._connections.session() as session:
            for path, size_bytes, version in self._walk(session, folder, prefix):
                if not path.rpartition("/")[2].startswith("."):
                    yield path.removeprefix(f"{self._root.rstrip('/')}/"), size_bytes, version

    def _walk(self, session: SftpSession, folder: str, what: str) -> Iterator[Listed]:
        """The files below `folder`, in order of key; reads one folder at a time into memory.

        The version of a file is the second in which it was last written to.
        """
        with self._connections.told(), self._errors_of("list", what):
            try:
                entries = session.listdir_attr(folder)
            except FileNotFoundError:
                if not _is_folder(session, self._root):
                    raise
                return
        for entry in sorted(entries, key=_in_order_of_key):
            path = f"{folder.rstrip('/')}/{entry.filename}"
            if stat.S_ISDIR(entry.st_mode or 0):
                # A folder that no key can name holds none of our objects, so skip it.
                if is_plain(path.removeprefix(f"{self._root.rstrip('/')}/")):
                    yield from self._walk(session, path, what)
            else:
                yield path, entry.st_size or 0, str(entry.st_mtime or "")

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._connections.session() as session, self._errors_of("delete", key):
            with suppress(FileNotFoundError):
                session.remove(path)
            self._drop_empty_folders(session, dirname(path))

    def sweep(self, prefix: str) -> int:
        swept, folders = 0, set[str]()
        with self._connections.session() as session:
            for path, _, _ in self._walk(session, self._path(prefix), prefix):
                if path.rpartition("/")[2].startswith(UNFINISHED):
                    with self._errors_of("sweep", prefix), suppress(FileNotFoundError):
                        session.remove(path)
                    swept += 1
                    folders.add(dirname(path))
            for folder in sorted(folders, reverse=True):
                self._drop_empty_folders(session, folder)
        return swept

    def free_bytes(self) -> int | None:
        with self._connections.session() as session, self._errors_of("read the free space of", ""):
            return session.free_bytes(self._root)

    def check(self) -> str:
        key = f"check-{secrets.token_hex(8)}"
        with on_failure(self.delete, key):
            self.put(key, [b"holdfast"])
            with self.open(key) as chunks:
                is_there = is_content(chunks, b"holdfast")
        kept_because = self._check_delete(key)
        if not is_there:
            raise RepositoryUnreachable(
                f"cannot trust '{self._name}': it does not return what was just stored",
                hint="check the server's storage",
            )
        return kept_because

    def _check_delete(self, key: str) -> str:
        try:
            self.delete(key)
        except RepositoryReadOnly as error:
            return error.message
        return ""

    def _path(self, key: str) -> str:
        require_plain(key)
        return f"{self._root.rstrip('/')}/{key}"

    def _drop_empty_folders(self, session: SftpSession, folder: str) -> None:
        while folder != self._root:
            self._known_folders.discard(folder)
            try:
                session.rmdir(folder)
            except OSError:
                return
            folder = dirname(folder)

    @contextmanager
    def _errors_of(self, verb: str, key: str) -> Iterator[None]:
        """Translates errors about a file; errors of the connection are left to its owner."""
        try:
            yield
        except (TimeoutError, ConnectionError):
            raise
        except OSError as error:
            raise self._translated(error, verb, key) from error

    def _translated(self, error: OSError, verb: str, key: str) -> HoldfastError:
        said = error.strerror or str(error) or "Failure"
        what = f"cannot {verb} '{key}' in '{self._name}': {said}"
        if isinstance(error, WriteFailed):
            return RepositoryFull(
                f"{what}, which is how SFTP reports a full disk or a used-up quota",
                hint="check df and quota there; free space, or prune: holdfast prune",
            )
        if isinstance(error, FileExistsError):
            return AlreadyStored(what, hint="stored objects are never overwritten")
        if error.errno == errno.EACCES:
            return RepositoryReadOnly(
                what, hint=f"'{self._root}' must be writable for the login on the server"
            )
        if error.errno == errno.ENOENT:
            return self._missing(what)
        return RepositoryUnreachable(what, hint="the server's log may say more")

    def _missing(self, what: str) -> HoldfastError:
        """Distinguishes a missing object from a missing repository."""
        with self._connections.session() as session:
            if _is_folder(session, self._root):
                return ObjectMissing(what, hint="run holdfast verify to see what else is missing")
        return RepositoryUnreachable(what, hint=f"create the folder '{self._root}' there first")


class _SourceBroke(Exception):
    """The source of the chunks raised an error, which is not the store's, whatever its class."""


class _Source:
    """Chunks that remember the error that they raised."""

    def __init__(self, chunks: Iterable[Buffer]) -> None:
        self._chunks = chunks
        self.error: BaseException = _SourceBroke()

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._chunks
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise _SourceBroke from error


def _discard(session: SftpSession, path: str) -> None:
    with suppress(FileNotFoundError):
        session.remove(path)


def _close(file: paramiko.SFTPFile) -> None:
    """Close a file that was read; an error loses no data."""
    with suppress(EOFError, OSError, paramiko.SSHException):
        file.close()


def _in_order_of_key(entry: paramiko.SFTPAttributes) -> str:
    return f"{entry.filename}/" if stat.S_ISDIR(entry.st_mode or 0) else entry.filename


def _is_folder(session: SftpSession, path: str) -> bool:
    try:
        return stat.S_ISDIR(session.stat(path).st_mode or 0)
    except FileNotFoundError:
        return False


def _exists(session: SftpSession, path: str) -> bool:
    try:
        session.stat(path)
    except FileNotFoundError:
        return False
    return True
