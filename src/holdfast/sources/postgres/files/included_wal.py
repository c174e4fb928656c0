"""The WAL that came with a backup: what a server would replay first, wherever it is started."""

from __future__ import annotations

from functools import partial
from itertools import zip_longest
from pathlib import Path

from holdfast.model.wal import WalKind, WalName
from holdfast.model.wal_records import PAGE_BYTES
from holdfast.runtime.tablespaces import NewTablespaces


def tablespaces_to_bring(data: Path, new: NewTablespaces) -> list[int]:
    """The OIDs of tablespaces that were made while the backup was taken. Their folders are where
    they were: the WAL in `data` no longer says so, and `new` is to make them somewhere else."""
    found = sorted(path for path in (data / "pg_wal").glob("*") if _is_segment(path))
    return [
        oid
        for path, after in zip_longest(found, found[1:])
        for oid in new.admit(path, partial(_beginning, after))
    ]


def _is_segment(path: Path) -> bool:
    name = WalName.parse(path.name)
    return name is not None and name.kind is WalKind.SEGMENT and path.is_file()


def _beginning(path: Path | None) -> bytes:
    if path is None:
        return b""
    with path.open("rb") as file:
        return file.read(PAGE_BYTES)
