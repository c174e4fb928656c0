"""qemu's arguments, and whether this machine's KVM really runs a kernel."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from lab.errors import CommandFailed, LabError
from lab.progress import say
from lab.state import STATE
from lab.vm.disk import Disk
from lab.vm.inventory import VirtualMachine
from lab.waiting import wait_until

PROGRAM = "qemu-system-x86_64"
KVM = Path("/dev/kvm")
# A kernel that runs at all prints its version within a fraction of a second.
PROBE_SECONDS = 5
STOP_SECONDS = 20
EMULATED = ("-accel", "tcg,thread=multi", "-cpu", "max")
NATIVE = ("-accel", "kvm", "-cpu", "host")


def arguments(
    machine: VirtualMachine, disk: Disk, *, drives: list[Path], accelerator: tuple[str, ...]
) -> list[str]:
    """The arguments to start a machine in the background."""
    folder = machine.folder
    return [
        *[PROGRAM, *accelerator, "-m", str(machine.memory_mb), "-smp", "2"],
        *["-nodefaults", "-display", "none", "-serial", f"file:{folder / 'console.log'}"],
        *["-daemonize", "-pidfile", str(folder / "pid")],
        *["-kernel", str(disk.kernel), "-initrd", str(disk.initrd)],
        *["-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet panic=-1"],
        *["-device", "virtio-rng-pci"],
        *["-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{machine.port}-:22"],
        *[part for number, path in enumerate(drives) for part in drive_arguments(number, path)],
    ]


def drive_arguments(number: int, path: Path) -> list[str]:
    """A virtio disk with a serial number, so that udev knows it by a stable name."""
    return [
        *["-drive", f"if=none,id=drive{number},format=raw,file={path}"],
        *["-device", f"virtio-blk-pci,drive=drive{number},serial=holdfast-{path.stem}"],
    ]


def accelerator(disk: Disk) -> tuple[str, ...]:
    """KVM if it runs this kernel, else emulation; probed once per boot."""
    if not KVM.exists():
        return EMULATED
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    verdict = STATE / "vm" / f"kvm-{boot}"
    if not verdict.exists():
        verdict.parent.mkdir(parents=True, exist_ok=True)
        verdict.write_text("yes" if runs_with_kvm(disk) else "no")
        say(f"KVM runs our kernel: {verdict.read_text()}")
    return NATIVE if verdict.read_text() == "yes" else EMULATED


def runs_with_kvm(disk: Disk) -> bool:
    """Whether a kernel prints anything under KVM: /dev/kvm may exist and not work."""
    console = STATE / "vm" / "probe.log"
    console.write_bytes(b"")
    argv = [PROGRAM, *NATIVE, "-nodefaults", "-display", "none", "-serial", f"file:{console}"]
    argv += ["-kernel", str(disk.kernel), "-append", "console=ttyS0"]

    def look() -> None:
        if b"Linux version" not in console.read_bytes():
            raise CommandFailed("the kernel prints nothing")

    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as probe:
        try:
            wait_until(look, deadline_seconds=PROBE_SECONDS)
        except LabError:
            return False
        finally:
            probe.kill()
    return True


def process_of(machine: VirtualMachine) -> int | None:
    """The process of the machine's qemu, or None; also None for a reused process number."""
    with suppress(FileNotFoundError, ProcessLookupError):
        pid = int((machine.folder / "pid").read_text())
        if str(machine.folder) in Path(f"/proc/{pid}/cmdline").read_text():
            return pid
    return None


def stop(machine: VirtualMachine) -> None:
    """Stop the machine's qemu at once, like a power cut; may be called twice."""
    pid = process_of(machine)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)

    def gone() -> None:
        if process_of(machine) is not None:
            raise CommandFailed(f"qemu {pid} still runs")

    wait_until(gone, deadline_seconds=STOP_SECONDS)
