"""Reading and writing kernel keys, on a folder that stands for /proc/sys."""

from pathlib import Path

import pytest

from plugins.module_utils.kernel_keys import (
    Kernel,
    KeyRefused,
    invalid_settings,
    mistyped_names,
    mistyped_settings,
    write_all,
)
from plugins.module_utils.mount_table import Mount


def kernel(folder: Path, *, kind: str = "proc", container: str | None = None) -> Kernel:
    nothing: frozenset[str] = frozenset()
    mount = Mount(root="/", point=str(folder), kind=kind, options=nothing, super_options=nothing)
    return Kernel(folder=folder, container=container, mounts=(mount,))


@pytest.fixture
def sys(tmp_path: Path) -> Path:
    keys = {
        "vm/swappiness": "60",
        "vm/dirty_ratio": "0",
        "vm/dirty_bytes": "4096",
        "net/core/somaxconn": "128",
        "kernel/sem": "1\t2\t3",
    }
    for name, value in keys.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    return tmp_path


def test_tabs_are_read_as_blanks(sys: Path) -> None:
    assert kernel(sys).read("kernel.sem") == "1 2 3"


def test_a_machine_owns_every_key(sys: Path) -> None:
    assert kernel(sys).not_ours("vm.swappiness") == ""


def test_a_container_does_not_own_a_host_wide_key(sys: Path) -> None:
    reason = kernel(sys, container="podman").not_ours("vm.swappiness")
    assert reason == "not this container's own (podman): it would change the machine below"


def test_a_container_owns_a_private_copy_of_a_host_wide_key(sys: Path) -> None:
    assert kernel(sys, kind="tmpfs", container="podman").not_ours("vm.swappiness") == ""


def test_a_container_owns_its_networks_keys_where_they_exist(sys: Path) -> None:
    inside = kernel(sys, container="podman")
    assert inside.not_ours("net.core.somaxconn") == ""
    assert (
        inside.not_ours("net.core.default_qdisc")
        == "absent or read-only in this container (podman)"
    )


def test_a_key_that_the_kernel_does_not_have_is_left_alone_with_the_reason(sys: Path) -> None:
    assert kernel(sys).not_ours("vm.zone_reclaim_mode") == "this kernel has no such key"


def test_an_absent_key_is_refused_by_name_and_never_made(sys: Path) -> None:
    with pytest.raises(
        KeyRefused, match=r"cannot set 'vm\.nope' to '1': No such file or directory"
    ):
        kernel(sys).write("vm.nope", "1")
    assert not (sys / "vm/nope").exists()


def test_a_shorter_value_leaves_nothing_of_the_longer_one(sys: Path) -> None:
    kernel(sys).write("vm.swappiness", "1")
    assert (sys / "vm/swappiness").read_text() == "1\n"


def test_when_one_key_is_refused_the_others_go_back(sys: Path) -> None:
    with pytest.raises(KeyRefused, match=r"'vm\.nope'"):
        write_all(kernel(sys), {"vm.swappiness": "10", "vm.nope": "1"})
    assert kernel(sys).read("vm.swappiness") == "60"


def test_going_back_writes_the_counterpart_that_was_not_zero(sys: Path) -> None:
    with pytest.raises(KeyRefused, match=r"'vm\.nope'"):
        write_all(kernel(sys), {"vm.dirty_ratio": "10", "vm.nope": "1"})
    # The real kernel zeroes the ratio itself; we only have to write the bytes.
    assert kernel(sys).read("vm.dirty_bytes") == "4096"


def test_yaml_booleans_odd_names_and_lists_are_refused() -> None:
    assert invalid_settings(
        {"vm.a": True, "../etc/passwd": 1, "vm.b": [1], "vm.c": 1, "vm.d": "x"}
    ) == [
        "cannot use '../etc/passwd': it is not the name of a kernel key",
        "cannot set 'vm.a' to 'True': YAML read it as a boolean; write 1 or 0",
        "cannot set 'vm.b' to '[1]': it is neither a number nor a word",
    ]


def test_a_mistyped_key_is_refused_with_the_nearest_that_this_kernel_has(sys: Path) -> None:
    refused = mistyped_settings(
        kernel(sys), ["vm.swapiness", "vm.swappiness", "vm/dirty_ratio"], skip=[]
    )
    assert refused == [
        "cannot set 'vm.swapiness': this kernel has no such key (did you mean 'vm.swappiness'?)"
    ]


def test_a_key_that_is_to_be_skipped_need_not_be_there(sys: Path) -> None:
    assert mistyped_settings(kernel(sys), ["vm.swapiness"], skip=["vm/swapiness"]) == []


def test_a_container_refuses_only_what_it_can_tell_to_be_a_slip(sys: Path) -> None:
    inside = kernel(sys, container="podman")
    assert mistyped_settings(inside, ["net.core.default_qdisc"], skip=[]) == []
    refused = mistyped_settings(inside, ["net.core.somaxcon", "vm.nothing_like_it"], skip=[])
    meant = "(did you mean 'net.core.somaxconn'?)"
    assert refused == [
        f"cannot set 'net.core.somaxcon': this kernel has no such key {meant}",
        "cannot set 'vm.nothing_like_it': this kernel has no such key",
    ]


def test_a_slip_in_the_keys_to_leave_alone_is_refused_and_a_strange_key_is_not(sys: Path) -> None:
    planned = ["vm.swappiness", "vm.dirty_ratio"]
    assert mistyped_names(kernel(sys), ["vm.zone_reclaim", "vm/swappiness"], planned=planned) == []
    why = "this kernel has no such key (did you mean 'vm.swappiness'?)"
    refused = mistyped_names(kernel(sys), ["vm.swapiness"], planned=planned)
    assert refused == [f"cannot leave 'vm.swapiness' alone: {why}"]
