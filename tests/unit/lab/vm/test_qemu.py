"""qemu's arguments, and the machines of an inventory."""

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.state import PROJECT
from lab.vm import disk, inventory, qemu
from lab.vm.disk import Disk
from lab.vm.inventory import VirtualMachine

MACHINE = VirtualMachine(name="vm13", network="holdfast-vm", port=22113, disk="vm-debian-13")
DISK = Disk(folder=Path("/disks/one"))


def arguments(accelerator: tuple[str, ...] = qemu.EMULATED) -> list[str]:
    drives = [MACHINE.folder / "root.raw", MACHINE.folder / "blank0.raw"]
    return qemu.arguments(MACHINE, DISK, drives=drives, accelerator=accelerator)


def value_of(option: str, argv: list[str]) -> list[str]:
    return [argv[place + 1] for place, word in enumerate(argv) if word == option]


def test_ssh_is_reached_on_this_machine_only() -> None:
    (nic,) = value_of("-nic", arguments())
    assert nic.endswith("hostfwd=tcp:127.0.0.1:22113-:22")


def test_every_disk_has_a_stable_name_for_udev() -> None:
    serials = [
        part.rpartition("=")[2] for part in value_of("-device", arguments()) if "serial" in part
    ]
    assert serials == ["holdfast-root", "holdfast-blank0"]


@pytest.mark.parametrize(
    ("accelerator", "name"), [(qemu.EMULATED, "tcg,thread=multi"), (qemu.NATIVE, "kvm")]
)
def test_the_chosen_accelerator_is_the_only_one(accelerator: tuple[str, ...], name: str) -> None:
    assert value_of("-accel", arguments(accelerator)) == [name]


def test_no_process_is_found_where_none_was_started() -> None:
    never = VirtualMachine(name="never-started", network="holdfast-none", port=1, disk="none")
    assert qemu.process_of(never) is None
    qemu.stop(never)


def test_the_script_for_debugfs_replaces_each_file_and_guards_secrets() -> None:
    files = {"/etc/fstab": b"", "/etc/ssh/ssh_host_ed25519_key": b"secret"}
    assert disk.write_commands(files, staged=Path("/tmp/staged")) == [  # noqa: S108 - only a name
        "rm /etc/fstab",
        "write /tmp/staged/0 /etc/fstab",
        "set_inode_field /etc/fstab mode 0100644",
        "rm /etc/ssh/ssh_host_ed25519_key",
        "write /tmp/staged/1 /etc/ssh/ssh_host_ed25519_key",
        "set_inode_field /etc/ssh/ssh_host_ed25519_key mode 0100600",
    ]


def test_the_machine_of_the_project_has_a_volume_and_a_blank_disk() -> None:
    (machine,) = inventory.read(PROJECT / "molecule/vm/inventory", limit=[])
    assert (machine.name, machine.disk) == ("vm13", "vm-debian-13")
    assert machine.volume_mb > 0
    assert len(machine.blank_disks_mb) == 1


def test_a_machine_without_a_port_cannot_be_reached() -> None:
    with pytest.raises(LabError, match="ansible_port is not set"):
        inventory.from_variables("vm13", {"lab_network": "holdfast-vm", "lab_image": "x"})
