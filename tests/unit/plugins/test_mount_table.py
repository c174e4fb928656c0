"""Reading the kernel's table of mounts."""

from plugins.module_utils.mount_table import Mount, covering, parse_mounts

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
24 22 0:22 / /proc rw,nosuid - proc proc rw
90 24 0:50 / /proc/sys/vm rw,relatime - tmpfs tmpfs rw,size=65536k
91 22 8:2 / /srv/two\040words rw,noatime shared:7 master:2 - ext4 /dev/sda2 rw,data=writeback
92 22 8:3 / /var rw - xfs /dev/sda3 rw
93 22 8:4 / /var ro - ext4 /dev/sda4 ro
"""


def test_options_and_optional_fields_are_told_apart() -> None:
    mount = next(mount for mount in parse_mounts(TABLE) if mount.point == "/srv/two words")
    assert mount.kind == "ext4"
    assert mount.options == {"rw", "noatime"}
    assert mount.super_options == {"rw", "data=writeback"}


def mounted(path: str) -> Mount:
    found = covering(parse_mounts(TABLE), path)
    assert found is not None
    return found


def test_the_deepest_mount_covers_a_path() -> None:
    found = {path: mounted(path).kind for path in ("/proc/sys/vm/swappiness", "/proc/sys/fs")}
    assert found == {"/proc/sys/vm/swappiness": "tmpfs", "/proc/sys/fs": "proc"}


def test_of_two_mounts_on_one_point_the_later_covers() -> None:
    assert mounted("/var/lib").kind == "ext4"


def test_a_name_that_only_begins_alike_is_not_below() -> None:
    assert mounted("/various").point == "/"
