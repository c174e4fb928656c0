"""An incremental backup is never completed, kept, copied or left without its parent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Buffer, Manifest
from holdfast.model.errors import BackupFailed, RepositoryReadOnly, VerifyFailed
from holdfast.model.retention import Policy
from holdfast.operations.backup.job import backup
from holdfast.operations.copy.backups import CopyContext, copy
from holdfast.operations.prune import prune
from holdfast.operations.restore.backup import restore
from holdfast.operations.verify.backup import quick, verify
from holdfast.pipeline.encryption import Identities
from holdfast.ports.source import Blobs, EarlierBackup
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import FakeSnapshot, FakeSource, FakeTarget, table
from tests.support.memory_job import MemoryJob


class ListedSnapshot(FakeSnapshot):
    """Its one table is what the next backup is asked for
    with."""

    def listing(self) -> list[Buffer]:
        return [row + b"\n" for row in self.tables[0].rows]


class ChainedSource(FakeSource):
    """Each backup continues from the newest that it is
    offered, and whose list it can read."""

    def __init__(self) -> None:
        super().__init__(table("orders", "1,ann"))
        self.offered: list[str] = []
        self.refused = ""
        self.loses: MemoryRepository | None = None

    def after(self, earlier: EarlierBackup) -> ChainedSource:
        manifests = earlier.manifests()
        self.offered, self.refused = [each.backup_id for each in manifests], ""
        if manifests:
            try:
                with earlier.open_part(manifests[0].parts[0]) as chunks:
                    b"".join(chunks)
            except VerifyFailed as error:
                self.offered, self.refused = [], error.message
        return self

    @contextmanager
    def open(
        self, *, workers: int, blobs: Blobs | None = None, rejoin: str = ""
    ) -> Iterator[FakeSnapshot]:
        with super().open(workers=workers, blobs=blobs, rejoin=rejoin) as found:
            parent = self.offered[0] if self.offered else ""
            proof = replace(found.proof, parent=parent)
            snapshot = ListedSnapshot(tables=found.tables, proof=proof)
            yield snapshot
            if self.loses is not None:
                self.loses.delete(f"{self.offered[0]}/manifest.json")


class ChainedJob(MemoryJob):
    """A job whose backups are all of one chain."""

    def __init__(self) -> None:
        super().__init__()
        self.chained = self.source = ChainedSource()

    def taken(self, count: int) -> list[Manifest]:
        return [backup(self.context).manifest for _ in range(count)]

    def names(self) -> list[str]:
        return [each.backup_id for each in Catalog(self.repository).survey("shop").manifests]


@pytest.fixture
def job() -> ChainedJob:
    return ChainedJob()


def test_a_parent_that_goes_while_its_child_is_taken_leaves_no_backup(job: ChainedJob) -> None:
    (full,) = job.taken(1)
    job.chained.loses = job.repository
    with pytest.raises(BackupFailed, match=f"its parent '{full.backup_id}' is missing"):
        backup(job.context)
    assert job.names() == []


def test_only_what_can_be_restored_and_is_not_known_as_damaged_is_offered(
    job: ChainedJob,
) -> None:
    full, first, second = job.taken(3)
    assert [each.parent for each in (full, first, second)] == ["", full.backup_id, first.backup_id]
    job.repository.flip_bit(first.parts[0].key, at=3)
    assert verify(job.reader, first.backup_id, workers=1).bad
    assert job.taken(1)[0].parent == full.backup_id
    job.repository.delete(f"{full.backup_id}/manifest.json")
    assert job.taken(1)[0].parent == ""


@pytest.mark.parametrize("lost", ["manifest.json", "parts"])
def test_verify_misses_a_parent_and_what_belongs_to_it(job: ChainedJob, lost: str) -> None:
    full, _, last = job.taken(3)
    assert not verify(job.reader, last.backup_id, workers=1).bad
    for key in list(job.repository.objects):
        if key.startswith(f"{full.backup_id}/{lost}"):
            job.repository.delete(key)
    for report in (
        verify(job.reader, last.backup_id, workers=1),
        quick(job.repository, last.backup_id),
    ):
        assert full.backup_id in report.bad[0].problem


def test_a_host_that_cannot_open_its_backups_continues_with_its_own_copy_of_the_list(
    job: ChainedJob,
) -> None:
    job.recipients = Identities.generate().recipients
    full, first = job.taken(2)
    assert first.parent == full.backup_id
    job.file_lists.settled["shop"] += b"tampered"
    (second,) = job.taken(1)
    assert second.parent == ""
    assert f"cannot reuse '{first.parts[0].key}'" in job.chained.refused
    assert job.taken(1)[0].parent == second.backup_id
    job.file_lists.settled.clear()
    assert job.taken(1)[0].parent == ""


def test_the_list_of_a_failed_backup_is_not_used(job: ChainedJob) -> None:
    job.recipients = Identities.generate().recipients
    (full,) = job.taken(1)
    job.chained.tables = (table("orders", "2,bob"),)
    refusal = RepositoryReadOnly("cannot store: it is read-only")
    job.repository.refuse_key_with = ("/manifest.json", refusal)
    with pytest.raises(RepositoryReadOnly):
        backup(job.context)
    assert job.file_lists.settled == {"shop": b"1,ann\n"}
    job.repository.refuse_key_with = None
    assert job.taken(1)[0].parent == full.backup_id
    assert job.file_lists.settled == {"shop": b"2,bob\n"}


def test_what_this_host_can_read_in_its_backups_it_keeps_no_copy_of(job: ChainedJob) -> None:
    job.taken(2)
    assert (job.file_lists.offered, job.file_lists.settled) == ({}, {})


def test_prune_keeps_the_whole_chain_of_what_it_keeps(job: ChainedJob) -> None:
    job.retention = Policy(last=1)
    made = job.taken(3)
    report = prune(job.prune_context, dry_run=False)
    assert [each.because for each in report.verdicts] == [
        "last 1 of 1",
        f"parent of {made[2].backup_id}",
        f"parent of {made[1].backup_id}",
    ]
    assert len(job.names()) == 3


class Locked(MemoryRepository):
    """A store that keeps one object, as with an object lock."""

    kept = ""

    def delete(self, key: str) -> None:
        if self.kept and key == self.kept:
            raise RepositoryReadOnly(f"cannot delete '{key}': it is locked")
        super().delete(key)


def test_the_parent_of_what_a_store_keeps_is_not_dropped_either(job: ChainedJob) -> None:
    locked = Locked()
    job.repository = locked
    full, first, second = job.taken(3)
    job.source = FakeSource(table("orders", "1,ann"))
    newest = backup(job.context).manifest
    job.retention = Policy(last=1)
    locked.kept = f"{first.backup_id}/manifest.json"
    report = prune(job.prune_context, dry_run=False)
    assert [each.backup_id for each in report.refused] == [first.backup_id, full.backup_id]
    assert job.names() == [newest.backup_id, first.backup_id, full.backup_id]
    assert second.backup_id not in job.names()


def test_a_restore_brings_the_chain_and_refuses_one_that_is_broken(job: ChainedJob) -> None:
    full, first, last = job.taken(3)
    target = FakeTarget()
    restore(job.repository, target, last.backup_id, progress=FakeProgress())
    assert target.requests[0].earlier == (full.parts, first.parts)
    assert target.requests[0].server_version == last.server.version
    job.repository.delete(f"{first.backup_id}/manifest.json")
    with pytest.raises(VerifyFailed, match=first.backup_id):
        restore(job.repository, FakeTarget(), last.backup_id, progress=FakeProgress())


def test_a_copy_brings_parents_first_and_no_child_without_one(job: ChainedJob) -> None:
    full, first, last = job.taken(3)
    offsite = MemoryRepository()
    context = CopyContext(
        source=job.repository,
        target=offsite,
        believed=job.repository,
        guard=job.guard,
        at_once=2,
    )
    job.repository.flip_bit(first.parts[0].key, at=3)
    report = copy("shop", context, FakeProgress())
    assert [(each.backup_id, bool(each.problem)) for each in report.backups] == [
        (full.backup_id, False),
        (first.backup_id, True),
        (last.backup_id, True),
    ]
    found = [each.backup_id for each in Catalog(offsite).survey("shop").manifests]
    assert found == [full.backup_id]
