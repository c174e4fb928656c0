"""The lists of files in encrypted backups, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from holdfast.model.backup import Buffer


class MemoryFileLists:
    """Obeys `ports.host_state.FileLists`."""

    def __init__(self) -> None:
        self.offered: dict[str, bytes] = {}
        self.settled: dict[str, bytes] = {}

    def offer(self, job: str, chunks: Iterable[Buffer]) -> None:
        self.offered[job] = b"".join(bytes(chunk) for chunk in chunks)

    def settle(self, job: str) -> None:
        if job in self.offered:
            self.settled[job] = self.offered.pop(job)

    @contextmanager
    def open(self, job: str) -> Iterator[Iterator[bytes]]:
        yield iter([self.settled[job]] if job in self.settled else [])
