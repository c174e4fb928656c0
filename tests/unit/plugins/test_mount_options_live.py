"""Mount options, live and in fstab."""

from pathlib import Path

import pytest

from plugins.module_utils.mount_options import (
    FstabLine,
    fstab_line,
    is_live,
    line_of_before,
    merged_options,
    mount_unit,
    mount_unit_name,
    new_complaints,
    remount_options,
    unsafe,
)
from plugins.module_utils.mount_table import Mount
from plugins.modules.mount_options_live import option_row

WANTED = ["noatime", "nodiratime"]
FSTAB = """# <file system> <mount point> <type> <options> <dump> <pass>
UUID=1 / ext4 errors=remount-ro 0 1
UUID=2\t/var/lib/holdfast  ext4   rw,relatime,nosuid\t0 2   # the backups
/dev/sdc /srv/two\\040words xfs
#UUID=9 /var/lib/holdfast ext4 defaults 0 2
"""


def mounted(
    *options: str, super_options: str = "rw", point: str = "/srv", kind: str = "ext4"
) -> Mount:
    return Mount(
        root="/",
        point=point,
        kind=kind,
        options=frozenset(options),
        super_options=frozenset(super_options.split(",")),
    )


def line(point: str) -> FstabLine:
    found = fstab_line(FSTAB, point=point)
    assert found is not None
    return found


def test_the_line_keeps_every_other_option_and_its_blanks() -> None:
    assert line("/var/lib/holdfast").with_options(WANTED) == (
        "UUID=2\t/var/lib/holdfast  ext4   rw,nosuid,noatime,nodiratime\t0 2   # the backups"
    )


def test_a_mount_point_with_blanks_and_a_line_without_options_are_understood() -> None:
    assert line("/srv/two words").with_options(WANTED) == (
        "/dev/sdc /srv/two\\040words xfs defaults,noatime,nodiratime"
    )


def test_options_that_look_like_the_fields_before_them_are_not_confused() -> None:
    found = fstab_line("defaults /d defaults defaults 0 0", point="/d")
    assert found is not None
    assert found.with_options(["noatime"]) == "defaults /d defaults defaults,noatime 0 0"


def test_a_comment_mounts_nothing() -> None:
    assert fstab_line("# /dev/sda /srv ext4 defaults", point="/srv") is None


def test_an_option_replaces_its_contradiction_and_is_not_doubled() -> None:
    present = ["rw", "relatime", "noatime", "data=ordered"]
    assert merged_options(present, ["noatime", "data=writeback"]) == [
        "rw",
        "noatime",
        "data=writeback",
    ]


def test_noatime_says_nodiratime_too() -> None:
    assert is_live("nodiratime", mounted("rw", "noatime"))
    assert not is_live("noatime", mounted("rw", "nodiratime"))


def test_the_remount_keeps_the_mount_points_flags_and_never_names_a_data_mode() -> None:
    mount = mounted("rw", "nosuid", "relatime", super_options="rw,data=ordered")
    assert remount_options(mount, [*WANTED, "data=writeback"]) == (
        "remount,bind,noatime,nodiratime,nosuid,rw"
    )


@pytest.mark.parametrize(
    ("mount", "acknowledged", "said"),
    [
        (mounted("rw", point="/"), True, "the root file system takes it from the kernel's"),
        (mounted("rw", kind="xfs"), True, "xfs has no data mode"),
        (mounted("rw"), False, "after a crash, files may show old blocks of other files"),
    ],
)
def test_data_writeback_is_refused_where_it_is_not_safe(
    mount: Mount, acknowledged: bool, said: str
) -> None:
    assert unsafe(["data=writeback"], mount, acknowledged=acknowledged).startswith(said)


def test_data_writeback_passes_once_acknowledged_and_others_need_no_word() -> None:
    assert unsafe(["data=writeback"], mounted("rw"), acknowledged=True) == ""
    assert unsafe(WANTED, mounted("rw", point="/"), acknowledged=False) == ""


