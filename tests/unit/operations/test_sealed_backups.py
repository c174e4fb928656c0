"""An encrypted backup: what its keeper can verify without the key, and what needs the key."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest
from holdfast.model.errors import BackupFailed, IdentityNeeded, VerifyFailed
from holdfast.model.fingerprints import (
    BLAKE3,
    CRYPTOGRAPHIC,
    SHA256,
    fingerprint_of,
)
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.job import backup
from holdfast.operations.parts.blob_read import proven_blob
from holdfast.operations.parts.read import proven
from holdfast.operations.prune import prune
from holdfast.operations.restore.backup import restore
from holdfast.operations.verify.backup import VerifyReport, verify
from holdfast.pipeline.encryption import Identities
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import CHUNK_BYTES, MemoryRepository
from tests.fakes.source import FakeTarget, table
from tests.support.memory_job import MemoryJob

OURS, NEW = Identities.generate(), Identities.generate()
VALUE = b"a scanned contract" * 1000


def sealed_job(*, recipients: Identities = OURS) -> MemoryJob:
    job = MemoryJob()
    job.recipients = recipients.recipients
    return job


def verified(job: MemoryJob, identities: Identities | None = None) -> VerifyReport:
    return verify(replace(job.reader, identities=identities), "shop/latest", workers=2)


def restored(job: MemoryJob, identities: Identities | None) -> FakeTarget:
    target = FakeTarget()
    restore(
        job.repository,
        target,
        "shop/latest",
        progress=FakeProgress(),
        workers=2,
        identities=identities,
    )
    return target


def test_parts_are_age_files_and_their_manifest_names_the_recipients() -> None:
    job = sealed_job()
    manifest = backup(job.context).manifest
    assert manifest.recipients == OURS.recipients
    for part in manifest.parts:
        assert (part.encryption, part.key.endswith(".copy.zst.age")) == ("age", True)
        stored = job.repository.objects[part.key]
        assert stored.startswith(b"age-encryption.org/v1\n")
        assert (len(stored), fingerprint_of(stored)) == (part.stored_bytes, part.stored_fingerprint)
        plain = b"".join(proven(job.repository, part, identities=OURS))
        assert (len(plain), fingerprint_of(plain, BLAKE3)) == (
            part.plain_bytes,
            part.plain_fingerprint,
        )


def test_a_fingerprint_that_can_be_reversed_reveals_nothing_of_an_encrypted_backup() -> None:
    job = sealed_job()
    job.source.values = job.source.large_objects = {VALUE}
    backup(job.context)
    everything = b"".join(job.repository.objects.values())
    assert b"blake3:" in everything
    assert b"xxh3:" not in everything


def test_its_identity_brings_it_back() -> None:
    job = sealed_job()
    backup(job.context)
    assert restored(job, OURS).tables["public.orders"] == b"1,ann\n2,bob\n3,eve\n"


@pytest.mark.parametrize(
    ("identities", "why"),
    [(None, "no identity is given"), (NEW, "it is not encrypted for the given identity")],
)
def test_nothing_is_touched_without_the_right_identity(
    identities: Identities | None, why: str
) -> None:
    job = sealed_job()
    backup(job.context)
    target = FakeTarget()
    with pytest.raises(IdentityNeeded, match=why) as raised:
        restore(
            job.repository, target, "shop/latest", progress=FakeProgress(), identities=identities
        )
    assert "--identity FILE" in raised.value.hint
    assert target.requests == []


def test_a_wrong_identity_is_told_whose_is_wanted() -> None:
    job = sealed_job()
    backup(job.context)
    with pytest.raises(IdentityNeeded) as raised:
        verified(job, NEW)
    assert NEW.recipients[0] in raised.value.message
    assert OURS.recipients[0] in raised.value.hint


def test_verify_compares_what_is_stored_without_an_identity_and_all_of_it_with_one() -> None:
    job = sealed_job()
    job.source.values = {VALUE}
    manifest = backup(job.context).manifest
    without, whole = verified(job), verified(job, OURS)
    assert (without.bad, without.unopened) == ((), 4)
    assert (whole.bad, whole.unopened) == ((), 0)
    assert whole.plain_bytes == manifest.plain_bytes


@pytest.mark.parametrize("identities", [None, OURS], ids=["stored", "opened"])
def test_one_flipped_bit_at_any_place_of_a_sealed_part_is_found_and_the_part_named(
    identities: Identities | None,
) -> None:
    job = sealed_job()
    part = backup(job.context).manifest.parts[0]
    for at in range(part.stored_bytes):
        job.repository.flip_bit(part.key, at=at)
        assert [bad.name for bad in verified(job, identities).bad] == [part.name], f"byte {at}"
        job.repository.flip_bit(part.key, at=at)
    assert verified(job, identities).bad == ()


@pytest.mark.parametrize("identities", [None, OURS], ids=["stored", "opened"])
def test_a_part_of_another_backup_in_its_place_is_found(identities: Identities | None) -> None:
    job = sealed_job()
    first = backup(job.context).manifest
    second = backup(job.context).manifest
    objects = job.repository.objects
    # Both hold the same rows for the same recipients: only the manifest tells which is which.
    objects[second.parts[0].key] = objects[first.parts[0].key]
    assert [bad.name for bad in verified(job, identities).bad] == [second.parts[0].name]


def test_a_part_that_was_dropped_is_found() -> None:
    job = sealed_job()
    part = backup(job.context).manifest.parts[1]
    job.repository.delete(part.key)
    assert [bad.name for bad in verified(job).bad] == [part.name]


def test_a_part_that_is_whole_but_for_somebody_else_is_not_called_damaged() -> None:
    job = sealed_job()
    part = backup(job.context).manifest.parts[0]
    with pytest.raises(IdentityNeeded, match="whose recipient is age1"):
        list(proven(job.repository, part, identities=NEW))
    job.repository.flip_bit(part.key, at=-1)
    with pytest.raises(VerifyFailed, match="stored fingerprint"):
        list(proven(job.repository, part, identities=NEW))


def test_so_is_one_that_is_longer_than_what_is_read_at_once() -> None:
    noise = [sha256(str(number).encode()).hexdigest() for number in range(10_000)]
    job = MemoryJob(table("orders", *noise))
    job.recipients = OURS.recipients
    (part,) = backup(job.context).manifest.parts
    assert part.stored_bytes > 4 * CHUNK_BYTES
    with pytest.raises(IdentityNeeded):
        list(proven(job.repository, part, identities=NEW))
    job.repository.flip_bit(part.key, at=-1)
    with pytest.raises(VerifyFailed, match="stored fingerprint"):
        list(proven(job.repository, part, identities=NEW))


def test_old_and_new_recipients_each_open_what_was_sealed_for_them() -> None:
    job = sealed_job()
    backup(job.context)
    job.recipients = NEW.recipients
    backup(job.context)
    assert verified(job, NEW).bad == ()
    with pytest.raises(IdentityNeeded):
        verified(job, OURS)
    both = Identities.parse(OURS.reveal() + NEW.reveal())
    for manifest in Catalog(job.repository).survey("shop").manifests:
        for part in manifest.parts:
            assert len(list(proven(job.repository, part, identities=both))) <= 1


def failed_halfway(recipients: tuple[str, ...]) -> MemoryJob:
    error = BackupFailed("cannot read table 'public.items'")
    job = MemoryJob(table("orders", "1,ann"), table("items", "1", "2", fails_with=error))
    job.recipients, job.resumable, job.workers = recipients, True, 1
    with pytest.raises(BackupFailed):
        backup(job.context)
    job.source.tables = (table("orders", "1,ann"), table("items", "1", "2"))
    job.source.held = "00000003-0000001B-1"
    return job


@pytest.mark.parametrize("before", [(), NEW.recipients], ids=["nobody", "others"])
def test_a_resumed_backup_takes_nothing_over_that_was_not_sealed_for_its_recipients(
    before: tuple[str, ...],
) -> None:
    job = failed_halfway(before)
    job.recipients = OURS.recipients
    manifest = backup(job.context, BackupChoice(resume=True)).manifest
    assert manifest.proof.resumed_parts == 0
    parts = {key for key in job.repository.objects if "/parts/" in key}
    assert parts == {part.key for part in manifest.parts}
    assert verified(job, OURS).bad == ()


def test_a_backup_for_the_same_recipients_is_resumed() -> None:
    job = failed_halfway(OURS.recipients)
    manifest = backup(job.context, BackupChoice(resume=True)).manifest
    assert manifest.proof.resumed_parts == 1
    assert verified(job, OURS).bad == ()


# Long values, kept once for all backups.


def blob_keys(job: MemoryJob) -> list[str]:
    return [key for key in job.repository.objects if "/blobs/" in key]


@pytest.fixture(params=["values", "large_objects"])
def kind(request: pytest.FixtureRequest) -> str:
    """Whether a value is named by its server, by SHA-256, or by us."""
    return str(request.param)


Made = Callable[[], tuple[MemoryJob, Manifest]]


@pytest.fixture
def with_value(kind: str) -> Made:
    def made() -> tuple[MemoryJob, Manifest]:
        job = sealed_job()
        setattr(job.source, kind, {VALUE})
        return job, backup(job.context).manifest

    return made


def test_a_sealed_value_is_stored_once_and_reveals_nothing(
    with_value: Made,
) -> None:
    job, first = with_value()
    second = backup(job.context).manifest
    assert first.blobs == second.blobs
    assert (first.metrics["blobs_stored"], second.metrics["blobs_stored"]) == (1, 0)
    everything = b"".join(job.repository.objects.values()) + "".join(blob_keys(job)).encode()
    for algorithm in CRYPTOGRAPHIC:
        digits = fingerprint_of(VALUE, algorithm).partition(":")[2]
        assert digits.encode() not in everything
    assert base64.b64encode(b"of this host") not in everything


def test_a_sealed_value_comes_back_by_the_name_of_its_content(with_value: Made, kind: str) -> None:
    job, _ = with_value()
    target = FakeTarget()
    restore(job.repository, target, "shop/latest", progress=FakeProgress(), identities=OURS)
    open_blob = target.requests[0].open_blob
    assert open_blob is not None
    algorithm = SHA256 if kind == "values" else BLAKE3
    with open_blob(fingerprint_of(VALUE, algorithm)) as chunks:
        assert b"".join(chunks) == VALUE
    wrong = fingerprint_of(b"", algorithm)
    with pytest.raises(VerifyFailed, match="does not list it"), open_blob(wrong) as chunks:
        list(chunks)


def test_new_recipients_get_a_copy_of_their_own(
    with_value: Made,
) -> None:
    job, _ = with_value()
    job.recipients = NEW.recipients
    manifest = backup(job.context).manifest
    assert manifest.metrics["blobs_stored"] == 1
    assert len(blob_keys(job)) == 2
    assert verified(job, NEW).bad == ()


def _flip(repository: MemoryRepository, key: str) -> None:
    repository.flip_bit(key, at=-1)


def _cut(repository: MemoryRepository, key: str) -> None:
    repository.objects[key] = repository.objects[key][:-1]


def _drop(repository: MemoryRepository, key: str) -> None:
    repository.delete(key)


@pytest.mark.parametrize("damage", [_flip, _cut, _drop])
def test_a_damaged_sealed_value_is_found_and_replaced(
    damage: Callable[[MemoryRepository, str], None],
    with_value: Made,
) -> None:
    job, _ = with_value()
    (key,) = blob_keys(job)
    damage(job.repository, key)
    assert [bad.name for bad in verified(job).bad] == [key]
    assert [bad.name for bad in verified(job, OURS).bad] == [key]
    assert backup(job.context).manifest.metrics["blobs_stored"] == 1
    assert verified(job, OURS).bad == ()


def test_what_no_finished_backup_vouches_for_is_not_believed(
    with_value: Made,
) -> None:
    job, manifest = with_value()
    (key,) = blob_keys(job)
    Catalog(job.repository).drop(manifest)
    job.repository.objects[key] = b"not what it was"
    again = backup(job.context).manifest
    assert again.metrics["blobs_stored"] == 1
    assert verified(job, OURS).bad == ()


def test_another_value_under_its_name_is_found_though_the_manifest_agrees_with_it(
    with_value: Made, kind: str
) -> None:
    job, manifest = with_value()
    setattr(job.source, kind, {VALUE + b"!"})
    other = backup(job.context).manifest.blobs[0]
    (blob,) = manifest.blobs
    objects = job.repository.objects
    objects[blob.key] = objects[other.key]
    forged = replace(other, key=blob.key)
    with pytest.raises(VerifyFailed, match="its content belongs to blob"):
        list(proven_blob(job.repository, forged, identities=OURS))


def test_prune_drops_what_no_backup_refers_to_sealed_or_not(with_value: Made, kind: str) -> None:
    job, _ = with_value()
    setattr(job.source, kind, set())
    for _ in range(2):
        backup(job.context)
    prune(job.prune_context, dry_run=False)
    assert blob_keys(job) == []


@pytest.mark.parametrize("algorithm", CRYPTOGRAPHIC)
def test_what_a_foreign_manifest_says_of_a_value_costs_no_other_backup_that_value(
    with_value: Made, algorithm: str
) -> None:
    """The next backup once removed a value for which one manifest had another fingerprint."""
    job, good = with_value()
    (blob,) = good.blobs
    wrong = replace(blob, stored_fingerprint=f"{algorithm}:{'0' * 64}")
    name = "99981231T000000Z-ffffffff"
    foreign = replace(good, name=name, parts=(), blobs=(wrong,))
    Catalog(job.repository).commit(foreign)
    kept = job.repository.objects[blob.key]
    again = backup(job.context).manifest
    assert job.repository.objects[blob.key] == kept
    assert [each.key for each in again.blobs] == [blob.key]
    assert verify(replace(job.reader, identities=OURS), again.backup_id, workers=1).bad == ()
    assert verify(replace(job.reader, identities=OURS), good.backup_id, workers=1).bad == ()


def test_a_value_that_an_unreadable_backup_may_need_stays_and_is_kept_once_more(
    with_value: Made,
) -> None:
    """It was once removed, because no readable manifest named it."""
    job, manifest = with_value()
    (key,) = blob_keys(job)
    kept = job.repository.objects[key]
    job.repository.flip_bit(f"{manifest.backup_id}/manifest.json", at=200)
    again = backup(job.context).manifest
    assert job.repository.objects[key] == kept
    assert again.blobs[0].key != key
    assert verify(replace(job.reader, identities=OURS), again.backup_id, workers=1).bad == ()
    job.repository.flip_bit(f"{manifest.backup_id}/manifest.json", at=200)
    assert verify(replace(job.reader, identities=OURS), manifest.backup_id, workers=1).bad == ()
