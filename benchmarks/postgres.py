"""Databases of PostgreSQL: the built-in engine against `pg_dump` and `pg_restore`."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.cluster import cluster
from benchmarks.contenders import (
    BACKUP,
    CONFIG_HEAD,
    OURS,
    OUT,
    RESTORE,
    Contender,
    Dataset,
    Phase,
    Sizes,
    Workload,
    holdfast,
)

HOST = "pg13"
USER = "postgres"
DSN = "host=/run/postgresql dbname=bench user=postgres"
CONFIG = f"""\
{CONFIG_HEAD}  rows:
    source: {{kind: postgres, engine: native, dsn: "{DSN}"}}
    repository: main
    compression: {{codec: zstd, level: 1}}
    max_concurrent_processes: 2
"""
SETTLE = "psql -qX -c CHECKPOINT && sync"
DROP = "dropdb --if-exists bench && psql -qX -c CHECKPOINT"
_LOAD = f"createdb bench && psql -qX -v ON_ERROR_STOP=1 -d bench -f {OUT}/load.sql"
_DATA = "/var/lib/postgresql/17/main"
# Page checksums are what every tool that copies files verifies, and many tables need twice as
# many locks, for which no server's default has room.
SETTINGS = (
    "runuser -u postgres -- sh -ec '"
    "pg_ctlcluster --mode fast 17 main stop;"
    f" /usr/lib/postgresql/17/bin/pg_checksums -e -D {_DATA} >/dev/null;"
    " pg_ctlcluster 17 main start;"
    ' psql -qX -c "ALTER SYSTEM SET max_locks_per_transaction = 1024";'
    " pg_ctlcluster --mode fast 17 main restart'"
)


def ours(job: str) -> Contender:
    return Contender(
        key=OURS,
        name="holdfast, 2 workers, zstd 1",
        command=holdfast(f"backup {job}"),
        size=f"repository/{job}",
        reset=f"rm -rf {OUT}/repository/{job}",
    )


def _pg_dump(key: str, name: str, *, options: str = "", once: bool = False) -> Contender:
    return Contender(
        key=key,
        name=f"pg_dump -Fd -j2, {name}",
        command=f"pg_dump -Fd -j2 {options} -f {OUT}/{key} bench",
        size=key,
        reset=f"rm -rf {OUT}/{key}",
        once=once,
    )


_ZSTD_1 = _pg_dump("pg_dump-zstd1", "zstd 1", options="--compress=zstd:1")
_GZIP = _pg_dump("pg_dump-gzip", "its default gzip", once=True)
_RESTORES = (
    Contender(
        key=OURS,
        name="holdfast",
        command=holdfast(
            "restore rows/latest --to 'postgresql://postgres@/again?host=/run/postgresql'"
        ),
        reset="dropdb --if-exists again",
    ),
    Contender(
        key="pg_restore",
        name="pg_restore -j2",
        command=f"sh -c 'createdb other && pg_restore -j2 -d other {OUT}/pg_dump-zstd1'",
        reset="dropdb --if-exists other",
    ),
)


def rows(key: str, title: str, *, backups: tuple[Contender, ...], restore_once: bool) -> Workload:
    """A database as rows: backup, and restore into a database beside it."""
    return Workload(
        key=key,
        title=title,
        config=CONFIG,
        phases=(
            Phase(name=BACKUP, contenders=backups),
            Phase(name=RESTORE, contenders=_RESTORES, once=restore_once),
        ),
        tidy="dropdb --if-exists again && dropdb --if-exists other",
    )


def _dataset(key: str, script: str, *workloads: Workload) -> Dataset:
    return Dataset(
        key=key,
        host=HOST,
        user=USER,
        script=script,
        settings=SETTINGS,
        load=_LOAD,
        drop=DROP,
        settle=SETTLE,
        workloads=workloads,
    )


def general(sizes: Sizes) -> Dataset:
    """Narrow rows, incompressible values and some small tables; as rows, and as files."""
    size = sizes.gigabytes(2.3)
    backups = (ours("rows"), _ZSTD_1, _GZIP)
    return _dataset(
        "postgres",
        "bench.postgres.sql",
        rows("postgres", f"PostgreSQL 17, {size}", backups=backups, restore_once=False),
        cluster("cluster", f"Files of PostgreSQL 17, {size} of tables"),
    )


def tables(sizes: Sizes) -> Dataset:
    """Many small tables: every one is a statement, and four files of the cluster."""
    count = sizes.of("tables")
    backups = (ours("rows"), _ZSTD_1)
    return _dataset(
        "postgres-tables",
        "bench.postgres-tables.sql",
        # First: the other drops databases of as many files, and ext4 is slow after that.
        cluster("cluster-files", f"Files of PostgreSQL 17, {count * 4 + 1000:,} small ones"),
        rows(
            "postgres-tables",
            f"PostgreSQL 17, {count:,} tables",
            backups=backups,
            restore_once=False,
        ),
    )


def objects(sizes: Sizes) -> Dataset:
    """Large objects that do not compress."""
    title = f"PostgreSQL 17, {sizes.gigabytes(2.1)} of large objects"
    backups = (ours("rows"), _ZSTD_1)
    return _dataset(
        "postgres-objects",
        "bench.postgres-objects.sql",
        rows("postgres-objects", title, backups=backups, restore_once=True),
    )


def of_size(gigabytes: int) -> Dataset:
    """Narrow rows of any size: whether memory grows with the database."""
    backup = Phase(name=BACKUP, contenders=(ours("rows"),))
    key = f"postgres-{gigabytes}gb"
    title = f"PostgreSQL 17, {gigabytes} GB"
    workload = Workload(key=key, title=title, config=CONFIG, phases=(backup,))
    dataset = _dataset(key, "bench.postgres-size.sql", workload)
    return replace(dataset, load=_LOAD.replace("psql", f"psql -v gigabytes={gigabytes}"))
