"""Databases of MariaDB: the built-in engine against `mariadb-dump`, mydumper and others."""

from __future__ import annotations

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

# The last release of Debian that has mydumper.
HOST = "maria12"
USER = "root"
SERVER = "mysql://root@localhost/{database}?unix_socket=/run/mysqld/mysqld.sock"
DSN = SERVER.format(database="bench")
AGAIN = SERVER.format(database="again")
CONFIG = f"""\
{CONFIG_HEAD}  rows: &rows
    source: {{kind: mysql, engine: native, dsn: "{DSN}"}}
    repository: main
    compression: {{codec: zstd, level: 1}}
    max_concurrent_processes: 2
  files:
    <<: *rows
    source: {{kind: mysql, method: physical, engine: tools, dsn: "{DSN}"}}
"""
_DUMP = "mariadb-dump --single-transaction"
# As in many crontabs: each table on its own, one after the other.
_LOOP = (
    f"mkdir -p {OUT}/loop && for table in $(echo SHOW TABLES | mariadb -NB bench); do "
    f"{_DUMP} bench $table | gzip > {OUT}/loop/$table.sql.gz; done"
)
_FILES = f"mariadb-backup --backup --stream=xbstream --target-dir={OUT}/physical 2> /dev/null"


def _ours(key: str, name: str, job: str) -> Contender:
    return Contender(
        key=key,
        name=name,
        command=holdfast(f"backup {job}"),
        size=f"repository/{job}",
        reset=f"rm -rf {OUT}/repository/{job}",
    )


def _piped(key: str, name: str, command: str, *, once: bool = False) -> Contender:
    """A shell line that writes into a pipe, of which one file remains."""
    return Contender(
        key=key, name=name, command=f"sh -c '{command} > {OUT}/{key}'", size=key, once=once
    )


def _mydumper(key: str, name: str, *, options: str = "", then: str = "") -> Contender:
    folder = f"{OUT}/{key}"
    dump = f"mydumper --threads 2 --database bench --trx-consistency-only {options} -o {folder}"
    return Contender(
        key=key,
        name=f"mydumper, 2 threads, {name}",
        command=f"sh -c '{dump}{then.format(folder=folder)}'",
        size=f"{key}.zst" if then else key,
        reset=f"rm -rf {folder} {folder}.zst",
        once=not then,
    )


_ROWS = _ours(OURS, "holdfast, 2 workers, zstd 1", "rows")
_DUMP_ZSTD = _piped("mariadb-dump-zstd1", "mariadb-dump | zstd -1", f"{_DUMP} bench | zstd -q -1")
_PLAIN_MYDUMPER = _mydumper("mydumper", "uncompressed")
_BACKUPS = (
    _ROWS,
    _DUMP_ZSTD,
    _mydumper(
        "mydumper-zstd1",
        "uncompressed, then zstd -1",
        then=" && cat {folder}/*.sql | zstd -q -1 > {folder}.zst",
    ),
    _ours("holdfast-files", "holdfast, method physical, zstd 1", "files"),
    _piped("mariadb-backup-zstd1", "mariadb-backup | zstd -1", f"{_FILES} | zstd -q -1"),
    Contender(
        key="loop",
        name="mariadb-dump | gzip, table by table",
        command=f"sh -c '{_LOOP}'",
        size="loop",
        reset=f"rm -rf {OUT}/loop",
        once=True,
    ),
    _piped("mariadb-dump-gzip", "mariadb-dump | gzip", f"{_DUMP} bench | gzip", once=True),
    _PLAIN_MYDUMPER,
    _mydumper("mydumper-gzip", "its own gzip", options="--compress"),
)
_RESTORES = (
    Contender(
        key=OURS,
        name="holdfast",
        command=holdfast(f"restore rows/latest --to '{AGAIN}'"),
        reset="mariadb -e 'DROP DATABASE IF EXISTS again'",
    ),
    Contender(
        key="mariadb",
        name="zstd -dc | mariadb",
        command=(
            f'sh -c \'mariadb -e "CREATE DATABASE other" && '
            f"zstd -dc {OUT}/mariadb-dump-zstd1 | mariadb other'"
        ),
        reset="mariadb -e 'DROP DATABASE IF EXISTS other'",
    ),
)


def _dataset(
    key: str, script: str, title: str, *, backups: tuple[Contender, ...], restore_once: bool
) -> Dataset:
    workload = Workload(
        key=key,
        title=title,
        config=CONFIG,
        phases=(
            Phase(name=BACKUP, contenders=backups),
            Phase(name=RESTORE, contenders=_RESTORES, once=restore_once),
        ),
        tidy="mariadb -e 'DROP DATABASE IF EXISTS again; DROP DATABASE IF EXISTS other'",
    )
    return Dataset(
        key=key,
        host=HOST,
        user=USER,
        script=script,
        load=f"mariadb -e 'CREATE DATABASE bench' && mariadb bench < {OUT}/load.sql",
        drop="mariadb -e 'DROP DATABASE IF EXISTS bench'",
        settle="sync",
        workloads=(workload,),
    )


def general(sizes: Sizes) -> Dataset:
    """Rows of random text, as sysbench makes them, and 200 small tables."""
    megabytes = 275 * sizes.scale
    return _dataset(
        "mysql",
        "bench.mariadb.sql",
        f"MariaDB 10.11, {megabytes:.0f} MB of SQL",
        backups=_BACKUPS,
        restore_once=False,
    )


def tables(sizes: Sizes) -> Dataset:
    """Many small tables: every one is a statement or several."""
    return _dataset(
        "mysql-tables",
        "bench.mariadb-tables.sql",
        f"MariaDB 10.11, {sizes.of('mysql_tables'):,} tables",
        backups=(_ROWS, _DUMP_ZSTD, _PLAIN_MYDUMPER),
        restore_once=True,
    )
