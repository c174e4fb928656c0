"""A throw-away server reads no file of the host, stays alone and plans within its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.sources.mysql.drill.instance import MIB, Place, of_server, pool_mib

PLACE = Place(
    folder=Path("/srv/drill"),
    sockets=Path("/run/drill"),
    home=Path("/srv/drill/home"),
    listening=Path("/run/drill/s"),
)


def test_every_path_lies_in_the_folders_of_the_drill() -> None:
    options = of_server(PLACE, memory_bytes=0)
    paths = [value for each in options if (value := each.partition("=")[2]).startswith("/")]
    assert len(paths) >= 7
    assert all(each.startswith(("/srv/drill/", "/run/drill/")) for each in paths)


def test_no_file_of_the_host_adds_an_option() -> None:
    assert of_server(PLACE, memory_bytes=0)[0] == "--no-defaults"


@pytest.mark.parametrize(
    ("memory_mib", "pool"), [(0, 256), (128, 16), (512, 176), (1024, 432), (1 << 20, 1024)]
)
def test_the_buffer_pool_leaves_room_for_the_server(memory_mib: int, pool: int) -> None:
    assert pool_mib(memory_mib * MIB) == pool
