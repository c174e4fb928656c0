"""Files that this host keeps for its jobs: file lists, statements, a secret, known clusters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import ConfigInvalid, HoldfastError
from holdfast.runtime import kernel_calls
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import (
    PRIVATE_FOLDER,
    discard,
    make_folder,
    make_state_folder,
    open_private,
    replace_private,
    state_errors,
    write_all,
    write_private,
)

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

CHUNK_BYTES = 1 << 20
SECRET_BYTES = 32
# O_NONBLOCK: opening a named pipe instead of the file must not block.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class HostFileLists:
    """Obeys `ports.host_state.FileLists`: unencrypted, for the newest sealed backup of each job.

    `FOLDER/JOB` is the list in use, `FOLDER/.JOB` one that is offered but not settled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def offer(self, job: str, chunks: Iterable[Buffer]) -> None:
        make_state_folder(self._folder)
        path = self._offered(job)
        descriptor = open_private(path, os.O_WRONLY | os.O_TRUNC)
        with afterwards(os.close, descriptor):
            for chunk in chunks:
                with state_errors(path):
                    write_all(descriptor, chunk)
            with state_errors(path):
                os.fsync(descriptor)

    def settle(self, job: str) -> None:
        offered = self._offered(job)
        with state_errors(offered):
            if offered.exists():
                offered.rename(self._folder / job)

    @contextmanager
    def open(self, job: str) -> Iterator[Iterator[bytes]]:
        path = self._folder / job
        with state_errors(path):
            descriptor = os.open(path, _READ) if path.exists() else None
        if descriptor is None:
            yield iter(())
            return
        with afterwards(os.close, descriptor):
            yield _chunks(descriptor, path)

    def _offered(self, job: str) -> Path:
        # No job has a name that begins with a dot.
        return self._folder / f".{job}"


def _chunks(descriptor: int, path: Path) -> Iterator[bytes]:
    """Only errors of our own reads are translated."""
    while True:
        with state_errors(path):
            chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


class FileFailedStatements:
    """Obeys `model.restore.FailedStatements`: one private script per restore in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, backup_id: str, script: str) -> str:
        """Write the script whole or not at all; raises `ConfigInvalid` if that fails."""
        make_state_folder(self._folder)
        # A second restore of the same backup must not replace the first one's script.
        name = f"{backup_id.replace('/', '-')}-{kernel_calls.token_hex(4)}"
        path = self._folder / f"{name}.sql"
        # Bytes of a definition that are not UTF-8 are written back unchanged.
        replace_private(path, script.encode("utf-8", errors="surrogateescape"))
        return str(path)


def lasting_secret(path: Path) -> bytes:
    """The secret in `path`, created if it is missing; two runs that create it agree on one.

    Raises `ConfigInvalid` if the file cannot be used.
    """
    if not path.exists():
        _make(path)
    with state_errors(path):
        secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ConfigInvalid(
            f"cannot use state directory file '{path}': it is {len(secret)} bytes long,"
            f" not {SECRET_BYTES}",
            hint="remove it: long values are then stored once more, and nothing is lost",
        )
    return secret


def _make(path: Path) -> None:
    unfinished = path.with_name(f".{path.name}.{kernel_calls.token_hex(8)}")
    with afterwards(discard, unfinished):
        write_private(unfinished, os.urandom(SECRET_BYTES))
        # A link refuses to replace: if two runs create it at once, the first one's secret stays.
        with state_errors(path), suppress(FileExistsError):
            os.link(unfinished, path)


class FileClusters:
    """Obeys `ports.host_state.KnownClusters`: one empty file each, `FOLDER/CLUSTER`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, cluster: object) -> bool:
        return (self._folder / str(cluster)).is_file()

    def add(self, cluster: str, /) -> None:
        with suppress(HoldfastError, OSError):
            make_folder(self._folder, above=PRIVATE_FOLDER)
            os.close(open_private(self._folder / cluster, os.O_WRONLY | os.O_CREAT))
