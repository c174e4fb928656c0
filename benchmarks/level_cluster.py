"""The files of a PostgreSQL cluster that holds real rows, read from a throw-away host."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks import level_data
from benchmarks.cluster import DATA
from benchmarks.postgres import HOST, USER
from lab import command, fleet, hosts

TABLES = {
    "documents": ("package descriptions as JSON documents", "id int PRIMARY KEY, document jsonb"),
    "files": (
        "sizes, times and owners of files as COPY rows",
        "id int PRIMARY KEY, inode bigint, size bigint, at float8, owner int, mode int",
    ),
    "lines": ("lines of Python as COPY rows", "path text, number int, line text"),
}


def files_of_a_cluster(inventory: Path) -> bytes:
    """The content of all files, as one stream, after the rows were loaded and indexed."""
    machines = fleet.read(inventory)
    try:
        hosts.up(machines, limit=[HOST])
        container = machines.host(HOST).container(machines.network)
        return _read(container)
    finally:
        hosts.down(machines, limit=[HOST])


def _read(container: str) -> bytes:
    for table, (kind, columns) in TABLES.items():
        _psql(container, f"CREATE TABLE {table} ({columns})")
        rows = level_data.kinds()[kind]()
        _psql(container, f"COPY {table} FROM STDIN", feed=rows)
    _psql(container, "CREATE INDEX ON lines (path, number)")
    _psql(container, "VACUUM ANALYZE")
    _psql(container, "CHECKPOINT")
    script = f"find {DATA}/base -type f -size +0 | sort | xargs cat"
    entering = ["podman", "exec", container, "sh", "-c", script]
    return subprocess.run(entering, check=True, stdout=subprocess.PIPE).stdout


def _psql(container: str, statement: str, *, feed: bytes = b"") -> None:
    asked = ["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-c", statement]
    command.run(["podman", "exec", "-i", container, "runuser", "-u", USER, "--", *asked], feed=feed)
