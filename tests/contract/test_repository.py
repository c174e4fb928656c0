"""The promises of every repository; a new driver enrols with one line."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog.signed_manifests import SignedManifests, Signer
from holdfast.locking.host_lock import this_process
from holdfast.locking.job_lock import LEASES
from holdfast.locking.lease import Lease, Terms
from holdfast.locking.slots import SLOTS
from holdfast.model.backup import Buffer
from holdfast.model.errors import AlreadyStored, ObjectMissing
from holdfast.model.fingerprints import BLAKE3, SHA256, fingerprint_of
from holdfast.ports.repository import Content, Repository
from holdfast.repositories.local import LocalRepository
from holdfast.repositories.network import RetryingRepository, ThrottledRepository
from holdfast.repositories.sftp import SftpRepository
from lab.stores.sshd import SftpServer
from tests.fakes.clock import FakeClock
from tests.fakes.repository import MemoryRepository
from tests.support.stores import AzureContainer, GcsBucket, S3Bucket, login_to

MIB = 1 << 20
OWN_TROUBLE = "the source's own trouble, not the store's"


def memory(_request: pytest.FixtureRequest, _folder: Path) -> Repository:
    return MemoryRepository()


def local(_request: pytest.FixtureRequest, folder: Path) -> Repository:
    return LocalRepository(folder)


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


def patient(_request: pytest.FixtureRequest, folder: Path) -> Repository:
    return RetryingRepository(LocalRepository(folder))


def paced(_request: pytest.FixtureRequest, folder: Path) -> Repository:
    return ThrottledRepository(LocalRepository(folder), lambda _: None)


def signed(_request: pytest.FixtureRequest, folder: Path) -> Repository:
    signer = Signer.generate()
    return SignedManifests(LocalRepository(folder), signer=lambda: signer, trusted=())


MAKERS: list[Callable[[pytest.FixtureRequest, Path], Repository]] = [
    memory,
    local,
    s3,
    azure,
    gcs,
    sftp,
    patient,
    paced,
    signed,
]


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    made: Repository = request.param(request, tmp_path)
    return made


def content(repository: Repository, key: str) -> bytes:
    with repository.open(key) as chunks:
        return b"".join(chunks)


def keys(repository: Repository, prefix: str = "") -> list[str]:
    return [stored.key for stored in repository.list(prefix)]


def test_what_is_put_comes_back(repository: Repository) -> None:
    chunks: list[Buffer] = [b"", b"one", bytearray(b"two"), memoryview(b"three"), b"x" * (3 * MIB)]
    stored = repository.put("job/b/parts/data/x.copy", chunks)
    assert stored.size_bytes == 11 + 3 * MIB
    assert content(repository, "job/b/parts/data/x.copy") == b"onetwothree" + b"x" * (3 * MIB)


@pytest.mark.parametrize("algorithm", [BLAKE3, SHA256])
@pytest.mark.parametrize("size_bytes", [11, 21 * MIB], ids=["short", "long"])
def test_content_is_kept_with_its_fingerprint_or_without_any(
    repository: Repository, size_bytes: int, algorithm: str
) -> None:
    data = b"x" * size_bytes
    fingerprint = fingerprint_of(data, algorithm)
    content_ = Content(size_bytes=size_bytes, fingerprint=fingerprint, read=lambda: [data])
    assert repository.put("job/known", content_).size_bytes == size_bytes
    found = repository.stat("job/known")
    assert found.size_bytes == size_bytes
    assert found.fingerprint in (fingerprint, "")
    assert fingerprint_of(content(repository, "job/known"), algorithm) == fingerprint
    with pytest.raises(AlreadyStored):
        repository.put("job/known", content_)


def test_looking_at_nothing_says_that_it_is_missing(repository: Repository) -> None:
    with pytest.raises(ObjectMissing):
        repository.stat("job/nothing")


def test_a_long_stream_comes_back_and_is_never_replaced(repository: Repository) -> None:
    pieces = [bytes([number]) * MIB for number in range(20)]
    assert repository.put("job/long", iter(pieces)).size_bytes == 20 * MIB
    assert content(repository, "job/long") == b"".join(pieces)
    with pytest.raises(AlreadyStored):
        repository.put("job/long", iter(pieces))
    assert [each.size_bytes for each in repository.list("job")] == [20 * MIB]


def test_a_long_stream_that_breaks_off_leaves_nothing_for_a_sweep_either(
    repository: Repository,
) -> None:
    def broken() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * MIB
        raise ValueError("the source's own trouble")

    with pytest.raises(ValueError, match="the source's own trouble"):
        repository.put("job/b/long", broken())
    assert keys(repository) == []
    assert repository.sweep("job") == 0


def test_many_threads_put_at_once_and_one_of_them_wins_each_key(repository: Repository) -> None:
    def put(number: int) -> bool:
        try:
            repository.put(f"job/{number % 8}", [bytes([number])])
        except AlreadyStored:
            return False
        return True

    with ThreadPoolExecutor(24) as pool:
        won = list(pool.map(put, range(24)))
    assert won.count(True) == 8
    winners = {number % 8: bytes([number]) for number in range(24) if won[number]}
    assert {int(key[4:]): content(repository, key) for key in keys(repository)} == winners


def test_an_empty_object_is_an_object(repository: Repository) -> None:
    repository.put("job/empty", [])
    assert content(repository, "job/empty") == b""
    assert [each.size_bytes for each in repository.list("job")] == [0]


def test_a_buffer_may_be_used_again_for_the_next_chunk(repository: Repository) -> None:
    def reused() -> Iterator[memoryview]:
        buffer = bytearray(2)
        for letter in b"ab":
            buffer[:] = bytes([letter, letter])
            yield memoryview(buffer)

    repository.put("job/reused", reused())
    assert content(repository, "job/reused") == b"aabb"


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, OWN_TROUBLE), ConnectionResetError(OWN_TROUBLE), EOFError(OWN_TROUBLE)],
    ids=lambda error: type(error).__name__,
)
def test_chunks_that_break_off_leave_nothing_and_their_error_comes_through(
    repository: Repository, error: Exception
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"begun"
        raise error

    with pytest.raises(type(error), match=OWN_TROUBLE):
        repository.put("job/b/parts/broken", broken())
    assert keys(repository) == []
    with pytest.raises(ObjectMissing):
        content(repository, "job/b/parts/broken")


def test_what_is_stored_is_never_replaced(repository: Repository) -> None:
    repository.put("job/once", [b"first"])
    with pytest.raises(AlreadyStored):
        repository.put("job/once", [b"second"])
    assert content(repository, "job/once") == b"first"


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(repository: Repository) -> None:
    for key in ("shop/b/m", "shop-eu/b/m", "shop/a/m"):
        repository.put(key, [b"x"])
    assert keys(repository, "shop") == ["shop/a/m", "shop/b/m"]
    assert keys(repository, "sho") == []
    assert len(keys(repository)) == 3


def test_deleting_is_final_and_may_be_done_twice(repository: Repository) -> None:
    repository.put("job/gone", [b"x"])
    repository.delete("job/gone")
    repository.delete("job/gone")
    assert keys(repository) == []
    repository.put("job/gone", [b"again"])
    assert content(repository, "job/gone") == b"again"


def test_the_check_leaves_nothing_behind(repository: Repository) -> None:
    repository.check()
    assert keys(repository) == []


def lease_of(repository: Repository, folder: str, host: int) -> Lease:
    me = replace(this_process(), host=f"host{host}", boot_id=f"boot{host}")
    terms = Terms(me=me, run_id=f"run{host}", lease_seconds=60, clock=FakeClock())
    return Lease(repository, folder, terms)


@pytest.mark.parametrize("folder", [f"{LEASES}/job", f"{SLOTS}/1"])
def test_a_lease_has_one_owner_of_five_hosts_that_ask_at_once(
    repository: Repository, folder: str
) -> None:
    leases = [lease_of(repository, folder, number) for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        won = list(pool.map(lambda lease: lease.attempt(deadline=None), leases))
    assert won.count(True) == 1
    owner = leases[won.index(True)]
    owner.renew()
    claim = leases[won.index(False)].holder()
    assert claim is not None
    assert claim.run_id == f"run{won.index(True)}"
    owner.release()
    assert lease_of(repository, folder, 5).attempt(deadline=None)
    assert len(keys(repository, folder)) == 1
    assert keys(repository, "job") == []


@pytest.mark.parametrize("key", ["../up", "a/../../up", "/root", "a//b", ".hidden", "a/.b", ""])
def test_a_key_cannot_leave_the_repository(repository: Repository, key: str) -> None:
    with pytest.raises(ObjectMissing):
        repository.put(key, [b"x"])
    with pytest.raises(ObjectMissing):
        content(repository, key)
