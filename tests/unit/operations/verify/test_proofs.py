"""What a host has proven of its backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.model.backup import Manifest, Summary
from holdfast.model.errors import RepositoryUnreachable
from holdfast.operations.backup.job import backup
from holdfast.operations.verify.backup import home_of, pieces_of
from holdfast.operations.verify.proofs import BackupProof, State, proofs_of
from holdfast.ports.host_state import Reread
from tests.support.memory_job import MemoryJob

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def job() -> MemoryJob:
    return MemoryJob()


def read_all(job: MemoryJob, manifest: Manifest, *, opened: bool = True) -> None:
    for number, piece in enumerate(pieces_of(manifest)):
        reading = Reread(at=AT + number * DAY, opened=opened)
        job.verification_log.reread(home_of(manifest.backup_id, piece), piece.key, reading)


def proof_of(job: MemoryJob, *summaries: Summary) -> list[BackupProof]:
    """Without reading any manifest."""

    def unreadable(backup_id: str) -> Manifest:
        raise RepositoryUnreachable(f"cannot read '{backup_id}'")

    found = proofs_of(summaries, "shop", job.verification_log, manifest_of=unreadable)
    return [found[each.backup_id] for each in summaries]


def test_a_backup_is_verified_by_its_summary_alone_once_all_parts_were_read(job: MemoryJob) -> None:
    manifest = backup(job.context).manifest
    assert proof_of(job, manifest.summary) == [BackupProof()]
    read_all(job, manifest)
    assert proof_of(job, manifest.summary) == [BackupProof(state="verified", read_at=AT)]


def test_stored_bytes_that_were_not_opened_are_no_whole_verification(job: MemoryJob) -> None:
    manifest = backup(job.context).manifest
    read_all(job, manifest)
    last = manifest.parts[-1]
    job.verification_log.reread(manifest.backup_id, last.key, Reread(at=AT, opened=False))
    assert proof_of(job, manifest.summary) == [BackupProof(state="unopened", read_at=AT)]


@pytest.mark.parametrize(
    ("readings", "state"),
    [
        ({}, "never"),
        ({"other": Reread(at=AT)}, "never"),
        ({"own": Reread(at=AT)}, "verified"),
        ({"own": Reread(at=AT, opened=False)}, "unopened"),
        ({"own": Reread(at=AT, problem="it is cut short")}, "damaged"),
    ],
)
def test_readings_count_by_key_not_by_number(
    job: MemoryJob, readings: dict[str, Reread], state: State
) -> None:
    manifest = backup(job.context).manifest
    read_all(job, manifest)
    last = manifest.parts[-1]
    known = job.verification_log.known[manifest.backup_id]
    del known[last.key]
    # As many readings as parts, or more: one is that of an object that no manifest names.
    known["shop/x/parts/nobody"] = Reread(at=AT)
    known |= {last.key if key == "own" else "shop/x/parts/y": it for key, it in readings.items()}
    found = proofs_of(
        [manifest.summary], "shop", job.verification_log, manifest_of=lambda _: manifest
    )
    assert found[manifest.backup_id].state == state


def test_a_summary_that_an_earlier_version_cached_needs_the_manifest(job: MemoryJob) -> None:
    manifest = backup(job.context).manifest
    read_all(job, manifest)
    cached = replace(manifest.summary, keys_fingerprint="")
    found = proofs_of([cached], "shop", job.verification_log, manifest_of=lambda _: manifest)
    assert found[manifest.backup_id] == BackupProof(state="verified", read_at=AT)


def test_a_manifest_that_cannot_be_read_hides_nothing_of_the_others(job: MemoryJob) -> None:
    manifests = [backup(job.context).manifest for _ in range(2)]
    for each in manifests:
        read_all(job, each)
    job.verification_log.restored(manifests[0].backup_id, at=AT)
    with_blobs = replace(manifests[0].summary, blobs=1)
    assert proof_of(job, with_blobs, manifests[1].summary) == [
        BackupProof(state="unknown", restored_at=AT),
        BackupProof(state="verified", read_at=AT),
    ]


def test_the_blobs_of_all_backups_are_looked_up_once(
    job: MemoryJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.source.values = {b"a long value"}
    manifests = {each.backup_id: each for each in (backup(job.context).manifest for _ in range(3))}
    for each in manifests.values():
        read_all(job, each)
    asked: list[str] = []
    look_up = job.verification_log.of

    def of(backup_id: str) -> dict[str, Reread]:
        asked.append(backup_id)
        return look_up(backup_id)

    monkeypatch.setattr(job.verification_log, "of", of)
    summaries = [each.summary for each in manifests.values()]
    found = proofs_of(summaries, "shop", job.verification_log, manifest_of=manifests.__getitem__)
    assert {each.state for each in found.values()} == {"verified"}
    assert sorted(asked) == sorted([*manifests, "shop/blobs"])
