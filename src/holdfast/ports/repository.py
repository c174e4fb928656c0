"""The port to a store: objects that appear whole or not at all, and the documents among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from holdfast.model.lazy_dataclass import dataclass, field
from holdfast.model.stored_json import Limits, Unreadable, damaged, gathered

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object in a repository."""

    key: str
    size_bytes: int
    fingerprint: str = ""
    """The fingerprint of the content with its algorithm; empty where the store does not list it."""
    version: str = field(default="", compare=False)
    """In a list: another one once the object was replaced or written to; empty if none is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Chunks for `Repository.put` that can be read again, so that a failed put may be retried.

    A store may keep `fingerprint`, which is cryptographic, with the object.
    """

    size_bytes: int
    fingerprint: str
    read: Callable[[], Iterable[Buffer]]

    def __iter__(self) -> Iterator[Buffer]:
        return iter(self.read())


class Repository(Protocol):
    """Stores objects under `/`-separated keys, each whole or not at all.

    Any method raises `RepositoryRefused` where the store refuses for reasons of its own.
    """

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        """Store `chunks` under `key`, all or nothing; durable when this returns.

        An error raised by `chunks` is raised again, and nothing is stored.
        Raises `AlreadyStored`, `RepositoryFull`, `RepositoryReadOnly`, `RepositoryUnreachable`.
        """
        ...

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """Read `key` in chunks of at most a few MiB; raises `ObjectMissing`."""
        ...

    def stat(self, key: str) -> Stored:
        """The size of `key`, and its fingerprint where the store keeps one; raises `ObjectMissing`.

        The fingerprint was correct when the object was put: only reading proves that it still is.
        """
        ...

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every complete object below `prefix`, in order of key, without unfinished puts."""
        ...

    def delete(self, key: str) -> None:
        """Remove `key`; a missing key is no error.

        Raises `RepositoryReadOnly` where the object is locked or the login may not delete.
        """
        ...

    def sweep(self, prefix: str) -> int:
        """Remove what interrupted puts left below `prefix`, and return how many objects those were.

        Only the process that holds the job's lock may call it: others may still be writing.
        """
        ...

    def free_bytes(self) -> int | None:
        """The free space in bytes, or None where the store reports none."""
        ...

    def check(self) -> str:
        """Prove that a put and a read work now, and try a delete; raises what they raise.

        A login that may not delete is no error: the result then says why, otherwise it is empty.
        """
        ...


class ForwardingRepository:
    """Forwards everything to another repository; a wrapper overrides only what it changes."""

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
    """Read the JSON document under `key` within `limits`, without interpreting its content.

    `stored` is its entry in a list, which saves a `stat`. Raises `ManifestInvalid` naming the key,
    and `ObjectMissing`.
    """
    told = stored or repository.stat(key)
    try:
        if told.size_bytes > limits.most_bytes:
            raise Unreadable(f"it is larger than {limits.most_bytes} bytes")
        with repository.open(key) as chunks:
            return gathered(chunks, limits)
    except Unreadable as error:
        raise damaged(key, error) from error
