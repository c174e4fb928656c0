"""A cluster's files: ours against what copies them besides, with page checksums on."""

from __future__ import annotations

from benchmarks.workloads import OUT, Contender, Workload, holdfast

DATA = "/var/lib/postgresql/17/main"
CONFIG = f"""\
state_directory: {OUT}/state
sessions: {{socket: {OUT}/sessiond}}
repositories:
  main: {{kind: local, path: {OUT}/repository}}
jobs:
  files: &files
    source: &source
      {{kind: postgres, method: physical, dsn: "host=/run/postgresql user=postgres"}}
    repository: main
    compression: {{codec: zstd, level: 1}}
    max_concurrent_processes: 2
  half:
    <<: *files
    source: {{<<: *source, session: daemon}}
    resumable: true
"""
# Checksums are what every peer verifies too; a backup may begin at once for all alike.
_CHECKSUMS = (
    "pg_ctlcluster --mode fast 17 main stop"
    f" && /usr/lib/postgresql/17/bin/pg_checksums -e -D {DATA} >/dev/null"
    " && pg_ctlcluster 17 main start"
    " && psql -qX -c 'ALTER SYSTEM SET max_locks_per_transaction = 1024'"
    " && pg_ctlcluster --mode fast 17 main restart"
)
# The first contender must not pay for what the load left unwritten.
_LOAD = (
    f"{_CHECKSUMS} && createdb bench && psql -qX -v ON_ERROR_STOP=1 -d bench -f {OUT}/load.sql"
    " && psql -qX -c CHECKPOINT"
)
_BACKREST = " ".join(
    (
        f"pgbackrest --stanza=bench --pg1-path={DATA} --repo1-path={OUT}/pgbackrest",
        f"--lock-path={OUT}/lock --log-path={OUT} --log-level-console=error",
    )
)
# Ours collects its own WAL and needs no archive; the others are not asked for one either.
_BACKREST_BACKUP = " ".join(
    (
        f"{_BACKREST} --process-max=2 --compress-type=zst --compress-level=1",
        "--type=full --start-fast --no-archive-check backup",
    )
)


def _basebackup(name: str, *options: str) -> Contender:
    folder = name.replace(" ", "-")
    return Contender(
        name=f"pg_basebackup, {name}",
        command=f"pg_basebackup -c fast -D {OUT}/{folder} {' '.join(options)}",
        size=folder,
        reset=f"rm -rf {OUT}/{folder}",
    )


_BACKUPS = (
    Contender(
        name="holdfast, 2 workers, zstd 1",
        command=holdfast("backup files"),
        size="repository/files",
        reset=f"rm -rf {OUT}/repository/files",
    ),
    Contender(
        name="holdfast, resumed after half of it",
        command=holdfast("backup half --resume"),
        size="repository/half",
        reset=f"rm -rf {OUT}/repository/half"
        f" && python /project/benchmarks/halfway.py {OUT}/holdfast.yaml half",
    ),
    _basebackup("plain"),
    _basebackup("client zstd 1", "-Ft", "--compress=client-zstd:1"),
    Contender(
        name="pgBackRest, process-max=2, zst 1",
        command=_BACKREST_BACKUP,
        size="pgbackrest",
        reset=f"rm -rf {OUT}/pgbackrest && {_BACKREST} --no-online stanza-create",
    ),
)
_RESTORES = (
    Contender(
        name="holdfast",
        command=holdfast(f"restore files/latest --to file://{OUT}/again"),
        reset=f"rm -rf {OUT}/again",
    ),
)


def _physical(name: str, script: str) -> Workload:
    return Workload(
        name=name,
        host="physical13",
        user="postgres",
        script=script,
        load=_LOAD,
        config=CONFIG,
        backups=_BACKUPS,
        restores=_RESTORES,
    )


PHYSICAL = _physical("PostgreSQL files, 2.3 GB", "bench.postgres.sql")
PHYSICAL_FILES = _physical("PostgreSQL files, 20,000 of them", "bench.postgres-tables.sql")
