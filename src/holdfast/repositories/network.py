"""Repositories behind a network: failed requests are tried again, and uploads are rate-limited."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from holdfast.model.errors import AlreadyStored, ObjectMissing, RepositoryUnreachable
from holdfast.model.fingerprints import BLAKE3, algorithm_of, digest, told
from holdfast.ports.repository import Content, ForwardingRepository, Repository, Stored
from holdfast.runtime import events, retries
from holdfast.runtime.cleanup import afterwards, noted_on

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0
# Shorter content is kept in memory until it is stored, so that it can be sent again.
MEMORY_BYTES = 16 << 20

Answer = TypeVar("Answer")


class RetryingRepository(ForwardingRepository):
    """Tries again a few times if the store does not answer, then raises the error.

    Only `RepositoryUnreachable` is tried again, and `check` never is: it must report every error.
    A stream longer than 16 MiB cannot be read twice: its error goes through, unless it is a
    `Content`.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        attempts: int = ATTEMPTS,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        super().__init__(repository)
        self._attempts = attempts
        self._first_wait_seconds = first_wait_seconds

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        content = chunks if isinstance(chunks, Content) else _remembered(chunks)
        if not isinstance(content, Content):
            return self._repository.put(key, content)
        tries: list[int] = []

        def act() -> Stored:
            tries.append(len(tries))
            try:
                return self._repository.put(key, content)
            except AlreadyStored:
                # An earlier try may have stored the object, and only its answer was lost.
                if len(tries) > 1 and self._holds(key, content):
                    return Stored(key=key, size_bytes=content.size_bytes)
                raise

        return self._trying(act, what=f"storing '{key}'")

    def _holds(self, key: str, content: Content) -> bool:
        algorithm, size_bytes = algorithm_of(content.fingerprint), 0
        found = digest(algorithm)
        try:
            with self._repository.open(key) as chunks:
                for chunk in chunks:
                    found.update(chunk)
                    size_bytes += len(chunk)
        except ObjectMissing:
            return False
        return (size_bytes, told(algorithm, found)) == (content.size_bytes, content.fingerprint)

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        reading = _Reading(self._repository, key)
        with afterwards(reading.end):
            self._trying(reading.begin, what=f"opening '{key}'")
            yield self._chunks(reading)

    def _chunks(self, reading: _Reading) -> Iterator[bytes]:
        while chunk := self._trying(reading.next_chunk, what=f"reading '{reading.key}'"):
            yield chunk

    def stat(self, key: str) -> Stored:
        return self._trying(lambda: self._repository.stat(key), what=f"looking up '{key}'")

    def list(self, prefix: str) -> Iterator[Stored]:
        """A list that breaks off is started again; objects already returned are skipped."""
        # Eight bytes a name. Skipping by position would miss objects if others were deleted.
        told, known = array("q"), set[int]()
        found = self._repository.list(prefix)

        def act() -> Stored | None:
            nonlocal found, known
            try:
                return next((each for each in found if hash(each.key) not in known), None)
            except RepositoryUnreachable:
                found, known = self._repository.list(prefix), set(told)
                raise

        while (stored := self._trying(act, what=f"listing '{prefix}'")) is not None:
            told.append(hash(stored.key))
            yield stored

    def delete(self, key: str) -> None:
        self._trying(lambda: self._repository.delete(key), what=f"deleting '{key}'")

    def sweep(self, prefix: str) -> int:
        return self._trying(lambda: self._repository.sweep(prefix), what=f"sweeping '{prefix}'")

    def free_bytes(self) -> int | None:
        return self._trying(self._repository.free_bytes, what="reading the free space")

    def _trying(self, act: Callable[[], Answer], *, what: str) -> Answer:
        """The first retry is immediate: the usual cause is a connection that was idle too long."""
        try:
            return act()
        except RepositoryUnreachable:
            if self._attempts == 1:
                raise
        for attempt in retries.attempts(
            on=RepositoryUnreachable,
            most=self._attempts - 1,
            first_wait_seconds=self._first_wait_seconds,
            longest_wait_seconds=LONGEST_WAIT_SECONDS,
        ):
            with attempt:
                events.warning("retry_started", what=what, attempt=attempt.num + 1)
                answer = act()
        return answer


class ThrottledRepository(ForwardingRepository):
    """Limits the upload rate of a run; all its uploads share the limit, nothing else does.

    `spend` is called with the size of each chunk, and blocks as long as it must.
    """

    def __init__(self, repository: Repository, spend: Callable[[int], None]) -> None:
        super().__init__(repository)
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


class _Reading:
    """The download of one object; after an error it continues where it was."""

    def __init__(self, repository: Repository, key: str) -> None:
        self.key = key
        self._repository = repository
        self._seen_bytes = 0
        self._chunks: Iterator[bytes] | None = None
        self._end: Callable[[], object] = lambda: None

    def begin(self) -> None:
        opened = self._repository.open(self.key)
        self._chunks = opened.__enter__()
        self._end = lambda: opened.__exit__(None, None, None)

    def end(self) -> None:
        end, self._end, self._chunks = self._end, lambda: None, None
        end()

    def next_chunk(self) -> bytes:
        """The next bytes, none at the end; a new connection skips the bytes already returned."""
        try:
            if self._chunks is None:
                self.begin()
                chunk = self._skipped()
            else:
                chunk = next(self._chunks, b"")
        except RepositoryUnreachable as error:
            with noted_on(error):
                self.end()
            raise
        self._seen_bytes += len(chunk)
        return chunk

    def _skipped(self) -> bytes:
        """Skips the bytes already returned; the first new ones."""
        left = self._seen_bytes
        for chunk in self._chunks or ():
            if len(chunk) > left:
                return chunk[left:]
            left -= len(chunk)
        return b""


def _remembered(chunks: Iterable[Buffer]) -> Content | Iterator[Buffer]:
    """`chunks` as repeatable content; if they are too many, an iterator over all of them."""
    source, head, size_bytes, found = iter(chunks), deque[bytes](), 0, digest(BLAKE3)
    for chunk in source:
        head.append(bytes(chunk))
        size_bytes += len(head[-1])
        found.update(head[-1])
        if size_bytes > MEMORY_BYTES:
            return _given_back(head, source)
    return Content(size_bytes=size_bytes, fingerprint=told(BLAKE3, found), read=lambda: head)


def _given_back(head: deque[bytes], rest: Iterator[Buffer]) -> Iterator[Buffer]:
    """Returns the remembered chunks, then the rest; each chunk is freed as soon as it is sent."""
    while head:
        yield head.popleft()
    yield from rest
