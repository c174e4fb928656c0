"""What a run cost, as the kernel counted it."""

from __future__ import annotations

import resource

KIB = 1024


def peak_memory_bytes() -> int:
    """Resident peak of this process plus that of its largest child, in bytes.

    Linux gives both in KiB (getrusage(2), ru_maxrss). Children that ran side by side are
    counted once, so this is a floor; the cgroup's own peak is what a unit reports.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest_child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + largest_child) * KIB
