"""A real server: HOLDFAST_TEST_POSTGRES is the connection string of a superuser."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from holdfast.sources.postgres.rows.transport import Wanted
from tests.engine.postgres.clusters import cluster
from tests.engine.postgres.yard import Yard

CORPUS = Path(__file__).with_name("corpus.sql")


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A cluster of the test's own, with a tablespace."""
    with cluster() as server:
        made = Yard(server, tmp_path)
        made.fill()
        yield made


class Laboratory:
    """Databases and roles that are gone after the test."""

    def __init__(self, superuser: str) -> None:
        self.superuser = superuser
        self._databases: list[str] = []
        self._roles: list[str] = []

    def conninfo(self, database: str) -> str:
        return make_conninfo(self.superuser, dbname=database)

    def url(self, database: str) -> str:
        """The same as a URI, which is what a person types."""
        settings = conninfo_to_dict(self.superuser)
        del settings["dbname"]
        return f"postgresql:///{quote(database, safe='')}?{urlencode(settings, quote_via=quote)}"

    def run(self, database: str, statement: str) -> None:
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def ask(self, database: str, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def database(self, *statements: str, options: str = "") -> str:
        """A new one, filled by `statements`."""
        name = self.name()
        self.run("postgres", f'CREATE DATABASE "{name}" TEMPLATE template0 {options}')
        for statement in statements:
            self.run(name, statement)
        return name

    def name(self) -> str:
        """A name for a database that a test may make; dropped afterwards all the same."""
        name = f"Shop's {secrets.token_hex(4)}"
        self._databases.append(name)
        return name

    def role(self, *, password: str = "", options: str = "") -> str:
        name = f"role {secrets.token_hex(4)}"
        self._roles.append(name)
        self.run("postgres", f"CREATE ROLE \"{name}\" LOGIN {options} PASSWORD '{password}'")
        return name

    def will_have_database(self, name: str) -> str:
        self._databases.append(name)
        return name

    def will_have_role(self, name: str) -> None:
        self._roles.append(name)

    def over_tcp(self, database: str, *, user: str) -> str:
        """The way of a login with a password; the distribution's pg_hba.conf allows it."""
        ((port,),) = self.ask("postgres", "SHOW port")
        return make_conninfo(host="127.0.0.1", port=str(port), dbname=database, user=user)

    def databases(self) -> set[str]:
        return {str(row[0]) for row in self.ask("postgres", "SELECT datname FROM pg_database")}

    def sessions(self, application: str) -> int:
        """How many sessions call themselves so; `%` stands for anything."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s",
                [application],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def clean(self) -> None:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            for name in self._databases:
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))
            for name in self._roles:
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def superuser() -> str:
    dsn = os.environ.get("HOLDFAST_TEST_POSTGRES")
    if not dsn:
        pytest.fail("set HOLDFAST_TEST_POSTGRES to the connection string of a superuser")
    return make_conninfo(dsn, dbname="postgres")


@pytest.fixture
def lab(superuser: str) -> Iterator[Laboratory]:
    laboratory = Laboratory(superuser)
    try:
        yield laboratory
    finally:
        laboratory.clean()


@pytest.fixture(params=["fifo", "wire"])
def way(request: pytest.FixtureRequest) -> Wanted:
    """Both ways that rows can travel."""
    wanted: Wanted = request.param
    return wanted


@pytest.fixture(params=[1 << 60, 0], ids=["custom", "plain"])
def plain_from_bytes(request: pytest.FixtureRequest) -> int:
    """Both formats of pg_dump, whatever the size of the database."""
    mark: int = request.param
    return mark


@pytest.fixture
def corpus(lab: Laboratory) -> Callable[[], str]:
    """Makes databases full of everything that was ever hard to dump."""

    def make() -> str:
        role = f"corpus {secrets.token_hex(4)}"
        lab.will_have_role(role)
        script = CORPUS.read_text().replace("corpus_role", role)
        return lab.database(script)

    return make
