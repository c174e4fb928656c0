"""Files get the mode that is asked for, whatever the umask, and are there whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.runtime.files import make_folder, new_file, opened, whole_file, write_all


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277], ids=oct, autouse=True)
def _umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Set once the test's own folder is there, which must stay writable."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644], ids=oct)
def test_a_new_file_has_the_mode_that_is_asked_for(tmp_path: Path, mode: int) -> None:
    new_file(tmp_path / "new", b"x", mode=mode)
    with whole_file(tmp_path / "whole", mode=mode) as descriptor:
        write_all(descriptor, b"x")
    os.close(opened(tmp_path / "opened", os.O_WRONLY, mode=mode))
    assert {path.name: mode_of(path) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("new", "whole", "opened"), mode
    )


def test_a_file_that_is_there_keeps_the_mode_that_its_owner_gave_it(tmp_path: Path) -> None:
    new_file(tmp_path / "there", b"x", mode=0o640)
    os.close(opened(tmp_path / "there", os.O_RDWR, mode=0o600))
    assert mode_of(tmp_path / "there") == 0o640


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["named pipe", "folder"])
def test_what_is_no_regular_file_is_neither_written_nor_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "there")
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "there"))):
        opened(tmp_path / "there", os.O_WRONLY | os.O_APPEND)


def test_a_named_pipe_that_somebody_reads_is_no_file_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match=re.escape(str(tmp_path / "pipe"))):
            opened(tmp_path / "pipe", os.O_WRONLY)
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_folders_on_the_way_get_a_mode_of_their_own(tmp_path: Path) -> None:
    make_folder(tmp_path / "a/b/c", mode=0o700, above=0o755)
    modes = [mode_of(tmp_path / name) for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o755, 0o700]
    assert not make_folder(tmp_path / "a/b", mode=0o700)
    assert mode_of(tmp_path / "a/b") == 0o755


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "a")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("other")
    with pytest.raises(OSError, match="symbolic links"):
        opened(tmp_path / "link", os.O_WRONLY | os.O_TRUNC)
    with whole_file(tmp_path / "link") as descriptor:
        write_all(descriptor, b"new")
    assert (tmp_path / "other").read_bytes() == b"kept"
    assert not (tmp_path / "link").is_symlink()


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    new_file(tmp_path / "kept", b"before")
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "kept") as descriptor:
        os.write(descriptor, b"%d" % (1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_bytes() == b"before"


def test_of_an_unfinished_file_with_a_fixed_name_there_is_never_more_than_one(
    tmp_path: Path,
) -> None:
    left = tmp_path / "kept.unfinished"
    left.write_bytes(b"of a run that was killed")
    with whole_file(tmp_path / "kept", unfinished=left) as descriptor:
        write_all(descriptor, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
