"""Resource limits of live processes, and the highest limits that this host grants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .systemd_units import Run

# Name in limits.d -> (name in /proc/PID/limits, systemd's property).
KINDS = {"nofile": ("Max open files", "LimitNOFILE"), "nproc": ("Max processes", "LimitNPROC")}


@dataclass(frozen=True, slots=True)
class Limit:
    """A soft and a hard limit, as the kernel writes them (`unlimited` included)."""

    soft: str
    hard: str

    def __str__(self) -> str:
        return self.soft if self.soft == self.hard else f"{self.soft}:{self.hard}"


def parse_limits(text: str) -> dict[str, Limit]:
    """The limits of `KINDS`, from the text of /proc/PID/limits."""
    found = {}
    for line in text.splitlines():
        for kind, (title, _unused) in KINDS.items():
            if line.startswith(title):
                soft, hard = line.removeprefix(title).split()[:2]
                found[kind] = Limit(soft, hard)
    return found


def limits_of(pid: int, *, proc: Path = Path("/proc")) -> dict[str, Limit]:
    """The limits of a live process; empty when it has just ended."""
    try:
        return parse_limits((proc / str(pid) / "limits").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return {}


def login_limits(run: Run, user: str) -> dict[str, Limit]:
    """The limits that PAM gives a login of `user`; empty if no session could be opened."""
    # With an explicit shell, since a service account has none; `-u` would bypass PAM.
    code, output, _unused = run(["runuser", "-s", "/bin/sh", user, "-c", "cat /proc/self/limits"])
    return parse_limits(output) if code == 0 else {}


def ungranted(run: Run, wanted: Mapping[str, int]) -> dict[str, str]:
    """The limits that this host cannot raise that far, each with the value that it grants.

    A transient unit tests them. A service that is denied its limit starts with less or not at all,
    and a login that is denied its limit is refused.
    """
    own = limits_of(1)
    doubtful = {kind: limit for kind, limit in wanted.items() if not _within(limit, own.get(kind))}
    if not doubtful:
        return {}
    properties = [f"--property={KINDS[kind][1]}={limit}" for kind, limit in doubtful.items()]
    code, output, _unused = run(
        [
            "systemd-run",
            "--quiet",
            "--wait",
            "--pipe",
            "--collect",
            *properties,
            "cat",
            "/proc/self/limits",
        ]
    )
    granted = parse_limits(output) if code == 0 else {}
    return {
        kind: granted[kind].hard if kind in granted else "nothing: the unit does not start"
        for kind, limit in doubtful.items()
        if not _within(limit, granted.get(kind))
    }


def _within(limit: int, ceiling: Limit | None) -> bool:
    return ceiling is not None and (ceiling.hard == "unlimited" or limit <= int(ceiling.hard))
