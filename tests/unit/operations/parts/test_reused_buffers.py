"""Sources reuse their buffers; a store that lags or is asked twice gets the right bytes, too."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import shake_256

import pytest

from holdfast.model.backup import Buffer, Codec
from holdfast.model.errors import AlreadyStored, RepositoryFull, RepositoryUnreachable
from holdfast.model.fingerprints import FAST, fingerprint_of
from holdfast.operations.parts.blobs import BlobWriter
from holdfast.operations.parts.mirrored import Member, Mirrored
from holdfast.operations.parts.write import keep
from holdfast.pipeline.compression import CompressZstd, Pass, decompress
from holdfast.pipeline.encryption import Identities
from holdfast.pipeline.flow import Stage, flow
from holdfast.ports.repository import Repository, Stored
from holdfast.repositories.network import RetryingRepository
from tests.fakes.repository import MemoryRepository

MIB = 1 << 20
# As a pipe of rows: whole buffers, each compressed as a frame, and a short one at the end.
SIZES = (MIB, MIB, 2 * MIB, 300_001)
PIECES = [shake_256(b"%d" % number).digest(size) for number, size in enumerate(SIZES)]
CONTENT = b"".join(PIECES)


def reused(pieces: Iterable[bytes] = PIECES) -> Iterator[Buffer]:
    """Each piece lies in the same buffer, which has other bytes once the next is asked for."""
    buffer = memoryview(bytearray(2 * MIB))
    for piece in pieces:
        buffer[: len(piece)] = piece
        yield buffer[: len(piece)]
        buffer[:] = b"\xff" * len(buffer)


class Lagging(MemoryRepository):
    """A store that begins to send when it has been given everything."""

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        return super().put(key, list(chunks))


class Faltering(MemoryRepository):
    """A store that is unreachable once, after it has read everything."""

    puts = 0

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        self.puts += 1
        given = list(chunks)
        if self.puts == 1:
            raise RepositoryUnreachable("cannot reach it: connection reset")
        return super().put(key, given)


def plain(stored: bytes, codec: Codec, identity: Identities | None) -> bytes:
    chunks: Iterable[Buffer] = [stored]
    if identity is None:
        return b"".join(decompress([bytes(chunk) for chunk in chunks], codec))
    with identity.decryption() as unseal:
        opened = [bytes(chunk) for chunk in flow(chunks, [unseal])]
    return b"".join(decompress(opened, codec))


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
@pytest.mark.parametrize("is_sealed", [False, True])
def test_stores_that_lag_or_are_asked_twice_get_the_bytes_that_were_read(
    codec: Codec, is_sealed: bool
) -> None:
    identity = Identities.generate() if is_sealed else None
    fast, lagging, faltering = MemoryRepository(), Lagging(), Faltering()
    stores: list[Repository] = [fast, lagging, RetryingRepository(faltering, first_wait_seconds=0)]
    members = [Member(name=str(number), repository=each) for number, each in enumerate(stores)]
    compression: Stage = Pass() if codec is Codec.NONE else CompressZstd(1)
    was_read, was_stored = keep(
        Mirrored(members),
        "part",
        reused(),
        compression=compression,
        recipients=identity.recipients if identity else (),
        fingerprints=FAST,
    )
    assert was_read.fingerprint == fingerprint_of(CONTENT, was_read.algorithm)
    assert faltering.puts == 2
    for store in (fast, lagging, faltering):
        assert fingerprint_of(store.objects["part"]) == was_stored.fingerprint
        assert plain(store.objects["part"], codec, identity) == CONTENT


def writer(repository: Repository, *, memory_bytes: int = 4 * MIB) -> BlobWriter:
    return BlobWriter(
        repository,
        job="shop",
        codec=Codec.ZSTD,
        level=1,
        advance=lambda _: None,
        memory_bytes=memory_bytes,
    )


def test_values_that_share_memory_are_right_in_a_store_that_lags() -> None:
    lagging = Lagging()
    stores = [Member(name="a", repository=MemoryRepository()), Member(name="b", repository=lagging)]
    kept = writer(Mirrored(stores))

    def take(first: int) -> None:
        for number in range(first, first + 8):
            value = shake_256(b"%d" % number).digest(700_000 + number)
            kept.take(partial(reused, [value[:400_000], value[400_000:]]))

    workers = [threading.Thread(target=take, args=(first,)) for first in (0, 100, 200)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(kept.kept) == 24
    for blob in kept.kept:
        assert fingerprint_of(lagging.objects[blob.key]) == blob.stored_fingerprint
        assert blob.plain_fingerprint == blob.stored_fingerprint


class Session:
    """A server's session, which can do one read at a time."""

    def __init__(self) -> None:
        self.is_busy = False
        self.reads = 0

    def read(self) -> Iterator[Buffer]:
        assert not self.is_busy, "another command is already in progress"
        self.is_busy = True
        self.reads += 1
        try:
            yield from reused()
        finally:
            self.is_busy = False


class Occupied(MemoryRepository):
    """An append-only store with an object under the usual key, seen before anything is sent."""

    puts = 0

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        self.puts += 1
        if self.puts == 1:
            raise AlreadyStored(f"cannot store '{key}': the key exists")
        return super().put(key, chunks)


def test_a_value_under_an_occupied_key_is_read_again_when_the_first_read_has_ended() -> None:
    occupied, session = Occupied(), Session()
    writer(occupied, memory_bytes=0).take(session.read)
    assert (session.reads, occupied.puts) == (3, 2)
    assert [*occupied.objects.values()] == [CONTENT]


def test_a_session_is_free_as_soon_as_a_store_refuses_a_value() -> None:
    full, session = MemoryRepository(), Session()
    full.refuse_puts_with = RepositoryFull("cannot store it: no room left")
    with pytest.raises(RepositoryFull) as refused:
        writer(full, memory_bytes=0).take(session.read)
    # Its traceback holds every frame of the failed read.
    assert refused.tb is not None
    assert (session.is_busy, session.reads) == (False, 2)
