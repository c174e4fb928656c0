"""Facts that a plan needs about a host: its memory and its running database servers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .systemd_units import Run, loaded_units

KIBIBYTE = 1024
SERVERS = {
    "postgresql@*.service": "postgresql",
    "mariadb.service": "mariadb",
    "mysql.service": "mysql",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The facts of one host as the formulas use them; sizes in bytes."""

    memory: int
    swap: int = 0
    huge_pages: int = 0
    committed: int = 0
    overcommit_mode: str = "0"
    servers: tuple[str, ...] = ()

    def commit_limit(self, ratio_percent: int) -> int:
        """CommitLimit as the kernel computes it in mode 2."""
        return self.swap + (self.memory - self.huge_pages) * ratio_percent // 100


def parse_meminfo(text: str) -> dict[str, int]:
    """The sizes of /proc/meminfo, in bytes; its few plain counts stay counts."""
    sizes = {}
    for line in text.splitlines():
        name, _unused, value = line.partition(":")
        number, *unit = value.split()
        sizes[name] = int(number) * (KIBIBYTE if unit else 1)
    return sizes


def facts_from(meminfo: Mapping[str, int], *, mode: str, servers: tuple[str, ...]) -> HostFacts:
    """Build the facts from the contents of files under /proc."""
    return HostFacts(
        memory=meminfo["MemTotal"],
        swap=meminfo.get("SwapTotal", 0),
        huge_pages=meminfo.get("HugePages_Total", 0) * meminfo.get("Hugepagesize", 0),
        committed=meminfo.get("Committed_AS", 0),
        overcommit_mode=mode,
        servers=servers,
    )


def gather(run: Run, *, proc: Path = Path("/proc")) -> HostFacts:
    """Read the facts of the running host."""
    mode = (proc / "sys/vm/overcommit_memory").read_text().strip()
    meminfo = parse_meminfo((proc / "meminfo").read_text())
    return facts_from(meminfo, mode=mode, servers=running_servers(run))


def running_servers(run: Run) -> tuple[str, ...]:
    """The kinds of database server that run now."""
    units = loaded_units(run, SERVERS)
    kinds = [
        kind
        for pattern, kind in SERVERS.items()
        for unit in units
        if unit.active and unit.name.startswith(pattern.partition("*")[0].removesuffix(".service"))
    ]
    return tuple(dict.fromkeys(kinds))
