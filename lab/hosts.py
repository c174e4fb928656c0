"""Brings a fleet up as containers that behave like hosts, and takes it away again."""

import io
import json
import os
import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from lab import command, images, keys, machine, network, recipes, volumes
from lab.container import (
    DEVICE_LABEL,
    INIT,
    OWNER_LABEL,
    SPEC_LABEL,
    VOLUME_LABEL,
    Volume,
    create_arguments,
)
from lab.container import fingerprint as fingerprint_of
from lab.errors import CommandFailed, LabError, attempting
from lab.fleet import Fleet, Host
from lab.machine import Machine
from lab.progress import say
from lab.recipes import GUEST
from lab.state import LOGS
from lab.waiting import wait_until

AT_ONCE = 8
BOOT_SECONDS = 90
# Four sleeping children in a unit that may have three tasks: the shell must fail to fork.
FORK_BEYOND_LIMIT = "for child in 1 2 3 4; do sleep 1 & done; wait"


def up(fleet: Fleet, *, limit: list[str]) -> None:
    """Bring the hosts up side by side; those that are up already are only looked at."""
    chosen = fleet.only(limit).hosts
    here = machine.describe()
    machine.install_for_containers(here)
    images.build(images.by_name(sorted({host.image for host in chosen})), here=here)
    keys.login_key()
    network.ensure(fleet.network, subnet=fleet.subnet)
    keys.write_known_hosts(fleet.network, {host.address: host.name for host in fleet.hosts})
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as starters:
        waiting = [starters.submit(bring_up, host, fleet=fleet, here=here) for host in chosen]
        raise_together([error for each in waiting if (error := each.exception())])
    say(f"{len(chosen)} hosts up in {time.monotonic() - began:.1f} s")


def raise_together(errors: Sequence[BaseException]) -> None:
    """One error for all hosts that failed, so that none is hidden by another."""
    for error in errors:
        if not isinstance(error, LabError):
            raise error
    if errors:
        hints = [error.hint for error in errors if isinstance(error, LabError) and error.hint]
        raise LabError(
            "\n".join(str(error) for error in errors), hint="; ".join(dict.fromkeys(hints))
        )


def bring_up(host: Host, *, fleet: Fleet, here: Machine) -> None:
    """One host, from whatever is there to a running system that answers over ssh."""
    began = time.monotonic()
    name = host.container(fleet.network)
    volume = volumes.attach(host, network=fleet.network, loop_devices=here.loop_devices)
    image = recipes.find(host.image, recipes.load()).tag()
    arguments = create_arguments(
        host, network=fleet.network, image=image, machine=here, volume=volume
    )
    files = host_files(host, fleet=fleet, volume=volume)
    spec = fingerprint_of(arguments, files)
    with attempting("start host", host.name):
        if label_of(name, SPEC_LABEL) != spec:
            replace_container(name, arguments=arguments, files=files, spec=spec)
        command.run(["podman", "start", name])
    settle(host, fleet=fleet)
    say(f"{host.name}: running at {host.address} ({time.monotonic() - began:.1f} s)")


def host_files(host: Host, *, fleet: Fleet, volume: Volume | None) -> dict[str, bytes]:
    """What makes a container this host: first process, keys, neighbours, file systems."""
    neighbours = "".join(f"{other.address} {other.name}\n" for other in fleet.hosts)
    mounts = f"{volume.device} {volume.path} ext4 defaults 0 2\n" if volume else ""
    key = keys.host_key(fleet.network, host.name)
    return {
        INIT: (GUEST / "init").read_bytes(),
        "/etc/fstab": mounts.encode(),
        "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{neighbours}".encode(),
        "/etc/ssh/ssh_host_ed25519_key": key.read_bytes(),
        "/etc/ssh/ssh_host_ed25519_key.pub": keys.public(key).encode(),
        "/root/.ssh/authorized_keys": keys.public(keys.login_key()).encode(),
    }


def archive_of(files: dict[str, bytes]) -> bytes:
    """The files as a tar, readable by root only unless everybody reads them on a real host."""
    public = {"/etc/fstab", "/etc/hosts", "/etc/ssh/ssh_host_ed25519_key.pub"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content)
            entry.mode = 0o755 if path == INIT else 0o644 if path in public else 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def replace_container(
    name: str, *, arguments: list[str], files: dict[str, bytes], spec: str
) -> None:
    """Make the container anew; one that was made to another description goes first."""
    if label_of(name, OWNER_LABEL):
        say(f"{name}: replaced, its description has changed")
        command.run(["podman", "rm", "--force", "--time=0", name])
    command.run(["podman", "create", f"--label={SPEC_LABEL}={spec}", *arguments])
    command.run(["podman", "cp", "-", f"{name}:/"], feed=archive_of(files))


