"""Runs of one job on two hosts that share a bucket or a folder behind SSH."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.locking.job_lock import LEASES
from holdfast.ports.repository import Repository
from holdfast.repositories.sftp import SftpRepository
from lab.stores.sshd import SftpServer
from tests.support.stores import AzureContainer, GcsBucket, S3Bucket, login_to
from tests.support.two_hosts import LEASE_SECONDS, SLACK_SECONDS, TwoHosts, codes_of_five_starts
from tests.support.waiting import until


@dataclass(frozen=True)
class Shared:
    """Two hosts, and the store itself."""

    hosts: TwoHosts
    store: Repository

    @property
    def backups(self) -> int:
        return len(Catalog(self.store).survey("shop").manifests)


def s3(request: pytest.FixtureRequest, folder: Path) -> Shared:
    bucket: S3Bucket = request.getfixturevalue("bucket")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("TEST_ACCESS_KEY", bucket.keys.access_key)
    monkeypatch.setenv("TEST_SECRET_KEY", bucket.keys.secret_key)
    keys = "access_key: {environment: TEST_ACCESS_KEY}, secret_key: {environment: TEST_SECRET_KEY}"
    where = f"bucket: {bucket.name}, prefix: {folder.name}, endpoint: '{bucket.server.endpoint}'"
    hosts = TwoHosts(folder, store=f"kind: s3, {where}, {keys}")
    return Shared(hosts, bucket.repository(prefix=folder.name))


def azure(request: pytest.FixtureRequest, folder: Path) -> Shared:
    container: AzureContainer = request.getfixturevalue("azure_container")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("TEST_ACCOUNT_KEY", container.server.account_key)
    where = f"account: {container.server.account}, container: {container.name}"
    there = f"prefix: {folder.name}, endpoint: '{container.server.endpoint}'"
    keys = "account_key: {environment: TEST_ACCOUNT_KEY}"
    hosts = TwoHosts(folder, store=f"kind: azure, {where}, {there}, {keys}")
    return Shared(hosts, container.repository(prefix=folder.name))


def gcs(request: pytest.FixtureRequest, folder: Path) -> Shared:
    bucket: GcsBucket = request.getfixturevalue("gcs_bucket")
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("TEST_SERVICE_ACCOUNT", bucket.server.user.key_file)
    where = f"bucket: {bucket.name}, prefix: {folder.name}, endpoint: '{bucket.server.endpoint}'"
    keys = "service_account: {environment: TEST_SERVICE_ACCOUNT}"
    hosts = TwoHosts(folder, store=f"kind: gcs, {where}, {keys}")
    return Shared(hosts, bucket.repository(prefix=folder.name))


def sftp(request: pytest.FixtureRequest, folder: Path) -> Shared:
    server: SftpServer = request.getfixturevalue("ssh_server")
    root = folder / "behind-ssh"
    root.mkdir()
    where = f"host: 127.0.0.1, port: {server.port}, user: {server.user}, path: {root}"
    keys = f"host_keys: ['{server.host_key}'], private_key: {{file: {server.private_key}}}"
    hosts = TwoHosts(folder, store=f"kind: sftp, {where}, {keys}")
    return Shared(hosts, SftpRepository(login_to(server), root=str(root)))


@pytest.fixture(params=[s3, azure, gcs, sftp], ids=lambda make: make.__name__)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Shared:
    make: Callable[[pytest.FixtureRequest, Path], Shared] = request.param
    return make(request, tmp_path)


def test_of_five_that_start_together_one_runs_and_four_skip(shared: Shared) -> None:
    assert codes_of_five_starts(shared.hosts) == [0, 40, 40, 40, 40]
    assert shared.backups == 1


def test_when_the_owner_is_killed_the_other_host_takes_over_within_the_lease_time(
    shared: Shared,
) -> None:
    hosts = shared.hosts
    with hosts.started("a", "backup", "shop") as owner:
        until(lambda: any(shared.store.list(f"{LEASES}/shop")))
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    hosts.go.touch()
    began = time.monotonic()
    code, _ = hosts.ended("b", "backup", "shop")
    assert code == 0
    assert LEASE_SECONDS <= time.monotonic() - began < LEASE_SECONDS + SLACK_SECONDS
    assert shared.backups == 1
