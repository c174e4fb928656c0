"""Computes checksums of data pages as the server does: FNV-1a in 32 lanes (checksum_impl.h)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.model.backup import Buffer
from holdfast.model.errors import ToolMissing
from holdfast.sources.postgres.files.page import PAGE_BYTES, Suspect

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    # Found before the run, and yet not to be loaded: a library that it needs may be missing.
    raise ToolMissing(
        f"cannot check pages of PostgreSQL clusters: numpy cannot be loaded: {error}",
        hint="install holdfast[clusters] again, or deploy again",
    ) from error

WORDS = PAGE_BYTES // 4
_LANES = 32
_ROWS = WORDS // _LANES
# Arrays without a dimension: numpy would make one of a number at each of the 264 calls.
_PRIME = np.array(16777619, np.uint32)
_SHIFT = np.array(17, np.uint32)
_BASES = np.array(
    [
        *(0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2),
        *(0x83E13D2C, 0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C),
        *(0xF718902A, 0x0B1C9CDB, 0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979),
        *(0xCCA6C0B2, 0x304A0979, 0x85AA43D4, 0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E),
        *(0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756),
    ],
    dtype=np.uint32,
)
# Indexes into PageHeaderData as words of 4 bytes: the halves of the LSN, then checksum (low half)
# and flags, then lower (low half) and upper.
_LSN_HIGH, _LSN_LOW, _CHECKSUM, _UPPER = 0, 1, 2, 3
_LOW_HALF = np.uint32(0xFFFF)
_HIGH_HALF = np.uint32(0xFFFF0000)


def page_checksums(pages: NDArray[np.uint32], blocks: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The checksum that each page should carry; each row of `pages` holds a page as 2048 words."""
    # Always a copy, as `_checksums` writes to it and the page itself is still to be stored.
    turned = pages.reshape(len(pages), _ROWS, _LANES).transpose(1, 0, 2).copy()
    return _checksums(turned, blocks)


def _checksums(turned: NDArray[np.uint32], blocks: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The checksums of pages that are `turned`, which is overwritten.

    First come the first 32 words of all pages, then the second: numpy then works on long rows.
    """
    count = len(blocks)
    rows = turned.reshape(_ROWS, count * _LANES)
    # The checksum counts as zero in its own computation.
    rows[0, _CHECKSUM::_LANES] &= _HIGH_HALF
    sums = np.tile(_BASES, count)
    shifted = np.empty_like(sums)
    for row in rows:
        np.bitwise_xor(sums, row, out=sums)
        _stir(sums, shifted)
    # Two more rounds of zeros, which mix the last words as well as the first.
    _stir(sums, shifted)
    _stir(sums, shifted)
    folded = np.bitwise_xor.reduce(sums.reshape(count, _LANES), axis=1)
    checked: NDArray[np.uint32] = (folded ^ blocks) % np.uint32(65535) + np.uint32(1)
    return checked


def _stir(sums: NDArray[np.uint32], shifted: NDArray[np.uint32]) -> None:
    np.right_shift(sums, _SHIFT, out=shifted)
    np.multiply(sums, _PRIME, out=sums)
    np.bitwise_xor(sums, shifted, out=sums)


def suspects_among(pieces: Sequence[tuple[Buffer, int]]) -> Iterator[Suspect]:
    """Yields pages with a wrong checksum; `pieces` are whole pages and their first block number.

    A page of zeros only is valid: the server has extended the file and not written there yet.
    """
    for number, (content, first) in enumerate(pieces):
        pages = np.frombuffer(content, np.uint32).reshape(-1, WORDS)
        blocks = np.arange(first, first + len(pages), dtype=np.uint32)
        wrong = _wrong(pages[:, _CHECKSUM], page_checksums(pages, blocks))
        for row, page in _not_new(wrong, pages[wrong]):
            yield Suspect(piece=number, block=int(blocks[row]), lsn=_lsn(page))


# Members of a tar begin at multiples of 512 bytes, so that this much is always whole.
_LINE_BYTES = 4 * _LANES


def suspects_within(content: Buffer, found: Sequence[tuple[int, int, int]]) -> Iterator[Suspect]:
    """As `suspects_among`, of many files in one buffer.

    Each of `found` is the byte where a file begins in it, a multiple of 128, the number of its
    pages, and the number of the first one.
    """
    counts = np.array([pages for _, pages, _ in found])
    numbers = np.repeat(np.arange(len(found)), counts)
    within = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.array([start // _LINE_BYTES for start, _, _ in found])[numbers] + within * _ROWS
    blocks = (np.array([first for _, _, first in found])[numbers] + within).astype(np.uint32)
    lines, rows = np.frombuffer(content, np.uint32).reshape(-1, _LANES), np.arange(_ROWS)
    # Half the time of an index in brackets.
    turned = lines.take(starts + rows[:, np.newaxis], axis=0)
    wrong = _wrong(lines[starts, _CHECKSUM], _checksums(turned, blocks))
    pages = lines[starts[wrong, np.newaxis] + rows].reshape(-1, WORDS)
    for row, page in _not_new(wrong, pages):
        yield Suspect(piece=int(numbers[row]), block=int(blocks[row]), lsn=_lsn(page))


def _wrong(carried: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.intp]:
    return np.flatnonzero((carried & _LOW_HALF) != right)


def _not_new(
    wrong: NDArray[np.intp], pages: NDArray[np.uint32]
) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    """The `wrong` rows, each with its page, without those that hold only zeros."""
    for found in np.flatnonzero(pages.any(axis=1)):
        yield int(wrong[found]), pages[found]


def claims_from(content: Buffer, lsn: int) -> Iterator[tuple[int, int]]:
    """Yields the index and LSN of each whole page whose LSN is at least `lsn`.

    Checksums are not verified, so that this is fast.
    """
    pages = np.frombuffer(content, np.uint32).reshape(-1, WORDS)
    lsns = pages[:, _LSN_HIGH].astype(np.uint64) << np.uint64(32) | pages[:, _LSN_LOW]
    for number in np.flatnonzero(lsns >= np.uint64(lsn)):
        yield int(number), int(lsns[number])


def suspect(page: Buffer, block: int) -> Suspect | None:
    """The page as a suspect, or None if its checksum is right."""
    return next(suspects_among([(page, block)]), None)


def _lsn(page: NDArray[np.uint32]) -> int:
    is_new = int(page[_UPPER]) >> 16 == 0
    return 0 if is_new else int(page[_LSN_HIGH]) << 32 | int(page[_LSN_LOW])
