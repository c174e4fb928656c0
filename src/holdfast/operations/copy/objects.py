"""Many objects from one repository to another: small ones side by side, long ones one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from holdfast.model.backup import Buffer
from holdfast.model.errors import (
    AlreadyStored,
    Interrupted,
    ObjectMissing,
    RepositoryReadOnly,
    VerifyFailed,
)
from holdfast.ports.repository import Content, Repository
from holdfast.ports.run import Progress
from holdfast.runtime.events import reached
from holdfast.runtime.worker_pool import WorkerPool

# What is longer fills the wire alone: two of them at once would only need more memory.
SMALL_BYTES = 5 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyItem:
    """One object to be copied; without `sha256` it is read once more to know it: by `learn`, which
    raises `VerifyFailed` where what is read is not what it should be.

    What others may refer to as well is not `replaceable`, whatever it holds.
    """

    key: str
    size_bytes: int
    sha256: str = ""
    learn: Callable[[], str] | None = None
    replaceable: bool = True


@dataclass(slots=True, kw_only=True)
class Tally:
    """What an upload came to; what was there already, by size and content, was not sent."""

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
    """Copy every item that `walk` brings; at most `at_once` small ones are on their way at a time.

    `walk` is called twice, and what it brings is never gathered. `is_fresh` says that the target
    holds none of them, so that nobody needs to look. The first error ends all of it. Raises
    `VerifyFailed` where the source holds other bytes than the item says.
    """
    copying = _Copying(source, target, is_fresh=is_fresh, progress=progress)
    small = (item for item in walk() if item.size_bytes < SMALL_BYTES)
    WorkerPool(at_once, abort=copying.end).each(small, copying.bring)
    long = (item for item in walk() if item.size_bytes >= SMALL_BYTES)
    # In a thread as well: this one must hear of Ctrl-C while a long object is on its way.
    WorkerPool(1, abort=copying.end).each(long, copying.bring)
    return copying.tally


_DAMAGED_HINT = "this backup is damaged: holdfast verify tells all that is wrong with it"


class _Copying:
    """Brings items from one repository to the other, and counts; called by several workers."""

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
        """Put the item where it is missing, and in the place of what is not it."""
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
        learn = item.learn or partial(_fingerprint, self._source, item.key)
        digest = item.sha256 or learn()
        return Content(
            size_bytes=item.size_bytes,
            sha256=digest,
            read=lambda: self._read(item.key, item.size_bytes, digest),
        )

    def _read(self, key: str, size_bytes: int, digest: str) -> Iterator[Buffer]:
        """The source's bytes; what is wrong with them ends the put that they are read for."""
        found, seen = sha256(), 0
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
        if (seen, found.hexdigest()) != (size_bytes, digest):
            raise VerifyFailed(
                f"cannot copy '{key}': it holds {seen} bytes with SHA-256 {found.hexdigest()},"
                f" not {size_bytes} with {digest}",
                hint=_DAMAGED_HINT,
            )

    def _is_there(self, item: CopyItem, content: Content) -> bool:
        """By size and content, never by name: what is not it makes room for what is.

        The store's own fingerprint saves the reading.
        """
        try:
            stored = self._target.stat(item.key)
            if stored.size_bytes == content.size_bytes:
                digest = stored.sha256 or _fingerprint(self._target, item.key)
                if digest == content.sha256:
                    return True
        except ObjectMissing:
            return False
        if not item.replaceable:
            raise AlreadyStored(
                f"cannot copy '{item.key}': the target holds other bytes under that name",
                hint="holdfast verify tells which of the two is damaged; delete that one",
            )
        try:
            self._target.delete(item.key)
        except RepositoryReadOnly as error:
            raise AlreadyStored(
                f"cannot copy '{item.key}': the target holds other bytes under that name, and"
                f" keeps them: {error.message}",
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
    """Of an object that goes on nobody reads how far."""
    return VerifyFailed(
        f"cannot copy '{key}': it holds more than its {size_bytes} bytes", hint=_DAMAGED_HINT
    )


def _fingerprint(repository: Repository, key: str) -> str:
    found = sha256()
    with repository.open(key) as chunks:
        for chunk in chunks:
            found.update(chunk)
    return found.hexdigest()
