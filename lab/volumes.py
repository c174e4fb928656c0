"""Loop-backed ext4 volumes: a file of the machine that a host sees as a disk of its own."""

from pathlib import Path

from lab import command, machine
from lab.container import Volume
from lab.errors import attempting
from lab.fleet import Host
from lab.progress import say
from lab.state import fleet_folder


def attach(host: Host, *, network: str, loop_devices: bool) -> Volume | None:
    """Make the host's volume and its loop device, or find both as they were left."""
    if not host.volume_mb:
        return None
    if not loop_devices:
        say(f"{host.name}: no volume at {host.volume_path}, this machine has no loop devices")
        return None
    file = fleet_folder(network) / "volumes" / f"{host.name}.img"
    with attempting(
        "attach volume of host", host.name, hint="`losetup --list` shows the loop devices in use"
    ):
        if not file.exists():
            make_file_system(file, mebibytes=host.volume_mb)
        device = (
            attached_device(file) or command.run(["losetup", "--find", "--show", str(file)]).strip()
        )
    return Volume(file=file, device=device, path=host.volume_path)


def make_file_system(file: Path, *, mebibytes: int) -> None:
    """A sparse file with an empty ext4; it takes its name only when it is whole."""
    machine.require_space(file, mebibytes=mebibytes)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".new")
    command.run(["mke2fs", "-q", "-F", "-t", "ext4", str(unfinished), f"{mebibytes}M"])
    unfinished.rename(file)


def attached_device(file: Path) -> str:
    """The loop device of this file, or an empty string."""
    return command.run(
        ["losetup", "--noheadings", "--output=NAME", "--associated", str(file)]
    ).strip()


def detach(device: str, file: Path) -> None:
    """Give a loop device back and drop the file, but only if the device still is that file's."""
    if attached_device(file) == device:
        command.run(["losetup", "--detach", device])
    file.unlink(missing_ok=True)
