"""A copy is killed at any step: the incomplete one is no backup, and the next one continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.operations.backup.job import backup
from holdfast.operations.verify.backup import verify
from holdfast.ports.repository import Repository
from holdfast.repositories.local import LocalRepository
from tests.fakes.source import table
from tests.support.memory_job import MemoryJob
from tests.support.stores import S3Bucket

CONFIG = """\
state_directory: {folder}/state
repositories:
  main: {{kind: local, path: {folder}/main}}
  offsite:
    kind: s3
    bucket: {bucket}
    prefix: {prefix}
    endpoint: {endpoint}
    access_key: {{environment: TEST_ACCESS_KEY}}
    secret_key: {{environment: TEST_SECRET_KEY}}
jobs:
  shop:
    source: {{kind: postgres, dsn: "dbname=shop"}}
    repository: main
"""
# Above 5 MiB compressed: it is copied alone, after the small ones.
LONG = os.urandom(6 << 20).hex()
STEPS = ["copy-locked", "copy-object-stored", "copy-object-stored:3", "copy-parts-stored"]


@pytest.fixture
def folder(tmp_path: Path, bucket: S3Bucket) -> Path:
    """A host with one backup of two small tables and a long one, and where to copy it."""
    for name in ("state", "main"):
        (tmp_path / name).mkdir()
    (tmp_path / "holdfast.yaml").write_text(
        CONFIG.format(
            folder=tmp_path,
            bucket=bucket.name,
            prefix=tmp_path.name,
            endpoint=bucket.server.endpoint,
        )
    )
    job = MemoryJob(table("orders", "1,ann"), table("items", "1,9"), table("long", LONG))
    backup(replace(job.context, repository=LocalRepository(tmp_path / "main")))
    return tmp_path


def copy(folder: Path, bucket: S3Bucket, failpoint: str = "") -> int:
    environment = {
        **os.environ,
        "TEST_ACCESS_KEY": bucket.keys.access_key,
        "TEST_SECRET_KEY": bucket.keys.secret_key,
        "HOLDFAST_FAILPOINT": failpoint,
    }
    program = "from holdfast.cli.main import main; main()"
    config = str(folder / "holdfast.yaml")
    argv = [sys.executable, "-c", program, "--config", config, "copy", "shop", "--to", "offsite"]
    return subprocess.run(argv, env=environment, check=False, capture_output=True).returncode


@pytest.mark.parametrize("step", STEPS)
def test_a_copy_that_was_killed_is_no_backup_and_the_next_one_ends_it(
    folder: Path, bucket: S3Bucket, step: str
) -> None:
    offsite = bucket.repository(prefix=folder.name)
    assert copy(folder, bucket, step) == -signal.SIGKILL
    assert Catalog(offsite).survey("shop").manifests == ()
    assert copy(folder, bucket) == 0
    assert_same(offsite, LocalRepository(folder / "main"))
    assert verify(MemoryJob().reader_of(offsite), "shop/latest", workers=2).exit_code == 0
    assert offsite.sweep("shop") == 0


def test_a_copy_that_was_killed_behind_its_manifest_is_a_backup(
    folder: Path, bucket: S3Bucket
) -> None:
    offsite = bucket.repository(prefix=folder.name)
    assert copy(folder, bucket, "copy-manifest-stored") == -signal.SIGKILL
    assert verify(MemoryJob().reader_of(offsite), "shop/latest", workers=2).exit_code == 0


def assert_same(one: Repository, other: Repository) -> None:
    def listed(repository: Repository) -> list[tuple[str, int]]:
        return sorted((each.key, each.size_bytes) for each in repository.list("shop"))

    assert listed(one) == listed(other)
