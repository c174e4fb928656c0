"""Tars are read as `tarfile` reads them, and files of a pack are made in few steps each."""

from __future__ import annotations

import io
import stat
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.backup import Part, PartKind
from holdfast.sources.postgres.files.file_restore import FileRestore
from holdfast.sources.postgres.files.packing import END, header, padding_bytes
from holdfast.sources.postgres.files.restore_folders import RestoreFolders
from holdfast.sources.postgres.files.unpacking import members
from tests.fakes.progress import FakeProgress
from tests.fakes.stored import FakeStored
from tests.support.manifests import bare_part

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = [
    "PG_VERSION",
    "./base/1/1259",
    f"base/{'x' * 90}/file",
    f"base/{'x' * 120}/file",
    "base/ä",
    "base/last",
]
FILES, FOLDERS = 500, 2


def of_tarfile(form: int) -> bytes:
    """A folder and files of all sizes around a block, by the standard library."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        folder = tarfile.TarInfo("base")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o750
        archive.addfile(folder)
        for number, name in enumerate(NAMES):
            if form == tarfile.USTAR_FORMAT and len(name) > 120:
                continue
            for size_bytes in (0, 511, 512, 513, 70_000):
                member = tarfile.TarInfo(f"{name}{size_bytes}")
                member.size, member.mode = size_bytes, 0o600 + number
                archive.addfile(member, io.BytesIO(bytes([number + 1]) * size_bytes))
    return packed.getvalue()


def chunks(content: bytes, size_bytes: int) -> Iterator[bytes]:
    return (content[at : at + size_bytes] for at in range(0, len(content), size_bytes))


def contents(content: bytes, size_bytes: int) -> list[tuple[str, int, bool, bytes]]:
    return [
        (each.name, each.mode, each.is_folder, b"".join(map(bytes, each.content)))
        for each in members(chunks(content, size_bytes))
    ]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size_bytes", [1, 511, 512, 4096, 1 << 20])
def test_a_tar_is_read_as_the_standard_library_reads_it(form: int, size_bytes: int) -> None:
    content = of_tarfile(form)
    with tarfile.open(fileobj=io.BytesIO(content)) as pack:
        expected = [
            (each.name, each.mode, each.isdir(), found.read() if found else b"")
            for each in pack
            for found in [pack.extractfile(each)]
        ]
    assert contents(content, size_bytes) == expected


def test_content_that_nobody_wants_is_passed_over() -> None:
    found = [each.name for each in members(chunks(packed_files(3), 700))]
    assert found == ["base/0", "base/0/0", "base/0/1", "base/0/2"]


@pytest.mark.parametrize("left", [0, 1, 511, 512, 600, 1024, 1100, 1537])
def test_a_tar_that_ends_too_early_is_damage(left: int) -> None:
    with pytest.raises(tarfile.TarError):
        contents(packed_files(3)[:left], 256)


@pytest.mark.parametrize("at", [0, 100, 124, 148])
def test_a_damaged_header_is_damage(at: int) -> None:
    content = bytearray(packed_files(3))
    content[3 * tarfile.BLOCKSIZE + at] ^= 1
    with pytest.raises(tarfile.TarError):
        contents(bytes(content), 4096)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_only_files_and_folders_are_read(kind: bytes) -> None:
    member = tarfile.TarInfo("base/0/link")
    member.type, member.linkname = kind, "/etc/passwd"
    content = packed_files(1).removesuffix(END) + member.tobuf() + END
    with pytest.raises(tarfile.TarError, match="'base/0/link' is neither file nor folder"):
        contents(content, 4096)


def packed_files(count: int, folders: int = 1) -> bytes:
    """A pack as a backup writes it."""
    made = list[bytes]()
    for folder in range(folders):
        mode = stat.S_IFDIR | 0o700
        made.append(header(f"base/{folder}", size_bytes=0, modified=0, mode=mode))
        for number in range(count):
            content = b"%d" % number
            size_bytes, mode = len(content), stat.S_IFREG | 0o600
            path = f"base/{folder}/{number}"
            made.append(header(path, size_bytes=size_bytes, modified=0, mode=mode))
            made += [content, bytes(padding_bytes(size_bytes))]
    return b"".join([*made, END])


@contextmanager
def pack_of_many(_: Part) -> Iterator[Iterator[bytes]]:
    yield chunks(packed_files(FILES, FOLDERS), 1 << 20)


def test_a_file_of_a_pack_is_one_open(tmp_path: Path) -> None:
    """Each open more, for 41,000 files, is a second of a restore: folders stay open."""
    seen, is_listening = Counter[str](), True

    def note(event: str, _: tuple[object, ...]) -> None:
        if is_listening:
            seen[event] += 1

    folders = RestoreFolders(data=tmp_path / "data", spaces={})
    folders.prepare()
    restore = FileRestore(folders, FakeStored(pack_of_many), FakeProgress())
    sys.addaudithook(note)
    restore.bring(bare_part("pack", PartKind.FILE_PACK))
    is_listening = False
    assert (tmp_path / "data/base/1/499").read_bytes() == b"499"
    files = FILES * FOLDERS
    assert seen["open"] in range(files, files + 60)
    assert seen["os.chmod"] in range(files, files + 10)
