"""Write the same bytes, read once, to several repositories; each succeeds or fails alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import field
from queue import Full, Queue
from typing import TYPE_CHECKING

from holdfast.model.errors import HoldfastError, LeaseLost, ObjectMissing
from holdfast.model.lazy_dataclass import dataclass
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.kernel import start

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer
    from holdfast.ports.repository import Repository, Stored
    from holdfast.ports.run import Hold

# How many chunks a slow store may lag behind the fastest one; a chunk has two MiB at most.
CHUNKS_BEHIND = 4
SECONDS_BETWEEN_LOOKS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStore:
    """A repository of the job that has no backup from this run, while another one has."""

    name: str
    error: HoldfastError


@dataclass
class Member:
    """One repository of a mirrored run; the first of them is the job's own."""

    name: str
    repository: Repository
    hold: Hold | None = None
    error: HoldfastError | None = field(default=None)


class Mirrored:
    """Obeys `ports.repository.Repository` over several stores that receive the same bytes.

    A store that fails is not used again, and `failures` names it. Calls raise only once every store
    has failed, with the error of the first. Reads come from the first store that has not failed.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._lock = threading.Lock()

    @property
    def failures(self) -> tuple[FailedStore, ...]:
        return tuple(
            FailedStore(name=each.name, error=each.error)
            for each in self._members
            if each.error is not None
        )

    def fail(self, member: Member, error: HoldfastError) -> None:
        """Stop using `member`; raises the first store's error if none is left."""
        with self._lock:
            if member.error is None:
                member.error = error
                events.error("repository_failed", repository=member.name, error=error.message)
            if all(each.error is not None for each in self._members):
                raise self._members[0].error or error

    def each(self, work: Callable[[Repository], object]) -> None:
        """Do `work` with every store that has not failed; an error marks that store as failed."""
        for member in self._healthy():
            try:
                work(member.repository)
            except HoldfastError as error:
                self.fail(member, error)

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        members = self._healthy()
        puts = [_Put(member.name, member.repository, key) for member in members]
        _feed(chunks, puts)
        for member, put in zip(members, puts, strict=True):
            if put.error is not None:
                self.fail(member, put.error)
            elif member.hold is not None and member.hold.lost:
                # The host that took the job over there may have removed the earlier parts.
                with suppress(HoldfastError):
                    member.repository.delete(key)
                self.fail(member, LeaseLost(f"cannot continue: {member.hold.lost}"))
        return next(put.stored for put in puts if put.stored is not None)

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        return self._first.open(key)

    def stat(self, key: str) -> Stored:
        return self._first.stat(key)

    def list(self, prefix: str) -> Iterator[Stored]:
        """The objects of all stores together, so that a sweep finds what only one of them has."""
        found: dict[str, Stored] = {}

        def look(repository: Repository) -> None:
            for stored in repository.list(prefix):
                found.setdefault(stored.key, stored)

        self.each(look)
        yield from (found[key] for key in sorted(found))

    def complete(self, key: str) -> None:
        """Copy `key` from the first store to the others that lack it or have another size.

        An earlier run may have stored it in some of the stores only.
        """
        first, *others = self._healthy()
        for member in others:
            try:
                _bring(key, first.repository, member.repository)
            except HoldfastError as error:
                self.fail(member, error)

    def delete(self, key: str) -> None:
        self.each(lambda repository: repository.delete(key))

    def sweep(self, prefix: str) -> int:
        swept = []
        self.each(lambda repository: swept.append(repository.sweep(prefix)))
        return sum(swept)

    def free_bytes(self) -> int | None:
        return self._first.free_bytes()

    def check(self) -> str:
        refused = list[str]()
        self.each(lambda repository: refused.append(repository.check()))
        return next(filter(None, refused), "")

    @property
    def _first(self) -> Repository:
        return self._healthy()[0].repository

    def _healthy(self) -> Sequence[Member]:
        """The stores that have not failed, at least one; raises the first one's error if none."""
        with self._lock:
            healthy = [each for each in self._members if each.error is None]
        if not healthy and self._members[0].error is not None:
            raise self._members[0].error
        return healthy


def _bring(key: str, source: Repository, target: Repository) -> None:
    try:
        if target.stat(key).size_bytes == source.stat(key).size_bytes:
            return
        target.delete(key)
    except ObjectMissing:
        pass
    with source.open(key) as chunks:
        target.put(key, chunks)


def in_each_store(repository: Repository, work: Callable[[Repository], object]) -> None:
    """Do `work` with the repository, or with each store of a mirrored one."""
    if isinstance(repository, Mirrored):
        repository.each(work)
    else:
        work(repository)


def complete(repository: Repository, key: str) -> None:
    """Copy `key` to every store of a mirrored repository."""
    if isinstance(repository, Mirrored):
        repository.complete(key)


def failed_stores(repository: Repository) -> tuple[FailedStore, ...]:
    return repository.failures if isinstance(repository, Mirrored) else ()


class _Put:
    """One store's put in its own thread, fed from a bounded queue."""

    def __init__(self, name: str, repository: Repository, key: str) -> None:
        self._repository = repository
        self.stored: Stored | None = None
        self.error: HoldfastError | None = None
        self.unforeseen: BaseException | None = None
        self._queue: Queue[bytes | _SourceBroke | None] = Queue(CHUNKS_BEHIND)
        self._thread = threading.Thread(target=self._run, args=(key,), name=f"put-{name}")

    def begin(self) -> None:
        """Start the thread; not in a pool, as all puts of one part must run at the same time.

        Raises `TasksRefused` if the kernel refuses the thread.
        """
        start(self._thread)

    def give(self, chunk: bytes | _SourceBroke | None) -> None:
        """Queue `chunk`, or None for the end; waits for space unless this put has ended."""
        while self._thread.is_alive():
            with suppress(Full):
                self._queue.put(chunk, timeout=SECONDS_BETWEEN_LOOKS)
                break

    @property
    def has_failed(self) -> bool:
        return self.error is not None or self.unforeseen is not None

    def join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self, key: str) -> None:
        try:
            self.stored = self._repository.put(key, self._chunks())
        except _SourceBroke:
            pass
        except HoldfastError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - raised again by `_feed` in the caller's thread
            self.unforeseen = error

    def _chunks(self) -> Iterator[bytes]:
        while (chunk := self._queue.get()) is not None:
            if isinstance(chunk, _SourceBroke):
                raise chunk
            yield chunk


class _SourceBroke(Exception):
    """Ends a store's put if the source fails: that is no error of the store."""


def _feed(chunks: Iterable[Buffer], puts: list[_Put]) -> None:
    """Give every chunk to each put; an error of the source ends all puts and is raised."""
    ending: _SourceBroke | None = _SourceBroke()

    def end() -> None:
        for put in puts:
            put.give(ending)
        for put in puts:
            put.join()

    with afterwards(end):
        for put in puts:
            put.begin()
        for chunk in chunks:
            # The source may reuse the buffer for its next chunk.
            copied = bytes(chunk)
            for put in puts:
                put.give(copied)
            if all(put.has_failed for put in puts):
                break
        ending = None
    for put in puts:
        if put.unforeseen is not None:
            raise put.unforeseen
