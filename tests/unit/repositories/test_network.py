"""Retries are bounded, and only for errors that waiting may cure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from holdfast.config.repositories import S3Settings
from holdfast.model.backup import Buffer
from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    RepositoryFull,
    RepositoryUnreachable,
)
from holdfast.model.fingerprints import fingerprint_of
from holdfast.ports.repository import Content, Stored
from holdfast.repositories.network import MEMORY_BYTES, RetryingRepository, ThrottledRepository
from holdfast.wiring.repositories import repository
from tests.fakes.repository import CHUNK_BYTES, MemoryRepository

MIB = 1 << 20
GONE = RepositoryUnreachable("cannot reach it: gone")


class Flaky(MemoryRepository):
    """Fails the given number of times, before or after it has carried out the request."""

    def __init__(self, *, fails: int, after: bool = False, error: HoldfastError = GONE) -> None:
        super().__init__()
        self.calls = 0
        self._fails = fails
        self._after = after
        self._error = error

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        return self._maybe(lambda: super(Flaky, self).put(key, chunks))

    def _maybe(self, act: Callable[[], Stored]) -> Stored:
        self.calls += 1
        if self.calls > self._fails:
            return act()
        if self._after:
            act()
        raise self._error

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        """Each time it breaks off one chunk later."""
        with super().open(key) as chunks:
            yield self._breaking(chunks)

    def _breaking(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        self.calls += 1
        for number, chunk in enumerate(chunks):
            if number == self.calls and self.calls <= self._fails:
                raise self._error
            yield chunk


def patient(store: Flaky) -> RetryingRepository:
    return RetryingRepository(store, attempts=3, first_wait_seconds=0.001)


def test_a_stream_that_fits_into_memory_is_sent_again() -> None:
    store = Flaky(fails=2)
    patient(store).put("job/key", iter([b"one", b"two"]))
    assert store.objects == {"job/key": b"onetwo"}
    assert store.calls == 3


def test_after_the_last_try_the_error_itself_comes_through() -> None:
    store = Flaky(fails=100)
    with pytest.raises(RepositoryUnreachable, match="gone"):
        patient(store).put("job/key", [b"x"])
    assert store.calls == 3


def test_an_error_that_waiting_cannot_cure_is_not_retried() -> None:
    store = Flaky(fails=100, error=RepositoryFull("cannot store: full"))
    with pytest.raises(RepositoryFull):
        patient(store).put("job/key", [b"x"])
    assert store.calls == 1


def test_an_object_whose_answer_was_lost_is_no_stranger() -> None:
    store = Flaky(fails=1, after=True)
    assert patient(store).put("job/key", [b"x"]).size_bytes == 1
    assert store.objects == {"job/key": b"x"}


def test_a_stranger_under_the_same_key_is_found_also_when_tried_again() -> None:
    store = Flaky(fails=1)
    store.objects["job/key"] = b"y"
    with pytest.raises(AlreadyStored):
        patient(store).put("job/key", [b"x"])
    assert store.objects == {"job/key": b"y"}


def test_a_stream_that_does_not_fit_goes_through_once_and_is_held_once() -> None:
    store = Flaky(fails=1)
    long = iter([b"x" * MIB] * (MEMORY_BYTES // MIB + 1))
    with pytest.raises(RepositoryUnreachable):
        patient(store).put("job/long", long)
    assert store.calls == 1


def test_a_long_stream_arrives_whole() -> None:
    store = Flaky(fails=0)
    pieces = [bytes([number]) * MIB for number in range(20)]
    patient(store).put("job/long", iter(pieces))
    assert store.objects["job/long"] == b"".join(pieces)


def test_reading_continues_after_the_bytes_that_were_read() -> None:
    store = Flaky(fails=2)
    data = b"".join(bytes([number]) * CHUNK_BYTES for number in range(6))
    store.objects["job/key"] = data
    with patient(store).open("job/key") as chunks:
        assert b"".join(chunks) == data
    assert store.calls == 3


def test_a_list_that_breaks_off_tells_everything_once_though_others_come_and_go() -> None:
    class Changing(MemoryRepository):
        def list(self, prefix: str) -> Iterator[Stored]:
            for stored in list(super().list(prefix)):
                if stored.key == "job/5" and "job/0" in self.objects:
                    # Another process removes names that were listed already, and adds earlier ones.
                    del self.objects["job/0"], self.objects["job/1"]
                    self.objects["job/00"] = b""
                    raise GONE
                yield stored

    store = Changing()
    for number in range(9):
        store.put(f"job/{number}", [b""])
    told = [each.key for each in RetryingRepository(store, first_wait_seconds=0).list("job")]
    assert sorted(told) == sorted(["job/00", *(f"job/{number}" for number in range(9))])


def test_every_byte_of_an_upload_is_spent_before_it_is_sent() -> None:
    store = MemoryRepository()
    spent: list[int] = []
    paced = ThrottledRepository(store, spent.append)
    chunks: list[Buffer] = [b"one", memoryview(b"three")]
    paced.put("job/stream", iter(chunks))
    assert spent == [3, 5]
    content = Content(size_bytes=2, fingerprint=fingerprint_of(b"ab"), read=lambda: [b"a", b"b"])
    paced.put("job/content", content)
    assert spent == [3, 5, 1, 1]
    assert store.objects == {"job/stream": b"onethree", "job/content": b"ab"}


def test_reading_is_not_held_back() -> None:
    store = MemoryRepository()
    store.objects["job/key"] = b"x"

    def never(_size_bytes: int) -> None:
        raise AssertionError("only uploads are held back")

    paced = ThrottledRepository(store, never)
    with paced.open("job/key") as chunks:
        assert b"".join(chunks) == b"x"
    assert [each.key for each in paced.list("job")] == ["job/key"]
    assert paced.stat("job/key").size_bytes == 1


@pytest.mark.parametrize(("rate", "is_paced"), [(None, False), (1_000_000, True)])
def test_only_a_store_with_a_rate_is_paced(rate: int | None, is_paced: bool) -> None:
    made = repository(S3Settings(kind="s3", bucket="b", upload_rate=rate))
    assert isinstance(made._repository, ThrottledRepository) is is_paced  # type: ignore[attr-defined]  # inside the one that retries
