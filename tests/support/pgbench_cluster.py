"""A cluster filled by pgbench, its backups as files, and the proof that a restore is whole."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.clusters import BINARIES, Cluster, folder_for_cluster, run, started
from tests.support.installation import Installation
from tests.support.waiting import until

BALANCES = """
SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
       (SELECT sum(bbalance) FROM pgbench_branches),
       coalesce((SELECT sum(delta) FROM pgbench_history), 0)
"""
STILL_ROWS = "SELECT count(*), md5(string_agg(goods::text, ',' ORDER BY id)) FROM goods"


class PgbenchCluster:
    """A cluster with a tablespace and pgbench's tables, and installations that back it up."""

    def __init__(self, server: Cluster, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.space = server.folder / "space"

    def fill(self, *, scale: int = 3, has_space: bool = True) -> None:
        argv = ["pgbench", "-iq", "-s", str(scale)]
        if has_space:
            self.space.mkdir()
            create = f"CREATE TABLESPACE space LOCATION '{self.space}'"
            run("psql", "-qc", create, self.server.dsn)
            argv.append("--tablespace=space")
        run(*argv, self.server.dsn)
        self.server.ask(
            "CREATE TABLE goods AS SELECT id, md5(id::text) AS name, repeat('x', 500) AS text"
            " FROM generate_series(1, 20000) id"
        )
        self.server.ask("CREATE INDEX ON goods (name)")
        self.server.ask("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 1000) AS id")

    def installation(self, name: str = "site", **source: Any) -> Installation:
        folder = self.folder / name
        folder.mkdir()
        settings = {"kind": "postgres", "method": "physical", "dsn": self.server.dsn, **source}
        installation = Installation(folder, settings, level=1)
        installation.job["max_concurrent_processes"] = 2
        return installation

    @contextmanager
    def under_load(self) -> Iterator[None]:
        argv = [str(BINARIES / "pgbench"), "-n", "-c", "2", "-T", "600", self.server.dsn]
        with subprocess.Popen(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            try:
                until(lambda: bool(self.server.ask("SELECT 1 FROM pgbench_history LIMIT 1")))
                yield
                assert running.poll() is None
            finally:
                running.terminate()


@contextmanager
def restored(
    installation: Installation, backup: str = "shop/latest", *options: str
) -> Iterator[Cluster]:
    """The restored cluster, not yet started."""
    with folder_for_cluster() as folder:
        back = Cluster(folder)
        installation.run("restore", backup, "--to", f"file://{back.data}", *options)
        yield back


def prove(back: Cluster, pgbench: PgbenchCluster) -> None:
    """Assert that its files match its manifest, and everything that `prove_rows` does."""
    assert "successfully verified" in run("pg_verifybackup", str(back.data))
    prove_rows(back, pgbench)


def prove_rows(back: Cluster, pgbench: PgbenchCluster) -> None:
    """Assert that it starts, that its rows are consistent, and that its indexes match them."""
    back.configure("")
    with started(back):
        ((accounts, tellers, branches, history),) = back.ask(BALANCES)
        assert accounts == tellers == branches == history
        assert back.ask(STILL_ROWS) == pgbench.server.ask(STILL_ROWS)
        assert back.ask("SELECT count(*) FROM fleeting") == [(0,)]
        places = back.ask(
            "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'space'"
        )
        assert all(str(place).startswith(str(back.folder)) for (place,) in places)
        assert len(places) == pgbench.space.exists()
        run("pg_amcheck", "--install-missing", "--heapallindexed", back.dsn)
        back.ask("INSERT INTO goods VALUES (0, 'new', 'row')")
