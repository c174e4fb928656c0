"""The state of a host before its first change, stored once and for root only."""

from pathlib import Path

import pytest

from plugins.module_utils.original_state import (
    Original,
    Snapshot,
    extended,
    keep,
    load,
    original_file,
    original_units,
)
from plugins.module_utils.systemd_units import Unit


def key(name: str, value: str) -> Original:
    return Original(kind="kernel_key", name=name, before={"write": [name, value]})


def test_a_later_run_adds_what_is_new_and_never_writes_over_what_is_there() -> None:
    first = extended(Snapshot(role="sysctl", taken=""), [key("vm.a", "1")], now="2026-01-01")
    second = extended(first, [key("vm.a", "2"), key("vm.b", "3")], now="2026-02-02")
    assert second.taken == "2026-01-01"
    assert [original.before["write"] for original in second.originals] == [
        ["vm.a", "1"],
        ["vm.b", "3"],
    ]


def test_it_is_kept_whole_and_readable_by_root_alone(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    snapshot = Snapshot(role="sysctl", taken="2026-01-01", originals=(key("vm.a", "1"),))
    keep(snapshot, folder=folder)
    assert load("sysctl", folder=folder) == snapshot
    assert (folder / "sysctl.json").stat().st_mode & 0o777 == 0o600
    # Others reach the verdict by its name, and list nothing.
    assert folder.stat().st_mode & 0o777 == 0o711
    assert [path.name for path in folder.iterdir()] == ["sysctl.json"]


def test_after_an_undo_the_next_run_begins_a_new_one_and_sets_the_old_one_aside(
    tmp_path: Path,
) -> None:
    undone = Snapshot(role="sysctl", taken="1", originals=(key("vm.a", "1"),), undone="10:00")
    keep(undone, folder=tmp_path)
    fresh = extended(undone, [key("vm.a", "7")], now="2026-03-03")
    keep(fresh, folder=tmp_path)
    assert load("sysctl", folder=tmp_path).originals == (key("vm.a", "7"),)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sysctl.1000.json", "sysctl.json"]


def test_a_role_that_changed_nothing_has_an_empty_one(tmp_path: Path) -> None:
    assert load("limits", folder=tmp_path) == Snapshot(role="limits", taken="")


@pytest.mark.parametrize("content", [b"one\n", b"\xff\x00", None])
def test_a_file_is_kept_byte_for_byte_or_as_absent(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "folder/file"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    folder, file = original_file(path)
    assert folder.before["exists"] is (content is not None)
    assert (file.before["content"] is None) is (content is None)


def test_a_unit_that_our_drop_in_reaches_already_is_no_original() -> None:
    def unit(dropins: str) -> Unit:
        properties = {"TasksMax": "9", "DropInPaths": dropins}
        return Unit(name="a.service", active=True, main_pid=1, control_group="/a",
                    properties=properties)  # fmt: skip

    assert original_units([unit("/etc/a.d/50-ours.conf")], "TasksMax", dropin="50-ours.conf") == []
    assert len(original_units([unit("")], "TasksMax", dropin="50-ours.conf")) == 1