def state(option: str, mount: Mount, *kept: str) -> tuple[str, str]:
    row = option_row(option, mount, FstabLine(number=1, text="", options=kept))
    return row.state, row.live


def test_an_option_is_ok_only_when_it_is_live_and_kept() -> None:
    assert state("noatime", mounted("rw", "noatime"), "noatime") == ("ok", "noatime")
    assert state("noatime", mounted("rw", "noatime"), "defaults") == ("differs", "noatime")
    assert state("noatime", mounted("rw", "relatime"), "noatime") == ("differs", "relatime,rw")


def test_a_data_mode_is_pending_until_a_fresh_mount() -> None:
    kept = ("data=writeback",)
    assert state("data=writeback", mounted("rw"), *kept) == ("pending", "the default data mode")
    fresh = mounted("rw", super_options="rw,data=writeback")
    assert state("data=writeback", fresh, *kept) == ("ok", "data=writeback")


TWO = "/dev/a /srv ext4 defaults 0 2\n/dev/b /srv/ ext4 noatime 0 2\n"


@pytest.mark.parametrize(
    "written", ["/srv/my\\040backups", "/srv//my\\040backups/", "/srv/./my\\040backups"]
)
def test_a_mount_point_is_the_same_however_fstab_writes_it(written: str) -> None:
    assert fstab_line(f"/dev/a {written} ext4", point="/srv/my backups") is not None


def test_of_two_lines_for_a_mount_point_the_first_counts() -> None:
    found = fstab_line(TWO, point="/srv")
    assert found is not None
    assert (found.number, found.options) == (1, ("defaults",))


def test_what_is_put_back_is_the_line_that_was_changed_and_not_the_first() -> None:
    found = line_of_before(TWO, point="/srv", before="/dev/b /srv/ ext4 relatime 0 2")
    assert found is not None
    assert found.number == 2


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ("/", "-.mount"),
        ("/var/lib/holdfast/", "var-lib-holdfast.mount"),
        ("/srv/my backups", "srv-my\\x20backups.mount"),
        ("/srv/back-ups", "srv-back\\x2dups.mount"),
        ("/.hidden", "\\x2ehidden.mount"),
    ],
)
def test_a_mount_units_name_is_what_systemd_escape_says(point: str, name: str) -> None:
    assert mount_unit_name(point) == name


def unit(root: Path, name: str, options: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[Mount]\nWhat=/dev/a\nOptions={options}\n")


def test_the_operators_mount_unit_counts_before_fstab_and_the_vendors_after_it(
    tmp_path: Path,
) -> None:
    unit(tmp_path, "usr/lib/systemd/system/srv.mount", "ro")
    assert mount_unit("/srv", in_fstab=True, root=tmp_path) is None
    found = mount_unit("/srv", in_fstab=False, root=tmp_path)
    assert found == (tmp_path / "usr/lib/systemd/system/srv.mount", ("ro",))
    unit(tmp_path, "etc/systemd/system/srv.mount", "noatime,nodiratime")
    found = mount_unit("/srv", in_fstab=True, root=tmp_path)
    assert found == (tmp_path / "etc/systemd/system/srv.mount", ("noatime", "nodiratime"))


def test_a_drop_in_for_the_unit_that_systemd_makes_of_fstab_counts(tmp_path: Path) -> None:
    unit(tmp_path, "etc/systemd/system/srv.mount.d/site.conf", "relatime")
    found = mount_unit("/srv", in_fstab=True, root=tmp_path)
    assert found == (tmp_path / "etc/systemd/system/srv.mount.d/site.conf", ("relatime",))


def test_only_errors_that_the_table_of_before_had_not_are_held_against_the_new_one() -> None:
    before = "findmnt: /etc/fstab: parse error at line 5 -- ignored\n/gone\n   [E] unreachable\n"
    after = before.replace("/etc/fstab", "/new") + "/srv\n   [W] twice\n   [E] unreachable\n"
    assert new_complaints(before, before.replace("/etc/fstab", "/new")) == []
    assert new_complaints(before, after) == ["/srv: unreachable"]
