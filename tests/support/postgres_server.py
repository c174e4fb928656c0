"""A real PostgreSQL server, whose databases and roles are removed after the test."""

from __future__ import annotations

import secrets
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class PostgresServer:
    """A server on which a test is the superuser."""

    def __init__(self, superuser: str) -> None:
        self.superuser = superuser
        self._databases: list[str] = []
        self._roles: list[str] = []

    def conninfo(self, database: str) -> str:
        return make_conninfo(self.superuser, dbname=database)

    def url(self, database: str) -> str:
        """The same as a URI, as people type it."""
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
        """Create a database and run `statements` in it."""
        name = self.name()
        self.run("postgres", f'CREATE DATABASE "{name}" TEMPLATE template0 {options}')
        for statement in statements:
            self.run(name, statement)
        return name

    def name(self) -> str:
        """A database name that a test may use; the database is dropped afterwards in any case."""
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
        """A login by password over TCP, which the distribution's pg_hba.conf allows."""
        ((port,),) = self.ask("postgres", "SHOW port")
        return make_conninfo(host="127.0.0.1", port=str(port), dbname=database, user=user)

    def databases(self) -> set[str]:
        return {str(row[0]) for row in self.ask("postgres", "SELECT datname FROM pg_database")}

    def sessions(self, application: str) -> int:
        """The number of sessions with that application name; `%` matches anything."""
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
