"""The list of files in the newest sealed backup of each job, in the clear on their own host."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.model.backup import Buffer
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import make_state_folder, open_private, state_errors, write_all

CHUNK_BYTES = 1 << 20

# A named pipe in its place is not waited for.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class HostFileLists:
    """Obeys `ports.host_state.FileLists`: `FOLDER/JOB`, and `FOLDER/.JOB` for one that is
    offered."""

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
    """Only our own reads are told as trouble with the file."""
    while True:
        with state_errors(path):
            chunk = os.read(descriptor, CHUNK_BYTES)
        if not chunk:
            return
        yield chunk
