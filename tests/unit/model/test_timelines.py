"""The segments that are missing, and those that a backup needs."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from holdfast.model.timelines import ClusterWal, Stretch, Timeline, missing, runs
from holdfast.model.wal_archive import Switch

MIB = 1 << 20


def wal(**lines: tuple[set[int], list[tuple[int, str]]]) -> ClusterWal:
    """Timelines `t1`, `t2` with segments of 1 MiB and where they left others."""
    return ClusterWal(
        cluster="77",
        segment_bytes=MIB,
        timelines={
            int(name[1:]): Timeline(
                number=int(name[1:]),
                segments=frozenset(segments),
                switches=tuple(Switch(timeline=number, at=at) for number, at in switches),
            )
            for name, (segments, switches) in lines.items()
        },
    )


def stretch(timeline: int, first: int, last: int) -> Stretch:
    return Stretch(timeline=timeline, first=first, last=last)


def test_what_is_there_without_a_hole_has_no_gap() -> None:
    assert wal(t1=({3, 4, 5}, [])).gaps(1) == []
    assert wal(t1=(set(), [])).gaps(1) == []


def test_holes_are_told_one_by_one() -> None:
    assert wal(t1=({1, 2, 5, 6, 8}, [])).gaps(1) == [stretch(1, 3, 4), stretch(1, 7, 7)]


def test_a_name_far_away_makes_one_gap_of_millions() -> None:
    """Each segment in between was once looked up one by one."""
    far = (1 << 44) - 1
    assert wal(t1=({1, far}, [])).gaps(1) == [stretch(1, 2, far - 1)]
    assert wal(t1=({1, far}, [])).needed_after(1, "0/100028") == [stretch(1, 1, far)]


def test_the_archived_segments_of_a_path_that_claims_a_million_millions_are_few() -> None:
    archive = wal(t1=({3, 5, 1 << 40}, []))
    path = [Stretch(timeline=1, first=4, last=1 << 40), Stretch(timeline=2, first=1, last=2)]
    assert archive.archived_of(path) == [(1, 5), (1, 1 << 40)]


def test_a_history_that_goes_back_leads_nowhere() -> None:
    found = wal(t1=({1}, []), t2=(set(), []), t3=({9}, [(1, "0/900000"), (2, "0/100000")]))
    assert stretch(3, 1, 9) in found.needed_after(1, "0/100028")


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6),
    st.sets(st.integers(0, 30)),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=3),
)
def test_what_is_missing_is_what_counting_one_by_one_finds(
    wanted: list[tuple[int, int]], held: set[int], more: list[tuple[int, int]]
) -> None:
    there = [*runs(held), *(range(first, last + 1) for first, last in more)]
    asked = [stretch(1, first, last) for first, last in wanted]
    gaps = list(missing(asked, {1: there}))
    found = [number for gap in gaps for number in range(gap.first, gap.last + 1)]
    expected = {n for first, last in wanted for n in range(first, last + 1)}
    expected -= held | {n for first, last in more for n in range(first, last + 1)}
    assert found == sorted(expected)
    assert all(one.last + 1 < other.first for one, other in pairwise(gaps))


def test_a_timeline_must_reach_to_where_the_next_one_left_it() -> None:
    # 0/700000 is in segment 7, which the next timeline has a copy of.
    found = wal(t1=({1, 2, 3}, []), t2=({9}, [(1, "0/700000")]))
    assert found.gaps(1) == [stretch(1, 4, 6)]
    assert found.gaps(2) == [stretch(2, 7, 8)]


def test_a_backup_needs_all_from_its_start_to_the_newest() -> None:
    assert wal(t1=({1, 2, 3, 9}, [])).needed_after(1, "0/200028") == [stretch(1, 2, 9)]


def test_a_backup_needs_what_leads_to_timelines_that_left_it_later() -> None:
    found = wal(
        t1=({1, 2, 3}, []),
        t2=({3, 4}, [(1, "0/380000")]),
        t3=({4, 5}, [(1, "0/380000"), (2, "0/480000")]),
        t4=({2}, [(1, "0/180000")]),
    )
    needed = found.needed_after(1, "0/200028")
    assert set(needed) == {
        stretch(1, 2, 3),
        stretch(1, 2, 2),
        stretch(2, 3, 4),
        stretch(2, 3, 3),
        stretch(3, 4, 5),
    }
    # The fourth branched off before the backup, which cannot reach it.
    assert all(each.timeline != 4 for each in needed)


def test_a_backup_needs_nothing_where_nothing_is_archived() -> None:
    assert wal(t1=(set(), [])).needed_after(1, "0/200028") == []
