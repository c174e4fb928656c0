"""Temporary storage: large data never in memory, and never in a named file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdfast.model.errors import RestoreFailed
from holdfast.runtime.spool import (
    MOST_IN_MEMORY_BYTES,
    _obstacle,
    is_in_memory,
    room_for,
    spooled,
    write_all,
)

NOTHING_FITS = 1 << 60
MEMORY = "/dev/shm"  # noqa: S108  # nothing is written there


def test_few_bytes_stay_in_memory_and_can_be_read_twice() -> None:
    with spooled(3) as (spool, _):
        assert spool is not None
        spool.put(b"a")
        spool.put(b"bc")
        assert (list(spool), list(spool)) == ([b"a", b"bc"], [b"a", b"bc"])


def test_many_bytes_go_into_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_in_memory(tmp_path):
        pytest.skip("the folder for tests is in memory, where nothing is spooled")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    with spooled(MOST_IN_MEMORY_BYTES + 1) as (spool, reason):
        assert spool is not None
        assert reason == f"spooled in '{tmp_path}'"
        spool.put(b"a" * 70_000)
        spool.put(b"bc")
        both = zip(spool, spool, strict=True)
        assert all(one == other for one, other in both)
        assert b"".join(spool) == b"a" * 70_000 + b"bc"
        assert list(tmp_path.iterdir()) == []
        spool.give_back()
        assert list(spool) == []


def test_where_there_is_no_room_the_reason_is_told() -> None:
    with spooled(NOTHING_FITS) as (spool, reason):
        assert spool is None
        assert "'/var/tmp' has " in reason


def test_memory_is_no_place_for_what_is_large() -> None:
    folder, reason = room_for(
        NOTHING_FITS, environment={"TMPDIR": MEMORY, "RUNTIME_DIRECTORY": "/nowhere"}
    )
    assert folder is None
    assert "'/nowhere' is not writable, '/dev/shm' is in memory" in reason


def test_a_disk_that_fills_up_is_told_with_its_remedy(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(RestoreFailed) as caught:
        write_all(full, b"rest", tmp_path)
    assert caught.value.message == f"cannot spool in '{tmp_path}': No space left on device"
    assert "one worker" in caught.value.hint


def test_room_is_left_for_others(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert _obstacle(tmp_path, free) != ""
