"""The comparison of levels: each level compresses the same bytes, and rows are COPY text."""

from __future__ import annotations

from itertools import count

from benchmarks.level_data import kinds, row, up_to
from benchmarks.levels import LEVELS, measured


def test_every_level_compresses_the_whole_content() -> None:
    content = b"".join(row(number, number % 7, "the same words") for number in range(30_000))

    found = measured(content)

    assert set(found) == set(LEVELS)
    assert {each.plain_bytes for each in found.values()} == {len(content)}
    assert all(0 < each.stored_bytes < len(content) / 3 for each in found.values())
    assert found[6].stored_bytes < found[-1].stored_bytes
    assert all(each.cpu_seconds > 0 and each.restore_cpu_seconds > 0 for each in found.values())


def test_rows_are_text_that_copy_reads() -> None:
    assert row(1, "a\tb\nc\\d", 0.5) == b"1\ta\\tb\\nc\\\\d\t0.5\n"


def test_data_ends_with_the_piece_that_fills_it() -> None:
    assert list(up_to(5, (b"abc" for _ in count()))) == [b"abc", b"abc"]
    assert list(up_to(5, [b"ab"])) == [b"ab"]


def test_at_least_four_kinds_are_real_data() -> None:
    assert len([kind for kind in kinds() if "benchmark" not in kind]) >= 4
