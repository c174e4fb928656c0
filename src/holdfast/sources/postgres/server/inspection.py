"""What is asked of a server before anything is read from it, whichever engine then reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from holdfast.sources.postgres.server import catalog_queries, client_programs, failures, preflight
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login


@contextmanager
def asking(connection: psycopg.Connection, subject: str, *, user: str) -> Iterator[None]:
    """A server that fails while it is asked about `subject`: what psycopg raises, as ours."""
    try:
        yield
    except psycopg.Error as error:
        gone = failures.session_is_gone(error, connection)
        raise failures.reading(error, subject, gone=gone, user=user) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Asks as `login`; `tool_folders` replaces the search for the client programs."""

    login: Login
    tool_folders: tuple[Path, ...] = ()

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        """A session of its own for the questions."""
        with self.login.session() as connection, self.translated(connection):
            yield connection

    def translated(self, connection: psycopg.Connection) -> AbstractContextManager[None]:
        """A server that fails while it is asked about itself."""
        subject = f"the catalogs of database '{self.login.database}'"
        return asking(connection, subject, user=self.login.user)

    def examined(self, connection: psycopg.Connection) -> Facts:
        """Raises `Unsupported`, or `GrantMissing` for the first right that is missing."""
        found = catalog_queries.facts(connection)
        preflight.require_supported(found)
        preflight.require_grants(connection, found)
        return found

    def tools(self, found: Facts) -> list[Tool]:
        """pg_dump and pg_dumpall that know this server."""
        return [
            client_programs.find(name, found.major, found.version, self.tool_folders)
            for name in ("pg_dump", "pg_dumpall")
        ]

    def rehearsed(self, connection: psycopg.Connection) -> tuple[Facts, list[Tool]]:
        """All that a backup needs, its snapshot included."""
        found = self.examined(connection)
        used = self.tools(found)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute("SELECT pg_export_snapshot()")
        return found, used

    def connections_free(self) -> int:
        with self.session() as connection:
            return preflight.connections_free(connection)
