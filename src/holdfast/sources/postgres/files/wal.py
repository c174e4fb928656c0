"""Segments of the WAL in a server's own folder, and whether each is what its name says."""

from __future__ import annotations

from pathlib import Path

from holdfast.model.errors import BackupFailed
from holdfast.model.wal import HEADER_BYTES, SegmentHeader


def require_segment(path: Path, *, segment_bytes: int, system_identifier: str) -> None:
    """Raises `BackupFailed` unless the file at `path` is the whole segment that it is called."""
    try:
        with path.open("rb") as file:
            header = SegmentHeader.parse(file.read(HEADER_BYTES))
        size_bytes = path.stat().st_size
    except FileNotFoundError as error:
        raise _missing(path, "the server has removed it already") from error
    except OSError as error:
        raise _missing(path, str(error.strerror)) from error
    if size_bytes != segment_bytes or header is None:
        raise _missing(path, f"it has {size_bytes} bytes, a segment has {segment_bytes}")
    problem = header.problem(path.name, size_bytes=size_bytes, system_identifier=system_identifier)
    if problem:
        raise _missing(path, problem)


def _missing(path: Path, cause: str) -> BackupFailed:
    return BackupFailed(
        f"cannot collect WAL segment '{path.name}', which this backup needs: {cause}",
        hint="let the login have a replication slot (REPLICATION, max_replication_slots),"
        " or raise wal_keep_size",
    )
