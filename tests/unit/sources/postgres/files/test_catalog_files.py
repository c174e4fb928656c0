"""A file in the catalogs is looked for as long as the catalogs name it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.files.catalog_files import SEGMENT_BYTES, Files

GONE = [("base/5", "database 'shop'")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "base/4").mkdir(parents=True)
    return tmp_path


def files_in(data: Path, **skipped: str) -> Files:
    return Files(data=data, skipped=skipped, pause_seconds=0.0)


def answers(*lists: list[tuple[str, str]]) -> Callable[[], list[tuple[str, str]]]:
    """The answers of the catalogs; the last one is repeated."""
    left = list(lists)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_what_is_named_for_ever_and_never_there_fails_with_its_name(data: Path) -> None:
    with pytest.raises(BackupFailed, match="names database 'shop' in 'base/5', which is missing"):
        files_in(data).require(answers(GONE))


def test_what_is_dropped_at_this_moment_is_no_error(data: Path) -> None:
    files_in(data).require(answers(GONE, GONE, []))


def test_a_file_made_during_the_backup_is_not_looked_for(data: Path) -> None:
    files_in(data).require(answers(GONE, [("base/6", "database 'young'")]))


def test_what_was_left_out_is_missing_with_the_reason(data: Path) -> None:
    files = files_in(data, **{"base/4": "a link to '/x', which is odd"})
    with pytest.raises(BackupFailed, match=r"'base/4' \(a link to '/x', which is odd\)"):
        files.require(answers([("base/4", "database 'a'")]))


def test_a_folder_is_no_file(data: Path) -> None:
    named = answers([("base/4", "'t'")])
    files_in(data).require(named)
    with pytest.raises(BackupFailed):
        files_in(data).require(named, is_kind=stat.S_ISREG)


@pytest.mark.parametrize("names_held", [100, 4, 3, 0])
def test_a_listed_folder_has_the_regular_files_in_it_that_are_not_left_out(
    data: Path, tmp_path: Path, names_held: int
) -> None:
    folder = data / "base/4"
    for name in ("1", "2", "3"):
        (folder / name).write_bytes(b"rows")
    (folder / "7").mkdir()
    (folder / "8").symlink_to(folder / "1")
    (folder / "9").symlink_to(tmp_path)
    files = files_in(data, **{"base/4/3": "a link", "base/40": "another folder"})
    found = files.folder("base/4", names_held=names_held)
    assert found.has(["1", "2", "8"])
    assert [name for name in "123456789" if not found.has(["1", name])] == [*"345679"]


@pytest.mark.parametrize("names_held", [100, 0])
def test_a_folder_that_is_not_there_has_nothing(data: Path, names_held: int) -> None:
    assert not files_in(data).folder("base/5", names_held=names_held).has(["1"])


@pytest.mark.parametrize(
    ("sizes", "is_whole"),
    [
        ({"7": SEGMENT_BYTES, "7.1": 8192}, True),
        ({"7": SEGMENT_BYTES, "7.1": SEGMENT_BYTES, "7.2": 8192}, True),
        ({"7": SEGMENT_BYTES, "7.2": 8192}, False),
        ({"7": 8192, "7.1": 8192}, False),
        ({"7": SEGMENT_BYTES, "7.1": 8192, "7.2": 0}, True),
        ({"7": 0, "7.1": 8192}, True),
        ({"7": 8192, "7.1": 0}, True),
    ],
)
def test_a_relation_has_no_hole(data: Path, sizes: dict[str, int], *, is_whole: bool) -> None:
    for name, size_bytes in sizes.items():
        with (data / "base/4" / name).open("wb") as file:
            file.truncate(size_bytes)
    files, last = files_in(data), max(sizes)
    if is_whole:
        files.require_before(f"base/4/{last}")
    else:
        with pytest.raises(BackupFailed, match=f"the GiB before 'base/4/{last}'"):
            files.require_before(f"base/4/{last}")
