"""Starts virtual machines, restarts them, and removes them."""

import shutil
import time

from lab import command, keys, machine as here, recipes
from lab.container import fingerprint
from lab.errors import CommandFailed, LabError, attempting
from lab.locks import only_one
from lab.progress import say
from lab.state import fleet_folder
from lab.vm import disk as disks, qemu
from lab.vm.inventory import VirtualMachine
from lab.waiting import wait_until

# Emulated processors are slow, and slower still on a busy machine.
BOOT_SECONDS = 600
LOGIN_SECONDS = 60
EMERGENCY = b"You are in emergency mode"
VOLUME_LABEL = "holdfast"
PACKAGES = {
    "qemu-system-x86": [f"/usr/bin/{qemu.PROGRAM}"],
    "mmdebstrap": ["/usr/bin/mmdebstrap"],
    "openssh-client": ["/usr/bin/ssh"],
    "e2fsprogs": ["/usr/sbin/mke2fs", "/sbin/mke2fs"],
}


def up(machine: VirtualMachine) -> None:
    """Boot the machine unless it runs as described, and wait until it answers."""
    here.install(here.missing(PACKAGES))
    disk = disks.build(recipes.find(machine.disk, recipes.load("disks")))
    with only_one(fleet_folder(machine.network) / "lock"):
        began = time.monotonic()
        keys.login_key()
        keys.write_known_hosts(machine.network, {machine.address: machine.name})
        files = machine_files(machine)
        spec = fingerprint([repr(machine), str(disk.folder)], files)
        if not runs_as(machine, spec):
            remove(machine)
            boot(machine, disk, files=files, spec=spec)
        settle(machine)
    say(f"{machine.name}: running at {machine.address} ({time.monotonic() - began:.0f} s)")


def runs_as(machine: VirtualMachine, spec: str) -> bool:
    """Whether the machine runs and still matches its inventory."""
    mark = machine.folder / "spec"
    return qemu.process_of(machine) is not None and mark.exists() and mark.read_text() == spec


def boot(machine: VirtualMachine, disk: disks.Disk, *, files: dict[str, bytes], spec: str) -> None:
    """Create the machine's disks and start qemu."""
    folder = machine.folder
    folder.mkdir(parents=True)
    drives = [folder / "root.raw"]
    accelerator = qemu.accelerator(disk)
    with attempting("boot machine", machine.name, hint=f"is port {machine.port} in use?"):
        disks.copy_as(disk, drives[0], files=files)
        if machine.volume_mb:
            drives.append(folder / "volume.raw")
            disks.make_volume(drives[-1], mebibytes=machine.volume_mb, label=VOLUME_LABEL)
        for number, mebibytes in enumerate(machine.blank_disks_mb):
            drives.append(folder / f"blank{number}.raw")
            disks.make_blank(drives[-1], mebibytes=mebibytes)
        say(f"{machine.name}: booting ({accelerator[1].partition(',')[0]})")
        command.run(qemu.arguments(machine, disk, drives=drives, accelerator=accelerator))
    (folder / "spec").write_text(spec)


def machine_files(machine: VirtualMachine) -> dict[str, bytes]:
    """The files that make a disk this machine: name, keys, file systems."""
    mounts = "LABEL=root / ext4 errors=remount-ro 0 1\n"
    if machine.volume_mb:
        # With an emulated processor, udev may see the disk later than systemd's default timeout
        # allows.
        options = "defaults,x-systemd.device-timeout=10min"
        mounts += f"LABEL={VOLUME_LABEL} {machine.volume_path} ext4 {options} 0 2\n"
    key = keys.host_key(machine.network, machine.name)
    return {
        "/etc/fstab": mounts.encode(),
        "/etc/hostname": f"{machine.name}\n".encode(),
        "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {machine.name}\n".encode(),
        "/etc/ssh/ssh_host_ed25519_key": key.read_bytes(),
        "/etc/ssh/ssh_host_ed25519_key.pub": keys.public(key).encode(),
        "/root/.ssh/authorized_keys": keys.public(keys.login_key()).encode(),
    }


def settle(machine: VirtualMachine, *, other_than: str = "") -> None:
    """Wait until systemd is up in a boot other than `other_than`."""

    def look() -> None:
        if qemu.process_of(machine) is None:
            raise LabError("qemu has ended")
        # No login is possible in emergency mode, so waiting would only hide the reason.
        if EMERGENCY in (machine.folder / "console.log").read_bytes():
            raise LabError("it has stopped in emergency mode")
        if boot_id(machine) == other_than:
            raise CommandFailed("it has not restarted yet")
        state = inside(machine, "systemctl is-system-running --wait || true").strip()
        if state == "degraded":
            failed = inside(machine, "systemctl list-units --failed --plain --no-legend")
            raise LabError(f"failed units: {' | '.join(failed.splitlines())}")
        if state != "running":
            raise CommandFailed(f"systemd is '{state}'")

    try:
        wait_until(look, deadline_seconds=BOOT_SECONDS)
    except LabError as error:
        console = machine.folder / "console.log"
        raise LabError(
            f"cannot boot machine '{machine.name}': {error}", hint=f"read {console}"
        ) from error


def inside(machine: VirtualMachine, script: str) -> str:
    """The output of a shell command in the machine."""
    login = keys.ssh_arguments(machine.network, "127.0.0.1", port=machine.port)
    return command.run([*login, script], timeout_seconds=LOGIN_SECONDS)


def boot_id(machine: VirtualMachine) -> str:
    """The kernel's boot id, which differs after every restart."""
    return inside(machine, "cat /proc/sys/kernel/random/boot_id").strip()


def reboot(machine: VirtualMachine) -> None:
    """Restart the machine's kernel and wait until it answers again."""
    began = time.monotonic()
    with attempting("reboot machine", machine.name):
        before = boot_id(machine)
        # The answer may be lost together with the connection.
        inside(machine, "systemctl reboot || true; exit 0")
    settle(machine, other_than=before)
    say(f"{machine.name}: restarted ({time.monotonic() - began:.0f} s)")


def down(machine: VirtualMachine) -> None:
    """Stop the machine and delete its disks; may be called twice."""
    with only_one(fleet_folder(machine.network) / "lock"):
        if machine.folder.exists():
            remove(machine)
            say(f"{machine.name}: removed")


def remove(machine: VirtualMachine) -> None:
    """Like `down`, for a caller that holds the lock."""
    qemu.stop(machine)
    shutil.rmtree(machine.folder, ignore_errors=True)
