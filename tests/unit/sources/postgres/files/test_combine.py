"""Where a chain is unpacked before it is combined, and which files are moved into place."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import RestoreFailed, Unsupported
from holdfast.sources.postgres.files.target import put_in_place, room_beside


def test_the_room_is_private_beside_the_folder_and_gone_whatever_happens(tmp_path: Path) -> None:
    beside = room_beside(tmp_path / "new" / "data")
    room = beside.__enter__()
    (room / "0").mkdir()
    assert room.parent == tmp_path / "new"
    assert room.stat().st_mode & 0o777 == 0o700
    assert not beside.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_disk_that_is_mounted_there_is_refused_with_a_folder_on_it() -> None:
    with (
        pytest.raises(Unsupported, match="a disk is mounted there") as refused,
        room_beside(Path("/proc")),
    ):
        pass
    assert "file:///proc/data" in refused.value.hint


def test_what_is_whole_takes_the_place_of_an_empty_folder_and_of_nothing_else(
    tmp_path: Path,
) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "data"
    whole.mkdir()
    (whole / "PG_VERSION").write_text("17\n")
    folder.mkdir()
    (folder / "mine").touch()
    with pytest.raises(RestoreFailed, match="not empty"):
        put_in_place(whole, folder)
    (folder / "mine").unlink()
    put_in_place(whole, folder)
    assert (folder / "PG_VERSION").read_text() == "17\n"
