"""An Ansible inventory, read as a fleet of throw-away hosts; there is no other description."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from lab import command
from lab.errors import LabError, attempting

# Ansible refuses any other encoding.
UTF_8 = {"LC_ALL": "C.UTF-8"}
VOLUME_PATH = "/var/lib/holdfast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host as its inventory variables describe it."""

    name: str
    address: str
    image: str
    own_sysctl: bool = False
    volume_mb: int = 0
    volume_path: str = VOLUME_PATH

    def container(self, network: str) -> str:
        """The name of the host's container."""
        return f"{network}-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The hosts of one inventory on their own network."""

    network: str
    subnet: str
    hosts: tuple[Host, ...]

    def only(self, names: list[str]) -> "Fleet":
        """The same fleet with these hosts only; all of them without names."""
        for name in names:
            self.host(name)
        return replace(
            self, hosts=tuple(host for host in self.hosts if not names or host.name in names)
        )

    def host(self, name: str) -> Host:
        """The host of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(
            f"cannot find host '{name}': it is not in the inventory",
            hint=f"there are {', '.join(host.name for host in self.hosts)}",
        )


def read(inventory: Path) -> Fleet:
    """The fleet of an inventory."""
    return from_variables(listing(inventory), name=str(inventory))


def listing(inventory: Path) -> Mapping[str, Mapping[str, Any]]:
    """Let Ansible read the inventory, so that variables mean what they mean to playbooks."""
    if not inventory.exists():
        raise LabError(f"cannot read inventory '{inventory}': no such folder")
    program = Path(sys.executable).with_name("ansible-inventory")
    with attempting("read inventory", str(inventory)):
        output = command.run(
            [str(program), "--inventory", str(inventory.resolve()), "--list"],
            environment=os.environ | UTF_8,
        )
    variables: Mapping[str, Mapping[str, Any]] = json.loads(output)["_meta"]["hostvars"]
    if not variables:
        raise LabError(f"cannot read inventory '{inventory}': it has no hosts")
    return variables


def from_variables(variables: Mapping[str, Mapping[str, Any]], *, name: str) -> Fleet:
    """Build a fleet from the variables of each host."""
    first = next(iter(variables.values()))
    network, subnet = (required(first, key, where=name) for key in ("lab_network", "lab_subnet"))
    hosts = tuple(host_from(host, values) for host, values in sorted(variables.items()))
    for host in hosts:
        if ip_address(host.address) not in ip_network(subnet):
            raise LabError(f"cannot place host '{host.name}': {host.address} is not in {subnet}")
    return Fleet(network=network, subnet=subnet, hosts=hosts)


def host_from(name: str, values: Mapping[str, Any]) -> Host:
    """Read one host's variables."""
    return Host(
        name=name,
        address=required(values, "ansible_host", where=name),
        image=required(values, "lab_image", where=name),
        own_sysctl=bool(values.get("lab_own_sysctl", False)),
        volume_mb=int(values.get("lab_volume_mb", 0)),
        volume_path=str(values.get("lab_volume_path", VOLUME_PATH)),
    )


def required(values: Mapping[str, Any], key: str, *, where: str) -> str:
    """The value of a variable that must be set; raises `LabError`."""
    if key not in values:
        raise LabError(
            f"cannot use '{where}' as throw-away hosts: {key} is not set",
            hint="set it in hosts.yml or group_vars/all/lab.yml",
        )
    return str(values[key])
