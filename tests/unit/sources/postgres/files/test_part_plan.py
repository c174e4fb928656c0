"""Which files share a part, and the effect of an earlier run's parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from holdfast.model.backup import Codec, Part, PartKind, PartPlan
from holdfast.model.errors import VerifyFailed
from holdfast.model.part_details import ClusterFile, Details
from holdfast.model.values import Span, gap_in
from holdfast.sources.postgres.files.checksum_results import ChecksumResults, ReadFile
from holdfast.sources.postgres.files.entries import Entry
from holdfast.sources.postgres.files.part_plan import (
    FileLayout,
    FileRange,
    Sizes,
    around,
    cut,
    file_of,
    lay_out,
    range_of,
)

MIB = 1 << 20
BIG = Entry(path="base/5/1", size_bytes=8 * MIB)
SMALL = [Entry(path=f"base/5/{number}", size_bytes=MIB) for number in (2, 3, 4)]
FOLDER = Entry(path="pg_wal", is_folder=True)


def stored(layout: FileLayout, plan: PartPlan) -> Part:
    findings = ChecksumResults()
    for entry in layout.contents[plan.name]:
        if entry.is_folder:
            findings.folders.append(entry.path)
        else:
            findings.add_file(
                entry.path, ReadFile(size_bytes=entry.size_bytes, modified=0, crc32c=0)
            )
    return Part(
        name=plan.name,
        key=plan.name,
        kind=plan.kind,
        relation=None,
        rows=None,
        plain_bytes=plan.estimated_bytes,
        plain_fingerprint="",
        stored_bytes=0,
        stored_fingerprint="",
        codec=Codec.ZSTD if plan.compress else Codec.NONE,
        encryption="none",
        seconds=0.0,
        details=plan.details,
        memo=findings.encode(),
    )


def contents(layout: FileLayout) -> list[tuple[str, list[str]]]:
    parts = [part.name for part in layout.parts]
    return [(name, [entry.path for entry in layout.contents[name]]) for name in parts]


def test_big_files_are_alone_small_ones_share_and_the_biggest_comes_first() -> None:
    layout = lay_out([FOLDER, *SMALL, BIG], sizes=Sizes(pack_bytes=2 * MIB))
    assert contents(layout) == [
        ("files/base/5/1", ["base/5/1"]),
        ("packs/00000.tar", ["pg_wal", "base/5/2", "base/5/3"]),
        ("packs/00001.tar", ["base/5/4"]),
    ]


def test_names_that_no_store_would_tell_apart_travel_in_packs() -> None:
    odd = [BIG._replace(path=path) for path in ("base/5/A", "base/5/a", "base/5/größe")]
    names = [part.name for part in lay_out(odd).parts]
    assert names.count("files/base/5/a") == 1
    assert {part.kind for part in lay_out(odd).parts} == {PartKind.FILE, PartKind.FILE_PACK}


def test_files_not_worth_compressing_are_stored_unchanged() -> None:
    layout = lay_out([BIG, *SMALL], is_worth_compressing=lambda entry: entry is not BIG)
    assert [part.compress for part in layout.parts] == [False, True]


def test_files_stay_in_the_parts_that_they_are_stored_in_and_new_ones_get_new_names() -> None:
    first = lay_out([FOLDER, *SMALL, BIG], is_worth_compressing=lambda _: False)
    done = [stored(first, part) for part in first.parts]
    young = [Entry(path="base/5/9", size_bytes=MIB), BIG._replace(path="base/5/8")]
    # One was dropped since, and one has grown enough to get its own part.
    grown = SMALL[1]._replace(size_bytes=9 * MIB)
    again = around(lay_out([FOLDER, SMALL[0], grown, BIG, *young]), done, with_rest=True)
    assert sorted(contents(again)) == [
        ("files/base/5/1", ["base/5/1"]),
        ("files/base/5/8", ["base/5/8"]),
        ("packs/00000.tar", ["pg_wal", "base/5/2", "base/5/3", "base/5/4"]),
        ("packs/00001.tar", ["base/5/9"]),
    ]
    (alone,) = [part for part in again.parts if part.name == "files/base/5/1"]
    assert not alone.compress


def test_without_the_rest_there_is_nothing_but_what_is_stored() -> None:
    first = lay_out([BIG])
    done = [stored(first, part) for part in first.parts]
    again = around(lay_out([BIG, *SMALL]), [*done, *done], with_rest=False)
    assert contents(again) == [("files/base/5/1", ["base/5/1"])]


def test_a_big_file_is_shared_out_in_pieces_with_names_that_sort_as_its_bytes() -> None:
    layout = lay_out([BIG._replace(size_bytes=7 * MIB), FOLDER], sizes=Sizes(range_bytes=3 * MIB))
    assert [(part.name, part.estimated_bytes // MIB) for part in layout.parts] == [
        ("files/base/5/1/000000", 3),
        ("files/base/5/1/000003", 3),
        ("files/base/5/1/000006", 1),
        ("packs/00000.tar", 0),
    ]
    assert layout.parts[2].details == ClusterFile(path="base/5/1", piece=Span(first=6 * MIB))


def test_stored_pieces_stay_whatever_became_of_the_file_and_the_others_are_taken() -> None:
    first = lay_out([BIG], sizes=Sizes(range_bytes=3 * MIB), is_worth_compressing=lambda _: False)
    middle, last = first.parts[1], first.parts[2]
    grown, dropped = lay_out([BIG._replace(size_bytes=20 * MIB)]), lay_out([FOLDER])
    for now in (grown, dropped):
        again = around(now, [stored(first, middle), stored(first, last)], with_rest=True)
        pieces = [part for part in again.parts if part.kind is PartKind.FILE]
        assert {(part.name, *part.details.texts().items()) for part in pieces} == {
            (part.name, *part.details.texts().items()) for part in first.parts
        }
        assert not any(part.compress for part in pieces)
    only = around(grown, [stored(first, middle)], with_rest=False)
    assert [part.name for part in only.parts] == [middle.name]


def test_an_uncompressed_pack_stays_uncompressed() -> None:
    first = lay_out(SMALL)
    (pack,) = [replace(stored(first, part), codec=Codec.NONE) for part in first.parts]
    (again,) = around(lay_out(SMALL), [pack], with_rest=True).parts
    assert (again.name, again.compress) == (pack.name, False)


def test_the_more_parts_there_are_the_larger_they_become() -> None:
    files = [BIG._replace(path=f"base/5/{number}", size_bytes=4 * MIB) for number in range(2000)]
    layout = lay_out(files, sizes=Sizes(parts_of_a_size=100, pack_files=50))
    assert len(layout.parts) < 300
    assert sorted(each.path for each in layout.entries) == sorted(each.path for each in files)


def test_rights_and_holes_of_a_big_file_are_noted_and_stay_as_noted() -> None:
    file = BIG._replace(mode=0o640, is_sparse=True)
    first = lay_out([file], sizes=Sizes(range_bytes=3 * MIB))
    noted = [file_of(each) for each in first.parts]
    assert {(each.mode, each.is_sparse) for each in noted} == {(0o640, True)}
    kept = stored(first, first.parts[0])
    again = around(lay_out([BIG]), [kept], with_rest=True)
    assert {file_of(each).mode for each in again.parts} == {0o640}
    anew = around(lay_out([file]), [], with_rest=True)
    assert {file_of(each).mode for each in anew.parts} == {0o640}


SIZES = st.integers(min_value=0, max_value=100)


def spans(pieces: list[FileRange]) -> list[tuple[int, int | None]]:
    return [(each.first, each.after) for each in pieces]


def test_only_the_last_piece_ends_where_the_file_does() -> None:
    assert spans(cut(25, range_bytes=10)) == [(0, 10), (10, 20), (20, None)]
    assert spans(cut(20, range_bytes=10)) == [(0, 10), (10, None)]
    assert spans(cut(0, range_bytes=10)) == [(0, None)]


@given(before=SIZES, now=SIZES, data=st.data())
def test_what_is_stored_stays_and_the_rest_is_taken_around_it(
    before: int, now: int, data: st.DataObject
) -> None:
    held = data.draw(st.lists(st.sampled_from(cut(before, range_bytes=10)), unique=True))
    again = cut(now, held, range_bytes=10)
    assert gap_in(again) is None
    assert set(held) <= set(again)
    assert len({each.name for each in again}) <= len(again)


def test_pieces_are_told_and_read_back() -> None:
    for piece in cut(300 << 20):
        assert range_of(plan(ClusterFile(path="base/5/1", piece=piece))) == piece
    assert range_of(plan(ClusterFile(path="base/5/1"))) is None
    assert [piece.name for piece in cut(300 << 20)] == ["000000", "000128", "000256"]
    with pytest.raises(VerifyFailed, match="does not name its file"):
        file_of(plan(Details()))


def plan(details: Details) -> PartPlan:
    return PartPlan(name="files/base/5/1", kind=PartKind.FILE, details=details)
