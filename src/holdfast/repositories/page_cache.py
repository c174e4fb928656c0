"""Keeps the content of long files out of the page cache, where it would displace the database's.

The kernel keeps whatever is written or read until it needs the memory. A backup of a database is
about as long as the database, and nobody reads it soon. New pages also cost processor time, most of
it in a virtual machine that gets its memory when it is first used; here the same pages serve again.
"""

from __future__ import annotations

import os
from contextlib import suppress

# What one file may hold in the cache: so much that waiting for the disk costs little, and so little
# that several workers do not displace much. A shorter file stays in the cache.
CACHED_BYTES = 16 << 20


class PageCache:
    """The cached content of one file that is written, or read, from its beginning to its end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._released = 0
        self._passed = 0

    def written(self, size_bytes: int) -> None:
        """Count written bytes; now and then wait for the disk and release them.

        Raises `OSError` if the disk did not take them.
        """
        self._passed += size_bytes
        if self._passed - self._released >= CACHED_BYTES:
            # The kernel releases no page that it has still to write.
            os.fdatasync(self._descriptor)
            self._release()

    def read(self, size_bytes: int) -> None:
        """Count read bytes, and now and then release them."""
        self._passed += size_bytes
        if self._passed - self._released >= CACHED_BYTES:
            self._release()

    def _release(self) -> None:
        first, size_bytes = self._released, self._passed - self._released
        self._released = self._passed
        # Advice only: a file system that refuses it keeps the pages.
        with suppress(OSError):
            os.posix_fadvise(self._descriptor, first, size_bytes, os.POSIX_FADV_DONTNEED)
