"""Where pg_restore reads an artefact: from a pipe, or from a file that several workers open.

The file has no name: however we end, nothing of it stays.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from holdfast.errors import RestoreFailed

OpenChunks = Callable[[], AbstractContextManager[Iterator[bytes]]]

# Made for what is large and outlives a reboot, where /tmp may be memory.
LAST_RESORT = "/var/tmp"  # noqa: S108  # only ever a folder for nameless files
# What others who write there must still find.
SPARE_BYTES = 256 << 20
_IN_MEMORY = ("tmpfs", "ramfs")
_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One artefact at hand, and why so many workers may read it; `file` is proven already."""

    opened: OpenChunks
    workers: int
    reason: str
    file: IO[bytes] | None = None


@contextmanager
def at_hand(opened: OpenChunks, *, size_bytes: int, workers: int) -> Iterator[Artefact]:
    """The artefact for `workers`: as a file where there is room for one, else as one stream."""
    if workers < 2:
        yield Artefact(opened=opened, workers=1, reason="one worker was asked for")
        return
    folder, reason = room_for(size_bytes, environment=os.environ)
    if folder is None:
        yield Artefact(opened=opened, workers=1, reason=reason)
        return
    # Without a buffer of its own, which would only fail at the end, once more.
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        _fill(file, opened, folder)
        yield Artefact(opened=opened, workers=workers, reason=reason, file=file)


def _fill(file: IO[bytes], opened: OpenChunks, folder: Path) -> None:
    with opened() as chunks:
        for chunk in chunks:
            _write(file, chunk, folder)


def _write(file: IO[bytes], chunk: bytes, folder: Path) -> None:
    left = memoryview(chunk)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise RestoreFailed(
            f"cannot spool the dump in '{folder}': {error.strerror}",
            hint="make room there, name another folder by TMPDIR, or restore with one worker",
        ) from error


def room_for(size_bytes: int, *, environment: Mapping[str, str]) -> tuple[Path | None, str]:
    """A folder on a disk that has room for the artefact, and why this one or none."""
    refused: list[str] = []
    for folder in _candidates(environment):
        obstacle = _obstacle(folder, size_bytes)
        if not obstacle:
            return folder, f"spooled in '{folder}'"
        refused.append(f"'{folder}' {obstacle}")
    return None, f"workers need the dump as a file: {', '.join(refused)}"


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    # systemd names all of a unit's folders at once.
    first = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    for folder in (first, environment.get("TMPDIR", ""), LAST_RESORT):
        if folder:
            yield Path(folder)


def _obstacle(folder: Path, size_bytes: int) -> str:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return "cannot be written"
    if _is_in_memory(folder):
        return "is in memory"
    free = shutil.disk_usage(folder).free
    if free < size_bytes + SPARE_BYTES:
        return f"has {free} bytes free of the {size_bytes + SPARE_BYTES} that it takes"
    return ""


def _is_in_memory(folder: Path) -> bool:
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _MOUNTS.read_text().splitlines():
        fields = line.split()
        if fields[2] == number:
            return fields[fields.index("-") + 1] in _IN_MEMORY
    return False
