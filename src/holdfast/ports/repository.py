"""The port to a store: objects, each whole or not at all, and the documents among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from holdfast.model.backup import Buffer
from holdfast.model.stored_json import Limits, Unreadable, damaged, gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object in a repository."""

    key: str
    size_bytes: int
    sha256: str = ""
    """Of its content, in hex, where the store keeps it and gives it with a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Chunks for `Repository.put` that can be read again, so that a failed put may be retried.

    What is known of them beforehand a store can keep with the object: `sha256` in hex.
    """

    size_bytes: int
    sha256: str
    read: Callable[[], Iterable[Buffer]]

    def __iter__(self) -> Iterator[Buffer]:
        return iter(self.read())


class Repository(Protocol):
    """Where objects are kept under `/`-separated keys: each whole or not at all.

    Whatever a store refuses for its own reasons is `RepositoryRefused`.
    """

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        """Keep `chunks` under `key`, all or nothing; durable when this returns.

        Whatever `chunks` raises is raised again and leaves nothing behind.
        Raises `AlreadyStored`, `RepositoryFull`, `RepositoryReadOnly`, `RepositoryUnreachable`.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """Read `key` in chunks of at most a few MiB; raises `ObjectMissing`."""
        ...

    def stat(self, key: str) -> Stored:
        """The size of `key`, and its SHA-256 where the store keeps one; raises `ObjectMissing`.

        The fingerprint was right when it was put: only reading proves that it still is.
        """
        ...

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every whole object below `prefix`, in order of key; unfinished puts are not seen."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is no error.

        Raises `RepositoryReadOnly` where the store keeps it: locked, or no right to delete.
        """
        ...

    def sweep(self, prefix: str) -> int:
        """Remove what broken puts left below `prefix`; how many. Only for whoever holds the job."""
        ...

    def free_bytes(self) -> int | None:
        """Room left, or None where the store has no such notion."""
        ...

    def check(self) -> str:
        """Prove that a put and a read work now, and try a delete; raises what they would raise.

        A login that may not delete is no error: the answer says why, and is empty otherwise.
        """
        ...


class ForwardingRepository:
    """Hands everything on to another repository: a wrapper overrides only what it changes."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        return self._repository.put(key, chunks)

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


def read_document(
    repository: Repository, key: str, limits: Limits, *, stored: Stored | None = None
) -> bytes:
    """What is stored under `key`, looked at no further than its shape; `stored` is what a list has
    told of it. Raises `ManifestInvalid` naming the key, `ObjectMissing`."""
    told = stored or repository.stat(key)
    try:
        if told.size_bytes > limits.most_bytes:
            raise Unreadable(f"it is larger than {limits.most_bytes} bytes")
        with repository.open(key) as chunks:
            return gathered(chunks, limits)
    except Unreadable as error:
        raise damaged(key, error) from error
