"""Temporary storage for bytes: in memory if they are few, else in a file without a name.

Nothing of it remains after the process, however it ends.
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

# For large files that survive a reboot; /tmp may be in memory.
LAST_RESORT = "/var/tmp"  # noqa: S108  # only ever a folder for nameless files
# Left free for other users of the disk.
SPARE_BYTES = 256 << 20
# A small limit: several workers may hold this much at the same time.
MOST_IN_MEMORY_BYTES = 4 << 20
CHUNK_BYTES = 1 << 20
_IN_MEMORY = ("tmpfs", "ramfs")
_MOUNTS = Path("/proc/self/mountinfo")


class Spool:
    """Chunks stored one after another, which can be read repeatedly."""

    def __init__(self, file: IO[bytes] | None, folder: Path | None) -> None:
        self._file = file
        self._folder = folder
        self._chunks: list[bytes] = []
        self._size_bytes = 0

    def put(self, chunk: bytes) -> None:
        """Raises `RestoreFailed` if the disk is full; earlier chunks can still be read."""
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
        # By offset, not by the file's own position: two readers may read at the same time.
        while chunk := os.pread(
            self._file.fileno(), min(CHUNK_BYTES, self._size_bytes - offset), offset
        ):
            offset += len(chunk)
            yield chunk

    def give_back(self) -> None:
        """Free the memory or the disk space at once."""
        self._chunks.clear()
        if self._file is not None:
            self._size_bytes = 0
            self._file.truncate(0)


@contextmanager
def spooled(size_bytes: int) -> Iterator[tuple[Spool | None, str]]:
    """A spool for `size_bytes` and its place, or None and the reason.

    A file is only made on a disk that has twice the size and a reserve free.
    """
    if size_bytes <= MOST_IN_MEMORY_BYTES:
        yield Spool(None, None), "in memory"
        return
    folder, reason = room_for(2 * size_bytes, environment=os.environ)
    if folder is None:
        yield None, reason
        return
    # Unbuffered: a buffer would only fail a second time when the file is closed.
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        yield Spool(file, folder), reason


def write_all(file: IO[bytes], chunk: bytes, folder: Path | None) -> None:
    """Write all of `chunk`; raises `RestoreFailed` if the disk is full."""
    left = memoryview(chunk)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise RestoreFailed(
            f"cannot spool in '{folder}': {error.strerror}",
            hint="free space there, name another folder in TMPDIR, or restore with one worker",
        ) from error


def room_for(size_bytes: int, *, environment: Mapping[str, str]) -> tuple[Path | None, str]:
    """A folder on a disk with `size_bytes` and a reserve free, or None; and the reason."""
    refused: list[str] = []
    for folder in _candidates(environment):
        obstacle = _obstacle(folder, size_bytes)
        if not obstacle:
            return folder, f"spooled in '{folder}'"
        refused.append(f"'{folder}' {obstacle}")
    return None, ", ".join(refused)


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    # systemd lists all runtime directories of a unit in one variable.
    first = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    for folder in (first, environment.get("TMPDIR", ""), LAST_RESORT):
        if folder:
            yield Path(folder)


def _obstacle(folder: Path, size_bytes: int) -> str:
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return "is not writable"
    if is_in_memory(folder):
        return "is in memory"
    free = shutil.disk_usage(folder).free
    if free < size_bytes + SPARE_BYTES:
        return f"has {size(free)} free of {size(size_bytes + SPARE_BYTES)} needed"
    return ""


def is_in_memory(folder: Path) -> bool:
    """Whether the folder's file system is in memory."""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _MOUNTS.read_text().splitlines():
        fields = line.split()
        if fields[2] == number:
            return fields[fields.index("-") + 1] in _IN_MEMORY
    return False
