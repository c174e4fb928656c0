"""One repository may hold backups whose fingerprints are by different algorithms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.documents import wrapped
from holdfast.catalog.wal_archive import NAME, SCHEMA, WalArchive
from holdfast.model.errors import BackupFailed, ManifestInvalid, WalConflict
from holdfast.model.fingerprints import (
    BLAKE3,
    FAST,
    ONLY_SHA256,
    SHA256,
    XXH3,
    Algorithms,
    algorithm_of,
    fingerprint_of,
)
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.job import backup
from holdfast.operations.copy.backups import CopyContext, copy
from holdfast.operations.parts.read import BlobRecords
from holdfast.operations.prune import prune
from holdfast.operations.verify.backup import verify
from holdfast.operations.wal.push import push
from holdfast.pipeline.encryption import Identities
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import table
from tests.support.memory_cluster import CLUSTER, DataDirectory, archiving
from tests.support.memory_job import MemoryJob
from tests.support.older_schemas import kept_in_schema_1

OURS = Identities.generate()
ONE = "000000010000000000000001"


def mixed() -> MemoryJob:
    """A job with a backup of schema 1, one of SHA-256 and one of today."""
    job = MemoryJob()
    job.fingerprints = ONLY_SHA256
    kept_in_schema_1(job.repository, backup(job.context).manifest)
    backup(job.context)
    job.fingerprints = FAST
    backup(job.context)
    return job


@pytest.mark.parametrize(
    ("fingerprints", "plain", "stored"), [(FAST, XXH3, BLAKE3), (ONLY_SHA256, SHA256, SHA256)]
)
def test_parts_are_proven_by_the_algorithms_of_the_job(
    fingerprints: Algorithms, plain: str, stored: str
) -> None:
    job = MemoryJob()
    job.fingerprints = fingerprints
    made = backup(job.context).manifest
    assert {algorithm_of(each.plain_fingerprint) for each in made.parts} == {plain}
    assert {algorithm_of(each.stored_fingerprint) for each in made.parts} == {stored}
    for each in made.parts:
        content = job.repository.objects[each.key]
        assert fingerprint_of(content, stored) == each.stored_fingerprint


def test_backups_of_every_kind_verify_and_are_copied_byte_by_byte() -> None:
    job, offsite = mixed(), MemoryRepository()
    context = CopyContext(
        source=job.repository, target=offsite, believed=job.repository, guard=job.guard, at_once=1
    )
    assert copy("shop", context, FakeProgress()).exit_code == 0
    assert offsite.objects == job.repository.objects
    found = Catalog(offsite).survey("shop").manifests
    assert len(found) == 3
    for each in found:
        assert not verify(job.reader_of(offsite), each.backup_id, workers=1).bad


def test_a_flipped_bit_is_found_in_a_backup_of_every_kind() -> None:
    job = mixed()
    for each in Catalog(job.repository).survey("shop").manifests:
        part = max(each.parts, key=lambda part: part.stored_bytes)
        job.repository.flip_bit(part.key, at=part.stored_bytes // 2)
        report = verify(job.reader, each.backup_id, workers=1)
        assert [bad.name for bad in report.bad] == [part.name]


@pytest.mark.parametrize(
    ("first", "then"), [(ONLY_SHA256, FAST), (FAST, ONLY_SHA256)], ids=["newer", "older"]
)
def test_a_run_goes_on_with_parts_of_another_algorithm(first: Algorithms, then: Algorithms) -> None:
    orders, error = table("orders", "1,ann", "2,bob"), BackupFailed("cannot read it")
    job = MemoryJob(orders, table("items", "1", fails_with=error))
    job.resumable, job.workers, job.fingerprints = True, 1, first
    with pytest.raises(BackupFailed):
        backup(job.context)
    job.source.tables = (orders, table("items", "1"))
    job.source.held, job.fingerprints = "00000003-0000001B-1", then
    made = backup(job.context, BackupChoice(resume=True)).manifest
    assert made.proof.resumed_parts == 1
    assert {algorithm_of(each.stored_fingerprint) for each in made.parts} == {
        first.stored,
        then.stored,
    }
    assert not verify(job.reader, made.backup_id, workers=1).bad


VALUE = b"a long value" * 1000


def with_value(kind: str) -> MemoryJob:
    """A job that stored one value with a SHA-256, and finds it again with today's algorithms."""
    job = MemoryJob(table("orders", "1"))
    setattr(job.source, kind, {VALUE})
    job.fingerprints = ONLY_SHA256
    backup(job.context)
    job.fingerprints = FAST
    backup(job.context)
    return job


