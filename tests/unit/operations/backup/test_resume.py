"""Stored parts of an unfinished backup are reused only where that is safe."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Consistency, PartKind, PartPlan
from holdfast.model.errors import BackupFailed, RepositoryFull, SnapshotLost
from holdfast.model.part_details import ClusterFile
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.earlier import Reusable
from holdfast.operations.backup.job import backup
from holdfast.operations.verify.backup import verify
from holdfast.ports.host_state import Unfinished
from tests.fakes.source import table
from tests.support.memory_job import MemoryJob

RESUME = BackupChoice(resume=True)
MIXED = BackupChoice(resume=True, allow_mixed=True)
SNAPSHOT = "00000003-0000001B-1"


def failed_job(*, resumable: bool = True) -> MemoryJob:
    """`orders` was stored, `items` failed; the next run can read both."""
    error = BackupFailed("cannot read table 'public.items'")
    job = MemoryJob(
        table("orders", "1,ann", "2,bob", "3,eve"), table("items", "1", "2", fails_with=error)
    )
    job.resumable = resumable
    job.workers = 1
    with pytest.raises(BackupFailed):
        backup(job.context)
    job.source.tables = (table("orders", "1,ann", "2,bob", "3,eve"), table("items", "1", "2"))
    return job


def reads(job: MemoryJob) -> list[str]:
    return job.source.snapshots[-1].read_names


def test_with_the_snapshot_still_held_only_what_is_missing_is_read() -> None:
    job = failed_job()
    job.source.held = SNAPSHOT
    manifest = backup(job.context, RESUME).manifest
    assert reads(job) == ["data/public.items.copy"]
    assert manifest.consistency is Consistency.SNAPSHOT
    assert manifest.proof.resumed_parts == 1
    report = verify(job.reader, manifest.backup_id, workers=1)
    assert report.bad == ()
    assert Catalog(job.repository).survey("shop").failures == ()
    assert job.journal.known == {}


def test_a_snapshot_that_is_still_held_gets_the_memo_of_the_run_that_took_it() -> None:
    job = failed_job()
    (earlier,) = job.journal.known.values()
    assert earlier.memo == "what the snapshot found out"
    job.source.held = SNAPSHOT
    backup(job.context, RESUME)
    assert job.source.memos == [earlier.memo]


def test_another_snapshot_gets_no_memo() -> None:
    job = failed_job()
    job.source.held = "another"
    backup(job.context, MIXED)
    # It was offered to the snapshot that was gone.
    assert len(job.source.memos) == 1
    assert len(job.source.snapshots) == 2
    assert backup(job.context).manifest
    assert len(job.source.memos) == 1


def test_where_the_snapshot_is_gone_it_is_refused_and_costs_nothing() -> None:
    job = failed_job()
    stored = set(job.repository.objects)
    with pytest.raises(SnapshotLost, match="cannot resume backup 'shop/") as caught:
        backup(job.context, RESUME)
    assert "--allow-mixed" in caught.value.hint
    assert set(job.repository.objects) == stored


def test_mixed_is_said_and_the_parts_are_named() -> None:
    job = failed_job()
    manifest = backup(job.context, MIXED).manifest
    assert reads(job) == ["data/public.items.copy"]
    assert manifest.consistency is Consistency.MIXED
    assert manifest.proof.mixed == "data/public.orders.copy come from an earlier snapshot"


def test_a_part_that_was_damaged_in_between_is_stored_again() -> None:
    job = failed_job()
    (key,) = (key for key in job.repository.objects if key.endswith("orders.copy.zst"))
    job.repository.flip_bit(key, at=3)
    manifest = backup(job.context, MIXED).manifest
    assert sorted(reads(job)) == ["data/public.items.copy", "data/public.orders.copy"]
    assert manifest.consistency is Consistency.SNAPSHOT
    report = verify(job.reader, manifest.backup_id, workers=1)
    assert report.bad == ()


def test_without_resume_a_new_run_stores_everything_again() -> None:
    job = failed_job()
    manifest = backup(job.context).manifest
    assert len(reads(job)) == 2
    assert {key.split("/")[1] for key in job.repository.objects if "parts" in key} == {
        manifest.name
    }


def test_a_job_that_does_not_say_resumable_keeps_no_parts() -> None:
    job = failed_job(resumable=False)
    assert [key.rsplit("/", 1)[1] for key in job.repository.objects] == ["failed.json"]
    assert job.journal.known == {}


def test_a_full_repository_is_not_filled_with_parts_for_later() -> None:
    job = MemoryJob(table("orders", "1"), table("items", fails_with=RepositoryFull("no space")))
    job.resumable = True
    with pytest.raises(RepositoryFull):
        backup(job.context)
    assert [key.rsplit("/", 1)[1] for key in job.repository.objects] == ["failed.json"]


@pytest.mark.parametrize("is_mixed", [False, True])
def test_a_file_is_only_worth_something_within_its_own_base_backup(*, is_mixed: bool) -> None:
    job = failed_job()
    (earlier,) = job.journal.known.values()
    (stored,) = earlier.parts
    as_file = replace(
        stored, kind=PartKind.FILE, relation=None, details=ClusterFile(path="base/5/1259")
    )
    reusable = Reusable(job.repository, replace(earlier, parts=(as_file,)), is_mixed=is_mixed)
    plan = PartPlan(name=stored.name, kind=PartKind.FILE, details=ClusterFile(path="base/5/1259"))
    found = reusable.part_for(plan, stored.key, advance=lambda _: None)
    assert (found is None) == is_mixed


def test_with_nothing_to_resume_a_whole_backup_is_made() -> None:
    job = MemoryJob()
    assert backup(job.context, RESUME).manifest.consistency is Consistency.SNAPSHOT


def test_a_snapshot_is_released_once_there_is_a_backup_or_nothing_to_resume() -> None:
    job = failed_job(resumable=False)
    assert [each.releases for each in job.source.snapshots] == [["given up"]]
    backup(job.context)
    assert job.source.snapshots[-1].releases == ["finished"]


def test_a_snapshot_is_left_to_the_run_that_resumes_and_told_what_is_stored_already() -> None:
    job = failed_job()
    assert job.source.snapshots[-1].releases == []
    job.source.held = SNAPSHOT
    backup(job.context, RESUME)
    again = job.source.snapshots[-1]
    assert again.went_on_from == ["data/public.orders.copy"]
    assert again.releases == ["finished"]


def test_parts_of_another_moment_are_not_used() -> None:
    job = failed_job()
    backup(job.context, MIXED)
    assert job.source.snapshots[-1].went_on_from == []


def test_a_run_that_had_stored_nothing_is_restarted_without_another_option() -> None:
    job = failed_job()
    ((key, earlier),) = job.journal.known.items()
    job.journal.known[key] = replace(earlier, parts=())
    manifest = backup(job.context, RESUME).manifest
    assert manifest.consistency is Consistency.SNAPSHOT
    assert manifest.proof.resumed_parts == 0


def test_a_run_that_was_killed_after_its_manifest_is_finished_and_a_new_one_is_made() -> None:
    job = MemoryJob()
    first = backup(job.context).manifest
    job.journal.begin(
        Unfinished(
            job="shop",
            name=first.name,
            run_id=first.run_id,
            database=job.source.database,
            snapshot=SNAPSHOT,
            started_at=first.started_at,
            snapshot_at=first.snapshot_at,
            parts=first.parts,
        )
    )
    job.clock.advance(timedelta(minutes=1))
    assert backup(job.context, RESUME).manifest.name != first.name
    assert len(Catalog(job.repository).survey("shop").manifests) == 2


def test_what_a_source_needs_to_go_on_stands_in_the_journal_and_never_in_the_manifest() -> None:
    job = failed_job()
    (earlier,) = job.journal.known.values()
    assert [part.memo for part in earlier.parts] == ["seen in public.orders"]
    job.source.held = SNAPSHOT
    made = backup(job.context, RESUME).manifest
    assert {part.memo for part in Catalog(job.repository).find(made.backup_id).parts} == {""}
    assert not any(b"seen in" in content for content in job.repository.objects.values())
