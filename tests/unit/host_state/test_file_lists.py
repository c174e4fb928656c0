"""Lists of files in sealed backups: private, and never those of a backup that was not finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.host_state.file_lists import HostFileLists
from holdfast.model.errors import ConfigInvalid


def read(lists: HostFileLists, job: str) -> bytes:
    with lists.open(job) as chunks:
        return b"".join(chunks)


def test_what_was_offered_counts_once_it_is_settled(tmp_path: Path) -> None:
    lists = HostFileLists(tmp_path / "lists")
    assert read(lists, "shop") == b""
    lists.offer("shop", [b"first ", memoryview(b"list")])
    assert read(lists, "shop") == b""
    lists.settle("shop")
    assert read(HostFileLists(tmp_path / "lists"), "shop") == b"first list"
    lists.offer("shop", [b"second"])
    lists.offer("shop", [b"3rd"])
    lists.settle("shop")
    lists.settle("shop")
    assert read(lists, "shop") == b"3rd"
    assert read(lists, "other") == b""


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    lists = HostFileLists(tmp_path / "lists")
    lists.offer("shop", [b"list"])
    lists.settle("shop")
    (path,) = (tmp_path / "lists").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_used_is_told_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "lists").write_text("in the way")
    with pytest.raises(ConfigInvalid, match="state directory") as raised:
        HostFileLists(tmp_path / "lists").offer("shop", [b"list"])
    assert "state_directory" in raised.value.hint
