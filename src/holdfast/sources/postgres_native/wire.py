"""COPY over the connection: rows are joined into large buffers before anybody sees them.

One Python step per row is what makes this slow; so each row costs one call and one append,
through libpq itself, and everything above deals in buffers.
"""

from __future__ import annotations

import select
from collections.abc import Iterator

from psycopg import pq

from holdfast.model import Buffer
from holdfast.sources.postgres_native.copy_command import CopyCommand

DESTINATION = "STDOUT"
BUFFER_BYTES = 1 << 19


class CopyOverWire(CopyCommand):
    """One `COPY ... TO STDOUT` under way."""

    def _buffers(self) -> Iterator[Buffer]:
        result = self._result()
        if result is None or result.status != pq.ExecStatus.COPY_OUT:
            raise self._error_in(result)
        get_copy_data = self._pgconn.get_copy_data
        buffer = bytearray()
        while True:
            size, row = get_copy_data(1)
            if size > 0:
                buffer += row
                if len(buffer) >= BUFFER_BYTES:
                    yield buffer
                    # A new one: the old belongs to whoever took it.
                    buffer = bytearray()
            elif size == 0:
                self._wait(select.POLLIN)
            else:
                break
        if buffer:
            yield buffer
