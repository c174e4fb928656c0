"""What pg_restore reads a dump from, by how many workers are to read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.proven import Proven
from holdfast.runtime.spool import is_in_memory
from holdfast.sources.postgres.dump import spool

NOTHING_FITS = 1 << 60
DUMP = Proven(lambda: iter([b"PGDMP", b"rest"]))


def test_one_worker_needs_no_file() -> None:
    with spool.at_hand(DUMP, size_bytes=9, workers=1) as artefact:
        assert (artefact.workers, artefact.file) == (1, None)


def test_several_workers_get_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_in_memory(tmp_path):
        pytest.skip("the folder for tests is in memory, where nothing is spooled")
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/run/other")
    with spool.at_hand(DUMP, size_bytes=9, workers=3) as artefact:
        assert artefact.workers == 3
        assert artefact.reason == f"spooled in '{tmp_path}'"
        assert artefact.file is not None
        assert Path(f"/dev/fd/{artefact.file.fileno()}").read_bytes() == b"PGDMPrest"
        assert list(tmp_path.iterdir()) == []


def test_without_room_there_is_one_stream_and_the_reason() -> None:
    with spool.at_hand(DUMP, size_bytes=NOTHING_FITS, workers=3) as artefact:
        assert (artefact.workers, artefact.file) == (1, None)
        assert artefact.reason.startswith("workers need the dump as a file: ")
        assert "'/var/tmp' has " in artefact.reason
