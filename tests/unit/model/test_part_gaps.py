"""Files in several parts: each is restored completely, or the gap is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.model.backup import Codec, Part, PartKind
from holdfast.model.part_details import details_of_schema_1
from holdfast.model.part_gaps import incomplete_files


def part(name: str, size_bytes: int, kind: PartKind = PartKind.FILE, **details: str) -> Part:
    return Part(
        name=name,
        key=name,
        kind=kind,
        relation=None,
        rows=None,
        plain_bytes=size_bytes,
        plain_fingerprint="",
        stored_bytes=size_bytes,
        stored_fingerprint="",
        codec=Codec.NONE,
        encryption="none",
        seconds=0.0,
        details=details_of_schema_1(details),
    )


def pieces() -> list[Part]:
    spans = ("0-10", "10-20", "20-")
    return [part(f"p{at}", 10, path="base/5/1", bytes=span) for at, span in enumerate(spans)]


def problems(parts: list[Part]) -> list[str]:
    return [each.problem for each in incomplete_files(parts)]


def test_pieces_are_whole_in_whatever_order_they_are_named() -> None:
    others = [part("whole", 3, path="base/5/2"), part("pack", 9, PartKind.FILE_PACK)]
    assert problems([*reversed(pieces()), *others]) == []


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_file_with_a_piece_missing_is_told_with_its_place(lost: int) -> None:
    found = pieces()
    del found[lost]
    assert problems(found) == [
        f"cannot trust file 'base/5/1': the bytes after its first {lost * 10} are missing"
    ]


@pytest.mark.parametrize("kind", [PartKind.FILE, PartKind.WAL, PartKind.CLOSING])
def test_a_file_cannot_go_on_after_its_end(kind: PartKind) -> None:
    whole = part("a", 4, kind, path="base/5/1")
    twice = [whole, replace(whole, name="b", key="b")]
    assert problems(twice) == ["cannot trust file 'base/5/1': it has parts beyond its end"]


def test_a_piece_that_is_there_twice_is_told() -> None:
    found = pieces()
    found.insert(1, replace(found[1], name="again"))
    assert problems(found) == [
        "cannot trust file 'base/5/1': the bytes after its first 20 are missing"
    ]


def test_a_piece_has_as_many_bytes_as_it_stands_for() -> None:
    found = pieces()
    found[1] = replace(found[1], plain_bytes=9)
    assert problems(found) == [
        "cannot trust file 'base/5/1': part 'p1' has 9 bytes, but covers bytes 10-20"
    ]


def test_parts_that_were_taken_for_each_other_are_told() -> None:
    size = 128 << 20
    spans = (f"0-{size}", f"{size}-{2 * size}", f"{2 * size}-")
    names = [f"files/base/5/1/{number:06}" for number in (0, 128, 256)]
    right = [
        part(name, size, path="base/5/1", bytes=span)
        for name, span in zip(names, spans, strict=True)
    ]
    whole = [part("files/base/5/a", 1, path="base/5/A"), part("files/base/5/b", 1, path="base/5/b")]
    assert problems([*right, *whole]) == []
    swapped = [
        replace(right[1], details=right[0].details),
        replace(right[0], details=right[1].details),
        right[2],
    ]
    assert len(problems(swapped)) == 2
    exchanged = [replace(whole[0], details=whole[1].details)]
    assert problems(exchanged) == [
        (
            "cannot trust part 'files/base/5/a': it covers bytes 0- of 'base/5/b', but its name"
            " says otherwise"
        )
    ]


def test_a_file_that_was_dropped_during_the_backup_is_excused() -> None:
    label = part("label", 1, PartKind.CLOSING, path="backup_label", vanished='["base/5/1"]')
    assert problems([*pieces()[:1], label]) == []
    other = part("label", 1, PartKind.CLOSING, path="backup_label", vanished='["base/5/2"]')
    assert len(problems([*pieces()[:1], other])) == 1
