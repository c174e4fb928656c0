"""A repository that takes no more bytes a second than it is allowed, over all uploads together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

from holdfast.model.backup import Buffer
from holdfast.ports.repository import Content, Repository, Stored


class PacedRepository:
    """Wraps a repository; `spend` is called with the size of each chunk and blocks as long as
    it must. Only uploads are held back."""

    def __init__(self, repository: Repository, spend: Callable[[int], None]) -> None:
        self._repository = repository
        self._spend = spend

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        if isinstance(chunks, Content):
            read = chunks.read
            return self._repository.put(key, replace(chunks, read=lambda: self._held_back(read())))
        return self._repository.put(key, self._held_back(chunks))

    def _held_back(self, chunks: Iterable[Buffer]) -> Iterator[Buffer]:
        for chunk in chunks:
            self._spend(len(memoryview(chunk)))
            yield chunk

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        return self._repository.open(key)

    def stat(self, key: str) -> Stored:
        return self._repository.stat(key)

    def list(self, prefix: str) -> Iterator[Stored]:
        return self._repository.list(prefix)

    def delete(self, key: str) -> None:
        self._repository.delete(key)

    def sweep(self, prefix: str) -> int:
        return self._repository.sweep(prefix)

    def free_bytes(self) -> int | None:
        return self._repository.free_bytes()

    def check(self) -> str:
        return self._repository.check()
