"""Azure and Google behind a failing network, and what each proves about an upload."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import md5
from pathlib import Path

import pytest

from holdfast.model.errors import (
    AlreadyStored,
    BackupFailed,
    HoldfastError,
    ObjectMissing,
    RepositoryReadOnly,
    RepositoryRefused,
)
from holdfast.model.fingerprints import fingerprint_of
from holdfast.operations.append_only import AppendOnly, Leftovers
from holdfast.operations.backup.job import backup
from holdfast.operations.copy.objects import CopyItem, upload
from holdfast.operations.prune import prune
from holdfast.operations.repair import repair
from holdfast.operations.status import check
from holdfast.operations.verify.backup import verify
from holdfast.ports.repository import Content, Repository
from holdfast.repositories.buckets import Bucket
from holdfast.repositories.gcs import gcs_repository
from holdfast.repositories.network import RetryingRepository
from lab import command
from lab.stores.gcs import Account, gcs_server
from lab.stores.proxy import Fault, FaultProxy, fault_proxy
from tests.contract.test_repository import lease_of
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob, check_context, repair_context
from tests.support.stores import AzureContainer, GcsBucket

MIB = 1 << 20
SECRET = "bm90LXRoZS1rZXk="
# A late answer differs from no answer.
TIMEOUT = timedelta(seconds=1.5)


@dataclass(frozen=True)
class Cloud:
    """A store, reached directly and through a proxy."""

    plain: Repository
    behind: Repository
    proxy: FaultProxy


def azure(request: pytest.FixtureRequest, prefix: str, proxy: FaultProxy) -> Cloud:
    container: AzureContainer = request.getfixturevalue("azure_container")
    return Cloud(
        container.repository(prefix=prefix),
        container.repository(prefix=prefix, port=proxy.port, request_timeout=TIMEOUT),
        proxy,
    )


def gcs(request: pytest.FixtureRequest, prefix: str, proxy: FaultProxy) -> Cloud:
    bucket: GcsBucket = request.getfixturevalue("gcs_bucket")
    return Cloud(
        bucket.repository(prefix=prefix),
        bucket.repository(prefix=prefix, port=proxy.port, request_timeout=TIMEOUT),
        proxy,
    )


Make = Callable[[pytest.FixtureRequest, str, FaultProxy], Cloud]
FIXTURES: dict[Make, str] = {azure: "azure_container", gcs: "gcs_bucket"}


@pytest.fixture(params=[azure, gcs], ids=lambda make: make.__name__)
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    make: Make = request.param
    port = request.getfixturevalue(FIXTURES[make]).server.port
    with fault_proxy(port) as proxy:
        made = make(request, tmp_path.name, proxy)
        behind = RetryingRepository(made.behind, attempts=2, first_wait_seconds=0.01)
        yield replace(made, behind=behind)


def content(repository: Repository, key: str) -> bytes:
    with repository.open(key) as chunks:
        return b"".join(chunks)


def known(data: bytes) -> Content:
    return Content(size_bytes=len(data), fingerprint=fingerprint_of(data), read=lambda: [data])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", requests="^PUT"),
        Fault("answer-lost", requests="^PUT"),
        Fault("status", requests="^PUT", times=2),
        Fault("stalled", requests="^PUT", seconds=5),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_put_gets_over_one_fault_and_is_there_once(cloud: Cloud, fault: Fault) -> None:
    cloud.proxy.faults = [replace(fault)]
    cloud.behind.put("job/b/part", [b"one", b"two"])
    assert cloud.proxy.faults[0].done == fault.times
    assert content(cloud.plain, "job/b/part") == b"onetwo"
    assert cloud.plain.stat("job/b/part").fingerprint == fingerprint_of(b"onetwo")
    assert [each.key for each in cloud.plain.list("")] == ["job/b/part"]


@pytest.mark.parametrize("kind", ["reset", "answer-lost", "status"])
def test_a_long_upload_gets_over_a_fault_of_one_of_its_parts(cloud: Cloud, kind: str) -> None:
    data = bytes(range(256)) * (20 * MIB // 256)
    parts = r"^PUT .*(partNumber|comp=block\b)"
    cloud.proxy.faults = [Fault(kind, requests=parts)]  # type: ignore[arg-type]  # a Kind
    cloud.behind.put("job/b/long", known(data))
    assert cloud.proxy.faults[0].done == 1
    assert content(cloud.plain, "job/b/long") == data
    assert cloud.plain.stat("job/b/long").fingerprint == fingerprint_of(data)


@pytest.mark.parametrize("kind", ["truncated", "reset", "status"])
def test_a_read_and_a_list_go_on_where_they_broke_off(cloud: Cloud, kind: str) -> None:
    data = bytes(range(256)) * (3 * MIB // 256)
    for number in range(3):
        cloud.plain.put(f"job/b/{number}", [data])
    cloud.proxy.faults = [Fault(kind, requests="^GET")]  # type: ignore[arg-type]  # a Kind
    assert content(cloud.behind, "job/b/1") == data
    cloud.proxy.faults = [Fault(kind, requests="prefix=")]  # type: ignore[arg-type]  # a Kind
    assert [each.key for each in cloud.behind.list("job")] == [f"job/b/{n}" for n in range(3)]
    assert cloud.proxy.faults[0].done == 1


def test_more_objects_than_a_page_are_all_listed_once_and_in_order(cloud: Cloud) -> None:
    keys = [f"job/b/{number:04}" for number in range(30)]
    for key in reversed(keys):
        cloud.plain.put(key, [])
    assert [each.key for each in cloud.plain.list("job")] == keys


@pytest.mark.parametrize(
    "key", ["a b/c+d", "ä/ß-日本", "a%2Fb/c%20d", "a&b=c/d?e#f", "(x)/y,z;'q'"]
)
def test_a_key_with_odd_letters_is_one_key_wherever_it_is_told(cloud: Cloud, key: str) -> None:
    cloud.plain.put(key, [b"x"])
    assert [each.key for each in cloud.plain.list("")] == [key]
    assert content(cloud.plain, key) == b"x"
    with pytest.raises(AlreadyStored):
        cloud.plain.put(key, [b"y"])
    cloud.plain.delete(key)
    with pytest.raises(ObjectMissing):
        cloud.plain.stat(key)


def test_a_small_object_is_one_request_that_carries_its_fingerprint(cloud: Cloud) -> None:
    cloud.behind.put("job/b/part", known(b"content"))
    assert len(cloud.proxy.lines) == 1
    assert cloud.plain.stat("job/b/part").fingerprint == fingerprint_of(b"content")


def test_what_is_there_by_size_and_fingerprint_is_not_sent_again_nor_read(cloud: Cloud) -> None:
    source, keys = MemoryRepository(), [f"job/b/{number}" for number in range(4)]
    for key in keys:
        source.put(key, [key.encode()])
    items = [
        CopyItem(key=key, size_bytes=len(key), fingerprint=fingerprint_of(key.encode()))
        for key in keys
    ]
    wrong = items[3]
    cloud.plain.put(wrong.key, [b"x" * wrong.size_bytes])
    for expected in ((3, 0, 1), (0, 4, 0)):
        cloud.proxy.lines.clear()
        tally = upload(
            lambda: iter(items),
            source,
            cloud.behind,
            at_once=2,
            is_fresh=False,
            progress=FakeProgress(),
        )
        assert (tally.sent - tally.replaced, tally.found, tally.replaced) == expected
        assert cloud.proxy.count("^GET") == 0
    assert cloud.proxy.count("^PUT") == 0
    assert content(cloud.plain, wrong.key) == wrong.key.encode()


def test_google_keeps_the_fingerprint_as_metadata_and_tells_the_checksum_of_what_arrived(
    gcs_bucket: GcsBucket, tmp_path: Path
) -> None:
    gcs_bucket.repository(prefix=tmp_path.name).put("job/b/part", [b"con", b"tent"])
    stored = gcs_bucket.server.buckets[gcs_bucket.name].get(f"{tmp_path.name}/job/b/part")
    algorithm, _, digits = fingerprint_of(b"content").partition(":")
    assert stored.headers[f"x-goog-meta-{algorithm}"] == digits
    assert stored.etag == md5(b"content", usedforsecurity=False).hexdigest()


def test_what_was_damaged_on_its_way_to_google_is_found_by_its_checksum_and_removed(
    gcs_bucket: GcsBucket, tmp_path: Path
) -> None:
    with fault_proxy(gcs_bucket.server.port) as proxy:
        store = gcs_bucket.repository(prefix=tmp_path.name, port=proxy.port)
        proxy.faults = [Fault("damaged", requests="^PUT", times=1000)]
        with pytest.raises(HoldfastError, match="other bytes than were sent"):
            store.put("job/b/part", [b"x" * 1000])
        assert list(store.list("")) == []
        proxy.faults = []
        store.put("job/b/part", [b"x" * 1000])
        assert content(store, "job/b/part") == b"x" * 1000


def test_unfinished_uploads_of_a_dead_run_are_ended_at_google_and_those_of_others_are_not(
    gcs_bucket: GcsBucket, tmp_path: Path
) -> None:
    there = gcs_bucket.server.buckets[gcs_bucket.name]
    for key in ("job/b/dead", "job/c/dead", "job-two/b/alive"):
        there.begin_upload(f"{tmp_path.name}/{key}", {})
    assert gcs_bucket.repository(prefix=tmp_path.name).sweep("job") == 2
    mine = [each.name for each in there.uploads.values() if each.name.startswith(tmp_path.name)]
    assert mine == [f"{tmp_path.name}/job-two/b/alive"]


def test_a_wrong_login_is_refused_and_never_shown(
    azure_container: AzureContainer, gcs_bucket: GcsBucket
) -> None:
    server = azure_container.server
    wrong = replace(azure_container, server=replace(server, account_key=SECRET))
    somebody = Account("nobody@lab.iam.gserviceaccount.com", frozenset())
    for store in (
        wrong.repository(prefix="x"),
        gcs_bucket.repository(prefix="x", account=somebody),
    ):
        for act in (lambda: store.stat("job/x"), lambda: store.put("job/x", [b"x"]), store.check):  # noqa: B023 - used at once
            with pytest.raises(RepositoryRefused) as raised:
                act()
            assert SECRET not in str(raised.value)
            assert "PRIVATE KEY" not in str(raised.value)


@pytest.mark.parametrize("make", [azure, gcs], ids=lambda make: make.__name__)
def test_a_bucket_that_is_not_there_is_no_missing_object(
    request: pytest.FixtureRequest, make: Make
) -> None:
    there = request.getfixturevalue(FIXTURES[make])
    store = replace(there, name="nowhere").repository(prefix="x")
    with pytest.raises(RepositoryRefused, match=r"NoSuchBucket|ContainerNotFound") as raised:
        content(store, "job/b/part")
    assert "create the" in raised.value.hint


def writer_of(request: pytest.FixtureRequest, make: object, prefix: str) -> Repository:
    """A login with the rights that docs/repositories.md lists for a host that may only add."""
    if make is azure:
        container: AzureContainer = request.getfixturevalue("azure_container")
        token = container.server.token(container.name, rights="rcwl")
        return container.repository(prefix=prefix, sas_token=token)
    bucket: GcsBucket = request.getfixturevalue("gcs_bucket")
    return bucket.repository(prefix=prefix, account=bucket.server.writer)


def test_azure_tells_a_login_that_may_only_create_of_what_exists_as_of_a_right(
    azure_container: AzureContainer, tmp_path: Path
) -> None:
    token = azure_container.server.token(azure_container.name, rights="rcl")
    store = azure_container.repository(prefix=tmp_path.name, sas_token=token)
    store.put("job/x", [b"x"])
    with pytest.raises(AlreadyStored):
        store.put("job/x", [b"y"])
    assert content(store, "job/x") == b"x"


@pytest.mark.parametrize("make", [azure, gcs], ids=lambda make: make.__name__)
def test_a_login_that_may_only_add_backs_up_and_replaces_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, make: Make
) -> None:
    writer = writer_of(request, make, tmp_path.name)
    owner: Repository = request.getfixturevalue(FIXTURES[make]).repository(prefix=tmp_path.name)
    job = MemoryJob()
    context = replace(job.context, repository=writer)
    broken = FakeSource(table("orders", "1", fails_with=BackupFailed("the disk is on fire")))
    with pytest.raises(BackupFailed, match="on fire"):
        backup(replace(context, source=broken))
    made = [backup(context).manifest.backup_id for _ in range(3)]
    assert check(check_context(context)).exit_code == 0
    writer.put("job/long", [b"x" * MIB] * 20)
    with pytest.raises(RepositoryReadOnly):
        writer.delete(f"{made[0]}/manifest.json")
    with pytest.raises(RepositoryReadOnly):
        prune(repair_context(context), dry_run=False)

    for host in (1, 2):
        lease = lease_of(AppendOnly(writer, Leftovers()), "_leases/shop", host)
        assert lease.attempt(deadline=None)
        lease.renew()
        lease.release()

    elsewhere = replace(job.repair_context, repository=owner)
    assert prune(elsewhere, dry_run=False).exit_code == 0
    assert repair(elsewhere, dry_run=False).exit_code == 0
    kept = {each.key.split("/")[1] for each in owner.list("shop") if "/parts/" in each.key}
    assert {f"shop/{name}" for name in kept} == set(made[1:])
    assert verify(job.reader_of(owner), "shop/latest", workers=2).exit_code == 0


# As in the documentation, and as `openssl req -x509` makes it by default.
KINDS = {
    "a server's": ("-addext", "basicConstraints=critical,CA:FALSE"),
    "an authority's": (),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_endpoint_is_believed_by_the_certificate_that_is_named_and_by_no_other(
    tmp_path: Path, kind: str
) -> None:
    certificate = certified(tmp_path, KINDS[kind])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    with gcs_server("backups", tls=context) as server:
        for ca_file in (certificate, None):
            store = gcs_repository(
                Bucket(
                    name="backups",
                    prefix="x",
                    endpoint=f"https://127.0.0.1:{server.port}",
                    ca_file=ca_file,
                ),
                service_account_key=server.user.key_file,
            )
            if ca_file:
                assert store.check() == ""
                pieces = [bytes([number]) * MIB for number in range(40)]
                store.put("job/long", pieces)
                assert content(store, "job/long") == b"".join(pieces)
            else:
                with pytest.raises(
                    RepositoryRefused, match=r"certificate is (signed by an|self-signed)"
                ):
                    store.stat("job/x")


def certified(folder: Path, kind: Sequence[str]) -> Path:
    """A certificate of this host for itself."""
    certificate = folder / "certificate.pem"
    names = ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1", *kind, "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(certificate)]
    command.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files])
    return certificate
