"""What is measured: our backup and restore, and what stock tools do with the same database."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
# Which checksums the server computes: none first, as the base of all ratios.
POLICIES = {"none": "false", "auto": "auto", "all": "true"}
POLICY = """\
  {name}:
    source: {{kind: {kind}, engine: native, dsn: "{dsn}"}}
    repository: main
    compression: {{codec: zstd, level: 1}}
    max_concurrent_processes: 2
    checksums: {policy}
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
    """A host, its data, and the contenders; ours comes first."""

    name: str
    host: str
    user: str
    script: str
    load: str
    config: str
    backups: tuple[Contender, ...]
    restores: tuple[Contender, ...]
    settings: str = ""
    """A command that sets the server up, as root, before anything is loaded."""


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


def _checksums(workload: Workload, *, kind: str, dsn: str, to: str, drop: str) -> Workload:
    """What the content proof of that workload costs, by the job's setting `checksums`."""
    config = CONFIG.format(out=OUT, kind=kind, dsn=dsn)
    for name, policy in POLICIES.items():
        config += POLICY.format(name=name, kind=kind, dsn=dsn, policy=policy)
    return replace(
        workload,
        name=f"{workload.name}, checksums",
        config=config,
        backups=tuple(
            Contender(
                name=f"checksums: {policy}",
                command=holdfast(f"backup {name}"),
                size=f"repository/{name}",
                reset=f"rm -rf {OUT}/repository/{name}",
            )
            for name, policy in POLICIES.items()
        ),
        restores=tuple(
            Contender(
                name=f"checksums: {policy}",
                command=holdfast(f"restore {name}/latest --to '{to}'"),
                reset=drop,
            )
            for name, policy in POLICIES.items()
        ),
    )


_POSTGRES_DSN = "host=/run/postgresql dbname=bench user=postgres"
_POSTGRES_CONFIG = CONFIG.format(out=OUT, kind="postgres", dsn=_POSTGRES_DSN)
_POSTGRES_LOAD = f"createdb bench && psql -qX -v ON_ERROR_STOP=1 -d bench -f {OUT}/load.sql"
# Twice a lock for each table, which no server's default has room for.
_MORE_LOCKS = (
    "runuser -u postgres -- psql -qX -c 'ALTER SYSTEM SET max_locks_per_transaction = 1024'"
    " && systemctl restart postgresql@17-main"
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
    settings=_MORE_LOCKS,
    load=_POSTGRES_LOAD,
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


_MARIADB_DUMP = "mariadb-dump --single-transaction"


def _piped(name: str, command: str, file: str) -> Contender:
    """A shell line that leaves one file."""
    return Contender(name=name, command=f"sh -c '{command} > {OUT}/{file}'", size=file)


# As in many crontabs: each table on its own, one after the other.
_LOOP = (
    f"mkdir -p {OUT}/loop && for table in $(echo SHOW TABLES | mariadb -NB bench); do "
    f"{_MARIADB_DUMP} bench $table | gzip > {OUT}/loop/$table.sql.gz; done"
)


def _mydumper(name: str, options: str, *, then: str = "", size: str = "") -> Contender:
    folder = f"{OUT}/mydumper-{name.replace(' ', '-')}"
    dump = f"mydumper --threads 2 --database bench --trx-consistency-only {options} -o {folder}"
    return Contender(
        name=f"mydumper, 2 threads, {name}",
        command=f"sh -c '{dump}{then.format(folder=folder)}'",
        size=size or folder.removeprefix(f"{OUT}/"),
    )


MARIADB = Workload(
    name="MariaDB",
    host="maria12",
    user="root",
    script="bench.mariadb.sql",
    load=f"mariadb -e 'CREATE DATABASE bench' && mariadb bench < {OUT}/load.sql",
    config=CONFIG.format(
        out=OUT,
        kind="mysql",
        dsn="mysql://root@localhost/bench?unix_socket=/run/mysqld/mysqld.sock",
    ),
    backups=(
        _ours(1),
        _ours(3),
        _piped("mariadb-dump | zstd -1", f"{_MARIADB_DUMP} bench | zstd -q -1", "dump.zst"),
        _piped("mariadb-dump | gzip", f"{_MARIADB_DUMP} bench | gzip", "dump.gz"),
        Contender(
            name="mariadb-dump | gzip, table by table", command=f"sh -c '{_LOOP}'", size="loop"
        ),
        _mydumper("uncompressed", ""),
        _mydumper(
            "uncompressed and then zstd -1",
            "",
            then=f" && cat {{folder}}/*.sql | zstd -q -1 > {OUT}/mydumper.zst",
            size="mydumper.zst",
        ),
        _mydumper("its own gzip", "--compress"),
        _piped(
            "mariadb-backup | zstd -1",
            f"mariadb-backup --backup --stream=xbstream --target-dir={OUT}/physical 2> /dev/null"
            " | zstd -q -1",
            "physical.zst",
        ),
    ),
    restores=(
        Contender(
            name="holdfast",
            command=holdfast(
                "restore zstd1/latest --to "
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

MARIADB_TABLES = replace(
    MARIADB,
    name="MariaDB, 10,000 tables",
    script="bench.mariadb-tables.sql",
    backups=(
        _ours(1),
        _piped("mariadb-dump | zstd -1", f"{_MARIADB_DUMP} bench | zstd -q -1", "dump.zst"),
        _mydumper("uncompressed", ""),
    ),
)

POSTGRES_CHECKSUMS = _checksums(
    replace(POSTGRES, script="bench.postgres-checksums.sql"),
    kind="postgres",
    dsn=_POSTGRES_DSN,
    to="postgresql://postgres@/again?host=/run/postgresql",
    drop="dropdb --if-exists again",
)
MARIADB_CHECKSUMS = _checksums(
    MARIADB,
    kind="mysql",
    dsn="mysql://root@localhost/bench?unix_socket=/run/mysqld/mysqld.sock",
    to="mysql://root@localhost/again?unix_socket=/run/mysqld/mysqld.sock",
    drop="mariadb -e 'DROP DATABASE IF EXISTS again'",
)

WORKLOADS = {
    "postgres": POSTGRES,
    "postgres-tables": POSTGRES_TABLES,
    "postgres-objects": POSTGRES_OBJECTS,
    "postgres-1gb": _of_size(1),
    "postgres-4gb": _of_size(4),
    "postgres-16gb": _of_size(16),
    "mysql": MARIADB,
    "mysql-tables": MARIADB_TABLES,
    "postgres-checksums": POSTGRES_CHECKSUMS,
    "mysql-checksums": MARIADB_CHECKSUMS,
}
# What one call without a name measures; the others take a big disk and a long time.
USUAL = ("postgres", "postgres-tables", "postgres-objects", "mysql")
