"""The machine that the lab runs on: its abilities, and the packages that it lacks."""

import os
import resource
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import command
from lab.errors import LabError, attempting
from lab.locks import only_one
from lab.progress import say

CAP_SYS_RESOURCE = 24
APT_LOCK = Path("/run/lock/holdfast-lab-apt.lock")
# The list of packages may be missing, or too old.
UNPACK = """
cd "$1"
apt-get -qq download "$2" || { apt-get -qq update && apt-get -qq download "$2"; }
dpkg-deb --fsys-tarfile "$2"_*.deb | tar -x "./usr/bin/$3"
"""

# One file of each package, so that a podman from another source is accepted too.
CONTAINER_PACKAGES = {
    "podman": ["/usr/bin/podman", "/usr/local/bin/podman"],
    "netavark": ["/usr/lib/podman/netavark", "/usr/libexec/podman/netavark"],
    "iptables": ["/usr/sbin/iptables"],
    "nftables": ["/usr/sbin/nft"],
    "mmdebstrap": ["/usr/bin/mmdebstrap"],
    "openssh-client": ["/usr/bin/ssh"],
    "e2fsprogs": ["/usr/sbin/mke2fs", "/sbin/mke2fs"],
    "mount": ["/usr/sbin/losetup", "/sbin/losetup"],
}
RUNTIME_PACKAGES = {
    "runc": ["/usr/bin/runc", "/usr/sbin/runc"],
    "crun": ["/usr/bin/crun"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts that decide how containers must be started here; None means no limit."""

    unified_cgroups: bool
    may_raise_limits: bool
    open_files: int | None
    processes: int
    loop_devices: bool

    @property
    def runtime(self) -> str:
        """crun refuses machines with cgroup v1 or both; elsewhere it is podman's own choice."""
        return "crun" if self.unified_cgroups else "runc"


def describe() -> Machine:
    """Inspect the live machine."""
    return Machine(
        unified_cgroups=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        may_raise_limits=has_capability(Path("/proc/self/status").read_text(), CAP_SYS_RESOURCE),
        open_files=hard_limit(resource.RLIMIT_NOFILE),
        processes=least(hard_limit(resource.RLIMIT_NPROC), pid_max()),
        loop_devices=Path("/dev/loop-control").exists(),
    )


def has_capability(status: str, number: int) -> bool:
    """Read one bit of the effective capabilities in a `/proc/PID/status`."""
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(line.split()[1], 16) >> number & 1)


def hard_limit(kind: int) -> int | None:
    """A hard resource limit, None where there is none."""
    _, hard = resource.getrlimit(kind)
    return None if hard == resource.RLIM_INFINITY else hard


def pid_max() -> int:
    """The highest process number; podman lowers its own limit of processes to it."""
    return int(Path("/proc/sys/kernel/pid_max").read_text())


def least(limit: int | None, ceiling: int) -> int:
    """The lower of a limit and a ceiling."""
    return ceiling if limit is None else min(limit, ceiling)


def require_root() -> None:
    """Containers with systemd, loop devices and mmdebstrap all need root."""
    if os.geteuid() != 0:
        raise LabError(
            "cannot use the lab: it needs root",
            hint="run it with sudo, on a machine that may be changed",
        )


def missing(packages: dict[str, list[str]]) -> list[str]:
    """The packages of which no file exists here."""
    return [
        name for name, files in packages.items() if not any(Path(file).exists() for file in files)
    ]


def install_for_containers(machine: Machine) -> None:
    """Install what building images and starting containers needs."""
    runtime = {machine.runtime: RUNTIME_PACKAGES[machine.runtime]}
    install(missing(CONTAINER_PACKAGES | runtime))


def install(packages: Sequence[str]) -> None:
    """Install packages with apt and report them; does nothing for an empty list."""
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(
            f"cannot install {', '.join(packages)}: this machine has no apt-get",
            hint="the lab works on Debian 12 and 13",
        )
    say(f"installing with apt: {' '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # apt fails while another apt runs.
    with only_one(APT_LOCK), attempting("install", ", ".join(packages)):
        command.run(["apt-get", "update", "-qq"])
        command.run(
            ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *packages],
            environment=environment,
        )


def unpack(package: str, program: str, *, into: Path) -> None:
    """Copy one program out of a package; its dependencies and services are not installed."""
    say(f"taking {program} out of the package {package}")
    with (
        tempfile.TemporaryDirectory() as folder,
        only_one(APT_LOCK),
        attempting("take", program),
    ):
        command.run(["sh", "-euc", UNPACK, "sh", folder, package, program])
        into.mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path(folder) / "usr/bin" / program, into / program)


def require_space(path: Path, *, mebibytes: int) -> None:
    """Fail early, instead of later with a full disk."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(existing).free // 2**20
    if free < mebibytes:
        raise LabError(
            f"cannot use disk at '{existing}': {free} MiB free, {mebibytes} MiB needed",
            hint="make room there; `podman image prune` removes unused images",
        )
