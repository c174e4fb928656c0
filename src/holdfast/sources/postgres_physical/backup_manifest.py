"""`backup_manifest` in PostgreSQL's own format, which `pg_verifybackup` reads."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

# From here on a manifest names its cluster.
WITH_IDENTIFIER = 170000


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One file as it stands in a restored data directory."""

    path: str
    size_bytes: int
    modified: float
    crc32c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WalRange:
    """The WAL that a restore has to replay before the cluster is consistent."""

    timeline: int
    start_lsn: str
    end_lsn: str


def encode(
    files: Iterable[ManifestFile], wal: WalRange, *, server_version: int, system_identifier: str
) -> bytes:
    """One file a line, and last the SHA-256 of every line before it."""
    if server_version >= WITH_IDENTIFIER:
        head = [
            '{ "PostgreSQL-Backup-Manifest-Version": 2,',
            f'"System-Identifier": {system_identifier},',
        ]
    else:
        head = ['{ "PostgreSQL-Backup-Manifest-Version": 1,']
    described = ",\n".join(_described(each) for each in sorted(files, key=lambda each: each.path))
    lines = [
        *head,
        '"Files": [',
        described,
        "],",
        '"WAL-Ranges": [',
        _replayed(wal),
        "],",
    ]
    body = ("\n".join(lines) + "\n").encode()
    checksum = hashlib.sha256(body).hexdigest()
    return body + f'"Manifest-Checksum": "{checksum}"}}\n'.encode()


def _replayed(wal: WalRange) -> str:
    return (
        f'{{ "Timeline": {wal.timeline}, "Start-LSN": "{wal.start_lsn}",'
        f' "End-LSN": "{wal.end_lsn}" }}'
    )


def _described(file: ManifestFile) -> str:
    modified = datetime.fromtimestamp(file.modified, UTC)
    return (
        f"{{ {_path(file.path)},"
        f' "Size": {file.size_bytes}, "Last-Modified": "{modified:%Y-%m-%d %H:%M:%S} GMT",'
        f' "Checksum-Algorithm": "CRC32C", "Checksum": "{_checksum(file.crc32c)}" }}'
    )


def _checksum(crc32c: int) -> str:
    """As it lies in the memory of the server's processor, byte by byte (pg_checksum_final)."""
    return crc32c.to_bytes(4, sys.byteorder).hex()


def _path(path: str) -> str:
    """Names come from the file system, whose bytes need not be text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return f'"Encoded-Path": "{path.encode(errors="surrogateescape").hex()}"'
    return f'"Path": {json.dumps(path, ensure_ascii=False)}'
