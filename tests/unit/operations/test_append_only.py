"""With an append-only login, objects that cannot be removed stay and are reported once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import BackupFailed, HoldfastError, RepositoryReadOnly, RepositoryRefused
from holdfast.operations.append_only import REFUSALS_IN_A_ROW, AppendOnly, Leftovers
from holdfast.operations.backup.attempt import BackupChoice
from holdfast.operations.backup.job import backup
from holdfast.operations.context import Mirror
from holdfast.operations.copy.backups import CopyContext, copy
from holdfast.operations.prune import PruneReport, prune
from holdfast.operations.repair import RepairReport, repair
from holdfast.operations.status import check
from holdfast.operations.verify.backup import verify
from holdfast.pipeline.encryption import Identities
from tests.fakes.guard import MemoryGuard
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import FakeSource, table
from tests.support.events import capture_logs
from tests.support.memory_job import MemoryJob, mirrored

REFUSED = RepositoryReadOnly("cannot delete 'it': AccessDenied")
ON_FIRE = BackupFailed("the disk is on fire")


@pytest.fixture
def store() -> MemoryRepository:
    made = MemoryRepository()
    made.refuse_deletes_with = REFUSED
    return made


def append_only_job(*, resumable: bool = False) -> MemoryJob:
    """Its first run failed at the second of two tables; now both can be read."""
    job = MemoryJob(table("orders", "1"), table("items", "1", fails_with=ON_FIRE))
    job.repository.refuse_deletes_with = REFUSED
    job.resumable = resumable
    job.workers = 1
    with pytest.raises(BackupFailed, match="on fire"):
        backup(job.context)
    job.source.tables = (table("orders", "1"), table("items", "1"))
    return job


def told(logs: Sequence[Mapping[str, object]]) -> list[object]:
    return [each["problem"] for each in logs if each["event"] == "object_not_deleted"]


def test_what_may_not_be_removed_stays_and_is_told_once(store: MemoryRepository) -> None:
    tidied = AppendOnly(store, Leftovers())
    for number in range(3):
        tidied.put(f"job/{number}", [b"x"])
    with capture_logs() as logs:
        for number in range(3):
            tidied.delete(f"job/{number}")
    assert [each.key for each in tidied.list("job")] == ["job/0", "job/1", "job/2"]
    assert told(logs) == [REFUSED.message]


def test_what_is_not_there_is_not_left_behind(store: MemoryRepository) -> None:
    with capture_logs() as logs:
        AppendOnly(store, Leftovers()).delete("job/nothing")
    assert told(logs) == []


def test_a_store_that_refuses_many_in_a_row_is_not_asked_again(store: MemoryRepository) -> None:
    tidied = AppendOnly(store, Leftovers())
    keys = [f"job/{number:03}" for number in range(REFUSALS_IN_A_ROW + 5)]
    for key in keys:
        tidied.put(key, [b"x"])
    for key in keys[:REFUSALS_IN_A_ROW]:
        tidied.delete(key)
    store.refuse_deletes_with = None
    tidied.delete(keys[-1])
    assert keys[-1] in store.objects


def test_one_that_is_locked_does_not_keep_the_others(store: MemoryRepository) -> None:
    store.refuse_deletes_with = None
    tidied = AppendOnly(store, Leftovers())
    for number in range(40):
        tidied.put(f"job/{number:02}", [b"x"])
    store.locked = {f"job/{number:02}" for number in range(40) if number % 4}
    for key in list(store.objects):
        tidied.delete(key)
    assert set(store.objects) == store.locked


def test_unfinished_uploads_that_may_not_be_ended_are_left(store: MemoryRepository) -> None:
    class Refusing(MemoryRepository):
        def sweep(self, prefix: str) -> int:
            raise RepositoryRefused(f"cannot end unfinished uploads below {prefix}: AccessDenied")

    with capture_logs() as logs:
        assert AppendOnly(Refusing(), Leftovers()).sweep("job") == 0
    assert len(told(logs)) == 1


def test_a_backup_after_a_failed_one_is_made_although_nothing_can_be_removed() -> None:
    job = append_only_job()
    left = set(job.repository.objects)
    with capture_logs() as logs:
        made = backup(job.context).manifest
    assert left < set(job.repository.objects)
    assert len(told(logs)) == 1
    survey = Catalog(job.repository).survey("shop")
    assert [each.backup_id for each in survey.manifests] == [made.backup_id]
    assert len(survey.failures) == 1
    assert verify(job.reader, "shop/latest", workers=1).exit_code == 0


def test_leftovers_are_removed_by_a_host_that_may_and_nothing_else_is() -> None:
    job = append_only_job()
    made = backup(job.context).manifest
    job.repository.refuse_deletes_with = None
    report = repair(job.repair_context, dry_run=False)
    assert report.exit_code == 0
    parts = {key for key in job.repository.objects if "/parts/" in key}
    assert parts == {part.key for part in made.parts}
    assert verify(job.reader, "shop/latest", workers=1).exit_code == 0


def exit_code_of(act: Callable[[], PruneReport | RepairReport]) -> int:
    try:
        return act().exit_code
    except HoldfastError as error:
        return error.exit_code


@pytest.mark.parametrize("act", [prune, repair], ids=["prune", "repair"])
def test_who_is_to_free_room_is_not_told_that_it_was_freed(
    act: Callable[..., PruneReport | RepairReport],
) -> None:
    job = append_only_job()
    for _ in range(3):
        backup(job.context)
    assert (
        exit_code_of(lambda: act(job.repair_context, dry_run=False)) == RepositoryReadOnly.exit_code
    )


@pytest.mark.parametrize("mixed", [False, True], ids=["rejoined", "mixed"])
def test_a_run_is_resumed_although_its_leftovers_stay(*, mixed: bool) -> None:
    job = append_only_job(resumable=True)
    if not mixed:
        (earlier,) = job.journal.known.values()
        job.source.held = earlier.snapshot
    for key in [key for key in job.repository.objects if key.endswith("orders.copy.zst")]:
        job.repository.flip_bit(key, at=3)
    made = backup(job.context, BackupChoice(resume=True, allow_mixed=mixed)).manifest
    assert any("/parts/again-" in part.key for part in made.parts)
    assert {part.key for part in made.parts} <= set(job.repository.objects)
    assert verify(job.reader, made.backup_id, workers=1).exit_code == 0


def test_a_run_that_broke_off_twice_uses_what_it_stored_under_another_name() -> None:
    job = append_only_job(resumable=True)
    (earlier,) = job.journal.known.values()
    job.source.held = earlier.snapshot
    for key in [key for key in job.repository.objects if key.endswith("orders.copy.zst")]:
        job.repository.flip_bit(key, at=3)
    job.source.tables = (table("orders", "1"), table("items", "1", fails_with=ON_FIRE))
    with pytest.raises(BackupFailed, match="on fire"):
        backup(job.context, BackupChoice(resume=True))
    job.source.tables = (table("orders", "1"), table("items", "1"))
    made = backup(job.context, BackupChoice(resume=True)).manifest
    assert job.source.snapshots[-1].read_names == ["data/public.items.copy"]
    assert verify(job.reader, made.backup_id, workers=1).exit_code == 0


def test_each_of_several_repositories_may_let_nothing_be_removed() -> None:
    job, second = MemoryJob(), MemoryRepository(free_bytes=1 << 30)
    for each in (job.repository, second):
        each.refuse_deletes_with = REFUSED
    mirrors = (
        Mirror(name="main", repository=job.repository, guard=MemoryGuard()),
        Mirror(name="second", repository=second, guard=MemoryGuard()),
    )
    context = mirrored(job.context, *mirrors)
    broken = FakeSource(table("orders", "1", fails_with=ON_FIRE))
    with pytest.raises(BackupFailed, match="on fire"):
        backup(replace(context, source=broken))
    assert backup(context).error is None
    for each in (job.repository, second):
        assert len(Catalog(each).survey("shop").manifests) == 1


def test_a_copy_goes_to_where_nothing_can_be_removed() -> None:
    job, target = MemoryJob(), MemoryRepository()
    target.refuse_deletes_with = REFUSED
    target.objects["shop/20261119T020000Z-00000000/parts/dead"] = b"of a copy that was killed"
    made = backup(job.context).manifest
    context = CopyContext(
        source=job.repository,
        target=target,
        believed=job.repository,
        guard=job.guard,
        at_once=2,
    )
    assert copy("shop", context, FakeProgress()).exit_code == 0
    assert verify(job.reader_of(target), made.backup_id, workers=1).exit_code == 0


def test_a_check_says_that_not_all_can_be_removed_and_is_content(store: MemoryRepository) -> None:
    report = check(replace(MemoryJob().check_context, repository=store))
    assert report.exit_code == 0
    finding = next(each for each in report.findings if each.subject == "repository")
    assert "some objects cannot be deleted" in finding.detail
    assert "prune" in finding.hint


@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
def test_a_long_value_that_cannot_be_used_and_stays_is_kept_once_beside_it(
    *, is_sealed: bool
) -> None:
    job = MemoryJob(table("orders", "1", fails_with=ON_FIRE))
    job.repository.refuse_deletes_with = REFUSED
    job.recipients = Identities.generate().recipients if is_sealed else ()
    job.source.values = {b"a long value" * 1000}
    with pytest.raises(BackupFailed, match="on fire"):
        backup(job.context)
    (left,) = (key for key in job.repository.objects if "/blobs/" in key)
    job.repository.flip_bit(left, at=25)
    job.source.tables = (table("orders", "1"),)
    made = [backup(job.context).manifest for _ in range(3)]
    (blob,) = {blob.key for each in made for blob in each.blobs}
    assert blob != left
    assert {key for key in job.repository.objects if "/blobs/" in key} == {left, blob}
    assert verify(job.reader, "shop/latest", workers=1).exit_code == 0
    job.repository.refuse_deletes_with = None
    repair(job.repair_context, dry_run=False)
    assert {key for key in job.repository.objects if "/blobs/" in key} == {blob}