def label_of(name: str, label: str) -> str:
    """A label of a container, empty where there is no such container."""
    listing = podman_list(f"name=^{name}$")
    return str(listing[0]["Labels"].get(label, "")) if listing else ""


def podman_list(condition: str) -> list[dict[str, Any]]:
    """The containers that meet a condition, running or not."""
    listing: list[dict[str, Any]] = json.loads(
        command.run(["podman", "ps", "--all", "--format=json", f"--filter={condition}"])
    )
    return listing


def settle(host: Host, *, fleet: Fleet) -> None:
    """Wait until the host is what a test may rely on; otherwise keep its log and say why."""
    name = host.container(fleet.network)
    try:
        wait_until(lambda: require_running(name), deadline_seconds=BOOT_SECONDS)
        wait_until(
            lambda: command.run([*keys.ssh_arguments(fleet.network, host.address), "true"]),
            deadline_seconds=BOOT_SECONDS,
        )
        require_enforced_limits(name)
    except LabError as error:
        log = keep_log(name)
        raise LabError(f"cannot start host '{host.name}': {error}", hint=f"read {log}") from error


def require_running(name: str) -> None:
    """Raise `CommandFailed` while the host boots, `LabError` once it cannot get well."""
    if command.run(["podman", "inspect", "--format={{.State.Status}}", name]).strip() != "running":
        raise LabError("its first process has ended")
    state = ask(name, ["systemctl", "is-system-running"])
    if state == "degraded":
        failed = ask(name, ["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
        raise LabError(
            f"failed units: {', '.join(line.split()[0] for line in failed.splitlines())}"
        )
    if state != "running":
        raise CommandFailed(f"systemd is '{state or 'not there yet'}'")


def ask(name: str, argv: list[str]) -> str:
    """What a program in the host prints, whatever its exit code says."""
    return command.run(
        ["podman", "exec", name, "sh", "-c", '"$@" 2>/dev/null || true', "sh", *argv]
    ).strip()


def require_enforced_limits(name: str) -> None:
    """A host that ignores pids.max would let every test of process limits pass for nothing."""
    unit = ["systemd-run", "--wait", "--quiet", "--collect", "--property=TasksMax=3"]
    if command.succeeds(["podman", "exec", name, *unit, "sh", "-c", FORK_BEYOND_LIMIT]):
        raise LabError(
            "it does not enforce pids.max", hint="the container's cgroups are read-only or shared"
        )


def keep_log(name: str) -> Path:
    """Everything the container and its journal say, in one file."""
    log = LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for argv in (["logs", name], ["exec", name, "journalctl", "--boot", "--no-pager"]):
        try:
            parts.append(command.run(["podman", *argv]))
        except CommandFailed as error:
            parts.append(f"{error}\n")
    log.write_text("\n".join(parts))
    return log


def down(fleet: Fleet, *, limit: list[str]) -> None:
    """Remove containers, volumes and, unless limited, the network; nothing there is no error."""
    names = {host.container(fleet.network) for host in fleet.only(limit).hosts}
    listing = podman_list(f"label={OWNER_LABEL}={fleet.network}")
    chosen = [entry for entry in listing if not limit or names.intersection(entry["Names"])]
    with ThreadPoolExecutor(AT_ONCE) as removers:
        waiting = [removers.submit(remove, entry) for entry in chosen]
        raise_together([error for each in waiting if (error := each.exception())])
    if not limit:
        network.remove(fleet.network)
    say(f"{len(chosen)} hosts removed")


def remove(entry: dict[str, Any]) -> None:
    """Remove one container and what it alone used."""
    name, labels = entry["Names"][0], entry["Labels"]
    with attempting("remove host", name):
        command.run(["podman", "rm", "--force", "--time=0", name])
        if DEVICE_LABEL in labels:
            volumes.detach(labels[DEVICE_LABEL], Path(labels[VOLUME_LABEL]))


def execute(fleet: Fleet, *, host: str, argv: list[str]) -> NoReturn:
    """Become a program inside a host."""
    name = fleet.host(host).container(fleet.network)
    terminal = ["--tty"] if os.isatty(0) and os.isatty(1) else []
    os.execvp("podman", ["podman", "exec", "-i", *terminal, name, *argv])  # noqa: S606 - no shell is the point
