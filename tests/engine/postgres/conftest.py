"""A real server: HOLDFAST_TEST_POSTGRES is the connection string of a superuser."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from holdfast.sources.postgres.rows.transport import Wanted
from tests.support.clusters import cluster
from tests.support.pgbench_cluster import PgbenchCluster
from tests.support.postgres_server import PostgresServer

CORPUS = Path(__file__).with_name("corpus.sql")


@pytest.fixture
def pgbench(tmp_path: Path) -> Iterator[PgbenchCluster]:
    """A cluster of the test's own, with a tablespace."""
    with cluster() as server:
        made = PgbenchCluster(server, tmp_path)
        made.fill()
        yield made


@pytest.fixture(scope="session")
def superuser() -> str:
    dsn = os.environ.get("HOLDFAST_TEST_POSTGRES")
    if not dsn:
        pytest.fail("set HOLDFAST_TEST_POSTGRES to the connection string of a superuser")
    return make_conninfo(dsn, dbname="postgres")


@pytest.fixture
def server(superuser: str) -> Iterator[PostgresServer]:
    opened = PostgresServer(superuser)
    try:
        yield opened
    finally:
        opened.clean()


@pytest.fixture(params=["fifo", "wire"])
def way(request: pytest.FixtureRequest) -> Wanted:
    """Both transports of rows."""
    wanted: Wanted = request.param
    return wanted


@pytest.fixture(params=[1 << 60, 0], ids=["custom", "plain"])
def plain_from_bytes(request: pytest.FixtureRequest) -> int:
    """Both formats of pg_dump, whatever the size of the database."""
    mark: int = request.param
    return mark


@pytest.fixture
def corpus(server: PostgresServer) -> Callable[[], str]:
    """Creates databases with everything that was ever hard to dump."""

    def make() -> str:
        role = f"corpus {secrets.token_hex(4)}"
        server.will_have_role(role)
        script = CORPUS.read_text().replace("corpus_role", role)
        return server.database(script)

    return make
