"""Bytes kept for a while: in memory while they are few, else in a file without a name.

However we end, nothing of it stays.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from holdfast.model.errors import RestoreFailed
from holdfast.model.units import size

# Made for what is large and outlives a reboot, where /tmp may be memory.
LAST_RESORT = "/var/tmp"  # noqa: S108  # only ever a folder for nameless files
# What others who write there must still find.
SPARE_BYTES = 256 << 20
# Several workers may hold as much at once.
MOST_IN_MEMORY_BYTES = 4 << 20
CHUNK_BYTES = 1 << 20
_IN_MEMORY = ("tmpfs", "ramfs")
_MOUNTS = Path("/proc/self/mountinfo")


class Spool:
    """Chunks put one after another, and read again as often as wanted."""

    def __init__(self, file: IO[bytes] | None, folder: Path | None) -> None:
        self._file = file
        self._folder = folder
        self._chunks: list[bytes] = []
        self._size_bytes = 0

    def put(self, chunk: bytes) -> None:
        """Raises `RestoreFailed` where the disk is full; what was put before can still be read."""
        if self._file is None:
            self._chunks.append(chunk)
            return
        write_all(self._file, chunk, self._folder)
        self._size_bytes += len(chunk)

    def __iter__(self) -> Iterator[bytes]:
        if self._file is None:
            yield from self._chunks
            return
        offset = 0
        # By place, not by the file's own position: it may be read twice at the same time.
        while chunk := os.pread(
            self._file.fileno(), min(CHUNK_BYTES, self._size_bytes - offset), offset
        ):
            offset += len(chunk)
            yield chunk

    def give_back(self) -> None:
        """Leave the room to others at once."""
        self._chunks.clear()
        if self._file is not None:
            self._size_bytes = 0
            self._file.truncate(0)


@contextmanager
def spooled(size_bytes: int) -> Iterator[tuple[Spool | None, str]]:
    """Room for so many bytes, or why there is none; a file leaves as much again to others."""
    if size_bytes <= MOST_IN_MEMORY_BYTES:
        yield Spool(None, None), "in memory"
        return
    folder, reason = room_for(2 * size_bytes, environment=os.environ)
    if folder is None:
        yield None, reason
        return
    # Without a buffer of its own, which would only fail at the end, once more.
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        yield Spool(file, folder), reason


def write_all(file: IO[bytes], chunk: bytes, folder: Path | None) -> None:
    """Raises `RestoreFailed` where the disk is full."""
    left = memoryview(chunk)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise RestoreFailed(
            f"cannot spool in '{folder}': {error.strerror}",
            hint="make room there, name another folder by TMPDIR, or restore with one worker",
        ) from error


def room_for(size_bytes: int, *, environment: Mapping[str, str]) -> tuple[Path | None, str]:
    """A folder on a disk that has room for so many bytes, and why this one or none."""
    refused: list[str] = []
    for folder in _candidates(environment):
        obstacle = _obstacle(folder, size_bytes)
        if not obstacle:
            return folder, f"spooled in '{folder}'"
        refused.append(f"'{folder}' {obstacle}")
    return None, ", ".join(refused)


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    # systemd names all of a unit's folders at once.
    first = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    for folder in (first, environment.get("TMPDIR", ""), LAST_RESORT):
        if folder:
            yield Path(folder)


def _obstacle(folder: Path, size_bytes: int) -> str:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return "cannot be written"
    if is_in_memory(folder):
        return "is in memory"
    free = shutil.disk_usage(folder).free
    if free < size_bytes + SPARE_BYTES:
        return f"has {size(free)} free of the {size(size_bytes + SPARE_BYTES)} that it takes"
    return ""


def is_in_memory(folder: Path) -> bool:
    """Whether what is written there would take the memory of the host."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _MOUNTS.read_text().splitlines():
        fields = line.split()
        if fields[2] == number:
            return fields[fields.index("-") + 1] in _IN_MEMORY
    return False