def blob_keys(job: MemoryJob) -> list[str]:
    return sorted(key for key in job.repository.objects if "/blobs/" in key)


def test_a_value_that_its_server_names_is_stored_once_across_algorithms() -> None:
    job = with_value("values")
    assert len(blob_keys(job)) == 1
    newer, older = Catalog(job.repository).survey("shop").manifests
    assert newer.blobs[0].plain_fingerprint == older.blobs[0].plain_fingerprint
    assert newer.blobs[0].stored_fingerprint == fingerprint_of(
        job.repository.objects[newer.blobs[0].key], BLAKE3
    )
    assert older.blobs[0].stored_fingerprint.startswith("sha256:")


def test_a_large_object_is_stored_once_more_under_its_new_name_and_the_old_one_goes() -> None:
    job = with_value("large_objects")
    new, old = sorted(blob_keys(job), key=lambda key: "/blake3-" not in key)
    assert "/blake3-" in new
    assert "/blake3-" not in old
    for each in Catalog(job.repository).survey("shop").manifests:
        assert not verify(job.reader, each.backup_id, workers=1).bad
    backup(job.context)
    prune(job.prune_context, dry_run=False)
    assert blob_keys(job) == [new]


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("kind", ["values", "large_objects"])
def test_a_value_that_was_stored_anew_is_right_for_backups_of_either_algorithm(
    kind: str, is_sealed: bool
) -> None:
    """Each backup knows the stored bytes by its own algorithm, and the older ones have changed."""
    job = MemoryJob(table("orders", "1"))
    job.recipients = OURS.recipients if is_sealed else ()
    setattr(job.source, kind, {VALUE})
    job.fingerprints = ONLY_SHA256
    backup(job.context)
    if kind == "large_objects":
        job.fingerprints = FAST
        backup(job.context)
        job.fingerprints = ONLY_SHA256
        backup(job.context)
    for key in blob_keys(job):
        # Its bytes are stored otherwise from now on; where they are encrypted, in the same size.
        job.repository.flip_bit(key, at=-1)
    for fingerprints in (FAST, ONLY_SHA256):
        job.fingerprints = fingerprints
        backup(job.context)
    reader = replace(job.reader, identities=OURS)
    found = Catalog(job.repository).survey("shop").manifests
    for each in found:
        assert not verify(reader, each.backup_id, workers=1).bad
        assert not verify(job.reader, each.backup_id, workers=1).bad
    offsite = MemoryRepository()
    context = CopyContext(
        source=job.repository, target=offsite, believed=job.repository, guard=job.guard, at_once=1
    )
    assert copy("shop", context, FakeProgress()).exit_code == 0
    assert offsite.objects == job.repository.objects


def beside(note: bytes, frame: bytes) -> bytes:
    """The same value in other stored bytes, in the same size: a frame of zstd that is skipped."""
    return (0x184D2A50).to_bytes(4, "little") + len(note).to_bytes(4, "little") + note + frame


