from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.errors import RestoreFailed
from holdfast.sources.postgres_tools import spool

NOTHING_FITS = 1 << 60
MEMORY = "/dev/shm"  # noqa: S108  # nothing is written there


@contextmanager
def opened() -> Iterator[Iterator[bytes]]:
    yield iter([b"PGDMP", b"rest"])


def test_one_worker_needs_no_file() -> None:
    with spool.at_hand(opened, size_bytes=9, workers=1) as artefact:
        assert (artefact.workers, artefact.file) == (1, None)


def test_several_workers_get_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spool._is_in_memory(tmp_path):
        pytest.skip("the folder for tests is in memory, where nothing is spooled")
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/run/other")
    with spool.at_hand(opened, size_bytes=9, workers=3) as artefact:
        assert artefact.workers == 3
        assert artefact.reason == f"spooled in '{tmp_path}'"
        assert artefact.file is not None
        assert Path(f"/dev/fd/{artefact.file.fileno()}").read_bytes() == b"PGDMPrest"
        assert list(tmp_path.iterdir()) == []


def test_without_room_there_is_one_stream_and_the_reason() -> None:
    with spool.at_hand(opened, size_bytes=NOTHING_FITS, workers=3) as artefact:
        assert (artefact.workers, artefact.file) == (1, None)
        assert artefact.reason.startswith("workers need the dump as a file: ")
        assert "'/var/tmp' has " in artefact.reason


def test_memory_is_no_place_for_a_dump() -> None:
    folder, reason = spool.room_for(
        NOTHING_FITS, environment={"TMPDIR": MEMORY, "RUNTIME_DIRECTORY": "/nowhere"}
    )
    assert folder is None
    assert "'/nowhere' cannot be written, '/dev/shm' is in memory" in reason


def test_a_disk_that_fills_up_is_told_with_its_remedy(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(RestoreFailed) as caught:
        spool._fill(full, opened, tmp_path)
    assert caught.value.message == f"cannot spool the dump in '{tmp_path}': No space left on device"
    assert "one worker" in caught.value.hint


def test_room_is_left_for_others(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert spool._obstacle(tmp_path, free) != ""
