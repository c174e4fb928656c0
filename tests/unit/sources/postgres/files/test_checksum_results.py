"""Checksum results of one run, passed to a later one."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
import zstandard
from crc32c import crc32c
from hypothesis import given, strategies as st

from holdfast.model.backup import Part, PartKind
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_details import NOTHING, ClusterFile, Details
from holdfast.model.values import Span
from holdfast.sources.postgres.files.checksum_results import (
    BLOCKS_KEPT,
    ChecksumResults,
    ReadFile,
    joined,
    paths_in,
    whole_files,
)
from tests.support.manifests import bare_part

READ = ReadFile(size_bytes=8192, modified=1, crc32c=0xDEADBEEF)


def test_what_was_seen_comes_back_whatever_its_name() -> None:
    name = b"base/5/\xff".decode(errors="surrogateescape")
    seen = ChecksumResults(files={name: [READ]}, folders=["pg_wal"], vanished={"base/5/2"})
    seen.add_pages("base/5/1", checked=3, bad=[7])
    text = seen.encode()
    assert text.isascii()
    assert "\n" not in text
    assert ChecksumResults.decode(text) == seen
    assert paths_in(replace(bare_part("part", PartKind.FILE_PACK), memo=text)) == [name]
    assert ChecksumResults.decode("") == ChecksumResults()


def noted(found: ChecksumResults, details: Details = NOTHING) -> Part:
    part = bare_part("part", PartKind.FILE if details != NOTHING else PartKind.FILE_PACK)
    return replace(part, details=details, memo=found.encode())


def piece_of(found: ChecksumResults) -> Part:
    return noted(found, ClusterFile(path="base/5/1", piece=Span(first=0)))


def test_several_parts_are_seen_as_one() -> None:
    one = ChecksumResults(files={"base/5/1": [READ]}, pages=4, bad={"base/5/1": [3]})
    other = ChecksumResults(
        files={"base/5/2": [READ]}, folders=["pg_wal"], vanished={"base/5/3"}, pages=2
    )
    parts = [noted(one), noted(other), replace(noted(one), memo="")]
    whole = ChecksumResults.of_all(parts)
    assert list(whole_files(parts, whole.vanished)) == [
        ("base/5/1", 8192, 1, 0xDEADBEEF),
        ("base/5/2", 8192, 1, 0xDEADBEEF),
    ]
    assert (whole.folders, whole.vanished, whole.bad) == (["pg_wal"], {"base/5/3"}, one.bad)
    assert (whole.pages, whole.files) == (6, {})


def test_what_an_earlier_release_has_written_is_read() -> None:
    old = '{"files":{"a":[[3,1.5,7,0]]},"folders":["f"],"vanished":["v"],"bad":{"a":[1]},"pages":2}'
    found = ChecksumResults.decode(old)
    assert found.files == {"a": [ReadFile(size_bytes=3, modified=1, crc32c=7)]}
    assert (found.folders, found.vanished, found.bad, found.pages) == (["f"], {"v"}, {"a": [1]}, 2)
    part = replace(bare_part("part", PartKind.FILE_PACK), memo=old)
    assert paths_in(part) == ["a"]
    assert list(whole_files([part], set())) == [("a", 3, 1, 7)]


def test_an_earlier_release_does_not_take_a_part_for_one_without_files() -> None:
    text = ChecksumResults(files={"a": [READ]}).encode()
    packed = base64.b64decode(text.removeprefix("zstd:"))
    assert json.loads(zstandard.decompress(packed))["files"] is None


NUMBERS = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        *("zstd:", "zstd:!", "zstd:AAAA", "zstd:KLUv_Q==", "[]", "{"),
        '{"paths":["a"]}',
        '{"paths":["a"],"numbers":null}',
        '{"paths":["a"],"numbers":"AAAA"}',
        f'{{"paths":["a","b"],"numbers":"{NUMBERS}"}}',
        f'{{"paths":[1],"numbers":"{NUMBERS}"}}',
        f'{{"paths":"a","numbers":"{NUMBERS}"}}',
        f'{{"paths":["a"],"numbers":"{NUMBERS[:-4]}"}}',
    ],
)
def test_what_nobody_has_written_is_refused(text: str) -> None:
    with pytest.raises(VerifyFailed):
        ChecksumResults.decode(text)


def test_a_note_that_would_fill_the_memory_is_refused() -> None:
    bomb = zstandard.compress(bytes(200 << 20))
    with pytest.raises(VerifyFailed, match="209715200 bytes"):
        ChecksumResults.decode(f"zstd:{base64.b64encode(bomb).decode()}")


def test_the_end_of_the_backup_tells_which_doubtful_pages_are_bad() -> None:
    found = ChecksumResults(bad={"a": [9]})
    found.add_pages("a", checked=3, doubtful=[(5, 100), (6, 101)])
    found.add_pages("b", checked=1, doubtful=[(1, 100)])
    found.add_pages("c", checked=0, doubtful=[(2, (1 << 64) - 1)])
    again = ChecksumResults.decode(found.encode())
    again.judge(100)
    assert (again.bad, again.doubtful, again.pages) == ({"a": [6, 9], "c": [2]}, {}, 4)


def test_of_many_doubtful_pages_those_stay_that_no_end_can_excuse() -> None:
    found = ChecksumResults()
    for block in range(1000):
        found.add_pages("a", checked=1, doubtful=[(block, block)], bad=[block])
    assert len(found.bad["a"]) == len(found.doubtful["a"]) == BLOCKS_KEPT
    found.judge(998)
    assert found.bad["a"][:2] == [0, 1]


def piece(content: bytes, *, first: int, modified: int) -> ReadFile:
    return ReadFile(size_bytes=len(content), modified=modified, crc32c=crc32c(content), first=first)


def test_a_file_in_pieces_has_one_sum_whichever_run_read_them_first() -> None:
    last = ChecksumResults(files={"base/5/1": [piece(b"rest", first=4, modified=3)]})
    first = ChecksumResults(files={"base/5/1": [piece(b"head", first=0, modified=2)]})
    last.add_pages("base/5/1", checked=2, bad=[9])
    first.add_pages("base/5/1", checked=2, bad=[1])
    parts = [piece_of(last), piece_of(first)]
    whole = ChecksumResults.of_all(parts)
    assert list(whole_files(parts, set())) == [("base/5/1", 8, 3, crc32c(b"headrest"))]
    assert sorted(whole.bad["base/5/1"]) == [1, 9]


def test_a_file_that_vanished_between_its_pieces_does_not_come_back() -> None:
    there = ChecksumResults(files={"base/5/1": [piece(b"head", first=0, modified=2)]})
    gone = ChecksumResults(vanished={"base/5/1"})
    parts = [piece_of(there), piece_of(gone)]
    assert list(whole_files(parts, ChecksumResults.of_all(parts).vanished)) == []


@given(before=st.binary(max_size=300), after=st.binary(max_size=300))
def test_two_pieces_have_the_sum_of_both_in_one(before: bytes, after: bytes) -> None:
    assert joined(crc32c(before), crc32c(after), len(after)) == crc32c(before + after)


def test_a_long_piece_counts_with_all_of_its_length() -> None:
    zeros = bytes(5 << 20)
    assert joined(crc32c(b"head"), crc32c(zeros), len(zeros)) == crc32c(b"head" + zeros)
