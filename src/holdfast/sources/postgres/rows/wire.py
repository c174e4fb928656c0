"""COPY over the connection: rows are joined into large buffers before anybody sees them.

One Python step per row is what makes this slow; so each row costs one call and one append,
through libpq itself, and everything above deals in buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.model.backup import Buffer
from holdfast.sources.postgres.rows.copy_command import CopyCommand

DESTINATION = "STDOUT"
BUFFER_BYTES = 1 << 19


class CopyOverWire(CopyCommand):
    """One `COPY ... TO STDOUT` under way."""

    def _buffers(self) -> Iterator[Buffer]:
        self._expect_rows()
        while True:
            # A new one each time: the last belongs to whoever took it.
            buffer = bytearray()
            more = self._fill(buffer, BUFFER_BYTES)
            if buffer:
                yield buffer
            if not more:
                return
