"""Sizes, checksums and bad pages of the files in one part, stored as its memo for a resume."""

from __future__ import annotations

import base64
import heapq
import json
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field
from functools import lru_cache, reduce
from itertools import chain
from typing import Any, NamedTuple

import zstandard

from holdfast.model.backup import Part
from holdfast.model.errors import VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_gaps import piece_of
from holdfast.model.stored_json import MANIFEST, parsed
from holdfast.model.values import MOST
from holdfast.runtime import events

# The Castagnoli polynomial with its bits reversed: the lowest bit is x^31.
_POLYNOMIAL = 0x82F63B78
_ONE, _X8 = 1 << 31, 1 << 23


def joined(before: int, after: int, after_bytes: int) -> int:
    """The CRC of two adjacent pieces from their CRCs; the second piece has `after_bytes`.

    The method is zlib's crc32_combine: multiply the first CRC by x^(8 n) modulo the polynomial,
    and add the second.
    """
    return _times(_shift(after_bytes), before) ^ after


@lru_cache(maxsize=64)
def _shift(size_bytes: int) -> int:
    """x^(8 n) modulo the polynomial; cached, because most pieces have the same size."""
    result, square = _ONE, _X8
    while size_bytes:
        if size_bytes & 1:
            result = _times(square, result)
        square = _times(square, square)
        size_bytes >>= 1
    return result


def _times(left: int, right: int) -> int:
    """The product of two polynomials modulo the Castagnoli polynomial."""
    product, bit = 0, _ONE
    while bit:
        if left & bit:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
        bit >>= 1
    return product


# Memos are compressed: five hundred parts may list two thousand files each.
PACKED = "zstd:"
LEVEL = 3
# Limits for each file: on a failing disk every page may be bad.
BLOCKS_KEPT, BLOCKS_TOLD = 100, 20


class ReadFile(NamedTuple):
    """A file as it was read, or a range of `size_bytes` from byte `first` on.

    A tuple: there are as many as files, and it is made in a fifth of the time of a dataclass.
    """

    size_bytes: int
    modified: int
    crc32c: int
    first: int = 0

    def and_then(self, after: ReadFile) -> ReadFile:
        """Both as one; `after` must begin where this one ends."""
        return ReadFile(
            size_bytes=self.size_bytes + after.size_bytes,
            modified=max(self.modified, after.modified),
            crc32c=joined(self.crc32c, after.crc32c, after.size_bytes),
            first=self.first,
        )


