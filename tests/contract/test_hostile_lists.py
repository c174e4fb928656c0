"""Names that nobody of us wrote stand beside a job's objects in a real store: its work goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from holdfast.errors import RepositoryRefused
from holdfast.operations.backup import backup
from holdfast.operations.prune import prune
from holdfast.operations.repair import repair
from holdfast.operations.verify import verify
from holdfast.ports import Repository
from holdfast.repositories.retrying import RetryingRepository
from tests.contract.stores import Bucket, GcsBucket
from tests.unit.operations.worlds import World

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


def test_names_that_lead_elsewhere_stop_nobody_on_s3(bucket: Bucket, tmp_path: Path) -> None:
    store = RetryingRepository(bucket.repository(prefix=tmp_path.name), attempts=1)
    world = World()
    plugs = replace(world.plugs, repository=store)
    requests = bucket.requests()
    beside = [f"{tmp_path.name}/{odd}" for odd in ODD]
    for key in beside:
        requests.ask("PUT", key, {}, b"odd")
    with capture_logs() as logs:
        assert keys(store, "shop") == ["shop/a+b c%2F..%2Fd"]
    assert len([each for each in logs if each["event"] == "strange_object"]) == 1
    made = [backup(plugs).manifest.backup_id for _ in range(3)]
    assert verify(world.reader_of(store), "shop/latest", workers=2).exit_code == 0
    assert prune(plugs, dry_run=False).exit_code == 0
    assert repair(plugs, dry_run=False).exit_code == 0
    assert {key.rsplit("/")[1] for key in keys(store, "shop")} >= {
        each.partition("/")[2] for each in made[1:]
    }
    there = {key for key, _ in requests.objects(f"{tmp_path.name}/")}
    assert set(beside) <= there


def test_names_with_odd_letters_and_many_pages_are_listed_as_they_are_on_s3(
    bucket: Bucket, tmp_path: Path
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
    store = gcs_bucket.repository(prefix=tmp_path.name)
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
    assert keys(gcs_bucket.repository(prefix=tmp_path.name), "shop") == []
