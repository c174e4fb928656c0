"""Which sets of data a run loads, and which workloads it measures on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import checksums, mariadb, postgres, start
from benchmarks.contenders import Dataset, Sizes


def usual(sizes: Sizes) -> tuple[Dataset, ...]:
    """What one call without a name measures, host by host."""
    return (
        start.start(),
        postgres.general(sizes),
        postgres.tables(sizes),
        postgres.objects(sizes),
        mariadb.general(sizes),
        mariadb.tables(sizes),
    )


def others(sizes: Sizes) -> tuple[Dataset, ...]:
    """What is measured only if it is named: it takes a big disk or a long time."""
    return (
        postgres.of_size(1),
        postgres.of_size(4),
        postgres.of_size(16),
        checksums.of_postgres(sizes),
        checksums.of_mariadb(sizes),
    )


def names(sizes: Sizes) -> list[str]:
    """The keys of all workloads, those of a usual run first."""
    return [each.key for data in (*usual(sizes), *others(sizes)) for each in data.workloads]


def chosen(wanted: Sequence[str], sizes: Sizes) -> list[Dataset]:
    """The datasets with the wanted workloads only; the usual ones if none is named."""
    if not wanted:
        return list(usual(sizes))
    picked = []
    for data in (*usual(sizes), *others(sizes)):
        workloads = tuple(each for each in data.workloads if each.key in wanted)
        if workloads:
            picked.append(replace(data, workloads=workloads))
    return picked
