"""The checks that show whether a host's servers and its runner are healthy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

RUNNER = "usr/local/bin/holdfast"
CONFIGURATION = "etc/holdfast/holdfast.yaml"
ASK = "SELECT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check; exit status 0 means healthy."""

    name: str
    argv: tuple[str, ...]
    in_unit: bool = False
    """Whether it runs in a job's unit, with that job's user and credentials."""


def checks_for(root: Path, *, own: Iterable[Sequence[str]], servers: bool = True) -> list[Check]:
    """Every server with a socket, the runner if it is installed, and the operator's own checks."""
    found = _servers(root) if servers else []
    return found + [Check(name=" ".join(argv), argv=tuple(argv)) for argv in own]


def sick(before: Sequence[str], *, well: Sequence[str], unwell: Sequence[str]) -> list[str]:
    """One sentence per check that passed before and does not now; a vanished server counts."""
    told = {line.partition(": ")[0]: line for line in unwell}
    return [
        f"cannot call the host healthy: {told.get(name, f'{name} is gone')}"
        for name in before
        if name not in well
    ]


def _postgresql(socket: Path) -> Check:
    port = socket.name.rpartition(".")[2]
    # The server's own account may always connect; other roles are unknown.
    argv = ("runuser", "-u", "postgres", "--", "psql", "-XAtq", "-h", "/run/postgresql")
    return Check(name=f"postgresql {port}", argv=(*argv, "-p", port, "-d", "postgres", "-c", ASK))


def _servers(root: Path) -> list[Check]:
    found = [_postgresql(path) for path in sorted((root / "run/postgresql").glob(".s.PGSQL.*"))
             if path.suffix != ".lock"]  # fmt: skip
    if (root / "run/mysqld/mysqld.sock").exists():
        client = "mariadb" if (root / "usr/bin/mariadb").exists() else "mysql"
        found.append(Check(name=client, argv=(client, "--batch", f"--execute={ASK}")))
    if (root / RUNNER).exists() and (root / CONFIGURATION).exists():
        argv = (f"/{RUNNER}", "check", "--json")
        found.append(Check(name="holdfast check", argv=argv, in_unit=True))
    return found
