"""Clusters of many files: a backup keeps a few bytes of memory per file."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

from holdfast.model.backup import Part, PartKind
from holdfast.sources.postgres.files.backup_manifest import Packed, WalRange, lines
from holdfast.sources.postgres.files.checksum_results import ChecksumResults, ReadFile, whole_files
from holdfast.sources.postgres.files.entries import Entry
from holdfast.sources.postgres.files.part_plan import FileLayout, around, lay_out
from tests.support.manifests import bare_part

FEW, MANY = 8_000, 16_000
# Names and sums of two thousand files are unpacked at a time.
MOST_BYTES_A_FILE = 50
WAL = WalRange(timeline=1, start_lsn="0/3000028", end_lsn="0/3000100")


def entries(count: int) -> Iterator[Entry]:
    yield Entry(path="base/5", is_folder=True)
    for number in range(count):
        yield Entry(path=f"base/5/{16384 + number}", size_bytes=number % 9000, mode=0o600)


def kept(layout: FileLayout, name: str) -> Part:
    findings = ChecksumResults()
    for entry in layout.contents[name]:
        crc = hash(entry.path) & 0xFFFFFFFF
        read = ReadFile(size_bytes=entry.size_bytes, modified=1_790_000_000, crc32c=crc)
        findings.add_file(entry.path, read)
    return replace(bare_part(name, PartKind.FILE_PACK), memo=findings.encode())


def backed_up(count: int) -> Packed:
    """What stays in memory between the listing and the end, and the list that comes last."""
    layout = lay_out(entries(count))
    stored = [kept(layout, part.name) for part in layout.parts]
    again = around(layout, stored, with_rest=True, paths_in_memory=1000)
    assert {part.name for part in again.parts} == {part.name for part in stored}
    files = whole_files(stored, ChecksumResults.of_all(stored).vanished)
    return Packed(lines(files, WAL, server_version=170000, system_identifier="1"))


def peak_bytes(count: int) -> int:
    tracemalloc.start()
    try:
        listed = backed_up(count)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert listed.size_bytes > count * 100
    return peak


def test_a_file_more_costs_less_than_fifty_bytes() -> None:
    more = peak_bytes(MANY) - peak_bytes(FEW)
    assert more / (MANY - FEW) < MOST_BYTES_A_FILE
