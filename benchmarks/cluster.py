"""A cluster's files: ours against what copies them besides, with page checksums on."""

from __future__ import annotations

from benchmarks.contenders import (
    BACKUP,
    CONFIG_FILE,
    CONFIG_HEAD,
    OURS,
    OUT,
    RESTORE,
    Contender,
    Phase,
    Workload,
    holdfast,
)

# What was made before is moved away and not removed: for minutes after tens of thousands of files
# were removed, ext4 passes over each of their inodes whenever it makes a file (docs/benchmarks.md).
GONE = f"{OUT}/gone"
DATA = "/var/lib/postgresql/17/main"
CONFIG = f"""\
sessions: {{socket: {OUT}/sessiond}}
{CONFIG_HEAD}  files: &files
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
DAEMON_PID = f"{OUT}/sessiond.pid"
_HALFWAY = (
    "env PYTHONPATH=/project/src:/project python -m benchmarks.halfway"
    f" {CONFIG_FILE} half {DAEMON_PID}"
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


def _moved_away(path: str) -> str:
    return f"mkdir -p {GONE} && {{ [ ! -e {path} ] || mv {path} $(mktemp -d {GONE}/XXXXXX); }}"


def _basebackup(key: str, name: str, options: str = "") -> Contender:
    return Contender(
        key=key,
        name=f"pg_basebackup, {name}",
        command=f"pg_basebackup -c fast -D {OUT}/{key} {options}",
        size=key,
        reset=_moved_away(f"{OUT}/{key}"),
    )


_BACKUPS = (
    Contender(
        key=OURS,
        name="holdfast, 2 workers, zstd 1",
        command=holdfast("backup files"),
        size="repository/files",
        reset=_moved_away(f"{OUT}/repository/files"),
    ),
    Contender(
        key="holdfast-resumed",
        name="holdfast, resumed after it was killed at half",
        command=holdfast("backup half --resume"),
        size="repository/half",
        reset=f"rm -rf {OUT}/repository/half && {_HALFWAY}",
    ),
    _basebackup("pg_basebackup-plain", "plain"),
    _basebackup("pg_basebackup-zstd1", "client zstd 1", "-Ft --compress=client-zstd:1"),
    Contender(
        key="pgbackrest",
        name="pgBackRest, process-max=2, zst 1",
        command=_BACKREST_BACKUP,
        size="pgbackrest",
        reset=f"{_moved_away(f'{OUT}/pgbackrest')} && {_BACKREST} --no-online stanza-create",
    ),
)
_RESTORE = Contender(
    key=OURS,
    name="holdfast",
    command=holdfast(f"restore files/latest --to file://{OUT}/again"),
    reset=f"rm -rf {OUT}/again",
)


def cluster(key: str, title: str) -> Workload:
    """Base backups of the cluster that holds the data now; a restore has no peer here."""
    return Workload(
        key=key,
        title=title,
        config=CONFIG,
        phases=(
            Phase(name=BACKUP, contenders=_BACKUPS),
            Phase(name=RESTORE, contenders=(_RESTORE,), once=True),
        ),
        # The daemon outlives the run that was killed, on purpose.
        tidy=f'[ ! -e {DAEMON_PID} ] || kill "$(cat {DAEMON_PID})"',
    )
