"""Whether this host has its own kernel, or shares that of the machine below."""

from __future__ import annotations

from pathlib import Path

# Podman and Docker create these even if the first process is not systemd.
MARKERS = {"run/.containerenv": "podman", ".dockerenv": "docker"}


def container_kind(root: Path = Path("/")) -> str | None:
    """The container technology that runs this host; None on a machine with its own kernel."""
    manager = _text(root / "run/systemd/container") or _from_environment(root / "proc/1/environ")
    if manager:
        return manager
    return next((kind for marker, kind in MARKERS.items() if (root / marker).exists()), None)


def _from_environment(path: Path) -> str:
    entries = _text(path).split("\0")
    return next(
        (entry[len("container=") :] for entry in entries if entry.startswith("container=")), ""
    )


def _text(path: Path) -> str:
    # Absent on real machines, unreadable without root: both mean that this marker says nothing.
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
