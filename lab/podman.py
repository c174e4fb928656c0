"""Queries to podman about containers, and creating one with its own files in it."""

import io
import json
import tarfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lab import command
from lab.container import INIT, SERVE

PROGRAMS = {INIT, SERVE}
READABLE_BY_ALL = {"/etc/fstab", "/etc/hosts", "/etc/ssh/ssh_host_ed25519_key.pub"}


def containers(condition: str) -> list[dict[str, Any]]:
    """The containers that meet a condition of `podman ps --filter`, running or not."""
    listing = command.run(["podman", "ps", "--all", "--format=json", f"--filter={condition}"])
    found: list[dict[str, Any]] = json.loads(listing)
    return found


def labels(name: str) -> dict[str, str] | None:
    """The labels of a container; None if it does not exist."""
    found = containers(f"name=^{name}$")
    return dict(found[0]["Labels"] or {}) if found else None


def create(arguments: Sequence[str], *, name: str, files: Mapping[str, bytes]) -> None:
    """Create a container and copy files into it before it runs."""
    command.run(["podman", "create", *arguments])
    command.run(["podman", "cp", "-", f"{name}:/"], feed=archive(files))


def archive(files: Mapping[str, bytes]) -> bytes:
    """Files as a tar, readable by root only unless everybody reads them on a real host."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content)
            entry.mtime = time.time()
            entry.mode = 0o755 if path in PROGRAMS else 0o644 if path in READABLE_BY_ALL else 0o600
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def ask(name: str, argv: Sequence[str], *, timeout_seconds: float | None = None) -> str:
    """The output of a program in a container, whatever its exit code."""
    quietly = ["sh", "-c", '"$@" 2>/dev/null || true', "sh"]
    asking = ["podman", "exec", name, *quietly, *argv]
    return command.run(asking, timeout_seconds=timeout_seconds).strip()
