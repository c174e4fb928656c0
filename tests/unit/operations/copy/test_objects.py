"""Many objects at once: bounded, streamed, and the first error is reported."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat

import pytest

from holdfast.model.backup import Buffer
from holdfast.model.errors import RepositoryFull, TasksRefused, VerifyFailed
from holdfast.model.fingerprints import fingerprint_of
from holdfast.operations.copy.objects import SMALL_BYTES, CopyItem, Tally, upload
from holdfast.ports.repository import Stored
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.support.threads import refuse_threads


class Watched(MemoryRepository):
    """Counts concurrent puts, and can refuse one of them."""

    def __init__(self, *, refuses: str = "") -> None:
        super().__init__()
        self.now = self.most = 0
        self.long_with_others = False
        self.refuses = refuses
        self._lock = threading.Lock()
        self.all_here = threading.Barrier(4, timeout=20)

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.long_with_others |= key.startswith("long") and self.now > 1
        try:
            if key.startswith("meet"):
                self.all_here.wait()
            if key == self.refuses:
                raise RepositoryFull("cannot store: full")
            return super().put(key, chunks)
        finally:
            with self._lock:
                self.now -= 1


class Endless(MemoryRepository):
    """Its objects never end."""

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        yield repeat(b"x" * 1000)


def filled(*keys: str, size_bytes: int = 3) -> MemoryRepository:
    source = MemoryRepository()
    source.objects = {key: key.encode().ljust(size_bytes, b".") for key in keys}
    return source


def uploaded(source: MemoryRepository, target: MemoryRepository, *, at_once: int = 4) -> Tally:
    return upload(
        lambda: (
            CopyItem(key=key, size_bytes=len(data), fingerprint=fingerprint_of(data))
            for key, data in source.objects.items()
        ),
        source,
        target,
        at_once=at_once,
        is_fresh=False,
        progress=FakeProgress(),
    )


def test_small_objects_are_on_their_way_side_by_side_and_no_more_than_allowed() -> None:
    source = filled(*(f"meet/{number}" for number in range(8)))
    target = Watched()
    assert uploaded(source, target).sent == 8
    assert target.most == 4
    assert target.objects == source.objects


def test_long_objects_come_one_after_another() -> None:
    source = filled("long/1", "long/2", "long/3", size_bytes=SMALL_BYTES)
    target = Watched()
    uploaded(source, target)
    assert not target.long_with_others
    assert target.objects == source.objects


def test_the_first_error_is_told_and_not_what_it_brought_about() -> None:
    source = filled(*(f"key/{number:03}" for number in range(200)))
    target = Watched(refuses="key/010")
    with pytest.raises(RepositoryFull, match="full"):
        uploaded(source, target)
    assert len(target.objects) < 100


def test_an_object_that_nothing_proves_is_not_copied() -> None:
    source, target = filled("a"), MemoryRepository()
    with pytest.raises(VerifyFailed, match="'a': the manifest records no fingerprint"):
        upload(
            lambda: iter([CopyItem(key="a", size_bytes=3)]),
            source,
            target,
            at_once=1,
            is_fresh=True,
            progress=FakeProgress(),
        )
    assert target.objects == {}


def test_the_walk_is_never_run_ahead_of_the_uploads() -> None:
    source, target = filled(*(f"key/{number}" for number in range(50))), MemoryRepository()
    ahead = 0

    def walk() -> Iterator[CopyItem]:
        nonlocal ahead
        for count, (key, data) in enumerate(source.objects.items()):
            ahead = max(ahead, count - len(target.objects))
            yield CopyItem(key=key, size_bytes=len(data), fingerprint=fingerprint_of(data))

    upload(walk, source, target, at_once=3, is_fresh=True, progress=FakeProgress())
    # The second walk looks for long objects only, when all are there.
    assert ahead <= 3


def test_an_object_that_is_longer_than_it_should_be_is_not_read_to_its_end() -> None:
    target = MemoryRepository()
    with pytest.raises(VerifyFailed, match="it holds more than 3000 bytes"):
        upload(
            lambda: iter(
                [CopyItem(key="a", size_bytes=3000, fingerprint=fingerprint_of(b"x" * 3000))]
            ),
            Endless(),
            target,
            at_once=1,
            is_fresh=True,
            progress=FakeProgress(),
        )
    assert target.objects == {}


class ShortOfTasks(MemoryRepository):
    """Its host refuses a task at the first put of `b`."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = False

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        if key == "b" and not self.refused:
            self.refused = True
            raise TasksRefused("cannot start: the kernel refused another process or thread")
        return super().put(key, chunks)


def test_an_object_for_which_the_host_refused_a_task_is_not_left_out() -> None:
    source, target = filled("a", "b", "c"), ShortOfTasks()
    tally = uploaded(source, target, at_once=1)
    assert target.objects == source.objects
    assert tally.sent == 3


def test_a_copy_continues_with_the_threads_that_the_host_grants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_threads(monkeypatch, "slot-[2-9]")
    source, target = filled(*"abcdef"), MemoryRepository()
    assert uploaded(source, target).sent == 6
    assert target.objects == source.objects
