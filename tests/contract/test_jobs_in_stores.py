"""A job in a real store: backups, a failed one, a copy, pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.model.errors import BackupFailed
from holdfast.operations.backup.job import backup
from holdfast.operations.context import Mirror
from holdfast.operations.copy.backups import CopyContext, copy
from holdfast.operations.prune import prune
from holdfast.operations.status import check
from holdfast.operations.verify.backup import verify
from holdfast.ports.repository import Repository
from holdfast.repositories.network import RetryingRepository
from holdfast.repositories.sftp import SftpRepository
from lab.stores.sshd import SftpServer
from tests.fakes.guard import MemoryGuard
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob, check_context, mirrored, repair_context
from tests.support.stores import AzureContainer, GcsBucket, S3Bucket, login_to


def s3(request: pytest.FixtureRequest, folder: Path) -> Repository:
    bucket: S3Bucket = request.getfixturevalue("bucket")
    return bucket.repository(prefix=folder.name)


def azure(request: pytest.FixtureRequest, folder: Path) -> Repository:
    container: AzureContainer = request.getfixturevalue("azure_container")
    return container.repository(prefix=folder.name)


def gcs(request: pytest.FixtureRequest, folder: Path) -> Repository:
    bucket: GcsBucket = request.getfixturevalue("gcs_bucket")
    return bucket.repository(prefix=folder.name)


def sftp(request: pytest.FixtureRequest, folder: Path) -> Repository:
    server: SftpServer = request.getfixturevalue("ssh_server")
    return SftpRepository(login_to(server), root=str(folder))


@pytest.mark.parametrize("make", [s3, azure, gcs, sftp], ids=lambda make: make.__name__)
def test_a_job_lives_in_a_store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make: Callable[[pytest.FixtureRequest, Path], Repository],
) -> None:
    store = RetryingRepository(make(request, tmp_path))
    job = MemoryJob()
    context = replace(job.context, repository=store)
    assert check(check_context(context)).exit_code == 0
    made = [backup(context).manifest.backup_id for _ in range(3)]
    assert verify(job.reader_of(store), "shop/latest", workers=3).exit_code == 0

    broken = FakeSource(table("orders", "1,ann", fails_with=ValueError("the disk is on fire")))
    with pytest.raises(BackupFailed, match="on fire"):
        backup(replace(context, source=broken))
    survey = Catalog(store).survey("shop")
    assert [each.backup_id for each in survey.manifests] == made[::-1]
    assert len(survey.failures) == 1

    elsewhere = MemoryRepository()
    away = CopyContext(source=store, target=elsewhere, believed=store, guard=job.guard, at_once=4)
    assert copy("shop", away, FakeProgress()).exit_code == 0
    assert len(Catalog(elsewhere).survey("shop").manifests) == 3

    prune(repair_context(context), dry_run=False)
    kept = {each.backup_id for each in Catalog(store).survey("shop").manifests}
    assert kept == set(made[1:])
    assert {stored.key.rsplit("/", 3)[0] for stored in store.list("shop")} >= kept
    assert verify(job.reader_of(store), "shop/latest", workers=3).exit_code == 0


def test_one_read_goes_to_a_bucket_and_behind_ssh_and_one_may_die(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    bucket = RetryingRepository(s3(request, tmp_path))
    server: SftpServer = request.getfixturevalue("ssh_server")
    folder = tmp_path / "behind-ssh"
    folder.mkdir()
    behind = RetryingRepository(
        SftpRepository(login_to(server), root=str(folder)), first_wait_seconds=0.01
    )
    job = MemoryJob()
    mirrors = (
        Mirror(name="main", repository=bucket, guard=MemoryGuard()),
        Mirror(name="behind", repository=behind, guard=MemoryGuard()),
    )
    context = mirrored(replace(job.context, repository=bucket), *mirrors)
    assert backup(context).error is None
    for store in (bucket, behind):
        assert verify(job.reader_of(store), "shop/latest", workers=3).exit_code == 0

    folder.rename(tmp_path / "lost")
    report = backup(context)
    assert [each.name for each in report.without] == ["behind"]
    assert len(Catalog(bucket).survey("shop").manifests) == 2
    (tmp_path / "lost").rename(folder)
    assert len(Catalog(behind).survey("shop").manifests) == 1
