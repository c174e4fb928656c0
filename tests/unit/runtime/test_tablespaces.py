"""WAL that creates tablespaces is replayed in place, elsewhere, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.model.errors import RestoreFailed, TargetNotEmpty
from holdfast.runtime.beneath import Owner
from holdfast.runtime.tablespaces import NewTablespaces, WhenInUse, segment_at
from tests.support.wal_writer import WalWriter

CATALOG = 202209061


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("global", "pg_wal", "pg_tblspc"):
        (folder / name).mkdir(parents=True)
    control = bytes(12) + CATALOG.to_bytes(4, "little") + bytes(100)
    (folder / "global/pg_control").write_bytes(control)
    (folder / "PG_VERSION").write_text("15\n")
    return folder


def segment(data: Path, *locations: Path | str) -> Path:
    wal = WalWriter()
    for oid, location in enumerate(locations, start=16500):
        wal.tablespace(oid, str(location))
    path = data / "pg_wal" / wal.name()
    path.write_bytes(wal.segments()[0])
    return path


def places(path: Path) -> list[str]:
    with segment_at(path) as found:
        return [each.made.location for each in found.tablespaces()]


def nothing() -> bytes:
    raise AssertionError("no record goes on")


@pytest.fixture
def used(tmp_path: Path) -> Path:
    folder = tmp_path / "used"
    folder.mkdir()
    (folder / "precious").write_text("mine")
    return folder


def test_a_folder_that_is_in_use_is_refused_with_what_brings_it_elsewhere(
    data: Path, used: Path
) -> None:
    path = segment(data, used)
    with pytest.raises(TargetNotEmpty, match="is in use on this host") as failure:
        NewTablespaces(data=data).admit(path, nothing)
    elsewhere = "/ANOTHER/16500 with restore --to 'file:///FOLDER?tablespaces=/ANOTHER'"
    assert elsewhere in failure.value.hint
    assert "--target-lsn" in failure.value.hint


@pytest.mark.parametrize("kind", ["empty", "missing", "link to empty"])
def test_a_folder_that_nobody_uses_is_left_to_the_server(
    data: Path, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "free"
    if kind == "empty":
        folder.mkdir()
    elif kind == "link to empty":
        (tmp_path / "real").mkdir()
        folder.symlink_to(tmp_path / "real")
    path = segment(data, folder)
    before = path.read_bytes()
    assert NewTablespaces(data=data).admit(path, nothing) == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", ["file", "link", "closed"])
def test_what_is_no_free_folder_is_in_use(
    data: Path, tmp_path: Path, used: Path, kind: str
) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")
    elif kind == "link":
        place.symlink_to(used)
    else:
        place = used / "precious/below"
    with pytest.raises(TargetNotEmpty):
        NewTablespaces(data=data).admit(segment(data, place), nothing)


def test_only_what_comes_before_is_replayed_where_a_target_may_come_before(
    data: Path, used: Path, tmp_path: Path
) -> None:
    path = segment(data, tmp_path / "free", used, tmp_path / "other")
    NewTablespaces(data=data, otherwise=WhenInUse.END).admit(path, nothing)
    assert places(path) == [str(tmp_path / "free"), str(tmp_path / "other")]


def test_new_tablespaces_go_below_the_folder_that_was_named(
    data: Path, used: Path, tmp_path: Path
) -> None:
    below = tmp_path / "spaces"
    path = segment(data, used, tmp_path / "free")
    spaces = NewTablespaces(data=data, below=below)
    assert spaces.admit(path, nothing) == [16500, 16501]
    assert places(path) == []
    for oid in (16500, 16501):
        # Again, as after a restart of the server.
        assert [spaces.make(oid), spaces.make(oid)] == [below / str(oid)] * 2
        assert (data / "pg_tblspc" / str(oid) / f"PG_15_{CATALOG}").is_dir()
    assert [each.name for each in used.iterdir()] == ["precious"]
    assert NewTablespaces(data=data).admit(segment(data, used), nothing) == [16500]


def test_a_new_tablespace_is_never_brought_into_a_folder_with_something_in_it(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "spaces/16500/PG_15_1").mkdir(parents=True)
    with pytest.raises(TargetNotEmpty, match="contains files"):
        NewTablespaces(data=data, below=tmp_path / "spaces").make(16500)
    assert not os.path.lexists(data / "pg_tblspc/16500")


def test_what_an_earlier_attempt_has_replayed_is_replayed_again(data: Path, used: Path) -> None:
    path = segment(data, used)
    (data / "pg_tblspc/16500").symlink_to(used)
    assert NewTablespaces(data=data).admit(path, nothing) == []
    assert places(path) == [str(used)]


def test_one_inside_of_the_data_directory_has_no_other_place(data: Path, tmp_path: Path) -> None:
    path = segment(data, "")
    assert NewTablespaces(data=data, below=tmp_path / "spaces").admit(path, nothing) == []


def test_a_record_that_continues_is_seen_with_its_next_segment(data: Path, used: Path) -> None:
    wal = WalWriter()
    wal.fill_to(40)
    wal.tablespace(16500, str(used))
    first, second = wal.segments()
    path = data / "pg_wal" / wal.name()
    path.write_bytes(first)
    with pytest.raises(TargetNotEmpty):
        NewTablespaces(data=data).admit(path, lambda: second[:8192])
    spaces = NewTablespaces(data=data, below=data.parent / "spaces")
    assert spaces.admit(path, lambda: second[:8192]) == [16500]


def test_a_record_whose_beginning_is_cut_cannot_be_changed_and_is_refused(
    data: Path, used: Path
) -> None:
    wal = WalWriter()
    wal.fill_to(16)
    wal.tablespace(16500, str(used))
    first, second = wal.segments()
    path = data / "pg_wal" / wal.name()
    path.write_bytes(first)
    spaces = NewTablespaces(data=data, below=data.parent / "spaces")
    with pytest.raises(RestoreFailed, match="begins at the end of its segment"):
        spaces.admit(path, lambda: second[:8192])


@pytest.fixture
def given(data: Path) -> NewTablespaces:
    """What root makes for the user of a server, who may have changed `data` by then."""
    owner = Owner(user=os.geteuid(), group=os.getegid())
    return NewTablespaces(data=data, below=data.parent / "spaces", owner=owner)


def test_one_that_root_makes_for_a_server_is_the_servers(given: NewTablespaces) -> None:
    place = given.make(16500)
    assert (given.data / "pg_tblspc/16500").readlink() == place
    assert (place / f"PG_15_{CATALOG}").is_dir()
    assert given.make(16500) == place


def test_no_link_of_the_servers_user_leads_root_elsewhere(
    given: NewTablespaces, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (given.data / "pg_tblspc").rmdir()
    (given.data / "pg_tblspc").symlink_to(elsewhere)
    with pytest.raises(RestoreFailed, match="cannot create tablespace 16500"):
        given.make(16500)
    assert list(elsewhere.iterdir()) == []


def test_no_pipe_of_the_servers_user_keeps_root_waiting(given: NewTablespaces) -> None:
    (given.data / "PG_VERSION").unlink()
    os.mkfifo(given.data / "PG_VERSION")
    with pytest.raises(RestoreFailed, match="cannot create tablespace 16500"):
        given.make(16500)
