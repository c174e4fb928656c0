"""Foreign names stand beside a job's objects in a real store: the job still works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from holdfast.model.errors import RepositoryRefused
from holdfast.operations.backup.job import backup
from holdfast.operations.prune import prune
from holdfast.operations.repair import repair
from holdfast.operations.verify.backup import verify
from holdfast.ports.repository import Repository
from holdfast.repositories.network import RetryingRepository
from tests.support.events import capture_logs
from tests.support.memory_job import MemoryJob, repair_context
from tests.support.stores import AzureContainer, GcsBucket, S3Bucket

ODD = [
    "shop//b",
    "shop/../c",
    "shop/./d",
    "shop/",
    "/shop/e",
    "shop/\x01f",
    "shop/\x1b[2Jg",
    "shop/.hidden",
    "//",
    "shop/a+b c%2F..%2Fd",
]


def keys(repository: Repository, prefix: str) -> list[str]:
    return [each.key for each in repository.list(prefix)]


Put = Callable[[str], object]


def s3(request: pytest.FixtureRequest, prefix: str) -> tuple[Repository, Put, list[str]]:
    bucket: S3Bucket = request.getfixturevalue("bucket")
    requests = bucket.requests()
    return (
        bucket.repository(prefix=prefix),
        lambda key: requests.ask("PUT", key, {}, content=b"odd"),
        ODD,
    )


def azure(request: pytest.FixtureRequest, prefix: str) -> tuple[Repository, Put, list[str]]:
    container: AzureContainer = request.getfixturevalue("azure_container")
    # The names that it accepts: the path of a URL cannot hold the others.
    odd = [each for each in ODD if not {"\x01", "\x1b"} & set(each) and "/." not in each]
    return container.repository(prefix=prefix), partial(container.server.put, container.name), odd


def gcs(request: pytest.FixtureRequest, prefix: str) -> tuple[Repository, Put, list[str]]:
    bucket: GcsBucket = request.getfixturevalue("gcs_bucket")
    there = bucket.server.buckets[bucket.name]
    return (
        bucket.repository(prefix=prefix),
        lambda key: there.put(key, b"odd", {}, may_replace=True),
        ODD,
    )


@pytest.mark.parametrize("make", [s3, azure, gcs], ids=lambda make: make.__name__)
def test_names_that_lead_elsewhere_stop_nobody(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make: Callable[[pytest.FixtureRequest, str], tuple[Repository, Put, list[str]]],
) -> None:
    bare, put, odd = make(request, tmp_path.name)
    store = RetryingRepository(bare, attempts=1)
    job = MemoryJob()
    context = replace(job.context, repository=store)
    for each in odd:
        put(f"{tmp_path.name}/{each}")
    with capture_logs() as logs:
        assert keys(store, "shop") == ["shop/a+b c%2F..%2Fd"]
    assert len([each for each in logs if each["event"] == "foreign_object_skipped"]) == 1
    made = [backup(context).manifest.backup_id for _ in range(3)]
    assert verify(job.reader_of(store), "shop/latest", workers=2).exit_code == 0
    assert prune(repair_context(context), dry_run=False).exit_code == 0
    assert repair(repair_context(context), dry_run=False).exit_code == 0
    assert {key.rsplit("/")[1] for key in keys(store, "shop")} >= {
        each.partition("/")[2] for each in made[1:]
    }


def test_names_with_odd_letters_and_many_pages_are_listed_as_they_are_on_s3(
    bucket: S3Bucket, tmp_path: Path
) -> None:
    store = bucket.repository(prefix=tmp_path.name)
    odd = ["a b/c+d", "ä/ß-日本", "a%2Fb/c%20d", "a&b=c/d?e#f", "(x)/y,z;'q'"]
    many = [f"job/b/{number:04}" for number in range(40)]
    for key in odd + many:
        store.put(key, [b"x"])
    assert keys(store, "") == sorted(odd + many)
    assert keys(store, "job") == many
    assert keys(store, "job/b/0001") == []


def test_where_a_list_cannot_be_had_past_an_odd_name_that_name_is_told(
    gcs_bucket: GcsBucket, tmp_path: Path
) -> None:
    """As with the machine's own account, for which we have no token."""
    store = gcs_bucket.repository(prefix=tmp_path.name, lists_itself=False)
    there = gcs_bucket.server.buckets[gcs_bucket.name]
    name = f"{tmp_path.name}/shop/\x1b[2J"
    there.put(name, b"odd", {}, may_replace=True)
    with pytest.raises(RepositoryRefused, match="invalid path") as raised:
        keys(store, "shop")
    assert "\x1b" not in str(raised.value)
    assert "remove it" in raised.value.hint
    there.delete(name, {})
    assert keys(store, "shop") == []


def test_what_a_cloud_lists_above_the_prefix_is_not_below_it(
    gcs_bucket: GcsBucket, tmp_path: Path
) -> None:
    """A folder's marker, as consoles make them, is listed by obstore under the folder's name."""
    there = gcs_bucket.server.buckets[gcs_bucket.name]
    there.put(f"{tmp_path.name}/shop/", b"", {}, may_replace=True)
    for lists_itself in (True, False):
        store = gcs_bucket.repository(prefix=tmp_path.name, lists_itself=lists_itself)
        assert keys(store, "shop") == []
