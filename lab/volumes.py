"""Loop-backed ext4 volumes: a file of the machine that a host sees as its own disk."""

from pathlib import Path

from lab import command, machine
from lab.container import Volume
from lab.errors import attempting
from lab.fleet import Host
from lab.progress import say
from lab.state import fleet_folder


def attach(host: Host, *, network: str, loop_devices: bool) -> Volume | None:
    """Create the host's volume and its loop device, or reuse those that exist."""
    if not host.volume_mb:
        return None
    if not loop_devices:
        say(f"{host.name}: no volume at {host.volume_path}, this machine has no loop devices")
        return None
    file = file_of(host, network=network)
    with attempting(
        "attach volume of host", host.name, hint="`losetup --list` shows the loop devices in use"
    ):
        if not file.exists():
            make_file_system(file, mebibytes=host.volume_mb)
        device = (
            attached_device(file) or command.run(["losetup", "--find", "--show", str(file)]).strip()
        )
    return Volume(file=file, device=device, path=host.volume_path)


def file_of(host: Host, *, network: str) -> Path:
    """The file of a host's volume."""
    return fleet_folder(network) / "volumes" / f"{host.name}.img"


def make_file_system(file: Path, *, mebibytes: int) -> None:
    """Create a sparse file with an empty ext4; it gets its name once it is complete."""
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


def release(file: Path) -> None:
    """Detach the file's loop device, if it has one, and delete the file."""
    if not file.exists():
        return
    with attempting("release volume", str(file)):
        if device := attached_device(file):
            command.run(["losetup", "--detach", device])
    file.unlink()
