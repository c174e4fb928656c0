"""Files of the state directory belong to whoever owns the directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.host_state.failed_statements import FileFailedStatements
from holdfast.host_state.file_lists import HostFileLists
from holdfast.host_state.run_history import FileRunHistory
from holdfast.host_state.secret import lasting_secret
from holdfast.locking.host_lock import FlockGuard
from holdfast.model.errors import (
    ConfigInvalid,
    HoldfastError,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.ports.host_state import RunRecord
from holdfast.runtime.private_directory import make_folder, open_private

NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Somebody else's folder where the tests run as root, our own where they do not."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def test_what_root_makes_there_is_the_owners(state: Path) -> None:
    make_folder(state / "locks")
    os.close(open_private(state / "locks/shop.lock", os.O_RDWR))
    owner = state.stat().st_uid
    assert (state / "locks").stat().st_uid == owner
    assert (state / "locks/shop.lock").stat().st_uid == owner
    assert (state / "locks/shop.lock").stat().st_mode & 0o777 == 0o600


def test_a_link_that_somebody_planted_is_not_followed(state: Path) -> None:
    (state / "shop.lock").symlink_to("/etc/passwd")
    with pytest.raises(ConfigInvalid, match="Too many levels of symbolic links"):
        open_private(state / "shop.lock", os.O_RDWR)


KINDS: dict[int, type[HoldfastError]] = {
    errno.ENOSPC: RepositoryFull,
    errno.EDQUOT: RepositoryFull,
    errno.EROFS: RepositoryReadOnly,
    errno.EIO: RepositoryUnreachable,
    errno.ESTALE: RepositoryUnreachable,
    errno.EACCES: ConfigInvalid,
}
RUN = RunRecord(
    job="shop",
    run_id="1",
    outcome="ok",
    started_at=datetime(2026, 11, 20, tzinfo=UTC),
    finished_at=datetime(2026, 11, 20, tzinfo=UTC),
)


def hold_lock(folder: Path) -> None:
    with FlockGuard(folder, clock=lambda: RUN.started_at, run_id="1").hold("shop", deadline=None):
        pass


def error_of(act: Callable[[], object]) -> HoldfastError | None:
    try:
        act()
    except HoldfastError as error:
        return error
    return None


WRITERS: dict[str, Callable[[Path], object]] = {
    "the lock of a job": hold_lock,
    "the ledger": lambda folder: FileRunHistory(folder).record(RUN),
    "the list of files": lambda folder: HostFileLists(folder).offer("shop", [b"x"]),
    "the secret of names": lambda folder: lasting_secret(folder / "secret"),
    "statements for later": lambda folder: FileFailedStatements(folder).keep("shop/1", "SELECT 1"),
}


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("name", ["open", "write", "pwrite", "fsync", "rename", "link"])
@pytest.mark.parametrize("what", WRITERS)
def test_whatever_the_disk_refuses_has_a_code_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, name: str, number: int
) -> None:
    called = False

    def refused(*arguments: Any, **_: Any) -> Any:
        nonlocal called
        called = True
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as failing:
        failing.setattr(os, name, refused)
        error = error_of(lambda: WRITERS[what](tmp_path))
    assert called == (error is not None)
    if error is not None:
        assert type(error) is KINDS[number]
        assert error.message.startswith("cannot use state directory file")
        assert os.strerror(number) in error.message
    # And nothing half made is taken for the whole afterwards.
    WRITERS[what](tmp_path)
