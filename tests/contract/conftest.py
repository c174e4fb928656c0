"""Real stores, each started once for all tests that want it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.stores.azure import azure_server
from lab.stores.ceph import s3_server
from lab.stores.gcs import gcs_server
from lab.stores.sshd import SftpServer, sftp_server
from tests.support.stores import AzureContainer, GcsBucket, S3Bucket


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Bucket]:
    with s3_server(tmp_path_factory.mktemp("s3") / "ceph") as server:
        made = S3Bucket(server, "backups")
        made.requests().ask("PUT", "", {})
        yield made


@pytest.fixture(scope="session")
def azure_container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureContainer]:
    with azure_server(tmp_path_factory.mktemp("azure") / "azurite") as server:
        server.make_container("backups")
        yield AzureContainer(server, "backups")


@pytest.fixture(scope="session")
def gcs_bucket() -> Iterator[GcsBucket]:
    with gcs_server("backups", names_a_page=7) as server:
        yield GcsBucket(server, "backups")


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    with sftp_server(tmp_path_factory.mktemp("sftp") / "sshd") as server:
        yield server
