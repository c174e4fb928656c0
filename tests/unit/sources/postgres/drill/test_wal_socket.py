"""The program of `restore_command` receives WAL through the socket, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.errors import DrillFailed, VerifyFailed
from holdfast.sources.postgres.drill.wal_socket import (
    FAILED,
    LONGEST_REQUEST,
    NOT_ARCHIVED,
    Fetch,
    WalSocket,
)

SEGMENT = "000000010000000000000042"
CONTENT = os.urandom(3 << 20)


@contextmanager
def serving(folder: Path, fetch: Fetch) -> Iterator[WalSocket]:
    served = WalSocket(folder, folder, fetch=fetch, user=None)
    served.open()
    try:
        yield served
    finally:
        served.close()


def asked(served: WalSocket, folder: Path, name: str) -> int:
    """Run the command as a server does: by a shell, in its data directory."""
    command = served.command.replace("%f", name).replace("%p", "received").replace("%%", "%")
    return subprocess.run(["/bin/sh", "-c", command], cwd=folder, check=False).returncode


def test_a_file_arrives_as_it_was_fetched(tmp_path: Path) -> None:
    def fetch(name: str, path: Path) -> bool:
        assert name == SEGMENT
        path.write_bytes(CONTENT)
        return True

    with serving(tmp_path, fetch) as served:
        assert asked(served, tmp_path, SEGMENT) == 0
        assert asked(served, tmp_path, SEGMENT) == 0
        assert served.files == 2
    assert (tmp_path / "received").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fetch-wal.py", "received"]


def test_the_end_of_the_wal_is_no_failure_and_a_failure_is_not_its_end(tmp_path: Path) -> None:
    def fetch(name: str, path: Path) -> bool:
        if name == SEGMENT:
            return False
        path.write_bytes(b"half of it")
        raise VerifyFailed("cannot trust the segment")

    with serving(tmp_path, fetch) as served:
        assert asked(served, tmp_path, SEGMENT) == NOT_ARCHIVED
        assert served.problem is None
        assert asked(served, tmp_path, "00000002.history") == FAILED
        assert isinstance(served.problem, VerifyFailed)
    assert asked(served, tmp_path, SEGMENT) == FAILED


def test_an_unforeseen_error_is_told_and_the_next_call_is_answered(tmp_path: Path) -> None:
    def fetch(_name: str, path: Path) -> bool:
        path.write_bytes(CONTENT)
        if path.parent == tmp_path and not (tmp_path / "seen").exists():
            (tmp_path / "seen").touch()
            raise RuntimeError("nobody thought of this")
        return True

    with serving(tmp_path, fetch) as served:
        assert asked(served, tmp_path, SEGMENT) == FAILED
        assert isinstance(served.problem, DrillFailed)
        assert "nobody thought of this" in served.problem.message
        assert asked(served, tmp_path, SEGMENT) == 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "$(touch evil)", "x" * 1000])
def test_a_name_is_asked_for_as_it_is_and_not_run(tmp_path: Path, name: str) -> None:
    asked_for: list[str] = []

    def fetch(wanted: str, _path: Path) -> bool:
        asked_for.append(wanted)
        return False

    with serving(tmp_path, fetch) as served:
        assert asked(served, tmp_path, f"'{name}'") == NOT_ARCHIVED
    assert [each[:LONGEST_REQUEST] for each in asked_for] == [name[:LONGEST_REQUEST]]
    assert not (tmp_path / "evil").exists()


def test_a_folder_with_any_name_is_named_safely(tmp_path: Path) -> None:
    # The path of a socket is short, and a temporary folder of pytest may be deep.
    with tempfile.TemporaryDirectory(prefix="hf-") as short:
        folder = Path(short) / "50% of $(touch evil) 'it'"
        folder.mkdir()

        def fetch(_name: str, path: Path) -> bool:
            path.write_bytes(CONTENT)
            return True

        with serving(folder, fetch) as served:
            assert asked(served, tmp_path, SEGMENT) == 0
        assert [path.name for path in Path(short).iterdir()] == [folder.name]
    assert [path.name for path in tmp_path.iterdir()] == ["received"]
