"""An Ansible inventory read as virtual machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.fleet import VOLUME_PATH, listing, required
from lab.state import STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMachine:
    """One machine as its inventory variables describe it."""

    name: str
    network: str
    port: int
    disk: str
    memory_mb: int = 1024
    volume_mb: int = 0
    volume_path: str = VOLUME_PATH
    blank_disks_mb: tuple[int, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of its disks, its console and its process number."""
        return STATE / "vm" / "running" / f"{self.network}-{self.name}"

    @property
    def address(self) -> str:
        """The spelling of a host behind a port in known_hosts."""
        return f"[127.0.0.1]:{self.port}"


def read(path: Path, *, limit: list[str]) -> list[VirtualMachine]:
    """The machines of an inventory: all, or those named by `limit`."""
    variables = listing(path)
    return [
        from_variables(name, values)
        for name, values in sorted(variables.items())
        if not limit or name in limit
    ]


def from_variables(name: str, values: Mapping[str, Any]) -> VirtualMachine:
    """Read one machine's variables."""
    return VirtualMachine(
        name=name,
        network=required(values, "lab_network", where=name),
        port=int(required(values, "ansible_port", where=name)),
        disk=required(values, "lab_image", where=name),
        memory_mb=int(values.get("lab_memory_mb", 1024)),
        volume_mb=int(values.get("lab_volume_mb", 0)),
        volume_path=str(values.get("lab_volume_path", VOLUME_PATH)),
        blank_disks_mb=tuple(int(size) for size in values.get("lab_blank_disks_mb", ())),
    )
