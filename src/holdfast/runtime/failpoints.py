"""Named places where a test may have this process die, as a power cut would have it.

`HOLDFAST_FAILPOINT=NAME` kills at the first time that NAME is reached, `NAME:3` at the third.
Nothing is caught, flushed or cleaned up: what a run leaves then is what the next one must mend.
`NAME:1:stop` stops the process there until it is sent SIGCONT: what the world does meanwhile is
then up to the test.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from typing import Literal

VARIABLE = "HOLDFAST_FAILPOINT"

Name = Literal[
    "backup-locked",
    "backup-swept",
    "backup-beginning",
    "backup-begun",
    "cluster-asked",
    "files-listed",
    "snapshot-taken",
    "part-begun",
    "part-stored",
    "blob-stored",
    "parts-read",
    "parts-stored",
    "manifest-stored",
    "prune-marked",
    "prune-manifest-dropped",
    "copy-locked",
    "copy-object-stored",
    "copy-parts-stored",
    "copy-manifest-stored",
    "prune-part-dropped",
    "prune-backup-dropped",
    "prune-blob-dropped",
    "lease-put",
    "lease-held",
    "restore-begun",
    "restore-part-loaded",
    "wal-stored",
    "wal-archived",
    "prune-wal-dropped",
]

_seen: Counter[str] = Counter()
_lock = threading.Lock()


def reached(name: Name) -> None:
    """Die here if that was asked for."""
    wanted, _, rest = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    count, _, how = rest.partition(":")
    with _lock:
        _seen[name] += 1
        if _seen[name] == int(count or 1):
            os.kill(os.getpid(), signal.SIGSTOP if how == "stop" else signal.SIGKILL)
