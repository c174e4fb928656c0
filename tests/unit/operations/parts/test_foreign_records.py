"""A single foreign object in a repository never causes the removal of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.catalog.catalog import MARK_CONTENT
from holdfast.catalog.manifest import Failure, encode_failure
from holdfast.catalog.places import failure_key, mark_key
from holdfast.catalog.signed_manifests import SignedManifests, Signer
from holdfast.model.errors import BackupFailed, HoldfastError
from holdfast.operations.backup.job import backup
from holdfast.operations.context import BackupContext
from holdfast.operations.copy.backups import CopyContext, copy
from holdfast.operations.prune import prune
from holdfast.operations.repair import Fate, repair
from holdfast.operations.verify.scrub import reread
from holdfast.ports.repository import Repository
from tests.fakes.guard import MemoryGuard
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob, repair_context

SIGNER, THIEF = Signer.generate(), Signer.generate()
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FOREIGN = "shop/20200101T000000Z-0badc0de"


def as_it_is(repository: Repository) -> Repository:
    return repository


def signed(repository: Repository, signer: Signer | None = SIGNER) -> SignedManifests:
    return SignedManifests(repository, signer=lambda: signer, trusted=[SIGNER.public_key])


def context_of(job: MemoryJob, opened: Callable[[Repository], Repository]) -> BackupContext:
    return replace(job.context, repository=opened(job.repository))


def failure(backup_id: str, *, failed_at: datetime = LONG_AGO, database: str = "shop") -> bytes:
    job, _, name = backup_id.partition("/")
    return encode_failure(
        Failure(
            job=job,
            name=name,
            run_id="0" * 32,
            host="db1",
            engine="fake",
            database=database,
            started_at=failed_at,
            failed_at=failed_at,
            error="cannot read: cut off",
            hint="",
            exit_code=30,
        )
    )


def unfinished_job(opened: Callable[[Repository], Repository]) -> tuple[MemoryJob, str]:
    """A failed backup that can be resumed, and an older good one."""
    job = MemoryJob(table("orders", "1,ann"))
    job.workers, job.resumable = 1, True
    backup(context_of(job, opened))
    cut_off = BackupFailed("cannot read: cut off")
    job.source = FakeSource(
        table("orders", "1,ann"), table("zz_last", "1", "2", fails_with=cut_off)
    )
    with pytest.raises(HoldfastError):
        backup(context_of(job, opened))
    (unfinished,) = job.journal.unfinished("shop")
    return job, unfinished.backup_id


@pytest.mark.parametrize("opened", [as_it_is, signed])
@pytest.mark.parametrize("named", ["shop", "other"])
def test_a_record_of_a_failure_that_names_another_backup_removes_nothing(
    opened: Callable[[Repository], Repository], named: str
) -> None:
    job = MemoryJob()
    good = [backup(context_of(job, opened)).manifest for _ in range(2)]
    theirs = {
        key.replace("shop/", f"{named}/", 1): content
        for key, content in job.repository.objects.items()
    }
    job.repository.objects |= theirs
    foreign = failure(good[0].backup_id.replace("shop/", f"{named}/", 1))
    job.repository.objects[failure_key(FOREIGN)] = foreign
    before = dict(job.repository.objects)
    report = prune(repair_context(context_of(job, opened)), dry_run=False)
    assert job.repository.objects == before
    assert [each.backup_id for each in report.damaged] == [FOREIGN]
    assert not report.forgotten


def test_a_record_of_a_failure_in_a_place_of_its_own_is_forgotten_with_that_place_alone() -> None:
    job = MemoryJob()
    backup(job.context)
    before = dict(job.repository.objects)
    job.repository.objects[failure_key(FOREIGN)] = failure(FOREIGN)
    report = prune(job.prune_context, dry_run=False)
    assert [each.backup_id for each in report.forgotten] == [FOREIGN]
    assert job.repository.objects == before


@pytest.mark.parametrize("file", ["failed.json", "pruned", "manifest.json"])
@pytest.mark.parametrize("place", ["shop/blobs", "shop/parts", "shop/blobs/ab", "shop/latest"])
def test_no_record_counts_where_no_backup_can_be(file: str, place: str) -> None:
    """`shop/blobs/pruned` once removed every long value of the job."""
    job = MemoryJob()
    job.blob_grace = timedelta(days=1)
    backup(job.context)
    job.repository.put("shop/blobs/ab/abcd.zst", [b"value"])
    name = place.partition("/")[2]
    content = {"failed.json": failure(f"shop/{name}"), "pruned": MARK_CONTENT}
    job.repository.objects[f"{place}/{file}"] = content.get(file, b"{}")
    before = dict(job.repository.objects)
    prune(job.prune_context, dry_run=False)
    backup(job.context)
    repair(job.repair_context, dry_run=False)
    assert before.items() <= job.repository.objects.items()


def _unsigned(content: bytes, _key: str) -> bytes:
    return content


def _by_a_thief(content: bytes, key: str) -> bytes:
    store = MemoryRepository()
    SignedManifests(store, signer=lambda: THIEF, trusted=[]).put(key, [content])
    return store.objects[key]


def _of_another_place(content: bytes, key: str) -> bytes:
    store = MemoryRepository()
    elsewhere = key.replace(key.split("/")[1], FOREIGN.partition("/")[2])
    signed(store).put(elsewhere, [content])
    return store.objects[elsewhere]


@pytest.mark.parametrize("forge", [_unsigned, _by_a_thief, _of_another_place])
def test_where_a_repository_signs_a_forged_record_of_a_failure_costs_nothing_that_was_kept(
    forge: Callable[[bytes, str], bytes],
) -> None:
    job, unfinished = unfinished_job(signed)
    key = failure_key(unfinished)
    job.repository.objects[key] = forge(failure(unfinished), key)
    before = dict(job.repository.objects)
    report = prune(repair_context(context_of(job, signed)), dry_run=False)
    assert job.repository.objects == before
    assert [each.backup_id for each in report.damaged] == [unfinished]


@pytest.mark.parametrize("forge", [_unsigned, _by_a_thief, _of_another_place])
@pytest.mark.parametrize("run", [prune, repair])
def test_where_a_repository_signs_a_forged_mark_costs_nothing_that_was_kept(
    forge: Callable[[bytes, str], bytes], run: Callable[..., object]
) -> None:
    job, unfinished = unfinished_job(signed)
    key = mark_key(unfinished)
    job.repository.objects[key] = forge(MARK_CONTENT, key)
    before = dict(job.repository.objects)
    run(repair_context(context_of(job, signed)), dry_run=False)
    assert job.repository.objects == before


def test_our_own_mark_is_signed_and_its_prune_is_finished() -> None:
    job = MemoryJob()
    made = [backup(context_of(job, signed)).manifest for _ in range(3)]
    locked = made[0].parts[1].key
    job.repository.locked.add(locked)
    prune(repair_context(context_of(job, signed)), dry_run=False)
    assert b'"signature"' in job.repository.objects[mark_key(made[0].backup_id)]
    job.repository.locked.clear()
    report = prune(repair_context(context_of(job, signed)), dry_run=False)
    assert report.finished == (made[0].backup_id,)
    assert not [key for key in job.repository.objects if key.startswith(made[0].backup_id)]


def test_what_a_host_without_a_key_began_to_prune_is_left_to_repair() -> None:
    def keyless(repository: Repository) -> Repository:
        return signed(repository, signer=None)

    job = MemoryJob()
    made = [backup(context_of(job, signed)).manifest for _ in range(3)]
    job.repository.locked.add(made[0].parts[1].key)
    prune(repair_context(context_of(job, keyless)), dry_run=False)
    job.repository.locked.clear()
    assert prune(repair_context(context_of(job, keyless)), dry_run=False).finished == ()
    (left,) = repair(repair_context(context_of(job, keyless)), dry_run=False).leftovers
    assert (left.what, left.fate) == (made[0].backup_id, Fate.REMOVED)
    assert not [key for key in job.repository.objects if key.startswith(made[0].backup_id)]


def test_a_record_of_a_failure_that_cannot_be_read_keeps_nobody_from_his_work() -> None:
    job = MemoryJob()
    job.repository.put("shop/blobs/ab/abcd.zst", [b"value"])
    job.repository.objects[failure_key(FOREIGN)] = b"{"
    kept = backup(job.context).manifest
    report = prune(job.prune_context, dry_run=False)
    assert [each.backup_id for each in report.damaged] == [FOREIGN]
    assert "shop/blobs/ab/abcd.zst" not in job.repository.objects
    assert reread(job.reader, "shop", budget=timedelta(hours=1), workers=1).exit_code == 0
    copying = CopyContext(
        source=job.repository,
        target=MemoryRepository(),
        believed=job.repository,
        require_believed=lambda _key, _content: None,
        guard=MemoryGuard(),
        at_once=1,
    )
    copied = copy("shop", copying, FakeProgress())
    assert (copied.exit_code, [each.backup_id for each in copied.backups]) == (0, [kept.backup_id])


def test_what_holdfast_did_not_make_is_left_alone_and_told() -> None:
    job = MemoryJob()
    backup(job.context)
    job.repository.objects["shop/README.txt"] = b"do not touch"
    job.repository.objects["shop/2026/notes"] = b"do not touch"
    backup(job.context)
    leftovers = repair(job.repair_context, dry_run=False).leftovers
    assert {each.what: each.fate for each in leftovers} == {
        "shop/README.txt": Fate.KEPT,
        "shop/2026/notes": Fate.KEPT,
    }
    assert {"shop/README.txt", "shop/2026/notes"} <= job.repository.objects.keys()
