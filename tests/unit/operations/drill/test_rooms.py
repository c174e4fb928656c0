"""Rooms of drills lie where nothing else does, and only they are swept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.errors import ConfigInvalid
from holdfast.operations.drill.rooms import Rooms


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    return Rooms(folder=tmp_path / "rooms", job="shop")


def test_a_sweep_removes_rooms_only(rooms: Rooms, tmp_path: Path) -> None:
    of_job = rooms.folder / "shop"
    for name in ("20261130T010203Z-0000dead", "base"):
        (of_job / name).mkdir(parents=True)
    (of_job / "0000dead").symlink_to(of_job / "base")
    assert rooms.sweep() == 0
    assert len(list(of_job.iterdir())) == 3
    (of_job / "0000beef").mkdir()
    for job in (str(of_job), "../rooms/shop", "shop/.", ""):
        assert replace(rooms, job=job).sweep() == 0
    assert replace(rooms, apart=[tmp_path]).sweep() == 0
    (of_job / "PG_VERSION").touch()
    assert rooms.sweep() == 0
    assert (of_job / "0000beef").is_dir()


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
