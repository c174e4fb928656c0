"""A started server is the restored one, or it is stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.errors import RestoreFailed
from holdfast.sources.postgres.files.postmaster import Postmaster, launched, require_ours
from tests.support.waiting import until

IDENTIFIER = 7300000000000000001
# A server goes to its data directory, writes of itself there, and stays.
SERVER = """
import os, sys, time
os.chdir(sys.argv[1])
with open("postmaster.pid", "w") as file:
    file.write(f"{os.getpid()}\\n{sys.argv[1]}\\n1\\n5433\\n/run/here\\n\\n\\nready   \\n")
time.sleep(1000)
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "global").mkdir(parents=True)
    (folder / "global/pg_control").write_bytes(IDENTIFIER.to_bytes(8, "little") + bytes(8000))
    return folder


@contextmanager
def server(data: Path, goes_to: Path) -> Iterator[Postmaster]:
    argv = [sys.executable, "-c", SERVER, str(goes_to)]
    found = launched(argv, data, data.with_name("data-start.log"))
    try:
        yield found
    finally:
        found.end()


def test_a_server_on_our_folder_is_known_by_what_it_writes_there(data: Path) -> None:
    with server(data, data) as found:
        until(lambda: found.status() is not None)
        found.require_here()
        status = found.status()
        assert status is not None
        assert (status.port, status.socket_folder, status.state) == ("5433", "/run/here", "ready")
        assert found.is_running
    assert not found.is_running


def test_a_server_that_opens_another_folder_is_ended(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "production"
    other.mkdir()
    with server(data, other) as found:
        until(lambda: (other / "postmaster.pid").exists())
        with pytest.raises(RestoreFailed, match=f"opened '{other}' instead"):
            found.require_here()
        assert not found.is_running
        assert found.status() is None


def test_what_another_process_writes_into_our_folder_is_not_believed(
    data: Path, tmp_path: Path
) -> None:
    with server(data, tmp_path) as found:
        until(lambda: (tmp_path / "postmaster.pid").exists())
        (data / "postmaster.pid").write_text(f"{os.getpid()}\nx\n1\n1\nx\n\n\nready\n")
        assert found.status() is None


def test_nothing_is_started_on_another_cluster_than_the_backups(data: Path) -> None:
    require_ours(data, str(IDENTIFIER))
    with pytest.raises(RestoreFailed, match=f"it is cluster {IDENTIFIER}"):
        require_ours(data, "7300000000000000002")
    (data / "global/pg_control").unlink()
    with pytest.raises(RestoreFailed, match="cannot read its global/pg_control"):
        require_ours(data, str(IDENTIFIER))


def test_nothing_is_started_where_a_server_runs_or_did(data: Path) -> None:
    (data / "postmaster.pid").symlink_to("/nowhere")
    with pytest.raises(RestoreFailed, match=r"postmaster\.pid"):
        require_ours(data, str(IDENTIFIER))


def test_the_log_is_a_new_file_and_never_somebody_elses(data: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    log = tmp_path / "data-start.log"
    log.symlink_to(precious)
    with server(data, data) as found:
        until(lambda: found.status() is not None)
    assert (precious.read_text(), log.is_symlink()) == ("mine", False)
    assert log.stat().st_mode & 0o777 == 0o600