@dataclass(kw_only=True)
class ChecksumResults:
    """The files that were read, by path and range; folders, vanished files, and page checks.

    `pages` counts all verified pages, `bad` holds the blocks of bad ones by path. `doubtful` holds
    pairs of block and LSN: WAL replay repairs such a page if its LSN is not beyond the stop LSN.
    """

    files: dict[str, list[ReadFile]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    vanished: set[str] = field(default_factory=set)
    bad: dict[str, list[int]] = field(default_factory=dict)
    doubtful: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    pages: int = 0

    def add_file(self, path: str, read: ReadFile) -> None:
        self.files.setdefault(path, []).append(read)

    def add_pages(
        self,
        path: str,
        *,
        checked: int,
        bad: Iterable[int] = (),
        doubtful: Iterable[tuple[int, int]] = (),
    ) -> None:
        self.pages += checked
        if bad := list(bad):
            self.bad[path] = heapq.nsmallest(BLOCKS_KEPT, {*self.bad.get(path, []), *bad})
        if doubtful := list(doubtful):
            # The highest LSNs are kept: if any of them is beyond the stop LSN, these are.
            told = ((block, min(lsn, MOST)) for block, lsn in doubtful)
            found = {*self.doubtful.get(path, []), *told}
            self.doubtful[path] = heapq.nlargest(BLOCKS_KEPT, found, key=lambda each: each[1])

    def judge(self, end: int) -> None:
        """Count doubtful pages as bad if their LSN is beyond `end`, and drop the others.

        No WAL of the backup can have produced such a page, so a replay does not repair it.
        """
        for path, blocks in self.doubtful.items():
            self.add_pages(path, checked=0, bad=[block for block, lsn in blocks if lsn > end])
        self.doubtful.clear()

    @property
    def told_bad(self) -> str:
        """The bad blocks by file, as text for the manifest's proof."""
        return "; ".join(
            f"{path}: {', '.join(map(str, blocks[:BLOCKS_TOLD]))}"
            for path, blocks in sorted(self.bad.items())
        )

    def tell(self) -> None:
        """Log an error for each file with bad pages."""
        for path, blocks in sorted(self.bad.items()):
            events.error("pages_damaged", file=path, blocks=blocks[:BLOCKS_TOLD])

    def encode(self) -> str:
        document = {
            # An earlier release looks here; it must not take this part for one without files.
            "files": None,
            "paths": [path for path, pieces in self.files.items() for _ in pieces],
            "numbers": _as_text(chain.from_iterable(self.files.values())),
            "folders": self.folders,
            "vanished": sorted(self.vanished),
            "bad": self.bad,
            "doubtful": self.doubtful,
            "pages": self.pages,
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        packed = zstandard.ZstdCompressor(level=LEVEL).compress(text)
        return PACKED + base64.b64encode(packed).decode()

    @staticmethod
    def decode(text: str, *, with_files: bool = True) -> ChecksumResults:
        """The results in a memo; raises `VerifyFailed` if it is malformed."""
        with _distrusted():
            document = _document(text)
            return ChecksumResults._of(document, _files_in(document) if with_files else {})

    @staticmethod
    def _of(document: dict[str, Any], files: dict[str, list[ReadFile]]) -> ChecksumResults:
        return ChecksumResults(
            files=files,
            folders=document.get("folders", []),
            vanished=set(document.get("vanished", [])),
            bad=document.get("bad", {}),
            doubtful={
                path: [(block, lsn) for block, lsn in blocks]
                for path, blocks in document.get("doubtful", {}).items()
            },
            pages=document.get("pages", 0),
        )

    @staticmethod
    def of_all(parts: Iterable[Part]) -> ChecksumResults:
        """The results of several parts as one, without their files: there may be a million."""
        whole = ChecksumResults()
        for part in parts:
            found = ChecksumResults.decode(part.memo, with_files=False)
            whole.folders += found.folders
            whole.vanished |= found.vanished
            for path, blocks in found.bad.items():
                whole.add_pages(path, checked=0, bad=blocks)
            for path, doubtful in found.doubtful.items():
                whole.add_pages(path, checked=0, doubtful=doubtful)
            whole.pages += found.pages
        return whole


@contextmanager
def _distrusted() -> Iterator[None]:
    """Raises `VerifyFailed` for whatever is wrong with a memo."""
    try:
        yield
    except (AttributeError, TypeError, ValueError, zstandard.ZstdError) as error:
        raise VerifyFailed(f"cannot trust the stored checksum results: {error}") from error


def _document(memo: str) -> dict[str, Any]:
    found: dict[str, Any] = parsed(_unpacked(memo) or "{}", MANIFEST, of_files=True)
    return found


_NUMBERS = 4
_NUMBER_BYTES = 8


def _as_text(files: Iterable[ReadFile]) -> str:
    """The numbers of all files, as one text: JSON would take a step of Python for each of them."""
    numbers = list(chain.from_iterable(files))
    return base64.b64encode(struct.pack(f"<{len(numbers)}q", *numbers)).decode()


def _files_in(document: dict[str, Any]) -> dict[str, list[ReadFile]]:
    """The files in a memo, or in one of an earlier release, which was JSON in all of it.

    Raises `ValueError`, `TypeError` or `AttributeError` if they are malformed.
    """
    if "paths" not in document:
        return {
            path: [
                ReadFile(size_bytes=size_bytes, modified=int(modified), crc32c=crc32c, first=first)
                for size_bytes, modified, crc32c, first in pieces
            ]
            for path, pieces in document.get("files", {}).items()
        }
    files: dict[str, list[ReadFile]] = {}
    paths, columns = _columns(document)
    for path, read in zip(paths, map(ReadFile._make, zip(*columns, strict=True)), strict=True):
        files.setdefault(path, []).append(read)
    return files


def _columns(document: dict[str, Any]) -> tuple[list[str], list[tuple[int, ...]]]:
    """The paths in a memo; and of each its size, time, CRC and first byte, a list for each."""
    paths, packed = document["paths"], base64.b64decode(document.get("numbers", ""), validate=True)
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise TypeError("its paths are no list of texts")
    if len(packed) != len(paths) * _NUMBERS * _NUMBER_BYTES:
        raise ValueError(f"it has {len(packed)} bytes of numbers for {len(paths)} files")
    numbers = struct.unpack(f"<{len(paths) * _NUMBERS}q", packed)
    return paths, [numbers[each::_NUMBERS] for each in range(_NUMBERS)]


WholeFile = tuple[str, int, int, int]
"""A file as a restore makes it: path, size, seconds since 1970 of its last change, CRC-32C."""


def whole_files(parts: Iterable[Part], vanished: set[str]) -> Iterator[WholeFile]:
    """Yields every file as a restore makes it; not those that vanished between their ranges."""
    shared: dict[str, list[ReadFile]] = {}
    for part in parts:
        if piece_of(part) is not None:
            for path, pieces in ChecksumResults.decode(part.memo).files.items():
                shared.setdefault(path, []).extend(pieces)
        elif vanished:
            yield from (each for each in _files_of(part) if each[0] not in vanished)
        else:
            yield from _files_of(part)
    for path, pieces in shared.items():
        if path not in vanished:
            yield _as_whole(path, pieces)


def paths_in(part: Part) -> list[str]:
    """The paths of the files that were read for a part; each once."""
    with _distrusted():
        document = _document(part.memo)
        return list(
            dict.fromkeys(_columns(document)[0] if "paths" in document else _files_in(document))
        )


def _files_of(part: Part) -> Iterable[WholeFile]:
    """The files of a part that holds whole ones, in columns: there may be thousands."""
    with _distrusted():
        document = _document(part.memo)
        if "paths" in document:
            paths, (sizes, modified, sums, _) = _columns(document)
            return zip(paths, sizes, modified, sums, strict=True)
        return [_as_whole(path, pieces) for path, pieces in _files_in(document).items()]


def _as_whole(path: str, pieces: list[ReadFile]) -> WholeFile:
    size_bytes, modified, crc, _ = _joined(pieces)
    return path, size_bytes, modified, crc


def _joined(pieces: list[ReadFile]) -> ReadFile:
    if len(pieces) == 1:
        return pieces[0]
    return reduce(ReadFile.and_then, sorted(pieces, key=lambda each: each.first))


def _unpacked(text: str) -> str:
    """The text of a memo; earlier releases did not compress it.

    Raises `ValueError` or `ZstdError` if it is malformed or too large.
    """
    if not text.startswith(PACKED):
        return text
    packed = base64.b64decode(text.removeprefix(PACKED), validate=True)
    size_bytes = zstandard.frame_content_size(packed)
    if not 0 <= size_bytes <= MANIFEST.size_bytes:
        raise ValueError(f"it would have {size_bytes} bytes")
    return str(zstandard.decompress(packed, max_output_size=MANIFEST.size_bytes), "utf-8")
