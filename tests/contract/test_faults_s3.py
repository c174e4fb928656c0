"""An S3 store behind a failing network: a few retries, nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    RepositoryFull,
    RepositoryRefused,
    RepositoryUnreachable,
)
from holdfast.model.fingerprints import fingerprint_of
from holdfast.ports.repository import Content, Repository
from holdfast.repositories.network import RetryingRepository
from lab.stores.proxy import Fault, FaultProxy, fault_proxy
from tests.support.stores import S3Bucket

MIB = 1 << 20
PUT_PART = r"PUT .*partNumber="
# Each outer try makes as many requests as obstore retries.
MOST_REQUESTS = 2 * 4


@pytest.fixture
def proxy(bucket: S3Bucket) -> Iterator[FaultProxy]:
    with fault_proxy(bucket.server.port) as before:
        yield before


@pytest.fixture
def plain(bucket: S3Bucket, tmp_path: Path) -> Repository:
    """The same objects, seen without the proxy."""
    return bucket.repository(prefix=tmp_path.name)


@pytest.fixture
def repository(bucket: S3Bucket, proxy: FaultProxy, tmp_path: Path) -> Repository:
    store = bucket.repository(
        prefix=tmp_path.name,
        endpoint=proxy.endpoint,
        request_timeout=timedelta(seconds=1.5),
    )
    return RetryingRepository(store, attempts=2, first_wait_seconds=0.01)


def content(repository: Repository, key: str) -> bytes:
    with repository.open(key) as chunks:
        return b"".join(chunks)


def known(data: bytes) -> Content:
    return Content(size_bytes=len(data), fingerprint=fingerprint_of(data), read=lambda: [data])


def unfinished(bucket: S3Bucket, folder: Path) -> list[str]:
    return [each.key for each in bucket.requests().unfinished(f"{folder.name}/")]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", requests="^PUT"),
        Fault("answer-lost", requests="^PUT"),
        Fault("status", requests="^PUT", times=2),
        Fault("status", requests="^PUT", status=500, code="InternalError"),
        Fault("wrong-etag", requests="^PUT"),
        Fault("stalled", requests="^PUT", seconds=5),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_a_put_gets_over_one_fault_and_is_there_once(
    repository: Repository, plain: Repository, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.faults = [replace(fault)]
    repository.put("job/b/part", [b"one", b"two"])
    assert proxy.faults[0].done == fault.times
    assert content(plain, "job/b/part") == b"onetwo"
    assert plain.stat("job/b/part").fingerprint == fingerprint_of(b"onetwo")
    assert [each.key for each in plain.list("")] == ["job/b/part"]
    assert proxy.count("^PUT") <= MOST_REQUESTS


@pytest.mark.parametrize("kind", ["reset", "answer-lost", "status", "stalled"])
def test_a_long_upload_gets_over_a_fault_of_one_of_its_parts(
    repository: Repository, plain: Repository, proxy: FaultProxy, kind: str
) -> None:
    data = bytes(range(256)) * (20 * MIB // 256)
    proxy.faults = [Fault(kind, requests=PUT_PART, seconds=5)]  # type: ignore[arg-type]  # a Kind
    repository.put("job/b/long", known(data))
    assert proxy.faults[0].done == 1
    assert content(plain, "job/b/long") == data
    assert plain.stat("job/b/long").fingerprint == fingerprint_of(data)


def test_a_long_upload_with_a_wrong_etag_is_refused_whole(
    repository: Repository,
    plain: Repository,
    proxy: FaultProxy,
    bucket: S3Bucket,
    tmp_path: Path,
) -> None:
    proxy.faults = [Fault("wrong-etag", requests=PUT_PART, times=100)]
    with pytest.raises(RepositoryUnreachable, match="InvalidPart"):
        repository.put("job/b/long", iter([b"x" * MIB] * 20))
    assert list(plain.list("")) == []
    assert unfinished(bucket, tmp_path) == []


def test_a_store_that_stays_down_is_asked_a_few_times_and_leaves_nothing(
    repository: Repository,
    plain: Repository,
    proxy: FaultProxy,
    bucket: S3Bucket,
    tmp_path: Path,
) -> None:
    proxy.faults = [Fault("status", requests="^PUT", times=1000)]
    with pytest.raises(
        RepositoryUnreachable, match=r"cannot store 'job/b/part' in 's3://.*Unavailable"
    ):
        repository.put("job/b/part", [b"x"])
    assert proxy.count("^PUT") == MOST_REQUESTS
    with pytest.raises(RepositoryUnreachable, match="job/b/long"):
        repository.put("job/b/long", iter([b"x" * MIB] * 20))
    assert list(plain.list("")) == []
    assert unfinished(bucket, tmp_path) == []


@pytest.mark.parametrize("kind", ["truncated", "reset", "status"])
def test_a_read_continues_where_it_broke_off(
    repository: Repository, plain: Repository, proxy: FaultProxy, kind: str
) -> None:
    data = bytes(range(256)) * (6 * MIB // 256)
    plain.put("job/b/part", [data])
    proxy.faults = [Fault(kind, requests="^GET")]  # type: ignore[arg-type]  # a Kind
    assert content(repository, "job/b/part") == data
    assert proxy.faults[0].done == 1


def test_a_read_that_stays_truncated_is_an_error_and_not_an_end(
    repository: Repository, plain: Repository, proxy: FaultProxy
) -> None:
    plain.put("job/b/part", [b"x" * MIB])
    proxy.faults = [Fault("truncated", requests="^GET", times=1000)]
    with pytest.raises(RepositoryUnreachable, match="cannot read 'job/b/part'"):
        content(repository, "job/b/part")
    assert proxy.count("^GET") <= 3 * MOST_REQUESTS


@pytest.mark.parametrize("kind", ["truncated", "reset", "status"])
def test_a_list_gets_over_a_fault_and_tells_everything_once(
    repository: Repository, plain: Repository, proxy: FaultProxy, kind: str
) -> None:
    for number in range(5):
        plain.put(f"job/b/{number}", [b"x"])
    proxy.faults = [Fault(kind, requests="list-type")]  # type: ignore[arg-type]  # a Kind
    found = [each.key for each in repository.list("job")]
    assert found == [f"job/b/{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("status", "code", "error", "hint"),
    [
        (400, "ExpiredToken", RepositoryRefused, "session token has expired"),
        (403, "RequestTimeTooSkewed", RepositoryRefused, "clock is wrong"),
        (403, "AccessDenied", RepositoryRefused, "grant the permissions"),
        (403, "SignatureDoesNotMatch", RepositoryRefused, "access key or its secret is wrong"),
        (403, "QuotaExceeded", RepositoryFull, "holdfast prune"),
        (507, "Other", RepositoryFull, "holdfast prune"),
    ],
)
def test_an_error_that_waiting_cannot_cure_is_not_retried_and_has_a_hint(
    repository: Repository,
    proxy: FaultProxy,
    status: int,
    code: str,
    error: type[HoldfastError],
    hint: str,
) -> None:
    proxy.faults = [Fault("status", requests="^PUT", times=1000, status=status, code=code)]
    with pytest.raises(error, match=code) as raised:
        repository.put("job/b/part", [b"x"])
    assert hint in raised.value.hint
    assert proxy.count("^PUT") <= (1 if status < 500 else 4)


def test_wrong_keys_are_refused_and_never_shown(bucket: S3Bucket, tmp_path: Path) -> None:
    wrong = replace(bucket.keys, secret_key="not-the-secret")
    store = bucket.repository(prefix=tmp_path.name, keys=wrong)
    for act in (store.check, lambda: store.sweep("job"), lambda: list(store.list(""))):
        with pytest.raises(RepositoryRefused) as raised:
            act()
        assert "secret is wrong" in raised.value.hint
        assert "not-the-secret" not in str(raised.value)
    assert "not-the-secret" not in repr(wrong)


def test_a_bucket_that_is_not_there_is_no_missing_object(bucket: S3Bucket) -> None:
    store = replace(bucket, name="nowhere").repository(prefix="x")
    with pytest.raises(RepositoryRefused, match="NoSuchBucket") as raised:
        content(store, "job/b/part")
    assert "create the bucket" in raised.value.hint


def test_unfinished_uploads_of_a_dead_run_are_swept_and_those_of_others_are_not(
    bucket: S3Bucket, tmp_path: Path, plain: Repository
) -> None:
    for key in ("job/b/dead", "job/c/dead", "job-two/b/alive"):
        bucket.requests().ask("POST", f"{tmp_path.name}/{key}", {"uploads": ""})
    assert plain.sweep("job") == 2
    assert unfinished(bucket, tmp_path) == [f"{tmp_path.name}/job-two/b/alive"]


def test_a_store_that_replaces_is_found_by_the_check(
    bucket: S3Bucket, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.faults = [Fault("status", requests="^PUT", after=1, status=200)]
    store = bucket.repository(prefix=tmp_path.name, endpoint=proxy.endpoint)
    with pytest.raises(RepositoryRefused, match="replaces objects") as raised:
        store.check()
    assert "If-None-Match" in raised.value.hint


def test_a_bucket_whose_versions_let_it_replace_is_found_by_the_check(
    bucket: S3Bucket, tmp_path: Path
) -> None:
    """Ceph 16 does; a store without it behaves the same with versions and without."""
    versioned = replace(bucket, name="versioned")
    versioned.requests().ask("PUT", "", {})
    configuration = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    versioned.requests().ask("PUT", "", {"versioning": ""}, content=configuration)
    store = versioned.repository(prefix=tmp_path.name)
    store.put("job/x", [b"one"])
    try:
        store.put("job/x", [b"two"])
    except AlreadyStored:
        assert store.check() == ""
        return
    with pytest.raises(RepositoryRefused, match="replaces objects"):
        store.check()


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [(409, "ConditionalRequestConflict", "^PUT"), (409, "OperationAborted", "^PUT")],
)
def test_a_put_that_met_another_one_is_tried_again(
    repository: Repository,
    plain: Repository,
    proxy: FaultProxy,
    status: int,
    code: str,
    requests: str,
) -> None:
    proxy.faults = [Fault("status", requests=requests, status=status, code=code)]
    repository.put("job/b/part", [b"x"])
    assert content(plain, "job/b/part") == b"x"


def test_the_bytes_of_a_damaged_upload_are_refused_by_the_store_itself(
    repository: Repository, plain: Repository, proxy: FaultProxy
) -> None:
    proxy.faults = [Fault("damaged", requests="^PUT", times=1000)]
    with pytest.raises(HoldfastError):
        repository.put("job/b/part", [b"x" * 1000])
    assert list(plain.list("")) == []
    proxy.faults = []
    repository.put("job/b/part", [b"x" * 1000])
    assert content(plain, "job/b/part") == b"x" * 1000
