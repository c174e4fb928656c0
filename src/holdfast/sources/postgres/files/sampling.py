"""Whether a file is worth compressing: what is compressed already only costs time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from holdfast.runtime.cleanup import afterwards
from holdfast.sources.postgres.files.page import PAGE_BYTES
from holdfast.sources.postgres.files.tree import Entry
from holdfast.sources.postgres.server.sampling import is_incompressible

# Below this the question costs as much as the answer saves.
SAMPLED_FILE_BYTES = 16 << 20
# Few places, as each may be a seek, and a cluster may have ten thousand such files.
PLACES, PLACE_BYTES = 4, 4 * PAGE_BYTES


def is_worth_compressing(data: Path, entry: Entry) -> bool:
    """Asks pieces from all over the file; of one that cannot be read now others will tell."""
    if entry.size_bytes < SAMPLED_FILE_BYTES:
        return True
    sample = b""
    with suppress(OSError):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(data / entry.path, flags)
        with afterwards(os.close, descriptor):
            step = entry.size_bytes // PLACES
            sample = b"".join(
                os.pread(descriptor, PLACE_BYTES, step * number) for number in range(PLACES)
            )
    return not is_incompressible(sample)
