"""WAL segments as a server writes them, but small."""

from __future__ import annotations

import struct

MIB = 1 << 20


def header(name: str, *, identifier: int = 77, segment_bytes: int = MIB) -> bytes:
    per_id = (1 << 32) // segment_bytes
    address = (int(name[8:16], 16) * per_id + int(name[16:], 16)) * segment_bytes
    timeline = int(name[:8], 16)
    return struct.pack(
        "=HHIQI4xQII", 0xD10D, 2, timeline, address, 0, identifier, segment_bytes, 8192
    )


def segment(name: str, *, text: bytes = b"", identifier: int = 77) -> bytes:
    """A whole segment of 1 MiB with `text` after its header."""
    return (header(name, identifier=identifier) + text).ljust(MIB, b"\0")
