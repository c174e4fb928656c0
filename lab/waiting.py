"""Polling: look again until a condition holds or a deadline passes."""

import time
from collections.abc import Callable

from lab.errors import CommandFailed, LabError

PAUSE_SECONDS = 0.1


def wait_until(look: Callable[[], object], *, deadline_seconds: float) -> None:
    """Return once `look` raises no `CommandFailed`; after the deadline, raise its last one."""
    ends = time.monotonic() + deadline_seconds
    while True:
        try:
            look()
        except CommandFailed as reason:
            if time.monotonic() > ends:
                raise LabError(
                    f"{reason} (waited {deadline_seconds:g} s)", hint=reason.hint
                ) from reason
        else:
            return
        time.sleep(PAUSE_SECONDS)
