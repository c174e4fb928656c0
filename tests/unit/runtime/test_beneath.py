"""No request reaches outside a folder, whatever the folder contains."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.runtime.beneath import Beneath, Entry, NotBeneath

UNPLAIN = ["..", "a/../../outside/kept", "/etc", "a//b", "./a", "a/.", "a/", "a\0b", "/"]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the root, with a file that must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").write_bytes(b"kept")
    return folder


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Iterator[Path]:
    """With links to the folder and the file outside; both stay untouched."""
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "out").symlink_to(outside)
    (folder / "file").symlink_to(outside / "kept")
    (folder / "dangling").symlink_to(outside / "nothing")
    before = outside.stat()
    yield folder
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_bytes() == b"kept"
    assert (outside.stat().st_mtime_ns, outside.stat().st_mode) == (
        before.st_mtime_ns,
        before.st_mode,
    )


def written(beneath: Beneath, name: str, content: bytes = b"x") -> None:
    descriptor = beneath.create(name)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def read(beneath: Beneath, name: str) -> bytes:
    descriptor = beneath.open(name)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


ACTS: list[Callable[[Beneath, str], object]] = [
    Beneath.create,
    Beneath.extend,
    Beneath.open,
    Beneath.stat,
    Beneath.entries,
    Beneath.sync,
    Beneath.make_folders,
    Beneath.unlink,
    Beneath.remove_folder,
    lambda beneath, name: beneath.link("plain", name),
    lambda beneath, name: beneath.link(name, "new"),
    lambda beneath, name: beneath.rename("plain", name),
    lambda beneath, name: beneath.rename(name, "new"),
    lambda beneath, name: beneath.symlink("plain", name),
]


@pytest.mark.parametrize("name", UNPLAIN)
@pytest.mark.parametrize("act", ACTS)
def test_a_name_that_is_not_plain_is_refused_by_everything(
    root: Path, act: Callable[[Beneath, str], object], name: str
) -> None:
    written(Beneath(root), "plain")
    with pytest.raises(NotBeneath, match="not a plain relative name"):
        act(Beneath(root), name)


@pytest.mark.parametrize("name", ["out/kept", "out/new", "out/deeper/new"])
@pytest.mark.parametrize("act", ACTS)
def test_a_link_on_the_way_is_refused_by_everything(
    root: Path, act: Callable[[Beneath, str], object], name: str
) -> None:
    written(Beneath(root), "plain")
    with pytest.raises(NotBeneath, match="'out' is a symbolic link"):
        act(Beneath(root), name)


def test_what_is_made_is_there_with_its_mode_whatever_the_umask(root: Path) -> None:
    beneath = Beneath(root)
    before = os.umask(0)
    try:
        beneath.make_folders("a/b")
        written(beneath, "a/b/c", b"content")
    finally:
        os.umask(before)
    beneath.make_folders("a/b")
    assert read(beneath, "a/b/c") == b"content"
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o600
    os.umask(0o077)
    try:
        os.close(beneath.create("a/open", mode=0o644))
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "a/open").stat().st_mode) == 0o644


def test_a_file_is_linked_renamed_listed_and_removed(root: Path) -> None:
    beneath = Beneath(root)
    beneath.make_folders("a/b")
    written(beneath, "a/one", b"1")
    beneath.link("a/one", "a/b/two")
    with pytest.raises(FileExistsError):
        beneath.link("a/one", "a/b/two")
    beneath.rename("a/b/two", "a/three")
    beneath.sync("a")
    found = sorted(beneath.entries("a"), key=lambda entry: entry.name)
    assert found == [
        Entry(name="b", is_folder=True, size_bytes=None),
        Entry(name="one", is_folder=False, size_bytes=1),
        Entry(name="three", is_folder=False, size_bytes=1),
    ]
    beneath.remove_folder("a/b")
    for name in ("a/one", "a/three"):
        beneath.unlink(name)
    beneath.remove_folder("a")
    with pytest.raises(FileNotFoundError):
        beneath.stat("a")


@pytest.mark.parametrize("name", ["out", "file", "dangling"])
def test_a_link_itself_is_seen_replaced_and_removed_but_never_followed(
    root: Path, name: str
) -> None:
    beneath = Beneath(root)
    assert stat.S_ISLNK(beneath.stat(name).st_mode)
    with pytest.raises(NotBeneath, match="symbolic link"):
        beneath.open(name)
    with pytest.raises(FileExistsError):
        beneath.create(name)
    with pytest.raises((NotBeneath, NotADirectoryError)):
        beneath.entries(name)
    with pytest.raises(NotBeneath):
        beneath.make_folders(f"{name}/deeper")
    written(beneath, "plain", b"new")
    beneath.link(name, "second")
    assert stat.S_ISLNK(beneath.stat("second").st_mode)
    beneath.unlink("second")
    beneath.rename("plain", name)
    assert read(beneath, name) == b"new"
    beneath.unlink(name)


def test_links_are_listed_as_what_has_no_size(root: Path) -> None:
    found = Beneath(root).entries("")
    assert {(entry.name, entry.is_folder, entry.size_bytes) for entry in found} == {
        ("out", False, None),
        ("file", False, None),
        ("dangling", False, None),
    }


def test_a_pipe_is_refused_at_once_instead_of_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(NotBeneath, match="a pipe"):
        Beneath(root).open("pipe")
    root.joinpath("folder").mkdir()
    with pytest.raises(IsADirectoryError):
        Beneath(root).open("folder")


def test_a_folder_that_becomes_a_link_in_between_leads_nowhere(root: Path, outside: Path) -> None:
    beneath = Beneath(root)
    beneath.make_folders("a")
    with beneath.folder("a") as descriptor:
        (root / "a").rename(root / "moved")
        (root / "a").symlink_to(outside)
        os.close(os.open("new", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
    assert (root / "moved/new").exists()
    with pytest.raises(NotBeneath):
        beneath.create("a/new")


def test_the_way_to_the_root_may_lead_through_links(tmp_path: Path, root: Path) -> None:
    (tmp_path / "way").symlink_to(root)
    beneath = Beneath(tmp_path / "way")
    written(beneath, "plain", b"here")
    assert (root / "plain").read_bytes() == b"here"
    assert beneath.stat("").st_ino == root.stat().st_ino


def test_nothing_stays_open(root: Path) -> None:
    beneath, before = Beneath(root), len(os.listdir("/proc/self/fd"))
    beneath.make_folders("a/b")
    for act in ACTS:
        for name in ("a/b/new", "a/b", "out/kept", "..", "a/nothing/new"):
            try:
                done = act(beneath, name)
            except OSError:
                continue
            if type(done) is int:
                os.close(done)
    assert len(os.listdir("/proc/self/fd")) == before
