"""What the content proof costs, by the job's setting `checksums`."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import mariadb, postgres
from benchmarks.contenders import (
    BACKUP,
    CONFIG_HEAD,
    OUT,
    RESTORE,
    Contender,
    Dataset,
    Phase,
    Sizes,
    Workload,
    holdfast,
)

CONFIG = CONFIG_HEAD
JOB = """\
  {name}:
    source: {{kind: {kind}, engine: native, dsn: "{dsn}"}}
    repository: main
    compression: {{codec: zstd, level: 1}}
    max_concurrent_processes: 2
    checksums: {policy}
"""
# Which checksums the server computes: none first, as the base of all ratios.
POLICIES = {"none": "false", "auto": "auto", "all": "true"}


def _workload(key: str, title: str, *, kind: str, dsn: str, to: str, drop: str) -> Workload:
    backups = tuple(
        Contender(
            key=name,
            name=f"checksums: {policy}",
            command=holdfast(f"backup {name}"),
            size=f"repository/{name}",
            reset=f"rm -rf {OUT}/repository/{name}",
        )
        for name, policy in POLICIES.items()
    )
    restores = tuple(
        Contender(
            key=name,
            name=f"checksums: {policy}",
            command=holdfast(f"restore {name}/latest --to '{to}'"),
            reset=drop,
        )
        for name, policy in POLICIES.items()
    )
    jobs = "".join(
        JOB.format(name=name, kind=kind, dsn=dsn, policy=policy)
        for name, policy in POLICIES.items()
    )
    return Workload(
        key=key,
        title=title,
        config=CONFIG + jobs,
        phases=(Phase(name=BACKUP, contenders=backups), Phase(name=RESTORE, contenders=restores)),
        tidy=drop,
    )


def of_postgres(sizes: Sizes) -> Dataset:
    return replace(
        postgres.general(sizes),
        key="postgres-checksums",
        script="bench.postgres-checksums.sql",
        workloads=(
            _workload(
                "postgres-checksums",
                "PostgreSQL 17, checksums of 576 MB",
                kind="postgres",
                dsn=postgres.DSN,
                to="postgresql://postgres@/again?host=/run/postgresql",
                drop="dropdb --if-exists again",
            ),
        ),
    )


def of_mariadb(sizes: Sizes) -> Dataset:
    general = mariadb.general(sizes)
    return replace(
        general,
        key="mysql-checksums",
        workloads=(
            _workload(
                "mysql-checksums",
                f"{general.workloads[0].title}, checksums",
                kind="mysql",
                dsn=mariadb.DSN,
                to=mariadb.AGAIN,
                drop="mariadb -e 'DROP DATABASE IF EXISTS again'",
            ),
        ),
    )