def test_stored_bytes_that_differ_in_nothing_but_algorithm_and_content_are_told_apart() -> None:
    job = MemoryJob(table("orders", "1"))
    job.source.values = {VALUE}
    Catalog(job.repository).drop(backup(job.context).manifest)
    (key,) = blob_keys(job)
    frame = job.repository.objects[key]
    for note, fingerprints in ((b"one", ONLY_SHA256), (b"two", FAST)):
        job.repository.objects[key] = beside(note, frame)
        job.fingerprints = fingerprints
        backup(job.context)
    newest, older = Catalog(job.repository).survey("shop").manifests
    assert newest.blobs[0].stored_bytes == older.blobs[0].stored_bytes
    for each in (newest, older):
        assert not verify(job.reader, each.backup_id, workers=1).bad
    offsite = MemoryRepository()
    context = CopyContext(
        source=job.repository, target=offsite, believed=job.repository, guard=job.guard, at_once=1
    )
    assert copy("shop", context, FakeProgress()).exit_code == 0
    assert offsite.objects == job.repository.objects
    job.repository.objects[key] = beside(b"six", frame)
    assert [bad.name for bad in verify(job.reader, older.backup_id, workers=1).bad] == [key]


def test_two_readings_of_a_blob_are_not_mixed() -> None:
    job = MemoryJob()
    job.fingerprints = ONLY_SHA256
    job.source.values = {VALUE}
    made = backup(job.context).manifest
    (blob,) = made.blobs
    records = BlobRecords(job.repository, [made])
    right = fingerprint_of(job.repository.objects[blob.key], BLAKE3)
    other = fingerprint_of(bytes(blob.stored_bytes), BLAKE3)
    assert records.know(blob.key, size_bytes=blob.stored_bytes, fingerprint=right)
    # The store returned other bytes before, and returns the right ones when it is read again.
    assert not records.know(blob.key, size_bytes=blob.stored_bytes, fingerprint=other)


def recorded_in_schema_1(store: MemoryRepository, path: Path) -> None:
    """Write the record of an archived file again as the first release did."""
    archived = WalArchive(store, "shop").find(str(CLUSTER), path.name)
    (key,) = (key for key in store.objects if key.endswith("manifest.json"))
    stored = store.objects[archived.part.key]
    part: dict[str, object] = {
        "name": path.name,
        "key": archived.part.key,
        "kind": "wal",
        "relation": None,
        "rows": None,
        "plain_bytes": archived.part.plain_bytes,
        "plain_sha256": fingerprint_of(path.read_bytes(), SHA256).partition(":")[2],
        "stored_bytes": archived.part.stored_bytes,
        "stored_sha256": fingerprint_of(stored, SHA256).partition(":")[2],
        "codec": "zstd",
        "encryption": "none",
        "seconds": 0.1,
        "details": {},
    }
    body = {
        "job": "shop",
        "cluster": str(CLUSTER),
        "name": path.name,
        "host": "db1",
        "archived_at": "2026-11-20T02:00:00Z",
        "part": part,
    }
    store.objects[key] = wrapped(body, schema="holdfast.wal/1", name=NAME)


def test_wal_of_the_first_release_is_recognised(tmp_path: Path) -> None:
    server, store = DataDirectory(tmp_path / "data"), MemoryRepository()
    path = server.finish(ONE, text=b"rows")
    push(archiving(store), path)
    recorded_in_schema_1(store, path)
    before = dict(store.objects)
    assert push(archiving(store), path).was_there
    assert store.objects == before
    server.finish(ONE, text=b"others")
    with pytest.raises(WalConflict):
        push(archiving(store), path)
    assert store.objects == before


def test_wal_is_never_recognised_by_a_fingerprint_that_proves_nothing(tmp_path: Path) -> None:
    server, store = DataDirectory(tmp_path / "data"), MemoryRepository()
    path = server.finish(ONE)
    push(archiving(store), path)
    archive = WalArchive(store, "shop")
    archived = archive.find(str(CLUSTER), path.name)
    assert algorithm_of(archived.part.plain_fingerprint) == BLAKE3
    (key,) = (key for key in store.objects if key.endswith("manifest.json"))
    body = json.loads(store.objects[key])[NAME]
    body["part"]["plain_fingerprint"] = fingerprint_of(path.read_bytes(), XXH3)
    store.objects[key] = wrapped(body, schema=SCHEMA, name=NAME)
    with pytest.raises(ManifestInvalid, match="xxh3 is not cryptographic"):
        archive.find(str(CLUSTER), path.name)
