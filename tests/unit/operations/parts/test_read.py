"""Long values are compared with their records, and stay usable for every backup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.catalog.manifest import encode
from holdfast.catalog.places import manifest_key
from holdfast.model.backup import Blob, Codec, Manifest
from holdfast.model.fingerprints import fingerprint_of
from holdfast.operations.backup.job import backup
from holdfast.operations.context import BackupContext
from holdfast.operations.copy.backups import CopyContext, copy
from holdfast.operations.parts.blob_read import proven_blob
from holdfast.operations.verify.backup import VerifyReport, quick, verify
from holdfast.pipeline.encryption import Identities
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.support.memory_job import MemoryJob

VALUE = b"a long value " * 5000 + bytes(range(256))
OURS = Identities.generate()
CODECS = pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.GZIP, Codec.NONE])
SEALED = pytest.mark.parametrize("is_sealed", [False, True], ids=["open", "sealed"])


def reformed(context: BackupContext, **form: Any) -> BackupContext:
    """The same job, its parts stored in another form."""
    job = replace(context.job, form=replace(context.job.form, **form))
    return replace(context, job=job)


class Kept(MemoryJob):
    """A job with one long value."""

    def __init__(self, codec: Codec = Codec.ZSTD, *, is_sealed: bool = False) -> None:
        super().__init__()
        self.codec = codec
        self.source.values = {VALUE}
        self.recipients = OURS.recipients if is_sealed else ()

    @property
    def context(self) -> BackupContext:
        context = super().context
        return reformed(context, codec=self.codec)

    def backup(self) -> Manifest:
        return backup(self.context).manifest

    def full(self, manifest: Manifest, *, opened: bool = True) -> VerifyReport:
        reader = replace(self.reader, identities=OURS if opened and self.recipients else None)
        return verify(reader, manifest.backup_id, workers=1)

    def quick(self, manifest: Manifest) -> VerifyReport:
        return quick(self.repository, manifest.backup_id)

    def damage(self, blob: Blob, change: Callable[[bytes], bytes]) -> None:
        self.repository.objects[blob.key] = change(self.repository.objects[blob.key])

    def as_the_first_release(self, manifest: Manifest) -> None:
        """It recorded nothing about the stored form of unencrypted values."""
        blobs = tuple(
            replace(each, stored_bytes=0, stored_fingerprint="") for each in manifest.blobs
        )
        old = replace(manifest, blobs=blobs)
        self.repository.objects[manifest_key(manifest.backup_id)] = encode(old)


def names(report: VerifyReport) -> list[str]:
    return [each.name for each in report.bad]


SHORTER = {
    "cut in half": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "cut by three bytes": lambda data: data[:-3],
    "cut by one byte": lambda data: data[:-1],
    "longer by one byte": lambda data: data + b"\0",
}


@CODECS
@SEALED
def test_how_a_value_is_stored_is_noted_and_found_as_noted(codec: Codec, is_sealed: bool) -> None:
    job = Kept(codec, is_sealed=is_sealed)
    for manifest in (job.backup(), job.backup()):
        (blob,) = manifest.blobs
        content = job.repository.objects[blob.key]
        assert (blob.stored_bytes, blob.stored_fingerprint) == (
            len(content),
            fingerprint_of(content),
        )
        assert job.quick(manifest).bad == job.full(manifest).bad == ()


@CODECS
@SEALED
@pytest.mark.parametrize("change", SHORTER)
def test_a_value_of_another_size_passes_neither_a_quick_look_nor_a_full_one(
    codec: Codec, is_sealed: bool, change: str
) -> None:
    job = Kept(codec, is_sealed=is_sealed)
    manifest = job.backup()
    (blob,) = manifest.blobs
    job.damage(blob, SHORTER[change])
    assert names(job.quick(manifest)) == [blob.key]
    assert names(job.full(manifest)) == [blob.key]
    assert names(job.full(manifest, opened=False)) == [blob.key]


@CODECS
@SEALED
def test_one_flipped_bit_at_any_place_of_a_value_is_found(codec: Codec, is_sealed: bool) -> None:
    job = Kept(codec, is_sealed=is_sealed)
    manifest = job.backup()
    (blob,) = manifest.blobs
    places = {*range(40), *range(40, blob.stored_bytes, 997), *range(-9, 0)}
    for at in places:
        for bit in (1, 128):
            job.damage(blob, lambda data, at=at, bit=bit: _flipped(data, at, bit))  # type: ignore[misc]
            assert names(job.full(manifest)) == [blob.key], (at, bit)
            job.damage(blob, lambda data, at=at, bit=bit: _flipped(data, at, bit))  # type: ignore[misc]
    assert job.full(manifest).bad == ()


def _flipped(data: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= bit
    return bytes(changed)


@CODECS
@pytest.mark.parametrize("change", SHORTER)
def test_a_value_with_a_recorded_content_only_must_be_whole_too(codec: Codec, change: str) -> None:
    job = Kept(codec)
    manifest = job.backup()
    (blob,) = manifest.blobs
    job.as_the_first_release(manifest)
    assert job.quick(manifest).bad == job.full(manifest).bad == ()
    job.damage(blob, SHORTER[change])
    assert names(job.full(manifest)) == [blob.key]
    if codec is Codec.NONE or change == "emptied":
        assert names(job.quick(manifest)) == [blob.key]


@SEALED
def test_a_damaged_value_that_comes_again_is_good_for_every_backup_that_refers_to_it(
    is_sealed: bool,
) -> None:
    job = Kept(Codec.ZSTD, is_sealed=is_sealed)
    earlier = job.backup()
    (blob,) = earlier.blobs
    job.damage(blob, SHORTER["cut in half"])
    # Another release of the compressor, or another level: the same content in other bytes.
    context = job.context
    later = backup(reformed(context, level=1)).manifest
    (anew,) = later.blobs
    assert anew.key == blob.key
    assert anew.stored_fingerprint != blob.stored_fingerprint
    again = job.backup()
    assert again.blobs == later.blobs
    for manifest in (earlier, later, again):
        assert job.quick(manifest).bad == job.full(manifest).bad == ()
        assert job.full(manifest, opened=False).bad == ()
    offsite = MemoryRepository()
    report = copy("shop", copying(job, offsite), FakeProgress())
    assert report.exit_code == 0
    assert offsite.objects[blob.key] == job.repository.objects[blob.key]


def copying(job: MemoryJob, offsite: MemoryRepository) -> CopyContext:
    return CopyContext(
        source=job.repository,
        target=offsite,
        believed=job.repository,
        guard=job.guard,
        at_once=1,
    )


@SEALED
@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("change", SHORTER)
def test_a_damaged_value_is_not_copied_as_a_good_one(
    is_sealed: bool, is_old: bool, change: str
) -> None:
    job = Kept(Codec.ZSTD, is_sealed=is_sealed)
    manifest = job.backup()
    if is_old and not is_sealed:
        job.as_the_first_release(manifest)
    job.damage(manifest.blobs[0], SHORTER[change])
    offsite = MemoryRepository()
    report = copy("shop", copying(job, offsite), FakeProgress())
    assert report.exit_code == 31
    assert manifest_key(manifest.backup_id) not in offsite.objects
    assert manifest.blobs[0].key not in offsite.objects


def test_the_same_content_in_other_bytes_is_told_where_no_backup_has_stored_it_so() -> None:
    """A writer to the repository can do that; it is not the object that was stored."""
    job = Kept(Codec.ZSTD)
    manifest = job.backup()
    (blob,) = manifest.blobs
    # An empty frame, which every tool skips.
    job.damage(blob, lambda data: data + b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"hey")
    bare = replace(blob, stored_bytes=0, stored_fingerprint="")
    assert b"".join(proven_blob(job.repository, bare)) == VALUE
    assert names(job.quick(manifest)) == names(job.full(manifest)) == [blob.key]
