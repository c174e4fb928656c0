"""The targets: how fast each workload has to be, in comparison with its peers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.contenders import BACKUP, OURS, RESTORE, START


class Measure(StrEnum):
    """What a target limits."""

    RATIO = "ratio"
    """Our wall time to that of the fastest peer."""
    CPU_MS = "CPU ms"
    PEAK_MB = "peak MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A limit of what `contender` measures; ratios are to the fastest of `peers`."""

    workload: str
    phase: str
    wording: str
    at_most: float
    measure: Measure = Measure.RATIO
    contender: str = OURS
    peers: tuple[str, ...] = ()


def _ratio(
    where: tuple[str, str], at_most: float, wording: str, *peers: str, contender: str = OURS
) -> Target:
    workload, phase = where
    return Target(
        workload=workload,
        phase=phase,
        wording=f"at most {at_most:g} of {wording}",
        at_most=at_most,
        contender=contender,
        peers=peers,
    )


def _memory(workload: str, at_most: float, *, phases: tuple[str, ...]) -> tuple[Target, ...]:
    return tuple(
        Target(
            workload=workload,
            phase=phase,
            wording=f"memory of a {phase} at most {at_most:g} MB",
            at_most=at_most,
            measure=Measure.PEAK_MB,
        )
        for phase in phases
    )


def _start(contender: str, at_most: float, command: str) -> Target:
    return Target(
        workload="start",
        phase=START,
        wording=f"{command} at most {at_most:g} ms of CPU",
        at_most=at_most,
        measure=Measure.CPU_MS,
        contender=contender,
    )


_BOTH = (BACKUP, RESTORE)
_RESUMED = "holdfast-resumed"
_BASEBACKUP = "`pg_basebackup --compress=client-zstd:1`"
TARGETS = (
    _start("version", 80, "`holdfast --version`"),
    _start("list", 150, "`list`"),
    _start("status", 150, "`status`"),
    _start("show", 150, "`show`"),
    _start("wal-push-short", 100, "`wal push`"),
    _start("wal-get-short", 100, "`wal get`"),
    _ratio(("postgres", BACKUP), 0.75, "`pg_dump -Fd -j2` at zstd 1", "pg_dump-zstd1"),
    _ratio(("postgres", BACKUP), 0.1, "its gzip", "pg_dump-gzip"),
    _ratio(("postgres", RESTORE), 0.85, "`pg_restore -j2`", "pg_restore"),
    *_memory("postgres", 100, phases=_BOTH),
    _ratio(
        ("cluster", BACKUP),
        0.85,
        f"the faster of {_BASEBACKUP} and pgBackRest",
        "pg_basebackup-zstd1",
        "pgbackrest",
    ),
    _ratio(("cluster", BACKUP), 1.2, "a plain copy by `pg_basebackup`", "pg_basebackup-plain"),
    _ratio(("cluster", BACKUP), 0.6, "a whole run, resumed after half", OURS, contender=_RESUMED),
    *_memory("cluster", 100, phases=_BOTH),
    _ratio(("postgres-tables", BACKUP), 0.7, "`pg_dump -Fd -j2` at zstd 1", "pg_dump-zstd1"),
    _ratio(("postgres-tables", RESTORE), 0.8, "`pg_restore -j2`", "pg_restore"),
    *_memory("postgres-tables", 150, phases=_BOTH),
    _ratio(("cluster-files", BACKUP), 1.2, _BASEBACKUP, "pg_basebackup-zstd1"),
    _ratio(
        ("cluster-files", BACKUP), 0.6, "a whole run, resumed after half", OURS, contender=_RESUMED
    ),
    *_memory("cluster-files", 150, phases=_BOTH),
    _ratio(("postgres-objects", BACKUP), 0.8, "`pg_dump -Fd -j2` at zstd 1", "pg_dump-zstd1"),
    *_memory("postgres-objects", 100, phases=_BOTH),
    _ratio(("mysql", BACKUP), 0.6, "`mariadb-dump | zstd -1`", "mariadb-dump-zstd1"),
    _ratio(("mysql", BACKUP), 1.0, "mydumper, then `zstd -1`", "mydumper-zstd1"),
    _ratio(("mysql", BACKUP), 0.15, "the loop over tables", "loop"),
    _ratio(
        ("mysql", BACKUP),
        1.0,
        "`mariadb-backup | zstd -1`, `method: physical`",
        "mariadb-backup-zstd1",
        contender="holdfast-files",
    ),
    _ratio(("mysql", RESTORE), 0.5, "`zstd -dc | mariadb`", "mariadb"),
    *_memory("mysql", 100, phases=_BOTH),
    _ratio(("mysql-tables", BACKUP), 0.9, "`mariadb-dump | zstd -1`", "mariadb-dump-zstd1"),
    *_memory("mysql-tables", 150, phases=_BOTH),
)
