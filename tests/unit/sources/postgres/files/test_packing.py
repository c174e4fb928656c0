"""Tar archives that any tar can read, written without the library where it would be slow."""

from __future__ import annotations

import io
import tarfile

import pytest

from holdfast.sources.postgres.files.packing import END, Arena, header, padding_bytes


@pytest.mark.parametrize(
    "path", ["base/5/1259", "a" * 100, "b" * 101, "conf.d/größe.conf", "x" * 300]
)
@pytest.mark.parametrize("size_bytes", [0, 8192, (8 << 30) - 1, 8 << 30])
def test_a_header_says_what_the_library_would_say(path: str, size_bytes: int) -> None:
    head = header(path, size_bytes=size_bytes, modified=1_700_000_000, mode=0o100640)
    member = tarfile.TarFile.open(fileobj=io.BytesIO(head + END)).next()
    assert member is not None
    assert (member.name, member.size, member.mode) == (path, size_bytes, 0o640)
    assert (member.mtime, member.isreg()) == (1_700_000_000, True)


def test_a_folder_is_one() -> None:
    head = header("pg_wal", size_bytes=0, modified=0, mode=0o042755)
    member = tarfile.TarFile.open(fileobj=io.BytesIO(head + END)).next()
    assert member is not None
    assert (member.isdir(), member.mode) == (True, 0o755)


def test_an_arena_holds_what_fits_and_is_used_again() -> None:
    arena = Arena(size_bytes=1024)
    arena.add(b"x" * 600)
    assert (arena.has_room(424), arena.has_room(425)) == (True, False)
    arena.take(4)[:] = b"tail"
    assert bytes(arena.content) == b"x" * 600 + b"tail"
    arena.clear()
    assert (bytes(arena.content), arena.has_room(1024)) == (b"", True)


@pytest.mark.parametrize(("size_bytes", "padding"), [(0, 0), (1, 511), (512, 0), (513, 511)])
def test_members_fill_whole_blocks(size_bytes: int, padding: int) -> None:
    assert padding_bytes(size_bytes) == padding
