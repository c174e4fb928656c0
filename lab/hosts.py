"""Starts a fleet as containers that behave like hosts, and removes it."""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn, TypeVar

from lab import boot, command, images, keys, machine, network, podman, recipes, volumes
from lab.container import (
    INIT,
    OWNER_LABEL,
    SERVE,
    SPEC_LABEL,
    VOLUME_LABEL,
    Volume,
    create_arguments,
    fingerprint,
)
from lab.errors import LabError, attempting
from lab.fleet import Fleet, Host
from lab.locks import only_one
from lab.machine import Machine
from lab.progress import say
from lab.recipes import GUEST
from lab.state import fleet_folder
from lab.waiting import wait_until

AT_ONCE = 8
Item = TypeVar("Item")
REMOVE_SECONDS = 60


def up(fleet: Fleet, *, limit: list[str]) -> None:
    """Start the hosts side by side; those that run as described are only checked."""
    chosen = fleet.only(limit).hosts
    here = machine.describe()
    machine.install_for_containers(here)
    images.build(images.by_name(sorted({host.image for host in chosen})), here=here)
    with only_one(fleet_folder(fleet.network) / "lock"):
        keys.login_key()
        keys.write_known_hosts(fleet.network, {host.address: host.name for host in fleet.hosts})
        network.ensure(fleet.network, subnet=fleet.subnet)
        began = time.monotonic()
        side_by_side(lambda host: bring_up(host, fleet=fleet, here=here), chosen)
    say(f"{len(chosen)} hosts up in {time.monotonic() - began:.1f} s")


def side_by_side(act: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Do the same to all items; the error names every item that failed."""
    with ThreadPoolExecutor(AT_ONCE) as workers:
        outcomes = [workers.submit(act, item) for item in items]
    errors = [error for outcome in outcomes if (error := outcome.exception())]
    expected = [error for error in errors if isinstance(error, LabError)]
    for error in errors:
        if error not in expected:
            raise error
    if expected:
        hints = dict.fromkeys(error.hint for error in expected if error.hint)
        raise LabError("\n".join(str(error) for error in expected), hint="; ".join(hints))


def bring_up(host: Host, *, fleet: Fleet, here: Machine) -> None:
    """Bring one host from any state to a running system that answers over ssh."""
    began = time.monotonic()
    name = host.container(fleet.network)
    volume = volumes.attach(host, network=fleet.network, loop_devices=here.loop_devices)
    recipe = recipes.find(host.image, recipes.load())
    arguments = create_arguments(
        host,
        network=fleet.network,
        image=recipe.tag(),
        boots=recipe.boots,
        machine=here,
        volume=volume,
    )
    files = host_files(host, fleet=fleet, volume=volume)
    spec = fingerprint(arguments, files)
    with attempting("start host", host.name):
        found = podman.labels(name)
        if found is not None and found.get(SPEC_LABEL) != spec:
            say(f"{host.name}: replacing it, its description has changed")
            command.run(["podman", "rm", "--force", "--time=0", name])
            found = None
        if found is None:
            say(f"{host.name}: starting {host.image}")
            podman.create([f"--label={SPEC_LABEL}={spec}", *arguments], name=name, files=files)
        command.run(["podman", "start", name])
    if recipe.boots:
        boot.settle(host, network=fleet.network)
    else:
        boot.settle_plain(host, network=fleet.network)
    say(f"{host.name}: running at {host.address} ({time.monotonic() - began:.1f} s)")


def host_files(host: Host, *, fleet: Fleet, volume: Volume | None) -> dict[str, bytes]:
    """The files that make a container this host: first process, keys, neighbours, file systems."""
    neighbours = "".join(f"{other.address} {other.name}\n" for other in fleet.hosts)
    mounts = f"{volume.device} {volume.path} ext4 defaults 0 2\n" if volume else ""
    key = keys.host_key(fleet.network, host.name)
    return {
        INIT: (GUEST / "init").read_bytes(),
        SERVE: (GUEST / "serve").read_bytes(),
        "/etc/fstab": mounts.encode(),
        "/etc/hosts": f"127.0.0.1 localhost\n::1 localhost\n{neighbours}".encode(),
        "/etc/ssh/ssh_host_ed25519_key": key.read_bytes(),
        "/etc/ssh/ssh_host_ed25519_key.pub": keys.public(key).encode(),
        "/root/.ssh/authorized_keys": keys.public(keys.login_key()).encode(),
    }


def down(fleet: Fleet, *, limit: list[str]) -> None:
    """Remove containers and volumes, and after the last host the network; may be called twice."""
    if shutil.which("podman") is None:
        say("0 hosts removed: there is no podman here")
        return
    names = {host.container(fleet.network) for host in fleet.only(limit).hosts}
    with only_one(fleet_folder(fleet.network) / "lock"):
        # By label, not by inventory: a host that was dropped from the inventory must go as well.
        found = podman.containers(f"label={OWNER_LABEL}={fleet.network}")
        chosen = [entry for entry in found if not limit or names.intersection(entry["Names"])]
        files = {Path(path) for entry in chosen if (path := entry["Labels"].get(VOLUME_LABEL))}
        # A start that failed early may have left a volume without its container.
        files |= {volumes.file_of(host, network=fleet.network) for host in fleet.only(limit).hosts}
        side_by_side(remove, [entry["Names"][0] for entry in chosen])
        side_by_side(volumes.release, files)
        if len(chosen) == len(found):
            network.remove(fleet.network)
    say(f"{len(chosen)} hosts removed")


def remove(name: str) -> None:
    """Remove one container without a shutdown, as nothing in it is worth one.

    On a busy machine podman gives up on processes that die slowly, so it is repeated.
    """
    removing = ["podman", "rm", "--force", "--ignore", "--time=0", name]
    with attempting("remove host", name):
        wait_until(lambda: command.run(removing), deadline_seconds=REMOVE_SECONDS)


def execute(fleet: Fleet, *, host: str, argv: list[str]) -> NoReturn:
    """Replace this process by a program inside a host."""
    name = fleet.host(host).container(fleet.network)
    terminal = ["--tty"] if os.isatty(0) and os.isatty(1) else []
    entering = ["podman", "exec", "--interactive", *terminal, name]
    os.execvp("podman", [*entering, *argv])  # noqa: S606 - no shell in between is the point
