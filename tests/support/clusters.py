"""Clusters of the tests beside the host's own: tests may stop, promote, damage and restore them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg

BINARIES = max(
    Path("/usr/lib/postgresql").glob("*/bin"),
    key=lambda path: int(path.parent.name),
    default=Path(),
)
# Fast, and not durable, as the cluster ends with the test; initdb turns page checksums on.
SETTINGS = """
listen_addresses = ''
fsync = off
full_page_writes = on
shared_buffers = '64MB'
max_wal_size = '256MB'
wal_level = replica
max_wal_senders = {wal_senders}
max_connections = 60
superuser_reserved_connections = 3
logging_collector = off
autovacuum_naptime = '1s'
"""


class Cluster:
    """A server in a folder, reached through a socket beside its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"

    @property
    def dsn(self) -> str:
        return f"host={self.folder} user=postgres dbname=postgres"

    def make(self, *, wal_senders: int = 10) -> None:
        run("initdb", "-k", "-U", "postgres", "-A", "trust", "--no-sync", "-D", str(self.data))
        self.configure(SETTINGS.format(wal_senders=wal_senders))

    def configure(self, lines: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"{lines}\nunix_socket_directories = '{self.folder}'\n")

    def start(self, *options: str) -> None:
        run("pg_ctl", "-w", "-D", str(self.data), "-l", str(self.log), *options, "start")

    def stop(self, mode: str = "fast") -> None:
        run("pg_ctl", "-w", "-D", str(self.data), "-m", mode, "stop")

    def promote(self) -> None:
        run("pg_ctl", "-w", "-D", str(self.data), "promote")

    def ask(self, query: LiteralString, *, dbname: str = "postgres") -> list[tuple[object, ...]]:
        """The rows of a query's result; empty for a statement without a result."""
        with psycopg.connect(self.dsn, dbname=dbname, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def held(self) -> int:
        """The number of the daemon's sessions and replication slots on the server."""
        ((found,),) = self.ask(
            "SELECT (SELECT count(*) FROM pg_stat_activity"
            "        WHERE application_name LIKE 'holdfast%')"
            "     + (SELECT count(*) FROM pg_replication_slots)"
        )
        return int(str(found))


def run(program: str, *arguments: str) -> str:
    """The output of a server program, which must succeed."""
    done = subprocess.run(
        [str(BINARIES / program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{program}: {done.stdout}"
    return done.stdout


@contextmanager
def cluster(*, wal_senders: int = 10) -> Iterator[Cluster]:
    """A running cluster in a folder whose name is short enough for a socket."""
    with folder_for_cluster() as folder:
        made = Cluster(folder)
        made.make(wal_senders=wal_senders)
        with started(made):
            yield made


@contextmanager
def started(given: Cluster) -> Iterator[Cluster]:
    given.start()
    try:
        yield given
    finally:
        if (given.data / "postmaster.pid").exists():
            given.stop("immediate")


@contextmanager
def standby_of(primary: Cluster) -> Iterator[Cluster]:
    with folder_for_cluster() as folder:
        made = Cluster(folder)
        run("pg_basebackup", "-R", "-c", "fast", "-D", str(made.data), "-d", primary.dsn)
        made.configure("")
        with started(made):
            yield made


@contextmanager
def folder_for_cluster() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hf-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
