"""Files get the requested mode whatever the umask, and appear complete or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.host_state.kept_files import FileFailedStatements, HostFileLists, lasting_secret
from holdfast.host_state.runs import FileRunHistory
from holdfast.locking.host_lock import FlockGuard
from holdfast.model.errors import (
    ConfigInvalid,
    HoldfastError,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
)
from holdfast.ports.host_state import RunRecord
from holdfast.runtime.files import (
    give_all,
    make_folder,
    make_state_folder,
    new_file,
    open_private,
    opened,
    whole_file,
    write_all,
)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Set once the test's own folder is there, which must stay writable."""
    before = os.umask(request.param)
    yield
    os.umask(before)


under_every_umask = pytest.mark.usefixtures("umask")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@under_every_umask
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644], ids=oct)
def test_a_new_file_has_the_mode_that_is_asked_for(tmp_path: Path, mode: int) -> None:
    new_file(tmp_path / "new", b"x", mode=mode)
    with whole_file(tmp_path / "whole", mode=mode) as descriptor:
        write_all(descriptor, b"x")
    os.close(opened(tmp_path / "opened", os.O_WRONLY, mode=mode))
    assert {path.name: mode_of(path) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("new", "whole", "opened"), mode
    )


@under_every_umask
def test_a_file_that_is_there_keeps_the_mode_that_its_owner_gave_it(tmp_path: Path) -> None:
    new_file(tmp_path / "there", b"x", mode=0o640)
    os.close(opened(tmp_path / "there", os.O_RDWR, mode=0o600))
    assert mode_of(tmp_path / "there") == 0o640


@under_every_umask
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["named pipe", "folder"])
def test_what_is_no_regular_file_is_neither_written_nor_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "there")
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "there"))):
        opened(tmp_path / "there", os.O_WRONLY | os.O_APPEND)


@under_every_umask
def test_a_named_pipe_that_somebody_reads_is_no_file_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match=re.escape(str(tmp_path / "pipe"))):
            opened(tmp_path / "pipe", os.O_WRONLY)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


@under_every_umask
def test_folders_on_the_way_get_a_mode_of_their_own(tmp_path: Path) -> None:
    make_folder(tmp_path / "a/b/c", mode=0o700, above=0o755)
    modes = [mode_of(tmp_path / name) for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o755, 0o700]
    assert not make_folder(tmp_path / "a/b", mode=0o700)
    assert mode_of(tmp_path / "a/b") == 0o755


@under_every_umask
def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "a")


@under_every_umask
def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("other")
    with pytest.raises(OSError, match="symbolic links"):
        opened(tmp_path / "link", os.O_WRONLY | os.O_TRUNC)
    with whole_file(tmp_path / "link") as descriptor:
        write_all(descriptor, b"new")
    assert (tmp_path / "other").read_bytes() == b"kept"
    assert not (tmp_path / "link").is_symlink()


@under_every_umask
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    new_file(tmp_path / "kept", b"before")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "kept") as descriptor:
        os.write(descriptor, b"%d" % (1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_bytes() == b"before"


@under_every_umask
def test_of_an_unfinished_file_with_a_fixed_name_there_is_never_more_than_one(
    tmp_path: Path,
) -> None:
    left = tmp_path / "kept.unfinished"
    left.write_bytes(b"of a run that was killed")
    with whole_file(tmp_path / "kept", unfinished=left) as descriptor:
        write_all(descriptor, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Somebody else's folder where the tests run as root, our own where they do not."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def test_what_root_makes_there_is_the_owners(state: Path) -> None:
    make_state_folder(state / "locks")
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
    # And an incomplete file is never treated as complete afterwards.
    WRITERS[what](tmp_path)


@pytest.mark.root
def test_what_is_given_is_what_lies_there_and_never_what_a_link_leads_to(tmp_path: Path) -> None:
    given, other = tmp_path / "given", tmp_path / "other"
    for folder in (given / "base", other / "base"):
        folder.mkdir(parents=True)
        (folder / "1").touch()
    (given / "elsewhere").symlink_to(other)
    (given / "file").symlink_to(other / "base/1")
    give_all(given, user=65534, group=65534)
    owned = [given, *given.rglob("*")]
    assert {path.lstat().st_uid for path in owned} == {65534}
    (tmp_path / "swapped").symlink_to(other)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    for link in ("swapped", "nowhere"):
        give_all(tmp_path / link, user=65534, group=65534)
        assert (tmp_path / link).lstat().st_uid == 65534
    assert {path.lstat().st_uid for path in (other, *other.rglob("*"))} == {os.geteuid()}
