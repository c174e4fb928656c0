"""Results are kept by version and kind, and the newest earlier one is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from benchmarks.results import Results, WorkloadResult, before, kept, of_version, read, write
from tests.support.bench_results import measured, results, workload


def some(*, day: int = 0, has_sha: bool = True, mode: str = "whole") -> Results:
    done = workload("shop", "backup", measured("holdfast", 1.5, 2))
    return results(done, day=day, has_sha=has_sha, mode=mode)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write(some(), tmp_path)

    assert path.name == "1.2.3-20261101T000000Z-whole-sha.json"
    assert read(path) == some()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write(some(), tmp_path)
    path.write_text(path.read_text().replace("benchmarks/1", "benchmarks/2"))

    with pytest.raises(ValidationError, match="format"):
        read(path)


def test_the_newest_earlier_version_of_the_same_kind_is_compared(tmp_path: Path) -> None:
    for each in (
        some(day=0),
        some(day=2),
        some(day=3, has_sha=False),
        some(day=4, mode="quick"),
        some(day=5),
        some(day=9),
    ):
        write(each, tmp_path)

    assert before(some(day=5), tmp_path) == some(day=2)
    assert before(some(day=0), tmp_path) is None
    assert [each.version.committed_at.day for each in kept("whole-sha", tmp_path)] == [10, 6, 3, 1]


def test_a_modified_tree_is_later_than_its_commit(tmp_path: Path) -> None:
    write(some(), tmp_path)
    modified = replace(some(), version=replace(some().version, is_modified=True))

    assert before(modified, tmp_path) == some()
    assert before(some(), tmp_path) is None
    assert "-modified-" in modified.file_name


def test_a_workload_that_is_measured_again_replaces_its_older_result(tmp_path: Path) -> None:
    order = ["first", "shop", "last"]
    write(some(), tmp_path)
    again = workload("shop", "backup", measured("holdfast", 3))
    first = workload("first", "backup", measured("holdfast", 4))

    done = of_version(some(), tmp_path).with_workload(again, order).with_workload(first, order)

    assert done.workloads == (first, again)


def test_the_spread_is_a_share_of_the_median() -> None:
    assert measured("holdfast", 9, 10, 12).spread() == pytest.approx(0.3)
    assert measured("holdfast", 9).spread() == 0


def test_a_workload_that_the_earlier_version_lacks_is_compared_with_an_older_one(
    tmp_path: Path,
) -> None:
    def one(key: str, seconds: float) -> WorkloadResult:
        return workload(key, "backup", measured("holdfast", seconds))

    write(results(one("shop", 9), one("other", 8), day=0), tmp_path)
    write(results(one("shop", 7), day=1), tmp_path)

    found = before(results(day=2), tmp_path)

    assert found is not None
    assert found.version == results(day=1).version
    assert found.workload("shop") == one("shop", 7)
    assert found.workload("other") == one("other", 8)
