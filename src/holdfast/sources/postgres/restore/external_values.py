"""Rows whose long values were kept aside, with the values back in their places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holdfast.model.proven import OpenBlob
from holdfast.sources.postgres.server.table_part import External

SHA256_BYTES = 32


def with_values(
    chunks: Iterable[bytes], external: External, open_blob: OpenBlob
) -> Iterator[bytes]:
    """`chunks` of a COPY in text format; a value passes in pieces, whatever its length.

    A marker may be cut by the end of a chunk, so that much is always held back.
    """
    prefix = external.marker.hex().encode()
    marked = re.compile(prefix + b"([0-9a-f]{%d})" % (2 * SHA256_BYTES))
    longest = len(prefix) + 2 * SHA256_BYTES
    held = b""
    for chunk in chunks:
        text = held + bytes(chunk)
        done = 0
        for match in marked.finditer(text):
            yield text[done : match.start()]
            yield from _value(match[1].decode(), open_blob)
            done = match.end()
        keep = max(done, len(text) - longest + 1)
        yield text[done:keep]
        held = text[keep:]
    yield held


def _value(sha256: str, open_blob: OpenBlob) -> Iterator[bytes]:
    with open_blob(sha256) as pieces:
        for piece in pieces:
            yield piece.hex().encode()
