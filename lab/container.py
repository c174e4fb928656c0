"""The podman arguments for a container that behaves like a host; no I/O."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lab.fleet import Host
from lab.machine import Machine

INIT = "/usr/local/sbin/lab-init"
SERVE = "/usr/local/sbin/lab-serve"
SIGRTMIN_PLUS_3 = 37  # the signal that tells systemd as PID 1 to shut down
OWNER_LABEL = "holdfast.lab"
SPEC_LABEL = "holdfast.lab.spec"
VOLUME_LABEL = "holdfast.lab.volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A file of the machine behind a loop device, mounted somewhere in a host."""

    file: Path
    device: str
    path: str


def limit_arguments(machine: Machine) -> list[str]:
    """Limits for podman, which by default sets more than the machine may allow, and fails."""
    if machine.may_raise_limits:
        return []
    limits = {"nofile": machine.open_files, "nproc": machine.processes}
    return [
        f"--ulimit={name}={limit}:{limit}" for name, limit in limits.items() if limit is not None
    ]


def systemd_arguments(machine: Machine) -> list[str]:
    """The arguments that let systemd run as PID 1 on this kind of machine."""
    if machine.unified_cgroups:
        return ["--systemd=always"]
    # `--systemd=always` would mount the machine's whole systemd hierarchy into each container.
    return [
        "--runtime=runc",
        "--cgroupns=private",
        "--systemd=false",
        f"--stop-signal={SIGRTMIN_PLUS_3}",
        "--tmpfs=/run:rw,mode=755",
        "--tmpfs=/run/lock:rw,mode=1777",
        "--tmpfs=/tmp:rw,exec,mode=1777",
        "--env=container=podman",
        # Debian 13's systemd accepts cgroup v1 only on request; older versions ignore this.
        "--env=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
    ]


def create_arguments(
    host: Host,
    *,
    network: str,
    image: str,
    boots: bool = True,
    machine: Machine,
    volume: Volume | None,
) -> list[str]:
    """All arguments after `podman create`."""
    return [
        f"--name={host.container(network)}",
        f"--hostname={host.name}",
        f"--network={network}",
        f"--ip={host.address}",
        # Podman would bind-mount both files, and no tool could replace them by renaming.
        "--no-hosts",
        "--dns=none",
        "--shm-size=256m",
        # Podman's own limit would override every TasksMax that a role sets.
        "--pids-limit=-1",
        "--cap-add=SYS_ADMIN",
        # AppArmor's profile for containers forbids every mount, ours included.
        "--security-opt=apparmor=unconfined",
        f"--label={OWNER_LABEL}={network}",
        *systemd_arguments(machine),
        *limit_arguments(machine),
        *(["--env=LAB_OWN_SYSCTL=1"] if host.own_sysctl else []),
        *(volume_arguments(volume) if volume else []),
        image,
        INIT,
        *([] if boots else [SERVE]),
    ]


def volume_arguments(volume: Volume) -> list[str]:
    """The arguments of a volume; by the label `down` finds its file and loop device."""
    return [
        f"--device={volume.device}",
        f"--env=LAB_VOLUME_PATH={volume.path}",
        f"--label={VOLUME_LABEL}={volume.file}",
    ]


def fingerprint(arguments: list[str], files: dict[str, bytes]) -> str:
    """A hash that shows whether a container still matches its inventory."""
    digest = hashlib.sha256("\0".join(arguments).encode())
    for path, content in sorted(files.items()):
        digest.update(path.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]
