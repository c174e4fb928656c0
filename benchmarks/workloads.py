"""What is measured: our backup and restore, and what stock tools do with the same database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OUT = "/var/tmp/bench"  # noqa: S108  # inside a throw-away host
LEVEL = 3
CONFIG = """\
state_directory: {out}/state
repositories:
  main: {{kind: local, path: {out}/repository}}
jobs:
  bench:
    source: {{kind: {kind}, engine: native, dsn: "{dsn}"}}
    repository: main
    compression: {{codec: zstd, level: {level}}}
    max_concurrent_processes: 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One command; `size` is a folder or file that it leaves behind."""

    name: str
    command: str
    size: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A host, its data, and everybody who has a go at it; ours comes first."""

    name: str
    host: str
    user: str
    load: str
    config: str
    backups: tuple[Contender, ...]
    restores: tuple[Contender, ...]


def _holdfast(arguments: str) -> str:
    program = "from holdfast.cli.main import main; main()"
    return f'python -c "{program}" --config {OUT}/holdfast.yaml {arguments}'


_BACKUP = Contender(
    name="holdfast, 2 workers, zstd 3", command=_holdfast("backup bench"), size="repository"
)

POSTGRES = Workload(
    name="PostgreSQL",
    host="pg13",
    user="postgres",
    load=f"createdb bench && psql -qX -v ON_ERROR_STOP=1 -d bench -f {OUT}/load.sql",
    config=CONFIG.format(
        out=OUT,
        kind="postgres",
        dsn="host=/run/postgresql dbname=bench user=postgres",
        level=LEVEL,
    ),
    backups=(
        _BACKUP,
        Contender(
            name="pg_dump -Fd -j2, zstd 3",
            command=f"pg_dump -Fd -j2 --compress=zstd:3 -f {OUT}/directory bench",
            size="directory",
        ),
        Contender(
            name="pg_dump -Fd -j2, its default gzip",
            command=f"pg_dump -Fd -j2 -f {OUT}/gzip bench",
            size="gzip",
        ),
    ),
    restores=(
        Contender(
            name="holdfast",
            command=_holdfast(
                "restore bench/latest --to 'postgresql://postgres@/again?host=/run/postgresql'"
            ),
        ),
        Contender(
            name="pg_restore -j2",
            command=f"sh -c 'createdb other && pg_restore -j2 -d other {OUT}/directory'",
        ),
    ),
)

_MARIADB_DUMP = "mariadb-dump --single-transaction bench"
MARIADB = Workload(
    name="MariaDB",
    host="maria13",
    user="root",
    load=f"mariadb -e 'CREATE DATABASE bench' && mariadb bench < {OUT}/load.sql",
    config=CONFIG.format(
        out=OUT,
        kind="mysql",
        dsn="mysql://root@localhost/bench?unix_socket=/run/mysqld/mysqld.sock",
        level=LEVEL,
    ),
    backups=(
        _BACKUP,
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
            command=_holdfast(
                "restore bench/latest --to "
                "'mysql://root@localhost/again?unix_socket=/run/mysqld/mysqld.sock'"
            ),
        ),
        Contender(
            name="zstd -dc | mariadb",
            command=(
                f'sh -c \'mariadb -e "CREATE DATABASE other" && '
                f"zstd -dc {OUT}/dump.zst | mariadb other'"
            ),
        ),
    ),
)

WORKLOADS = {"postgres": POSTGRES, "mysql": MARIADB}
