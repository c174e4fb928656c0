"""The page against stock tools is what its script writes from the kept results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.document import BEGIN, END, PAGE, newest, oldest, rewrite, with_tables
from benchmarks.results import Measured, write
from tests.support.bench_results import cost, measured, results, workload

TEXT = f"# Title\n\nbefore\n\n{BEGIN}\n\nstale\n{END}\n\nafter\n"


def of_postgres(seconds: float) -> tuple[Measured, ...]:
    return (
        measured("holdfast", seconds, seconds, cost(seconds, peak_mb=120)),
        measured("pg_dump-zstd1", 10, 10, 11),
        measured("piped", 10),
    )


def test_the_page_is_up_to_date() -> None:
    assert with_tables(PAGE.read_text(), newest(), oldest()) == PAGE.read_text(), (
        "run scripts/bench --document"
    )


def test_both_kinds_of_processor_stand_side_by_side_and_misses_are_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    for seconds, has_sha in ((7.0, True), (8.0, False)):
        done = workload("postgres", "backup", *of_postgres(seconds))
        write(results(done, has_sha=has_sha), tmp_path)

    rewrite(page, tmp_path)

    text = page.read_text()
    assert text.startswith("# Title\n\nbefore\n")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "stale" not in text
    assert "Targets met: 1 of 2 with SHA instructions, 0 of 2 without SHA instructions." in text
    assert (
        "| title of postgres: backup | at most 0.75 of `pg_dump -Fd -j2` at zstd 1"
        " | 0.70 met | 0.80 **missed** |" in text
    )
    assert "| memory of a backup at most 100 MB | 120 MB **missed** | 120 MB **missed** |" in text
    assert "| its gzip | not measured | not measured |" in text.replace("at most 0.1 of ", "")
    assert (
        "| backup: the pg_dump-zstd1 | 10.00 | 0.70 | 10% | 1.00 | 2.0 | 50 MB | 7 MB"
        " | 10.00 | 0.80 |" in text
    )
    assert "| backup: the piped | 10.00 | 0.70 | one round |" in text


def test_a_quick_run_is_shown_only_while_there_is_no_whole_one(tmp_path: Path) -> None:
    quick, whole = results(day=5, mode="quick"), results(day=1)
    write(quick, tmp_path)
    assert newest(tmp_path) == [quick]

    write(whole, tmp_path)
    assert newest(tmp_path) == [whole]


def test_a_bar_in_a_name_does_not_end_its_cell() -> None:
    contenders = (measured("holdfast", 1), measured("a | b", 2))

    text = with_tables(TEXT, [results(workload("mysql", "backup", *contenders))])

    assert "| backup: the a \\| b |" in text
    assert "`mariadb-dump \\| zstd -1`" in text


def test_a_page_without_its_marks_is_not_touched() -> None:
    with pytest.raises(ValueError, match="lacks the line"):
        with_tables("# Title\n", [])


def test_no_results_are_told() -> None:
    assert "No results are kept yet." in with_tables(TEXT, [])


def test_the_oldest_results_of_the_first_kind_are_shown_as_those_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    for day, seconds in ((0, 9.0), (1, 8.6), (2, 7.0)):
        done = workload("postgres", "backup", *of_postgres(seconds))
        write(results(done, day=day), tmp_path)

    rewrite(page, tmp_path)

    assert (
        "| | target | with SHA instructions | with SHA instructions, before |" in page.read_text()
    )
    assert "| 0.70 met | 0.90 **missed** |" in page.read_text()
    assert "0.86" not in page.read_text()


def test_a_run_of_one_workload_and_one_of_a_modified_tree_do_not_replace_a_complete_one(
    tmp_path: Path,
) -> None:
    one, other = (workload(key, "backup", measured("holdfast", 1)) for key in ("one", "other"))
    modified = replace(results(one, other, day=9).version, is_modified=True)
    complete = results(one, other, day=1)
    for each in (
        results(one, other, day=0),
        complete,
        results(one, day=5),
        replace(results(one, other, day=9), version=modified),
    ):
        write(each, tmp_path)

    assert newest(tmp_path) == [complete]
