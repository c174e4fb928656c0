"""What is measured: our backup and restore, and what stock tools do with the same database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OUT = "/var/tmp/bench"  # noqa: S108  # inside a throw-away host
CONFIG = """\
state_directory: {out}/state
repositories:
  main: {{kind: local, path: {out}/repository}}
jobs:
  zstd1:
    source: {{kind: {kind}, engine: native, dsn: "{dsn}"}}
    repository: main
    compression: {{codec: zstd, level: 1}}
    max_concurrent_processes: 2
  zstd3:
    source: {{kind: {kind}, engine: native, dsn: "{dsn}"}}
    repository: main
    compression: {{codec: zstd, level: 3}}
    max_concurrent_processes: 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command; `size` is a folder or file that it leaves behind, `reset` makes room for it."""

    name: str
    command: str
    size: str = ""
    reset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A host, its data, and everybody who has a go at it; ours comes first."""

    name: str
    host: str
    user: str
    script: str
    load: str
    config: str
    backups: tuple[Contender, ...]
    restores: tuple[Contender, ...]


def holdfast(arguments: str) -> str:
    program = "from holdfast.cli.main import main; main()"
    return f'python -c "{program}" --config {OUT}/holdfast.yaml {arguments}'


def _ours(level: int) -> Contender:
    return Contender(
        name=f"holdfast, 2 workers, zstd {level}",
        command=holdfast(f"backup zstd{level}"),
        size=f"repository/zstd{level}",
        reset=f"rm -rf {OUT}/repository/zstd{level}",
    )


def _pg_dump(name: str, *options: str) -> Contender:
    folder = name.replace(" ", "-")
    return Contender(
        name=f"pg_dump -Fd -j2, {name}",
        command=f"pg_dump -Fd -j2 {' '.join(options)} -f {OUT}/{folder} bench",
        size=folder,
        reset=f"rm -rf {OUT}/{folder}",
    )


_POSTGRES_CONFIG = CONFIG.format(
    out=OUT, kind="postgres", dsn="host=/run/postgresql dbname=bench user=postgres"
)
_POSTGRES_LOAD = f"createdb bench && psql -qX -v ON_ERROR_STOP=1 -d bench -f {OUT}/load.sql"
# Twice a lock for each table, which no server's default has room for.
_MORE_LOCKS = (
    "psql -qX -c 'ALTER SYSTEM SET max_locks_per_transaction = 1024'"
    " && pg_ctlcluster --mode fast 17 main restart"
)
_ZSTD_1 = _pg_dump("zstd 1", "--compress=zstd:1")
_ZSTD_3 = _pg_dump("zstd 3", "--compress=zstd:3")
_RESTORES = (
    Contender(
        name="holdfast",
        command=holdfast(
            "restore zstd1/latest --to 'postgresql://postgres@/again?host=/run/postgresql'"
        ),
        reset="dropdb --if-exists again",
    ),
    Contender(
        name="pg_restore -j2",
        command=f"sh -c 'createdb other && pg_restore -j2 -d other {OUT}/zstd-1'",
        reset="dropdb --if-exists other",
    ),
)

POSTGRES = Workload(
    name="PostgreSQL",
    host="pg13",
    user="postgres",
    script="bench.postgres.sql",
    load=_POSTGRES_LOAD,
    config=_POSTGRES_CONFIG,
    backups=(_ours(1), _ZSTD_1, _ours(3), _ZSTD_3, _pg_dump("its default gzip")),
    restores=_RESTORES,
)
POSTGRES_TABLES = Workload(
    name="PostgreSQL, 10,000 tables",
    host="pg13",
    user="postgres",
    script="bench.postgres-tables.sql",
    load=f"{_MORE_LOCKS} && {_POSTGRES_LOAD}",
    config=_POSTGRES_CONFIG,
    backups=(_ours(1), _ZSTD_1),
    restores=_RESTORES,
)
POSTGRES_OBJECTS = Workload(
    name="PostgreSQL, 2 GB of large objects",
    host="pg13",
    user="postgres",
    script="bench.postgres-objects.sql",
    load=_POSTGRES_LOAD,
    config=_POSTGRES_CONFIG,
    backups=(_ours(1), _ZSTD_1),
    restores=_RESTORES,
)


def _of_size(gigabytes: int) -> Workload:
    """Whether memory grows with the database."""
    rows = gigabytes * 10_000_000
    return Workload(
        name=f"PostgreSQL, {gigabytes} GB",
        host="pg13",
        user="postgres",
        script="bench.postgres-size.sql",
        load=f"createdb bench && psql -qX -v rows={rows} -d bench -f {OUT}/load.sql",
        config=_POSTGRES_CONFIG,
        backups=(_ours(1),),
        restores=(),
    )


_MARIADB_DUMP = "mariadb-dump --single-transaction bench"
MARIADB = Workload(
    name="MariaDB",
    host="maria13",
    user="root",
    script="bench.mariadb.sql",
    load=f"mariadb -e 'CREATE DATABASE bench' && mariadb bench < {OUT}/load.sql",
    config=CONFIG.format(
        out=OUT,
        kind="mysql",
        dsn="mysql://root@localhost/bench?unix_socket=/run/mysqld/mysqld.sock",
    ),
    backups=(
        _ours(3),
        Contender(
            name="mariadb-dump | zstd -3",
            command=f"sh -c '{_MARIADB_DUMP} | zstd -q -3 > {OUT}/dump.zst'",
            size="dump.zst",
        ),
        Contender(
            name="mariadb-dump | gzip",
            command=f"sh -c '{_MARIADB_DUMP} | gzip > {OUT}/dump.gz'",
            size="dump.gz",
        ),
    ),
    restores=(
        Contender(
            name="holdfast",
            command=holdfast(
                "restore zstd3/latest --to "
                "'mysql://root@localhost/again?unix_socket=/run/mysqld/mysqld.sock'"
            ),
            reset="mariadb -e 'DROP DATABASE IF EXISTS again'",
        ),
        Contender(
            name="zstd -dc | mariadb",
            command=(
                f'sh -c \'mariadb -e "CREATE DATABASE other" && '
                f"zstd -dc {OUT}/dump.zst | mariadb other'"
            ),
            reset="mariadb -e 'DROP DATABASE IF EXISTS other'",
        ),
    ),
)

WORKLOADS = {
    "postgres": POSTGRES,
    "postgres-tables": POSTGRES_TABLES,
    "postgres-objects": POSTGRES_OBJECTS,
    "postgres-1gb": _of_size(1),
    "postgres-4gb": _of_size(4),
    "postgres-16gb": _of_size(16),
    "mysql": MARIADB,
}
# What one call without a name measures; the others take a big disk and a long time.
USUAL = ("postgres", "postgres-tables", "postgres-objects", "mysql")
