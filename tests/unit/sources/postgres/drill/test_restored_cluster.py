"""A restored data directory obeys nothing that came with it, and leads nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import DrillFailed
from holdfast.sources.postgres.drill.restored_cluster import (
    forget_settings,
    require_inside,
    superusers,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "room" / "data"
    for name in ("pg_tblspc", "pg_replslot/taken", "global"):
        (made / name).mkdir(parents=True)
    (made / "pg_replslot/taken/state").write_bytes(b"slot")
    (made / "postgresql.auto.conf").write_text("archive_command = 'touch /tmp/evil'\n")
    return made


def test_settings_and_slots_of_the_original_are_gone(data: Path) -> None:
    found = forget_settings(data, data.parent)
    assert (data / "postgresql.auto.conf").read_text() == ""
    assert list((data / "pg_replslot").iterdir()) == []
    assert all(Path(each).parent == data.parent for each in found.values())
    assert sorted(found) == ["config_file", "hba_file", "ident_file"]


def test_links_may_lead_to_other_places_of_the_room_only(data: Path, tmp_path: Path) -> None:
    space = data.parent / "spaces" / "16400"
    space.mkdir(parents=True)
    (data / "pg_tblspc" / "16400").symlink_to(space)
    require_inside(data, data.parent)
    outside = tmp_path / "outside"
    outside.mkdir()
    (space / "PG_17_1").symlink_to(outside)
    with pytest.raises(DrillFailed, match=r"PG_17_1.*outside of the drill's folder"):
        require_inside(data, data.parent)
    (space / "PG_17_1").unlink()
    (data / "pg_tblspc" / "16401").symlink_to(outside)
    with pytest.raises(DrillFailed, match="16401"):
        require_inside(data, data.parent)


def role(name: bytes, *, is_super: bool) -> bytes:
    return b"\x0a\0\0\0" + name.ljust(64, b"\0") + bytes([is_super]) + b"\1\1"


def test_the_first_role_is_found_by_every_name_it_has_had(data: Path) -> None:
    assert superusers(data) == ["postgres"]
    mapped = (0x592717).to_bytes(4, "little") + (2).to_bytes(4, "little")
    mapped += b"".join(n.to_bytes(4, "little") for n in (1262, 1262, 1260, 5555))
    (data / "global/pg_filenode.map").write_bytes(mapped.ljust(524, b"\0"))
    assert superusers(data) == ["postgres"]
    page = role("die Chefin ü".encode(), is_super=True) + b"\0" * 40 + role(b"old", is_super=True)
    (data / "global/5555").write_bytes(b"\0" * 100 + page + role(b"nobody", is_super=False))
    assert superusers(data) == ["die Chefin ü", "old", "postgres"]
