"""Writes `backup_manifest` in PostgreSQL's own format, for `pg_verifybackup` to read."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import zstandard

from holdfast.model.lazy_dataclass import dataclass

# The release from which on a manifest names its cluster.
WITH_IDENTIFIER = 170000
# Lines are hashed and compressed together: each call takes longer than a line of its own.
LINES = 1000


class ManifestFile(NamedTuple):
    """One file as a restore writes it; `modified` is in seconds since 1970."""

    path: str
    size_bytes: int
    modified: int
    crc32c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WalRange:
    """The WAL that a restore has to replay before the cluster is consistent."""

    timeline: int
    start_lsn: str
    end_lsn: str


def lines(
    files: Iterable[ManifestFile], wal: WalRange, *, server_version: int, system_identifier: str
) -> Iterator[bytes]:
    """Yields the manifest, one file a line; the last line is the SHA-256 of all lines before.

    Each chunk holds many lines.
    """
    seen, body = (
        hashlib.sha256(),
        _body(files, wal, server_version, system_identifier=system_identifier),
    )
    while found := list(islice(body, LINES)):
        content = "".join(f"{line}\n" for line in found).encode()
        seen.update(content)
        yield content
    yield f'"Manifest-Checksum": "{seen.hexdigest()}"}}\n'.encode()


def _body(
    files: Iterable[ManifestFile], wal: WalRange, server_version: int, *, system_identifier: str
) -> Iterator[str]:
    version = 2 if server_version >= WITH_IDENTIFIER else 1
    yield f'{{ "PostgreSQL-Backup-Manifest-Version": {version},'
    if server_version >= WITH_IDENTIFIER:
        yield f'"System-Identifier": {system_identifier},'
    yield '"Files": ['
    last = None
    for each in files:
        if last is not None:
            yield f"{last},"
        last = _described(each)
    yield from [last] if last is not None else []
    yield "],"
    yield '"WAL-Ranges": ['
    yield _replayed(wal)
    yield "],"


def _replayed(wal: WalRange) -> str:
    return (
        f'{{ "Timeline": {wal.timeline}, "Start-LSN": "{wal.start_lsn}",'
        f' "End-LSN": "{wal.end_lsn}" }}'
    )


def _described(file: ManifestFile) -> str:
    path, size_bytes, modified, crc = file
    return (
        f'{{ {_path(path)}, "Size": {size_bytes}, "Last-Modified": "{_time(modified)}",'
        f' "Checksum-Algorithm": "CRC32C", "Checksum": "{_checksum(crc)}" }}'
    )


@lru_cache(maxsize=1024)
def _time(modified: int) -> str:
    """Cached: files that are made together are modified in the same second."""
    return f"{datetime.fromtimestamp(modified, UTC):%Y-%m-%d %H:%M:%S} GMT"


def _checksum(crc32c: int) -> str:
    """The CRC in hex, in the byte order of the server's processor (pg_checksum_final)."""
    return crc32c.to_bytes(4, sys.byteorder).hex()


# Made once: `json.dumps` would make one for every path.
_AS_JSON = json.JSONEncoder(ensure_ascii=False)


def _path(path: str) -> str:
    """The path as JSON, hex-encoded if its bytes are no valid UTF-8."""
    try:
        # Asked first, as it takes no time: nearly all names are ASCII.
        if not path.isascii():
            path.encode()
    except UnicodeEncodeError:
        return f'"Encoded-Path": "{path.encode(errors="surrogateescape").hex()}"'
    return f'"Path": {_AS_JSON.encode(path)}'


LEVEL = 1
CHUNK_BYTES = 1 << 20


class Packed:
    """A text that is held compressed in memory; `size_bytes` is its uncompressed size.

    It may be iterated repeatedly, and yields chunks of at most 1 MiB.
    """

    def __init__(self, chunks: Iterable[bytes] = ()) -> None:
        compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj()
        self._packed = list[bytes]()
        self.size_bytes = 0
        for chunk in chunks:
            self.size_bytes += len(chunk)
            self._keep(compressor.compress(chunk))
        self._keep(compressor.flush())

    def _keep(self, packed: bytes) -> None:
        if packed:
            self._packed.append(packed)

    def __iter__(self) -> Iterator[bytes]:
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        for packed in self._packed:
            whole = memoryview(unpacker.decompress(packed))
            for first in range(0, len(whole), CHUNK_BYTES):
                yield bytes(whole[first : first + CHUNK_BYTES])
