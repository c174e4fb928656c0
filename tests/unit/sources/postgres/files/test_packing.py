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


def test_an_arena_holds_what_fits_with_its_padding_and_is_used_again() -> None:
    arena, head = Arena(size_bytes=2048), b"h" * 512
    dirty = arena.place(b"", 2048)
    assert dirty is not None
    dirty[:] = b"\xff" * 2048
    arena.clear()
    place = arena.place(head, 100)
    assert place is not None
    place[:] = b"x" * 100
    assert bytes(arena.content) == head + b"x" * 100 + bytes(412)
    assert arena.place(head, 513) is None
    assert arena.used == 1024
    last = arena.place(head, 512)
    assert last is not None
    assert (len(last), arena.used) == (512, 2048)
    assert arena.place(b"", 1) is None
    arena.clear()
    assert bytes(arena.content) == b""


@pytest.mark.parametrize(("size_bytes", "padding"), [(0, 0), (1, 511), (512, 0), (513, 511)])
def test_members_fill_whole_blocks(size_bytes: int, padding: int) -> None:
    assert padding_bytes(size_bytes) == padding
