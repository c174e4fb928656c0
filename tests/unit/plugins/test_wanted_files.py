"""Files that tuning writes: when they differ, and how they are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plugins.module_utils.wanted_files import WantedFile, WantedFolder, headed

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="files belong to root")


def settled(wanted: WantedFile | WantedFolder) -> None:
    wanted.write(os.replace)
    assert wanted.difference() is None


def test_the_lines_follow_the_head_of_the_template() -> None:
    assert headed("# managed\n", ["a = 1", "b = 2"]) == "# managed\na = 1\nb = 2\n"
    assert headed("# managed", []) == "# managed\n"


def test_a_difference_shows_both_texts_under_the_path(tmp_path: Path) -> None:
    path = tmp_path / "f.conf"
    path.write_text("old\n")
    told = WantedFile(path=path, text="new\n").difference()
    assert told == {
        "before": "old\n", "after": "new\n", "before_header": str(path), "after_header": str(path),
    }  # fmt: skip


@needs_root
def test_a_written_file_is_whole_and_for_everybody_to_read(tmp_path: Path) -> None:
    path = tmp_path / "f.conf"
    settled(WantedFile(path=path, text="new\n"))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o644)
    assert [each.name for each in tmp_path.iterdir()] == ["f.conf"]


@needs_root
def test_another_mode_or_owner_is_a_difference_of_its_own(tmp_path: Path) -> None:
    wanted = WantedFile(path=tmp_path / "f.conf", text="same\n")
    settled(wanted)
    wanted.path.chmod(0o666)
    os.chown(wanted.path, 1, 2)
    told = wanted.difference()
    assert told is not None
    assert told["before"] == "owner 1, group 2, mode 0666\n"
    settled(wanted)


@needs_root
def test_a_link_in_its_place_is_replaced_and_what_it_points_to_is_left_alone(
    tmp_path: Path,
) -> None:
    other = tmp_path / "other"
    other.write_text("same\n")
    wanted = WantedFile(path=tmp_path / "f.conf", text="same\n")
    wanted.path.symlink_to(other)
    assert wanted.difference() is not None
    settled(wanted)
    other.write_text("changed\n")
    assert wanted.path.read_text() == "same\n"


def test_an_unwanted_file_is_removed_and_an_absent_one_is_no_difference(tmp_path: Path) -> None:
    wanted = WantedFile(path=tmp_path / "f.conf", text=None)
    assert wanted.difference() is None
    wanted.path.symlink_to("/nowhere")
    assert wanted.difference() is not None
    settled(wanted)


@needs_root
def test_a_folder_gets_its_mode_back(tmp_path: Path) -> None:
    wanted = WantedFolder(path=tmp_path / "x.d")
    assert wanted.difference() is not None
    settled(wanted)
    wanted.path.chmod(0o700)
    assert wanted.difference() is not None
    settled(wanted)
