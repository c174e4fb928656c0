"""Page checksums against a plain reading of the server's own source."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from holdfast.sources.postgres.files.page import PAGE_BYTES, Suspect
from holdfast.sources.postgres.files.page_checksums import (
    _BASES,
    page_checksums,
    suspects_among,
    suspects_within,
)

OLD, NEW = 0x1_0000_0100, 0x1_0000_0300


def by_hand(page: bytes, block: int) -> int:
    """checksum_impl.h, word by word."""
    content = page[:8] + b"\0\0" + page[10:]
    words = struct.unpack("=2048I", content)
    sums = [int(base) for base in _BASES]
    for row in range(66):
        for lane in range(32):
            word = words[row * 32 + lane] if row < 64 else 0
            mixed = sums[lane] ^ word
            sums[lane] = (mixed * 16777619 & 0xFFFFFFFF) ^ (mixed >> 17)
    folded = 0
    for lane in sums:
        folded ^= lane
    return (folded ^ block) % 65535 + 1


def suspects(content: bytes, first_block: int = 0) -> list[int]:
    return [each.block for each in suspects_among([(content, first_block)])]


def page(block: int, *, lsn: int = OLD, seed: int = 1) -> bytearray:
    """A page as the server would have written it."""
    made = bytearray(np.random.default_rng(seed).bytes(PAGE_BYTES))
    struct.pack_into("=IIHHHH", made, 0, lsn >> 32, lsn & 0xFFFFFFFF, 0, 0, 24, 8000)
    struct.pack_into("=H", made, 8, by_hand(bytes(made), block))
    return made


@pytest.mark.parametrize("first_block", [0, 7, 131072 * 3])
def test_many_pages_at_once_have_the_sums_that_the_server_computes(first_block: int) -> None:
    pages = [bytes(page(first_block + number, seed=number)) for number in range(5)]
    words = np.frombuffer(b"".join(pages), dtype=np.uint32).reshape(-1, 2048)
    expected = [by_hand(each, first_block + number) for number, each in enumerate(pages)]
    blocks = np.arange(first_block, first_block + 5, dtype=np.uint32)
    assert page_checksums(words, blocks).tolist() == expected
    assert suspects(b"".join(pages), first_block) == []


def test_a_flipped_bit_is_found_in_its_block() -> None:
    pages = [page(block, seed=block) for block in range(4)]
    pages[2][5000] ^= 1
    assert suspects(b"".join(pages)) == [2]


def test_pages_of_many_files_are_told_by_file_and_block() -> None:
    files = [b"".join(bytes(page(block, seed=block)) for block in range(3)), b"", bytes(page(9))]
    damaged = bytearray(files[0])
    damaged[PAGE_BYTES + 4000] ^= 1
    pieces = [(bytes(damaged), 0), (files[1], 0), (files[2], 8)]
    assert list(suspects_among(pieces)) == [
        Suspect(piece=0, block=1, lsn=OLD),
        Suspect(piece=2, block=8, lsn=OLD),
    ]
    assert list(suspects_among([])) == []


# The first page of each file in the buffer below: where it begins, how many there are, its block.
PLACES = [(512, 2, 0), (512 * 40, 1, 131072), (512 * 70, 3, 131072 * 2)]
PAGES = [
    (start + number * PAGE_BYTES, piece, first + number)
    for piece, (start, count, first) in enumerate(PLACES)
    for number in range(count)
]


def buffer_of_files() -> bytearray:
    """Noise with the pages of some files in it."""
    content = bytearray(np.random.default_rng(7).bytes(512 * 130))
    for start, _, block in PAGES:
        content[start : start + PAGE_BYTES] = page(block, seed=block)
    return content


@pytest.mark.parametrize(("start", "piece", "block"), PAGES)
@pytest.mark.parametrize("byte", [0, 8, 9, 12, 127, 128, 511, 512, 4095, 8191])
def test_a_flipped_bit_in_a_buffer_of_files_is_told_by_file_and_block(
    start: int, piece: int, block: int, *, byte: int
) -> None:
    content = buffer_of_files()
    assert list(suspects_within(content, PLACES)) == []
    content[start + byte] ^= 1 << (block % 8)
    (found,) = suspects_within(content, PLACES)
    assert (found.piece, found.block) == (piece, block)


def test_new_pages_in_a_buffer_of_files_are_right_and_nothing_in_it_is_altered() -> None:
    content = buffer_of_files()
    content[512 : 512 + PAGE_BYTES] = bytes(PAGE_BYTES)
    before = bytes(content)
    assert list(suspects_within(content, PLACES)) == []
    assert content == before


def test_a_page_in_the_wrong_place_is_found() -> None:
    assert suspects(bytes(page(3)), 4) == [4]


def test_a_suspect_page_names_the_wal_that_would_repair_it() -> None:
    torn = page(0, lsn=NEW)
    torn[6000] ^= 1
    (found,) = suspects_among([(bytes(torn), 0)])
    assert found.lsn == NEW


def test_zeros_are_a_new_page_and_nothing_else_is_one() -> None:
    assert suspects(bytes(2 * PAGE_BYTES)) == []
    made = bytearray(PAGE_BYTES)
    made[8000] = 1
    struct.pack_into("=II", made, 0, 1 << 30, 0)
    (found,) = suspects_among([(bytes(made), 0)])
    assert found.lsn == 0


@pytest.mark.parametrize("count", [1, 2])
def test_looking_at_pages_leaves_them_as_they_are(count: int) -> None:
    content = page(0) * count
    before = bytes(content)
    list(suspects_among([(content, 0)]))
    assert content == before


def test_nothing_is_wrong_with_nothing() -> None:
    assert suspects(b"") == []
