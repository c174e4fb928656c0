from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

import pytest

from holdfast.model.backup import Buffer, Codec, Part, PartPlan
from holdfast.model.errors import VerifyFailed
from holdfast.model.fingerprints import BLAKE3, XXH3, fingerprint_of
from holdfast.operations.parts.read import proven
from holdfast.operations.parts.write import key_of, store_part
from holdfast.pipeline.compression import CompressZstd
from holdfast.ports.source import PartStream
from tests.fakes.source import FakeSnapshot
from tests.support.memory_job import MemoryJob


def stored(job: MemoryJob, snapshot: FakeSnapshot, plan: PartPlan) -> Part:
    form = job.spec.form
    key = key_of(form, "shop/1", plan)
    return store_part(
        snapshot, plan, into=job.repository, key=key, form=form, advance=lambda _: None
    )


@pytest.mark.parametrize(
    ("compress", "threads", "codec", "suffix"),
    [(True, 0, Codec.ZSTD, ".zst"), (True, 2, Codec.ZSTD, ".zst"), (False, 0, Codec.NONE, "")],
)
def test_a_part_is_compressed_as_its_plan_says(
    compress: bool, threads: int, codec: Codec, suffix: str
) -> None:
    job = MemoryJob()
    with job.source.open(workers=1) as snapshot:
        plan = replace(snapshot.parts[0], compress=compress, compress_threads=threads)
        part = stored(job, snapshot, plan)
    assert part.codec is codec
    assert part.key == f"shop/1/parts/data/public.orders.copy{suffix}"
    assert b"".join(proven(job.repository, part)) == b"1,ann\n2,bob\n3,eve\n"
    assert (part.stored_fingerprint == part.plain_fingerprint) is not compress


def test_a_restore_reads_by_one_fingerprint_and_the_codecs_own_checksum() -> None:
    noise = b"".join(sha256(bytes([number])).digest() for number in range(200))
    compress = CompressZstd(3)
    frame = bytearray(b"".join([*compress.feed(noise), *compress.finish()]))
    job = MemoryJob()
    with job.source.open(workers=1) as snapshot:
        plan = snapshot.parts[0]
        part = stored(job, snapshot, plan)
    # As if the compressor had changed the content: the stored bytes stay the same.
    frame[len(frame) // 2] ^= 1
    job.repository.put("frame", [bytes(frame)])
    wrong = replace(
        part,
        key="frame",
        stored_bytes=len(frame),
        stored_fingerprint=fingerprint_of(frame),
        plain_bytes=len(noise),
        plain_fingerprint=fingerprint_of(noise),
    )
    with pytest.raises(VerifyFailed, match="checksum"):
        list(proven(job.repository, wrong, both=False))
    other = replace(part, stored_fingerprint=part.plain_fingerprint)
    with pytest.raises(VerifyFailed, match="stored fingerprint"):
        list(proven(job.repository, other, both=False))


class Upside:
    """A compressor that reverses every buffer, so that its output is recognised."""

    def feed(self, chunk: Buffer) -> Iterator[Buffer]:
        yield bytes(chunk)[::-1]

    def finish(self) -> Iterator[Buffer]:
        yield b"end"


class Bringing(PartStream):
    """A stream with a compressor of its own."""

    rows = 1
    compression = Upside()

    def __iter__(self) -> Iterator[Buffer]:
        yield b"plain"


class BringingSnapshot(FakeSnapshot):
    """The fake's own, but for what its parts are read as."""

    @contextmanager
    def read(self, part: PartPlan) -> Iterator[PartStream]:  # type: ignore[override]  # a wider promise
        del part
        yield Bringing()


def test_a_stream_that_brings_a_compressor_is_stored_as_that_one_writes_it() -> None:
    job = MemoryJob()
    with job.source.open(workers=1) as snapshot:
        plan = snapshot.parts[0]
    bringing = BringingSnapshot(tables=())
    part = stored(job, bringing, plan)
    assert part.codec is Codec.ZSTD
    assert part.plain_fingerprint == fingerprint_of(b"plain", XXH3)
    assert part.stored_fingerprint == fingerprint_of(b"nialpend", BLAKE3)
