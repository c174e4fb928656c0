"""Rooms of drills lie where nothing else does, and only they are swept."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.errors import ConfigInvalid, DrillFailed
from holdfast.operations.drill.room_folders import held, this_host
from holdfast.operations.drill.rooms import Rooms
from holdfast.runtime.process import ChildFailed, User, output_of, running


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that other users get to, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="hf-rooms-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    return Rooms(folder=tmp_path / "rooms", job="shop")


def test_a_sweep_removes_rooms_only(rooms: Rooms, tmp_path: Path) -> None:
    of_job = rooms.folder / "shop"
    for name in ("20261130T010203Z-0000dead", "base"):
        (of_job / name).mkdir(parents=True)
    (of_job / f"{this_host()}-0000dead").symlink_to(of_job / "base")
    assert rooms.sweep() == 0
    assert len(list(of_job.iterdir())) == 3
    beef = of_job / f"{this_host()}-0000beef"
    beef.mkdir()
    for job in (str(of_job), "../rooms/shop", "shop/.", ""):
        assert replace(rooms, job=job).sweep() == 0
    assert replace(rooms, apart=[tmp_path]).sweep() == 0
    (of_job / "PG_VERSION").touch()
    assert rooms.sweep() == 0
    assert beef.is_dir()


def test_hosts_that_share_a_folder_leave_each_others_rooms_alone(rooms: Rooms) -> None:
    another = replace(rooms, host="0badcafe")
    with another.made() as room:
        place = Path(room.folder)
        assert rooms.sweep() == 0
        assert place.is_dir()
        # Nor does a drill of this host that has another state directory, and so another lock.
        assert another.sweep() == 0
        assert place.is_dir()
    left = place.with_name("0badcafe-0000dead")
    left.mkdir()
    assert (rooms.sweep(), another.sweep()) == (0, 1)
    assert not left.exists()


def first(step: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `step` happen in the moment before the next room that is made is held."""
    name = f"{Rooms.__module__}.held"

    def waited(place: Path) -> AbstractContextManager[bool]:
        monkeypatch.setattr(name, held)
        step(place)
        return held(place)

    monkeypatch.setattr(name, waited)


def test_a_sweep_that_meets_a_room_not_yet_held_takes_no_room_of_a_drill(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another state directory has another lock of drills.
    another = replace(rooms)
    swept: list[int] = []
    first(lambda _: swept.append(another.sweep()), monkeypatch)
    with rooms.made() as room:
        assert swept == [1]
        assert Path(room.home).is_dir()
        assert another.sweep() == 0
    assert list(rooms.folder.glob("shop/*")) == []


def test_a_room_that_a_sweep_holds_already_is_not_used(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as sweeping:
        held_by_it: list[bool] = []
        take = sweeping.enter_context
        first(lambda place: held_by_it.append(take(held(place))), monkeypatch)
        with rooms.made() as room:
            assert held_by_it == [True]
            (taken,) = [each for each in rooms.folder.glob("shop/*") if str(each) != room.folder]
            assert list(taken.iterdir()) == []


def test_a_room_that_another_sweep_removed_meanwhile_is_nobodys(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = rooms.folder / "shop" / f"{this_host()}-0000dead"
    left.mkdir(parents=True)
    first(Path.rmdir, monkeypatch)
    assert rooms.sweep() == 0


def test_a_room_that_its_last_holder_removed_is_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, real = tmp_path / "room", fcntl.flock
    room.mkdir()

    def flock(descriptor: int, operation: int) -> None:
        room.rmdir()
        real(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    with held(room) as is_ours:
        assert not is_ours


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to another user")
def test_a_room_that_root_left_is_named_to_a_user_who_cannot_remove_it(passable: Path) -> None:
    user = User.named("nobody")
    assert user is not None
    left = passable / "shop" / f"{this_host()}-0000dead"
    left.mkdir(parents=True, mode=0o755)
    left.chmod(0o710)
    os.chown(left.parent, user.user, user.group)
    os.chown(left, 0, user.group)
    os.seteuid(user.user)
    try:
        with pytest.raises(DrillFailed, match="cannot remove what a drill left in"):
            Rooms(folder=passable, job="shop").sweep()
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")
def test_the_room_is_roots_and_the_servers_user_may_only_pass_it(passable: Path) -> None:
    user = User.named("nobody")
    assert user is not None
    with Rooms(folder=passable / ("x" * 90), job="shop").made(user="nobody") as room:
        for place in (room.folder, room.sockets):
            found = Path(place).stat()
            assert (found.st_uid, found.st_gid) == (0, user.group)
            assert stat.S_IMODE(found.st_mode) == 0o710
        for own in (room.home, room.listening):
            found = Path(own).stat()
            assert found.st_uid == user.user
            assert stat.S_IMODE(found.st_mode) == 0o700
        # What a hostile server tries: to have root write through a link of its own.
        for place in (room.folder, room.sockets):
            argv = ["/bin/ln", "-s", "/etc", f"{place}/data"]
            with (
                running(argv, user=user) as child,
                pytest.raises(ChildFailed, match="Permission denied"),
            ):
                child.finish()
        output_of(["/bin/touch", f"{room.home}/mine", f"{room.listening}/mine"], user=user)


def test_no_room_is_made_in_a_repository_or_through_a_link(rooms: Rooms, tmp_path: Path) -> None:
    inside = replace(rooms, apart=[tmp_path])
    with pytest.raises(ConfigInvalid, match="holds backups"):
        inside.require_apart()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigInvalid, match="it is a link"):
        replace(rooms, folder=tmp_path / "link").require_apart()
    below = replace(inside, folder=tmp_path / "link/rooms", apart=[tmp_path / "rooms"])
    with pytest.raises(ConfigInvalid, match="holds backups"):
        below.require_apart()


def test_a_long_path_gets_a_short_folder_for_its_socket(tmp_path: Path) -> None:
    rooms = Rooms(folder=tmp_path / ("x" * 90), job="shop")
    with rooms.made() as room:
        sockets = Path(room.sockets)
        assert len(room.sockets) < len(room.folder)
        assert sockets.stat().st_mode & 0o777 == Path(room.folder).stat().st_mode & 0o777 == 0o700
    assert not sockets.exists()
    assert list(rooms.folder.glob("shop/*")) == []
