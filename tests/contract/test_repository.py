"""What every repository promises; a new driver enrols with one line."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.errors import AlreadyStored, ObjectMissing
from holdfast.model import Buffer
from holdfast.ports import Repository
from holdfast.repositories.local import LocalRepository
from tests.fakes.repository import MemoryRepository

MIB = 1 << 20


def memory(_: Path) -> Repository:
    return MemoryRepository()


def local(folder: Path) -> Repository:
    return LocalRepository(folder)


MAKERS: list[Callable[[Path], Repository]] = [memory, local]


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    made: Repository = request.param(tmp_path)
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


def test_chunks_that_break_off_leave_nothing_and_their_error_comes_through(
    repository: Repository,
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"begun"
        raise OSError(errno.ENOSPC, "the source's own trouble, not the store's")

    with pytest.raises(OSError, match="the source's own trouble"):
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


@pytest.mark.parametrize("key", ["../up", "a/../../up", "/root", "a//b", ".hidden", "a/.b", ""])
def test_a_key_cannot_leave_the_repository(repository: Repository, key: str) -> None:
    with pytest.raises(ObjectMissing):
        repository.put(key, [b"x"])
    with pytest.raises(ObjectMissing):
        content(repository, key)
