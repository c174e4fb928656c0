"""Tars of many small files: nothing is lost between buffers, folders and records."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crc32c import crc32c

from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.files.entries import Entries, Entry
from holdfast.sources.postgres.files.pack_reader import ARENA_BYTES, packed
from tests.unit.sources.postgres.files.test_file_reader import reader, whole
from tests.unit.sources.postgres.files.test_page_checksums import page


def made(data: Path, **files: bytes) -> list[Entry]:
    """Files by names in which `__` is a slash."""
    for name, content in files.items():
        path = data / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [Entry(name.replace("__", "/"), len(content)) for name, content in files.items()]


def unpacked(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as pack:
        files = [(each.name, pack.extractfile(each)) for each in pack if each.isreg()]
        return {name: file.read() for name, file in files if file}


def test_files_of_all_sizes_and_folders_come_back_with_their_records(tmp_path: Path) -> None:
    noise = np.random.default_rng(1)
    sizes = [0, 1, 511, 512, 8192, 700_000, ARENA_BYTES - 512, ARENA_BYTES, ARENA_BYTES + 5] * 2
    files = {
        f"base__{5 + number % 3}__{16384 + number}": noise.bytes(size)
        for number, size in enumerate(sizes)
    }
    entries, found = made(tmp_path, **files, PG_VERSION=b"17\n"), reader(tmp_path)
    content = {each.path: (tmp_path / each.path).read_bytes() for each in entries}
    assert unpacked(whole(packed(found, Entries(entries)))) == content
    told = {path: (read.size_bytes, read.crc32c) for path, (read,) in found.findings.files.items()}
    assert told == {path: (len(each), crc32c(each)) for path, each in content.items()}


def test_what_a_file_has_lost_since_its_size_was_asked_is_zeros_and_nothing_of_another_file(
    tmp_path: Path,
) -> None:
    # The kernel says that each of these files has a page, and gives less.
    short = Path("/sys/devices/system/cpu/online")
    content, size_bytes = short.read_bytes(), short.stat().st_size
    assert len(content) < size_bytes
    (tmp_path / "short").symlink_to(short)
    made(tmp_path, noise=b"\xff" * size_bytes)
    found = replace(reader(tmp_path), links={"short"}, owner=short.stat().st_uid)
    # An odd number of files fits into a buffer, so that each of them comes after the other one.
    count = ARENA_BYTES // (512 + size_bytes)
    entries = [Entry("short"), Entry("noise")] * count
    pack = whole(packed(found, Entries(entries)))
    place = 512
    for entry in entries:
        expected = (
            content.ljust(size_bytes, b"\0") if entry.path == "short" else b"\xff" * size_bytes
        )
        assert pack[place : place + size_bytes] == expected
        place += size_bytes + 512
    assert count % 2 == 1
    (read,) = found.findings.files["short"]
    assert (read.size_bytes, read.crc32c) == (size_bytes, crc32c(content.ljust(size_bytes, b"\0")))


def test_what_a_large_file_loses_while_it_is_read_is_filled_by_the_buffer(tmp_path: Path) -> None:
    size_bytes = 4 * ARENA_BYTES
    entries = made(tmp_path, base__5__1=b"x" * size_bytes)
    found = reader(tmp_path)
    chunks: list[bytes] = []
    for chunk in packed(found, Entries(entries)):
        # The header is the first of them.
        if not chunks:
            os.truncate(tmp_path / "base/5/1", 0)
        chunks.append(bytes(chunk))
    assert max(map(len, chunks)) == ARENA_BYTES
    assert unpacked(b"".join(chunks)) == {"base/5/1": bytes(size_bytes)}
    (record,) = found.findings.files["base/5/1"]
    assert record[:1] + record[2:3] == (size_bytes, crc32c(bytes(size_bytes)))


@pytest.mark.parametrize("damaged", range(6))
@pytest.mark.parametrize("byte", [9, 100, 8191])
def test_a_flipped_bit_is_told_by_file_and_block_whichever_buffer_it_is_in(
    tmp_path: Path, damaged: int, byte: int
) -> None:
    pages = b"".join(bytes(page(number, seed=number)) for number in range(6))
    filling = bytes(ARENA_BYTES // 3)
    entries = made(
        tmp_path, base__5__1=filling, base__5__2=pages, base__5__3=filling, base__6__2=pages
    )
    path = tmp_path / "base/6/2"
    content = bytearray(pages)
    content[damaged * 8192 + byte] ^= 16
    path.write_bytes(content)
    found = reader(tmp_path, checks=True)
    whole(packed(replace(found, start=1 << 40), Entries(entries)))
    assert found.findings.bad == {"base/6/2": [damaged]}
    assert found.findings.pages == 12 + 2 * len(filling) // 8192


def test_a_later_segment_in_a_pack_counts_its_blocks_from_the_first_one(tmp_path: Path) -> None:
    block = 2 * 131072 + 1
    good = bytes(page(block, seed=3))
    entries = made(tmp_path, **{"base__5__1259.2": bytes(8192) + good, "base__5__1259_fsm": good})
    found = reader(tmp_path, checks=True)
    whole(packed(replace(found, start=1 << 40), Entries(entries)))
    assert found.findings.bad == {"base/5/1259_fsm": [0]}


def test_only_files_of_relations_have_pages(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(8192)
    entries = made(
        tmp_path, base__5__pg_filenode=noise, base__PG_VERSION=noise, pg_xact__0000=noise
    )
    found = reader(tmp_path, checks=True)
    whole(packed(found, Entries(entries)))
    assert (found.findings.pages, found.findings.bad) == (0, {})


def test_a_folder_that_is_dropped_takes_its_files_along(tmp_path: Path) -> None:
    entries = made(tmp_path, base__5__1=b"one", base__6__1=b"two", base__7__1=b"three")
    (tmp_path / "base/6/1").unlink()
    (tmp_path / "base/6").rmdir()
    found = reader(tmp_path)
    assert [*unpacked(whole(packed(found, Entries(entries))))] == ["base/5/1", "base/7/1"]
    assert found.findings.vanished == {"base/6/1"}


def test_an_empty_file_of_a_relation_is_not_opened_and_one_of_unknown_size_is(
    tmp_path: Path,
) -> None:
    made(tmp_path, base__5__1=b"rows since", base__5__2=b"rows")
    empty = Entry("base/5/1", mode=0o640, modified=1_700_000_000)
    # As those that a resumed run takes from the parts of an earlier one.
    unknown = Entry("base/5/2")
    found = reader(tmp_path)
    content = whole(packed(found, Entries([empty, unknown])))
    assert unpacked(content) == {"base/5/1": b"", "base/5/2": b"rows"}
    with tarfile.open(fileobj=io.BytesIO(content)) as pack:
        first = pack.getmember("base/5/1")
    assert (first.mode, first.mtime) == (0o640, 1_700_000_000)
    (read,) = found.findings.files["base/5/1"]
    assert (read.size_bytes, read.modified, read.crc32c) == (0, 1_700_000_000, crc32c(b""))
    assert found.findings.vanished == set()


def test_nothing_that_is_no_file_of_the_owner_gets_into_a_pack(tmp_path: Path) -> None:
    (entry,) = made(tmp_path, base__5__1=b"one")
    (tmp_path / "secret").write_bytes(b"secret")
    path = tmp_path / "base/5/1"
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    with pytest.raises(BackupFailed, match=r"cannot read '.*/base/5/1'"):
        whole(packed(reader(tmp_path), Entries([entry])))
    known = replace(reader(tmp_path), links={"base/5/1"})
    assert unpacked(whole(packed(known, Entries([entry])))) == {"base/5/1": b"secret"}
    with pytest.raises(BackupFailed, match="a link leads there"):
        whole(packed(replace(known, owner=os.getuid() + 1), Entries([entry])))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BackupFailed, match="not a regular file"):
        whole(packed(reader(tmp_path), Entries([entry])))


def test_folders_and_files_are_closed_again(tmp_path: Path) -> None:
    entries = made(tmp_path, base__5__1=b"one", base__6__1=bytes(2 * ARENA_BYTES))
    before = os.listdir("/proc/self/fd")
    chunks = packed(reader(tmp_path), Entries(entries))
    next(chunks)
    del chunks
    whole(packed(reader(tmp_path), Entries(entries)))
    assert len(os.listdir("/proc/self/fd")) == len(before)
