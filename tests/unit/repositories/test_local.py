"""Behaviour of folders only: modes, leftovers, full and read-only disks."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.model.errors import ObjectMissing, RepositoryRefused, RepositoryUnreachable
from holdfast.repositories.local import UNFINISHED, LocalRepository
from tests.support.other_user import NOBODY, open_folder, told_as_nobody


def test_only_the_owner_can_read_what_is_stored(tmp_path: Path) -> None:
    LocalRepository(tmp_path).put("job/b/parts/x", [b"secret"])
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
    }
    assert modes == {"job": 0o700, "job/b": 0o700, "job/b/parts": 0o700, "job/b/parts/x": 0o600}


@pytest.mark.root
def test_what_root_stores_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    LocalRepository(tmp_path).put("job/b/parts/x", [b"x"])
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {NOBODY}


def test_who_deletes_beside_a_writer_does_not_take_its_folder_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is removed as empty, after the writer has made it and before its file exists."""
    repository, beside = LocalRepository(tmp_path), LocalRepository(tmp_path)
    open_file, taken_away = os.open, 0

    def open_late(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        nonlocal taken_away
        if flags & os.O_CREAT and taken_away < 3:
            taken_away += 1
            with monkeypatch.context() as as_ever:
                as_ever.setattr(os, "open", open_file)
                beside.put("job/b/parts/wal/2", [b"x"])
                beside.delete("job/b/parts/wal/2")
        return open_file(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", open_late)
    repository.put("job/b/parts/wal/1", [b"x"])
    assert [each.key for each in repository.list("")] == ["job/b/parts/wal/1"]
    assert taken_away == 3


def test_what_is_being_written_is_not_listed(tmp_path: Path) -> None:
    repository = LocalRepository(tmp_path)
    seen: list[list[str]] = []

    def chunks() -> Iterator[bytes]:
        yield b"half"
        seen.append([path.name for path in (tmp_path / "job").iterdir()])
        assert list(repository.list("job")) == []

    repository.put("job/x", chunks())
    assert len(seen[0]) == 1
    assert seen[0][0].startswith(UNFINISHED)


def test_a_killed_put_leaves_a_file_that_sweeping_removes(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from holdfast.repositories.local import LocalRepository\n"
        "def chunks():\n"
        "    yield b'half'\n"
        "    os.kill(os.getpid(), 9)\n"
        "LocalRepository(pathlib.Path(sys.argv[1])).put('job/b/parts/x', chunks())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -9
    repository = LocalRepository(tmp_path)
    assert len(list((tmp_path / "job/b/parts").iterdir())) == 1
    assert list(repository.list("job")) == []
    assert repository.sweep("job") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_grow_is_a_full_repository(tmp_path: Path) -> None:
    """The file size limit stands in for a full disk: both refuse the rest of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Without a handler the kernel would end the process instead of refusing the write.
    program = (
        "import pathlib, resource, signal, sys\n"
        "from holdfast.model.errors import RepositoryFull\n"
        "from holdfast.repositories.local import LocalRepository\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    LocalRepository(pathlib.Path(sys.argv[1])).put('job/x', [bytes(60000)] * 3)\n"
        "except RepositoryFull as error:\n"
        "    print(error.message, '|', error.hint)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith(f"cannot store 'job/x' in '{tmp_path}': File too large | ")
    assert "holdfast prune" in ended.stdout
    assert list((tmp_path / "job").iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (soft, hard)


def test_a_folder_that_is_not_there_is_an_unreachable_repository(tmp_path: Path) -> None:
    repository = LocalRepository(tmp_path / "unmounted")
    for attempt in (
        lambda: repository.put("job/x", [b"x"]),
        lambda: list(repository.list("job")),
        repository.check,
        repository.free_bytes,
    ):
        with pytest.raises(RepositoryUnreachable, match="No such file or directory") as caught:
            attempt()
        assert "exists and is mounted" in caught.value.hint
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.root
def test_a_folder_of_somebody_else_is_a_read_only_repository() -> None:
    program = (
        "import pathlib, sys\n"
        "from holdfast.model.errors import RepositoryReadOnly\n"
        "from holdfast.repositories.local import LocalRepository\n"
        "step_down()\n"
        "try:\n"
        "    LocalRepository(pathlib.Path(sys.argv[1])).check()\n"
        "except RepositoryReadOnly as error:\n"
        "    print(error.message, '|', error.hint)\n"
    )
    with open_folder() as folder:
        told = told_as_nobody(program, str(folder))
    assert "Permission denied" in told
    assert "must be writable" in told


@pytest.fixture
def led_out(tmp_path: Path) -> Iterator[tuple[LocalRepository, Path]]:
    """A repository with a link in it to a folder outside, whose file stays as it is."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (outside / f"{UNFINISHED}0").write_bytes(b"kept")
    (root / "job").mkdir()
    (root / "job/out").symlink_to(outside)
    (root / "job/file").symlink_to(outside / "kept")
    (root / "linked").symlink_to(outside)
    yield LocalRepository(root), outside
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {
        "kept": b"kept",
        f"{UNFINISHED}0": b"kept",
    }


def test_a_link_in_the_repository_is_never_followed_to_write_or_to_delete(
    led_out: tuple[LocalRepository, Path],
) -> None:
    repository, _ = led_out
    for act in (
        lambda: repository.put("job/out/new", [b"x"]),
        lambda: repository.put("linked/deeper/new", [b"x"]),
        lambda: repository.delete("job/out/kept"),
        lambda: repository.delete("linked/kept"),
        lambda: repository.sweep("linked"),
    ):
        with pytest.raises(RepositoryRefused, match="is a symbolic link") as caught:
            act()
        assert "mount" in caught.value.hint
    assert repository.sweep("job") == 0
    repository.delete("job/file")
    assert list(repository.list("")) == []


def test_what_a_link_names_is_neither_listed_nor_read(
    led_out: tuple[LocalRepository, Path],
) -> None:
    repository, _ = led_out
    repository.put("job/a", [b"x"])
    assert [each.key for each in repository.list("")] == ["job/a"]
    for key in ("job/file", "job/out/kept", "linked/kept"):
        with pytest.raises(ObjectMissing, match="is a symbolic link"), repository.open(key):
            pass
    with pytest.raises(ObjectMissing):
        repository.stat("job/file")


def test_pipes_and_hidden_folders_are_none_of_the_repository(tmp_path: Path) -> None:
    repository = LocalRepository(tmp_path)
    repository.put("job/a", [b"x"])
    os.mkfifo(tmp_path / "job/pipe")
    (tmp_path / "job/.snapshot").mkdir()
    (tmp_path / "job/.snapshot/a").write_bytes(b"x")
    assert [each.key for each in repository.list("")] == ["job/a"]
    with pytest.raises(ObjectMissing, match="job/pipe"):
        repository.stat("job/pipe")
    with pytest.raises(ObjectMissing, match="a pipe"), repository.open("job/pipe"):
        pass


def test_a_list_is_in_order_of_key_however_folders_are_named(tmp_path: Path) -> None:
    repository = LocalRepository(tmp_path)
    keys = ["a-b", "a.b", "a/b-c/d", "a/b0", "a0/x", "b"]
    for key in reversed(keys):
        repository.put(key, [b"x"])
    assert [each.key for each in repository.list("")] == keys
    assert list(repository.list("b")) == []
