"""A long value is stored once, and verified each time it is used again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256, shake_256

import pytest
from zstandard import ZstdCompressor

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Blob, Buffer, Codec
from holdfast.model.errors import BackupFailed, RepositoryFull, VerifyFailed
from holdfast.model.fingerprints import FAST, ONLY_SHA256, Algorithms, fingerprint_of, of_sha256
from holdfast.operations.backup.job import backup
from holdfast.operations.parts.blob_read import proven_blob
from holdfast.operations.parts.blobs import BlobWriter
from holdfast.operations.prune import prune
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import table
from tests.support.memory_job import MemoryJob

VALUE = b"a long value" * 100_000
DIGITS = sha256(VALUE).hexdigest()
NAME = of_sha256(DIGITS)


def keeper(repository: MemoryRepository) -> BlobWriter:
    return BlobWriter(repository, job="shop", codec=Codec.ZSTD, level=3, advance=lambda _: None)


def read() -> list[bytes]:
    return [VALUE[:1000], VALUE[1000:]]


def never() -> list[bytes]:
    raise AssertionError("it is kept already")


def test_a_value_is_stored_once_whichever_run_brings_it() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    first, second = keeper(repository), keeper(repository)
    first.keep(NAME, len(VALUE), read)
    first.keep(NAME, len(VALUE), never)
    second.keep(NAME, len(VALUE), never)
    assert (first.stored, second.stored) == (1, 0)
    assert first.kept == second.kept
    (blob,) = first.kept
    assert blob.key == f"shop/blobs/{DIGITS[:2]}/{DIGITS}.zst"
    assert b"".join(proven_blob(repository, blob)) == VALUE


def test_two_workers_with_the_same_value_store_it_once() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    kept = keeper(repository)
    calls: list[int] = []

    def slow() -> list[bytes]:
        calls.append(1)
        return read()

    threads = [threading.Thread(target=kept.keep, args=(NAME, len(VALUE), slow)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == kept.stored == 1


def test_a_damaged_value_is_replaced_when_it_comes_again() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    keeper(repository).keep(NAME, len(VALUE), read)
    (key,) = repository.objects
    repository.flip_bit(key, at=20)
    with pytest.raises(VerifyFailed):
        list(proven_blob(repository, Blob(key=key, plain_fingerprint=NAME, plain_bytes=len(VALUE))))
    again = keeper(repository)
    again.keep(NAME, len(VALUE), read)
    assert (again.stored, again.healed) == (1, 1)
    assert b"".join(proven_blob(repository, again.kept[0])) == VALUE


def test_other_bytes_than_its_name_says_are_not_kept() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    with pytest.raises(BackupFailed, match="its content was read as"):
        keeper(repository).keep(NAME, 5, lambda: [b"other"])
    assert repository.objects == {}


def test_prune_drops_what_no_backup_refers_to_and_nothing_else() -> None:
    job = MemoryJob(table("orders", "1"))
    job.source.values = {b"x" * 1000, b"y" * 1000}
    backup(job.context)
    job.source.values = {b"y" * 1000}
    for _ in range(2):
        backup(job.context)
    prune(job.prune_context, dry_run=False)
    blobs = {key for key in job.repository.objects if "/blobs/" in key}
    assert {key.split("/")[-1] for key in blobs} == {f"{sha256(b'y' * 1000).hexdigest()}.zst"}
    kept = Catalog(job.repository).survey("shop").manifests
    assert [{blob.key for blob in each.blobs} for each in kept] == [blobs, blobs]


def test_while_a_manifest_is_damaged_no_blob_is_dropped() -> None:
    job = MemoryJob(table("orders", "1"))
    job.source.values = {b"x" * 1000}
    first = backup(job.context).manifest
    job.source.values = set()
    for _ in range(3):
        backup(job.context)
    job.repository.flip_bit(f"{first.backup_id}/manifest.json", at=200)
    prune(job.prune_context, dry_run=False)
    assert any("/blobs/" in key for key in job.repository.objects)


NOISE = shake_256(b"noise").digest(300_000)
NAMED = fingerprint_of(NOISE)


@dataclass
class Reads:
    """How often a value of noise was read."""

    count: int = 0

    def read(self) -> list[bytes]:
        self.count += 1
        return [NOISE[:1000], NOISE[1000:]]


def test_a_value_that_does_not_compress_is_stored_as_it_is() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    writer = keeper(repository)
    writer.keep(NAMED, len(NOISE), Reads().read)
    (blob,) = writer.kept
    assert blob.key == f"shop/blobs/{NAMED[7:9]}/blake3-{NAMED[7:]}"
    assert repository.objects[blob.key] == NOISE
    assert (blob.stored_bytes, blob.stored_fingerprint) == (len(NOISE), NAMED)
    assert b"".join(proven_blob(repository, blob)) == NOISE


def test_a_value_that_does_not_compress_is_named_by_the_server_and_proven_by_blake3() -> None:
    repository, by_server = (
        MemoryRepository(free_bytes=1 << 30),
        of_sha256(sha256(NOISE).hexdigest()),
    )
    writer = keeper(repository)
    writer.keep(by_server, len(NOISE), Reads().read)
    (blob,) = writer.kept
    assert (blob.plain_fingerprint, blob.stored_fingerprint) == (by_server, NAMED)


def test_a_value_that_was_compressed_by_an_earlier_release_is_not_stored_again() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    key = f"shop/blobs/{NAMED[7:9]}/blake3-{NAMED[7:]}.zst"
    repository.put(key, [ZstdCompressor(level=3).compress(NOISE)])
    writer = keeper(repository)
    writer.keep(NAMED, len(NOISE), never)
    assert [blob.key for blob in writer.kept] == [key]
    assert writer.stored == 0


def test_a_damaged_value_that_does_not_compress_is_replaced() -> None:
    repository, reads = MemoryRepository(free_bytes=1 << 30), Reads()
    keeper(repository).keep(NAMED, len(NOISE), reads.read)
    (key,) = repository.objects
    repository.flip_bit(key, at=20)
    again = keeper(repository)
    again.keep(NAMED, len(NOISE), reads.read)
    assert (reads.count, again.stored, again.healed) == (2, 1, 1)
    assert b"".join(proven_blob(repository, again.kept[0])) == NOISE


MIB = 1 << 20
LONG = bytes(range(256)) * (MIB // 256)
ROOM = 4 * MIB


def taker(repository: MemoryRepository, fingerprints: Algorithms = FAST) -> BlobWriter:
    return BlobWriter(
        repository,
        job="shop",
        codec=Codec.NONE,
        level=0,
        advance=lambda _: None,
        fingerprints=fingerprints,
        memory_bytes=ROOM,
    )


@dataclass
class Server:
    """A value of `mebibytes`, in chunks, and how often it was read."""

    mebibytes: int
    reads: int = 0

    def read(self) -> Iterator[Buffer]:
        self.reads += 1
        buffer = bytearray(MIB)
        for number in range(self.mebibytes):
            # The next chunk comes in the same buffer.
            buffer[:] = LONG[number:] + LONG[:number]
            yield memoryview(buffer)

    def value(self) -> bytes:
        return b"".join(bytes(chunk) for chunk in Server(self.mebibytes).read())


@pytest.mark.parametrize(("mebibytes", "reads"), [(0, 1), (1, 1), (4, 1), (5, 2)])
def test_a_value_is_read_once_where_it_has_room_in_memory(mebibytes: int, reads: int) -> None:
    repository, server = MemoryRepository(free_bytes=1 << 30), Server(mebibytes)
    kept = taker(repository)
    fingerprint, size_bytes = kept.take(server.read)
    assert server.reads == reads
    assert (fingerprint, size_bytes) == (fingerprint_of(server.value()), mebibytes * MIB)
    (blob,) = kept.kept
    assert b"".join(proven_blob(repository, blob)) == server.value()


def test_the_memory_of_a_value_is_given_back_also_after_an_error() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    kept = taker(repository)
    repository.refuse_puts_with = RepositoryFull("cannot store it")
    for _ in range(3):
        with pytest.raises(RepositoryFull):
            kept.take(Server(4).read)
        with pytest.raises(RepositoryFull):
            kept.take(Server(5).read)
    repository.refuse_puts_with = None
    for mebibytes in (1, 4, 3):
        server = Server(mebibytes)
        kept.take(server.read)
        assert server.reads == 1


def test_workers_share_the_memory_and_read_twice_what_has_no_room() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    kept, other = taker(repository), Server(2)

    class Reading(Server):
        def read(self) -> Iterator[Buffer]:
            yield from super().read()
            if not other.reads:
                # Another worker begins while three of four MiB are held.
                kept.take(other.read)

    first = Reading(3)
    kept.take(first.read)
    assert (first.reads, other.reads) == (1, 2)


def test_a_value_has_the_name_of_its_content_by_the_algorithm_of_the_job() -> None:
    for algorithms, name in ((FAST, "blake3-"), (ONLY_SHA256, "")):
        repository, server = MemoryRepository(free_bytes=1 << 30), Server(1)
        fingerprint, _ = taker(repository, algorithms).take(server.read)
        digits = fingerprint.partition(":")[2]
        assert [*repository.objects] == [f"shop/blobs/{digits[:2]}/{name}{digits}"]


def test_a_value_that_changes_while_it_is_read_twice_is_not_kept() -> None:
    repository = MemoryRepository(free_bytes=1 << 30)
    chunks = iter([[LONG] * 5, [LONG] * 4 + [b"x" * MIB]])
    with pytest.raises(BackupFailed, match="its content was read as 'blake3:"):
        taker(repository).take(lambda: next(chunks))
    assert repository.objects == {}
