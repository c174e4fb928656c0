"""Where pg_restore reads an artefact: from a pipe, or from a file that several workers open.

The file has no name: however we end, nothing of it stays.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from holdfast.model.proven import Proven
from holdfast.runtime.spool import room_for, write_all


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpArchive:
    """One artefact at hand, and why so many workers may read it; `file` holds it too, if any."""

    proven: Proven
    workers: int
    reason: str
    file: IO[bytes] | None = None


@contextmanager
def at_hand(proven: Proven, *, size_bytes: int, workers: int) -> Iterator[DumpArchive]:
    """The artefact for `workers`: as a file where there is room for one, else as one stream."""
    if workers < 2:
        yield DumpArchive(proven=proven, workers=1, reason="one worker was asked for")
        return
    folder, reason = room_for(size_bytes, environment=os.environ)
    if folder is None:
        reason = f"workers need the dump as a file: {reason}"
        yield DumpArchive(proven=proven, workers=1, reason=reason)
        return
    # Without a buffer of its own, which would only fail at the end, once more.
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for chunk in proven:
            write_all(file, chunk, folder)
        yield DumpArchive(proven=proven, workers=workers, reason=reason, file=file)
