"""The list of files in the newest sealed backup of each job, in the clear on their own host."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.model import Buffer
from holdfast.scheduling.state import make_folder, open_private, state_errors

CHUNK_BYTES = 1 << 20


class FileLists:
    """Obeys `remembering.Lists`: `FOLDER/JOB`, and `FOLDER/.JOB` for one that is offered."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def offer(self, job: str, chunks: Iterable[Buffer]) -> None:
        make_folder(self._folder)
        path = self._offered(job)
        descriptor = open_private(path, os.O_WRONLY | os.O_TRUNC)
        with state_errors(path), os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())

    def settle(self, job: str) -> None:
        offered = self._offered(job)
        with state_errors(offered):
            if offered.exists():
                offered.rename(self._folder / job)

    @contextmanager
    def open(self, job: str) -> Iterator[Iterator[bytes]]:
        path = self._folder / job
        with state_errors(path):
            if not path.exists():
                yield iter(())
                return
            with path.open("rb") as file:
                yield iter(lambda: file.read(CHUNK_BYTES), b"")

    def _offered(self, job: str) -> Path:
        # No job has a name that begins with a dot.
        return self._folder / f".{job}"
