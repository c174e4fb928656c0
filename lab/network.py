"""A fleet's own podman network, with the addresses in its inventory."""

import json

from lab import command
from lab.errors import LabError, attempting
from lab.waiting import wait_until


def ensure(name: str, *, subnet: str) -> None:
    """Create the network unless it exists with exactly this subnet; raises `LabError`."""
    if exists(name):
        found = json.loads(command.run(["podman", "network", "inspect", name]))[0]["subnets"][0][
            "subnet"
        ]
        if found != subnet:
            raise LabError(
                f"cannot use network '{name}': it has {found}, the inventory wants {subnet}",
                hint=f"remove the fleet that uses it, then `podman network rm {name}`",
            )
        return
    with attempting(
        "make network", name, hint=f"another network of this machine may use {subnet}: `ip route`"
    ):
        command.run(["podman", "network", "create", "--disable-dns", f"--subnet={subnet}", name])


def exists(name: str) -> bool:
    """Whether podman has the network."""
    return command.succeeds(["podman", "network", "exists", name])


def remove(name: str) -> None:
    """Remove the network; may be called twice."""
    if exists(name):
        with attempting("remove network", name, hint="`podman ps --all` shows who still uses it"):
            wait_until(lambda: command.run(["podman", "network", "rm", name]), deadline_seconds=60)
