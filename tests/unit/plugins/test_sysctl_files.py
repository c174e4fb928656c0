"""Which file decides a kernel key at boot."""

from pathlib import Path

import pytest

from plugins.module_utils.sysctl_files import (
    boot_assignments,
    boot_value,
    key_name,
    key_path,
    own_values,
    parse_assignments,
)

OURS = Path("/etc/sysctl.d/99-dbbackup.conf")
WANTED = {"vm.swappiness": "10"}


def put(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def winners(root: Path, wanted: dict[str, str] = WANTED) -> list[tuple[str, int, str | None]]:
    assigned = boot_assignments(OURS, own=wanted, root=root)
    found = [(value, boot_value(key, assigned)) for key, value in wanted.items()]
    return [
        (str(Path(item.path).relative_to(root)), item.line, item.value)
        for value, item in found
        if item is not None and item.value != value
    ]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("vm.swappiness", "vm/swappiness"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
    ],
)
def test_slash_and_dot_change_places_as_sysctl_does_it(key: str, path: str) -> None:
    assert key_path(key) == path


def test_a_path_has_one_name() -> None:
    assert key_name("net/ipv4/conf/eth0.100/forwarding") == "net.ipv4.conf.eth0/100.forwarding"


def test_comments_and_lines_without_a_value_assign_nothing() -> None:
    text = "# vm.swappiness=1\n; vm.swappiness=2\nvm.swappiness\n\n"
    assert list(parse_assignments(text, path="f")) == []


def test_a_leading_minus_and_blanks_belong_to_no_name() -> None:
    (found,) = parse_assignments("\n - vm.dirty_ratio =  1\t 2 \n", path="f")
    assert (found.key, found.value, found.line) == ("vm/dirty_ratio", "1 2", 2)


def test_a_later_file_with_another_value_is_named_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysctl.d/zz-site.conf", "# why\nvm/swappiness = 60\n")
    assert winners(tmp_path) == [("etc/sysctl.d/zz-site.conf", 2, "60")]


def test_an_earlier_file_and_an_equal_value_do_not_matter(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysctl.d/10-site.conf", "vm.swappiness = 60\n")
    put(tmp_path, "usr/lib/sysctl.d/zz-vendor.conf", "vm.swappiness=10\n")
    assert winners(tmp_path) == []


def test_one_is_not_eleven(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysctl.d/zz-site.conf", "vm.swappiness = 1\n")
    assert winners(tmp_path, {"vm.swappiness": "11"}) == [("etc/sysctl.d/zz-site.conf", 1, "1")]


def test_a_file_in_etc_hides_the_vendors_file_of_the_same_name(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/sysctl.d/zz-vendor.conf", "vm.swappiness = 60\n")
    put(tmp_path, "etc/sysctl.d/zz-vendor.conf", "# switched off here\n")
    assert winners(tmp_path) == []


def test_the_old_sysctl_conf_is_read_at_boot_only_through_a_link_in_sysctl_d(
    tmp_path: Path,
) -> None:
    old = put(tmp_path, "etc/sysctl.conf", "vm.swappiness = 60\n")
    assert winners(tmp_path) == []
    (tmp_path / "etc/sysctl.d").mkdir()
    (tmp_path / "etc/sysctl.d/99-sysctl.conf").symlink_to(old)
    assert winners(tmp_path) == [("etc/sysctl.d/99-sysctl.conf", 1, "60")]


def test_a_link_to_nothing_switches_a_file_off(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/sysctl.d/zz-vendor.conf", "vm.swappiness = 60\n")
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / "etc/sysctl.d/zz-vendor.conf").symlink_to("/dev/null")
    assert winners(tmp_path) == []


def test_a_counterpart_that_is_set_later_zeroes_our_key(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysctl.d/zz-site.conf", "vm.dirty_bytes = 4096\n")
    assert winners(tmp_path, {"vm.dirty_ratio": "10"}) == [("etc/sysctl.d/zz-site.conf", 1, "0")]


def test_a_counterpart_that_is_set_earlier_or_to_zero_is_zeroed_by_ours(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysctl.d/10-site.conf", "vm.dirty_bytes = 4096\n")
    put(tmp_path, "etc/sysctl.d/zz-site.conf", "vm.dirty_background_bytes = 0\n")
    wanted = {"vm.dirty_ratio": "10", "vm.dirty_background_ratio": "5"}
    assert winners(tmp_path, wanted) == []


def test_a_counterpart_that_is_only_said_again_keeps_its_earlier_place(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysctl.d/10-site.conf", "vm.dirty_bytes = 4096\n")
    put(tmp_path, "etc/sysctl.d/zz-site.conf", "vm.dirty_bytes = 4096\n")
    assert winners(tmp_path, {"vm.dirty_ratio": "10"}) == []


def test_without_our_file_the_next_boot_is_what_the_others_say(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/sysctl.d/10-vendor.conf", "vm.swappiness = 60\n")
    found = boot_value("vm.swappiness", boot_assignments(OURS, root=tmp_path))
    assert found is not None
    assert found.value == "60"
    assert boot_value("vm.dirty_ratio", boot_assignments(OURS, root=tmp_path)) is None


def test_what_our_file_says_now_is_read_from_it(tmp_path: Path) -> None:
    ours = put(tmp_path, "etc/sysctl.d/99-dbbackup.conf", "# vm.a = 1\nvm.swappiness = 11\n")
    assert own_values(ours) == {"vm/swappiness": "11"}
    assert own_values(tmp_path / "absent") == {}


def test_an_exclusion_of_the_counterpart_zeroes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "etc/sysctl.d/zz-site.conf", "-vm.overcommit_kbytes\n-vm.dirty_bytes\n")
    assert winners(tmp_path, {"vm.overcommit_ratio": "80", "vm.dirty_ratio": "10"}) == []
