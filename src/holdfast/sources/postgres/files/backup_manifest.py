"""Writes `backup_manifest` in PostgreSQL's own format, for `pg_verifybackup` to read."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain, islice
from json.encoder import encode_basestring

import zstandard

from holdfast.model.lazy_dataclass import dataclass

# The release from which on a manifest names its cluster.
WITH_IDENTIFIER = 170000
# Lines are hashed and compressed together: each call takes longer than a line of its own.
LINES = 1000


ManifestFile = tuple[str, int, int, int]
"""One file as a restore writes it: path, size, seconds since 1970 of its last change, CRC-32C."""


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
    seen = hashlib.sha256()
    for text in chain(
        [_head(server_version, system_identifier)], _described(files), [f"],\n{_replayed(wal)}],\n"]
    ):
        content = text.encode()
        seen.update(content)
        yield content
    yield f'"Manifest-Checksum": "{seen.hexdigest()}"}}\n'.encode()


def _head(server_version: int, system_identifier: str) -> str:
    is_named = server_version >= WITH_IDENTIFIER
    named = f'"System-Identifier": {system_identifier},\n' if is_named else ""
    version = 2 if is_named else 1
    return f'{{ "PostgreSQL-Backup-Manifest-Version": {version},\n{named}"Files": [\n'


def _replayed(wal: WalRange) -> str:
    return (
        f'"WAL-Ranges": [\n{{ "Timeline": {wal.timeline}, "Start-LSN": "{wal.start_lsn}",'
        f' "End-LSN": "{wal.end_lsn}" }}\n'
    )


def _described(files: Iterable[ManifestFile]) -> Iterator[str]:
    """The lines of all files, many of them a text; a comma is behind each but the last."""
    left, between = iter(files), ""
    while found := list(islice(left, LINES)):
        yield between + ",\n".join(
            [
                f'{{ {_path(path)}, "Size": {size_bytes}, "Last-Modified": "{_time(modified)}",'
                f' "Checksum-Algorithm": "CRC32C",'
                # In the byte order of the server's processor (pg_checksum_final).
                f' "Checksum": "{crc32c.to_bytes(4, sys.byteorder).hex()}" }}'
                for path, size_bytes, modified, crc32c in found
            ]
        )
        between = ",\n"
    if between:
        yield "\n"


@lru_cache(maxsize=1024)
def _time(modified: int) -> str:
    """Cached: files that are made together are modified in the same second."""
    return f"{datetime.fromtimestamp(modified, UTC):%Y-%m-%d %H:%M:%S} GMT"


def _path(path: str) -> str:
    """The path as JSON, hex-encoded if its bytes are no valid UTF-8."""
    # Asked first, as it takes no time: nearly all names are ASCII.
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError:
            return f'"Encoded-Path": "{path.encode(errors="surrogateescape").hex()}"'
    return f'"Path": {encode_basestring(path)}'


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
