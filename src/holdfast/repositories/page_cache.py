"""Keeps the content of long files out of the page cache, where it would displace the database's.

The kernel keeps whatever is written or read until it needs the memory. A backup of a database is
about as long as the database, and nobody reads it soon. New pages also cost processor time, most of
it in a virtual machine that gets its memory when it is first used; here the same pages serve again.
"""

from __future__ import annotations

import os
from contextlib import suppress

# How much is released at once: so much that the calls cost little, and so little that several
# workers do not displace much. A shorter file stays in the cache.
CACHED_BYTES = 16 << 20
# Released again with what follows, as the disk may still be writing them the first time.
AGAIN_BYTES = 4 * CACHED_BYTES


class PageCache:
    """The cached content of one file that is written, or read, from its beginning to its end.

    Releasing written pages begins to write them to the disk, and does not wait for it. Those that
    the disk does not have yet stay until the next release.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._released = 0
        self._passed = 0

    def passes(self, size_bytes: int) -> None:
        """Count written or read bytes, and now and then release those before."""
        self._passed += size_bytes
        if self._passed - self._released >= CACHED_BYTES:
            self._release(max(0, self._released - AGAIN_BYTES))

    def ends(self) -> None:
        """Release the rest of a long file, whose content is now on the disk."""
        if self._released:
            self._release(0)

    def _release(self, first: int) -> None:
        # Advice only: a file system that refuses it keeps the pages.
        with suppress(OSError):
            size_bytes = self._passed - first
            os.posix_fadvise(self._descriptor, first, size_bytes, os.POSIX_FADV_DONTNEED)
        self._released = self._passed
