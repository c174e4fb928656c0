"""Long files do not stay in the page cache."""

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.repositories import page_cache
from holdfast.repositories.local import LocalRepository

MIB = 1 << 20
LONG_MIB = 64


def cached_bytes(path: Path) -> int:
    """How much of a file the kernel holds in memory, by mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    size_bytes = path.stat().st_size
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size_bytes) as view:
        address = ctypes.c_char.from_buffer(view)
        pages = (ctypes.c_ubyte * -(-size_bytes // mmap.PAGESIZE))()
        found = libc.mincore(
            ctypes.c_void_p(ctypes.addressof(address)), ctypes.c_size_t(size_bytes), pages
        )
        del address
    assert found == 0, os.strerror(ctypes.get_errno())
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[int], Path]:
    """Stores an object of so many MiB; a file system in memory has nothing but its cache."""

    def store(size_mib: int) -> Path:
        key = f"job/{size_mib}"
        LocalRepository(tmp_path).put(key, [os.urandom(MIB)] * size_mib)
        return tmp_path / key

    probe = store(1)
    with probe.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if cached_bytes(probe):
        pytest.skip("this file system lives in memory")
    return store


def test_a_long_object_does_not_stay_in_the_cache(stored: Callable[[int], Path]) -> None:
    assert cached_bytes(stored(LONG_MIB)) < 2 * page_cache.CACHED_BYTES


def test_reading_leaves_little_of_a_long_object_in_the_cache(
    stored: Callable[[int], Path], tmp_path: Path
) -> None:
    path = stored(LONG_MIB)
    whole = path.read_bytes()
    assert cached_bytes(path) > LONG_MIB * MIB // 2
    with LocalRepository(tmp_path).open(f"job/{LONG_MIB}") as chunks:
        assert b"".join(chunks) == whole
    assert cached_bytes(path) < 2 * page_cache.CACHED_BYTES


def test_a_short_object_stays_in_the_cache(stored: Callable[[int], Path]) -> None:
    path = stored(2)
    assert cached_bytes(path) == path.stat().st_size
