"""Copy many objects between repositories: small ones in parallel, long ones one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.model.errors import (
    AlreadyStored,
    Interrupted,
    ObjectMissing,
    RepositoryReadOnly,
    VerifyFailed,
)
from holdfast.model.fingerprints import algorithm_of, digest, told
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.repository import Content, Repository
from holdfast.runtime.events import reached
from holdfast.runtime.worker_pool import WorkerPool

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer
    from holdfast.ports.run import Progress

# A longer object fills the connection alone: two at once would only need more memory.
SMALL_BYTES = 5 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyItem:
    """One object to be copied.

    Without `fingerprint` only `learn` can prove the object: it reads the object, returns its
    fingerprint, and raises `VerifyFailed` for wrong content. It is also asked if the object has
    another fingerprint than this one. An object without either is not copied, as nothing proves it.
    One that other backups may refer to is not `replaceable`, even if its content is wrong.
    """

    key: str
    size_bytes: int
    fingerprint: str = ""
    learn: Callable[[], str] | None = None
    replaceable: bool = True


@dataclass(slots=True, kw_only=True)
class Tally:
    """The counts of an upload; `found` objects were there already, by size and content."""

    sent: int = 0
    sent_bytes: int = 0
    found: int = 0
    replaced: int = 0


def upload(
    walk: Callable[[], Iterable[CopyItem]],
    source: Repository,
    target: Repository,
    *,
    at_once: int,
    is_fresh: bool,
    progress: Progress,
) -> Tally:
    """Copy every item of `walk`, at most `at_once` small ones at a time.

    `walk` is called twice, and its items are never collected in memory. With `is_fresh` the target
    holds none of them and is not asked. The first error ends the upload. Raises `VerifyFailed` if
    the source holds other bytes than the item says.
    """
    copying = _Copying(source, target, is_fresh=is_fresh, progress=progress)
    small = (item for item in walk() if item.size_bytes < SMALL_BYTES)
    WorkerPool(at_once, abort=copying.end).each(small, copying.bring)
    long = (item for item in walk() if item.size_bytes >= SMALL_BYTES)
    # In a thread, too: the main thread must handle Ctrl-C while a long object is copied.
    WorkerPool(1, abort=copying.end).each(long, copying.bring)
    return copying.tally


_DAMAGED_HINT = "this backup is damaged: holdfast verify lists all of its problems"


class _Copying:
    """Copies items from one repository to the other, and counts them; used by several workers."""

    def __init__(
        self, source: Repository, target: Repository, *, is_fresh: bool, progress: Progress
    ) -> None:
        self._source = source
        self._target = target
        self._is_fresh = is_fresh
        self._progress = progress
        self._lock = threading.Lock()
        self._ended = False
        self.tally = Tally()

    def end(self) -> None:
        self._ended = True

    def bring(self, item: CopyItem) -> None:
        """Put the item if it is missing in the target, or to replace an object that differs."""
        try:
            self._bring(item)
        except (VerifyFailed, AlreadyStored):
            if not item.fingerprint or item.learn is None:
                raise
            self._bring(replace(item, fingerprint=""))

    def _bring(self, item: CopyItem) -> None:
        content = self._content(item)
        if not self._is_fresh and self._is_there(item, content):
            self._progress.advance(item.size_bytes)
            self._count(item, found=1)
            return
        try:
            self._target.put(item.key, content)
        except AlreadyStored:
            if not self._is_there(item, content):
                self._target.put(item.key, content)
        self._count(item, sent=1, sent_bytes=item.size_bytes)
        reached("copy-object-stored")

    def _content(self, item: CopyItem) -> Content:
        expected = item.fingerprint or (item.learn() if item.learn is not None else "")
        if not expected:
            raise VerifyFailed(
                f"cannot copy '{item.key}': the manifest records no fingerprint that proves it",
                hint=_DAMAGED_HINT,
            )
        return Content(
            size_bytes=item.size_bytes,
            fingerprint=expected,
            read=lambda: self._read(item.key, item.size_bytes, expected),
        )

    def _read(self, key: str, size_bytes: int, expected: str) -> Iterator[Buffer]:
        """The source's bytes; raises at wrong content, which ends the put that reads them."""
        algorithm, seen = algorithm_of(expected), 0
        found = digest(algorithm)
        with self._source.open(key) as chunks:
            for chunk in chunks:
                if self._ended:
                    raise Interrupted(f"cannot copy '{key}': another upload failed")
                found.update(chunk)
                seen += len(chunk)
                if seen > size_bytes:
                    raise _longer(key, size_bytes)
                self._progress.advance(len(chunk))
                yield chunk
        fingerprint = told(algorithm, found)
        if (seen, fingerprint) != (size_bytes, expected):
            raise VerifyFailed(
                f"cannot copy '{key}': it holds {seen} bytes with fingerprint {fingerprint},"
                f" not {size_bytes} with {expected}",
                hint=_DAMAGED_HINT,
            )

    def _is_there(self, item: CopyItem, content: Content) -> bool:
        """Whether the target holds the item, by size and content.

        The target's object is read only if its store gives no fingerprint by the same algorithm.
        An object that differs is removed; raises `AlreadyStored` if it cannot be replaced.
        """
        try:
            stored = self._target.stat(item.key)
            if stored.size_bytes == content.size_bytes:
                found, algorithm = stored.fingerprint, algorithm_of(content.fingerprint)
                if not found or algorithm_of(found) != algorithm:
                    found = _fingerprint(self._target, item.key, algorithm)
                if found == content.fingerprint:
                    return True
        except ObjectMissing:
            return False
        if not item.replaceable:
            raise AlreadyStored(
                f"cannot copy '{item.key}': the target holds other bytes under that name",
                hint="holdfast verify shows which of the two is damaged; delete that one",
            )
        try:
            self._target.delete(item.key)
        except RepositoryReadOnly as error:
            raise AlreadyStored(
                f"cannot copy '{item.key}': the target holds other bytes under that name, and"
                f" refuses to delete them: {error.message}",
                hint=error.hint,
            ) from error
        with self._lock:
            self.tally.replaced += 1
        return False

    def _count(self, item: CopyItem, *, sent: int = 0, sent_bytes: int = 0, found: int = 0) -> None:
        with self._lock:
            self.tally.sent += sent
            self.tally.sent_bytes += sent_bytes
            self.tally.found += found
        self._progress.part_done(item.key)


def _longer(key: str, size_bytes: int) -> VerifyFailed:
    """The error for an object that is too long; its size is unknown, as the rest is not read."""
    return VerifyFailed(
        f"cannot copy '{key}': it holds more than {size_bytes} bytes", hint=_DAMAGED_HINT
    )


def _fingerprint(repository: Repository, key: str, algorithm: str) -> str:
    found = digest(algorithm)
    with repository.open(key) as chunks:
        for chunk in chunks:
            found.update(chunk)
    return told(algorithm, found)
