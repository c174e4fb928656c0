"""What the smallest commands cost, in CPU seconds: archiving calls them once a segment."""

from __future__ import annotations

from benchmarks.contenders import (
    CONFIG_HEAD,
    OUT,
    START,
    Contender,
    Dataset,
    Phase,
    Workload,
    holdfast,
)
from benchmarks.postgres import HOST, SETTINGS, USER

DSN = "host=/run/postgresql user=postgres"
CONFIG = f"""\
{CONFIG_HEAD}  rows:
    source: {{kind: postgres, engine: native, dsn: "{DSN} dbname=bench"}}
    repository: main
  files:
    source: {{kind: postgres, method: physical, dsn: "{DSN}"}}
    repository: main
"""
DATA = "/var/lib/postgresql/17/main"
REPEATS = 3
# Commands run there, as those of a server run in its data directory.
WAL = f"{OUT}/wal"
_PREPARE = f"{holdfast('backup rows')} && sh /project/benchmarks/wal_segments.sh {DATA} {WAL}"
_NAME = f"$(ls {WAL}/{{kind}})"


def _wal(kind: str, name: str) -> tuple[Contender, Contender]:
    file = _NAME.format(kind=kind)
    return (
        Contender(
            key=f"wal-push-{kind}",
            name=f"holdfast wal push, {name}",
            command=holdfast(f"wal push files {WAL}/{kind}/{file}"),
            reset=f"rm -rf {OUT}/repository/files.wal",
            folder=WAL,
        ),
        Contender(
            key=f"wal-get-{kind}",
            name=f"holdfast wal get, {name}",
            command=holdfast(f"wal get files {file} {OUT}/got"),
            reset=f"rm -f {OUT}/got && {holdfast(f'wal push files {WAL}/{kind}/{file}')}",
            folder=WAL,
        ),
    )


def start() -> Dataset:
    """A cluster with next to nothing in it, so that only the start counts."""
    contenders = (
        Contender(key="version", name="holdfast --version", command=holdfast("--version")),
        Contender(key="list", name="holdfast list", command=holdfast("list rows")),
        Contender(key="status", name="holdfast status", command=holdfast("status")),
        Contender(key="show", name="holdfast show", command=holdfast("show rows/latest")),
        *_wal("short", "a segment that is nearly empty"),
        *_wal("full", "a full segment"),
    )
    workload = Workload(
        key="start",
        title="Start of the program",
        config=CONFIG,
        prepare=_PREPARE,
        phases=(Phase(name=START, contenders=contenders, repeats=REPEATS),),
    )
    return Dataset(
        key="start",
        host=HOST,
        user=USER,
        script="bench.empty.sql",
        settings=SETTINGS,
        load=f"createdb bench && psql -qX -v ON_ERROR_STOP=1 -d bench -f {OUT}/load.sql",
        drop="dropdb --if-exists bench && psql -qX -c CHECKPOINT",
        settle="true",
        workloads=(workload,),
    )
