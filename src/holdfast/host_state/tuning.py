"""The verdict that the last tuning left on this host, for the status of its jobs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from holdfast.model.stored_json import Unreadable
from holdfast.model.tuning_verdict import TuningVerdict, verdict_in
from holdfast.runtime import events
from holdfast.runtime.cleanup import on_failure

# The folder of root's where tuning keeps the original state of the host, too.
VERDICT_FILE = Path("/var/lib/holdfast-tuning/verdict.json")
_CHUNK_BYTES = 1 << 12


def last_verdict(path: Path) -> TuningVerdict | None:
    """The verdict; None if the host was never tuned. An unreadable one is logged, never raised."""
    try:
        with _opened(path) as file:
            return verdict_in(iter(lambda: file.read(_CHUNK_BYTES), b""))
    except FileNotFoundError:
        return None
    except (OSError, Unreadable) as error:
        cause = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
        events.warning("tuning_verdict_unreadable", file=str(path), error=cause)
        return None


def _opened(path: Path) -> BinaryIO:
    """The regular file `path`: opening a named pipe in its place must not block."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    with on_failure(os.close, descriptor):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable("it is not a regular file")
        return os.fdopen(descriptor, "rb", buffering=0)
